"""A receiver in a process of its own, as a service manager starts it."""

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECRET = "s3cret-of-24-characters-x"
SOURCES = ("adjust", "appsflyer", "branch", "kochava", "singular")
STUDY = """
[[extracts]]
source = "adjust"
path = "data/raw/postbacks/adjust"
"""


@dataclass
class Receiver:
    """A running receiver.

    Attributes
    ----------
    folder: folder of its study.
    port: where it listens.
    process: its process.
    """

    folder: Path
    port: int
    process: subprocess.Popen[str]

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Status and text of the answer to a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def end(self, number: int = signal.SIGTERM) -> str:
        """End the process; all that it has written to the terminal."""
        self.process.send_signal(number)
        first = self.process.communicate(timeout=60)[0]
        return first + (self.folder / "output.log").read_text()


PROGRAM = "from churn.cli.app import main; main()"
DEBUG = """
import asyncio, logging
from churn.receive import answering, server
logging.basicConfig(level=logging.DEBUG)
answering.READ_SECONDS = 3.0
server.IDLE_SECONDS = 1.0
"""
"""Lets every logger write all it has, and makes the waits short."""


@contextlib.contextmanager
def running(
    folder: Path,
    study: str = STUDY,
    debug: bool = False,
    **environment: str,
) -> Iterator[Receiver]:
    """A receiver of a study in ``folder`` while the block lasts, ended if need be.

    What it writes to the terminal is in ``output.log`` of the folder.
    """
    (folder / "churn.toml").write_text(study)
    secrets = {f"CHURN_RECEIVE_{source.upper()}": SECRET for source in SOURCES}
    more = {"PYTHONASYNCIODEBUG": "1"} if debug else {}
    program = DEBUG + PROGRAM if debug else PROGRAM
    options = ["-v", "receive", "--port", "0", "--name", "r"]
    with (folder / "output.log").open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *options],
            cwd=folder,
            env={**os.environ, **secrets, **more, **environment},
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r":(\d+)$", first.strip())
        assert found, (folder / "output.log").read_text()
        yield Receiver(folder, int(found[1]), process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def written(folder: Path, source: str = "") -> list[dict[str, Any]]:
    """Lines of all published files of a source, or of all, in order of their names."""
    published = folder / "data/raw/postbacks" / source
    files = sorted(published.rglob("*.postbacks.ndjson.gz"))
    texts = [gzip.decompress(file.read_bytes()).decode() for file in files]
    return [json.loads(line) for text in texts for line in text.splitlines()]
