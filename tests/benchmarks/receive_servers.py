"""Servers that take postbacks, each in a process of its own.

    python -m tests.benchmarks.receive_servers without-writing STUDY
    python -m tests.benchmarks.receive_servers minimal FILE

The first is the receiver with a journal that keeps nothing, the second the shortest
handler that calls fsync before it answers. Both print where they listen.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from churn.events.sources import FORMS
from churn.receive import journal

HOME = Path(__file__).resolve().parents[2]
SOURCES = ("appsflyer", "adjust", "branch", "singular", "kochava")
SECRETS = {source: f"only-{source}-knows-this-secret" for source in SOURCES}
PATHS = {source: f"/{source}/{secret}" for source, secret in SECRETS.items()}
READ_SOURCES = tuple(filter(FORMS.__contains__, SOURCES))
UNLIMITED = 1e9
"""Requests per second that no client reaches."""

PATIENCE_SECONDS = 60


@dataclass
class Server:
    """A server's process, and the port that it listens on."""

    process: subprocess.Popen[str]
    port: int = 0
    paths = PATHS

    def ready(self) -> None:
        """Wait until it says where it listens."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.search(r":(\d+)\s*$", line)
        assert found, f"it did not start: {line!r}"
        self.port = int(found[1])

    def terminate(self) -> None:
        """End it as a service manager does, and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_SECONDS) == 0, self.process.returncode

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Processor seconds of all its threads so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        """Resident memory."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)


def study(
    folder: Path,
    path: str = "postbacks",
    **receive: Any,
) -> Path:
    """Write a study of all sources into a folder; the receiver's keys are given."""
    receive = {"path": path, "spool": "spool", "max_per_second": UNLIMITED} | receive
    lines = ["[receive]", *(f"{key} = {value!r}" for key, value in receive.items())]
    for source in READ_SOURCES:
        lines += ["[[extracts]]", f"source = '{source}'", f"path = '{path}/{source}'"]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "churn.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def launched(
    command: list[str],
    more: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Server:
    """Start a command of Python; standard error goes to ``log`` or nowhere."""
    environment = {f"CHURN_RECEIVE_{s.upper()}": SECRETS[s] for s in SOURCES}
    with (log or Path(os.devnull)).open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=HOME,
            env=os.environ | environment | (more or {}),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return Server(process)


def receive_command(
    study: Path,
    port: int = 0,
    name: str = "one",
) -> list[str]:
    """The command line of the receiver, without Python."""
    options = ["--study", str(study), "--port", str(port), "--name", name]
    return ["-m", "churn.cli", "receive", *options]


@contextmanager
def running(
    command: list[str],
    more: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[Server]:
    """A server that is there while the block lasts."""
    server = launched(command, more, log)
    try:
        server.ready()
        yield server
    finally:
        server.kill()


@contextmanager
def receiver(folder: Path, **receive: Any) -> Iterator[Server]:
    """The receiver, ended with SIGTERM after the block."""
    with running(receive_command(study(folder, **receive))) as server:
        yield server
        server.terminate()


@contextmanager
def journal_off(folder: Path) -> Iterator[Server]:
    """The receiver with a journal that keeps nothing."""
    command = ["-m", "tests.benchmarks.receive_servers", "without-writing"]
    with running([*command, str(study(folder))]) as server:
        yield server


@contextmanager
def minimal(folder: Path) -> Iterator[Server]:
    """The shortest handler that is durable."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["-m", "tests.benchmarks.receive_servers", "minimal"]
    with running([*command, str(folder / "postbacks")]) as server:
        yield server


async def _kept_nowhere(
    self: journal.Journal,
    lines: bytes,
    received_at: datetime,
) -> None:
    """Stand in for the journal: say at once that the lines are on the disk."""


def _serve_without_writing(file: str) -> None:
    from churn.receive import serve
    from churn.settings import load

    journal.Journal.write = _kept_nowhere  # type: ignore[method-assign]
    serve(load(file), "127.0.0.1", 0, "one")


def _serve_minimal(file: str) -> None:
    stream = Path(file).open("ab")  # noqa: SIM115, it is open while this process lives

    async def answer(request: web.Request) -> web.Response:
        stream.write(await request.read() or request.query_string.encode())
        stream.write(b"\n")
        stream.flush()
        os.fsync(stream.fileno())
        return web.Response(text="ok")

    async def serve() -> None:
        application = web.Application()
        application.router.add_route("*", "/{source}/{secret}", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    serve_one = {"without-writing": _serve_without_writing, "minimal": _serve_minimal}
    serve_one[sys.argv[1]](sys.argv[2])
