"""What the event log holds of what `churn receive` acknowledged, when things go wrong.

    python -m tests.benchmarks.receive_kill [killed|ended|power|full|read_only|away]
        [--times 30] [--seed 1]

`killed` ends the receiver with SIGKILL at random moments under load, and starts it
again; `ended` does so with SIGTERM. `power` lets the file system forget all that was
not flushed, as a power cut does. `full` lets the disk become full, `read_only` lets it be
mounted read-only, and both give it back after a while. (These three mount file systems
and need root.) `away` is an object store that answers 503 for a while, then refuses
connections, and comes back. Senders behave like vendors: half of what got no 2xx is
sent again. At last the receiver is ended with SIGTERM, and `churn ingest` reads what it
published.

Every acknowledged postback must be in the event log exactly once, and none of the
others more than once, or the benchmark ends with an AssertionError.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from churn.settings import load
from churn.store import open_filled

from .. import object_server
from . import receive_client
from .common import parser
from .receive_client import Load, flood
from .receive_servers import (
    HOME,
    PATHS,
    READ_SOURCES,
    Server,
    launched,
    receive_command,
    study,
)

N_CONNECTIONS = 32
PATIENCE_SECONDS = 120

SHUT_DOWN = 0x8004587D
"""Linux's FS_IOC_SHUTDOWN."""

WITHOUT_FLUSH = 2

N_SPOOLED = 10
"""Files that at least wait in the spool when the object store has been away."""


class Numbers:
    """Numbers from 1, until it is ended; half of those without a 2xx come again."""

    def __init__(self, draw: random.Random) -> None:
        self.n = 0
        self.is_over = False
        self.again: deque[int] = deque()
        self._draw = draw

    def __iter__(self) -> Iterator[int]:
        while not self.is_over:
            if self.again:
                yield self.again.popleft()
            else:
                self.n += 1
                yield self.n

    def failed(self, number: int) -> None:
        """Send a number again, perhaps."""
        if self._draw.random() < 0.5:
            self.again.append(number)


@dataclass
class Storm:
    """Postbacks of all sources, sent to a receiver that may be gone for a while."""

    study: Path
    more: dict[str, str]
    numbers: Numbers
    server: Server
    load: Load
    sending: asyncio.Task[None]

    def restart(self) -> None:
        """Start the receiver again at the same port; it isn't ready at once."""
        port = self.server.port
        command = receive_command(self.study, port)
        self.server = launched(command, self.more, self.study.parent / "log")
        self.server.port = port

    async def ready(self) -> None:
        """Wait until the receiver listens."""
        await asyncio.to_thread(self.server.ready)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let the load go on until something is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so():
                await asyncio.sleep(0.05)

    async def acknowledges(self, n: int = 500) -> None:
        """Wait until so many more postbacks are acknowledged."""
        before = len(self.load.acknowledged)
        await self.until(lambda: len(self.load.acknowledged) >= before + n)

    async def refuses(self, n: int = 500) -> None:
        """Wait until so many more postbacks get 503."""
        refused = self.load.refused.setdefault(503, [])
        before = len(refused)
        await self.until(lambda: len(refused) >= before + n)

    async def end(self, name: str) -> None:
        """Stop sending, end the receiver as its operator would, and check the log."""
        self.numbers.is_over = True
        await self.sending
        await asyncio.to_thread(self.server.terminate)
        await asyncio.to_thread(check, name, self)


@contextlib.asynccontextmanager
async def started(
    folder: Path,
    draw: random.Random,
    more: dict[str, str] | None = None,
    path: str = "postbacks",
) -> AsyncIterator[Storm]:
    """A receiver under load; its files are small, so that they are published often."""
    file = study(folder, path, file_bytes=2**20)
    server = launched(receive_command(file), more, folder / "log")
    numbers = Numbers(draw)
    load = Load(failed=numbers.failed)
    sent = receive_client.mixed({source: PATHS[source] for source in READ_SOURCES})
    server.ready()
    sending = asyncio.create_task(
        flood(server.port, sent, numbers, load, N_CONNECTIONS)
    )
    storm = Storm(file, more or {}, numbers, server, load, sending)
    try:
        yield storm
    finally:
        numbers.is_over = True
        storm.server.kill()


async def killed(
    folder: Path,
    draw: random.Random,
    n_times: int,
) -> None:
    """Kill the receiver at random moments, every fifth time while it starts."""
    async with started(folder, draw) as storm:
        for place in range(n_times):
            await asyncio.sleep(draw.uniform(0, 1.5))
            storm.server.kill()
            storm.restart()
            if place % 5 < 4:
                await storm.ready()
        await storm.acknowledges()
        await storm.end("killed")


async def ended(
    folder: Path,
    draw: random.Random,
    n_times: int,
) -> None:
    """End the receiver at random moments as its operator would, and start it again."""
    async with started(folder, draw) as storm:
        for _ in range(n_times):
            await asyncio.sleep(draw.uniform(0, 1.5))
            await asyncio.to_thread(storm.server.terminate)
            storm.restart()
            await storm.ready()
        await storm.end("ended")


async def power_cut(
    folder: Path,
    draw: random.Random,
    n_times: int,
) -> None:
    """Let the file system forget, at random moments, what was not flushed to the disk."""
    with disk(folder) as mount_again:
        async with started(folder, draw) as storm:
            for _ in range(n_times):
                await storm.acknowledges(200)
                await asyncio.sleep(draw.uniform(0, 1))
                shut_down(folder)
                storm.server.kill()
                await asyncio.to_thread(mount_again)
                storm.restart()
                await storm.ready()
            await storm.acknowledges()
            await storm.end("power")


async def full(folder: Path, draw: random.Random) -> None:
    """Fill the disk that all is on, twice, and empty it again."""
    with disk(folder):
        async with started(folder, draw) as storm:
            for _ in range(2):
                await storm.acknowledges()
                ballast = folder / "ballast"
                with contextlib.suppress(OSError), ballast.open("wb") as stream:
                    while stream.write(bytes(2**20)):
                        stream.flush()
                await storm.refuses()
                ballast.unlink()
            await storm.acknowledges()
            await storm.end("full")


async def read_only(folder: Path, draw: random.Random) -> None:
    """Let the file system report an error, so that it is mounted read-only.

    That can't be undone under a running receiver: it is ended, and started again when
    the disk is mounted again.
    """
    with disk(folder) as mount_again:
        async with started(folder, draw) as storm:
            await storm.acknowledges()
            device = Path(mounted_from(folder)).name
            Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")
            await storm.refuses()
            await asyncio.to_thread(storm.server.terminate)
            mount_again()
            storm.restart()
            await storm.ready()
            await storm.acknowledges()
            await storm.end("read_only")


async def away(folder: Path, draw: random.Random) -> None:
    """Let the object store be busy, then gone, and then be there again.

    While it is gone, the receiver is ended and started again.
    """
    store = object_server.Server()
    try:
        door = Door(int(store.address.rpartition(":")[2]))
        await door.open()
        more = store.environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.port}"}
        async with started(folder, draw, more, "s3://exports/postbacks") as storm:
            await storm.acknowledges(10_000)
            store.n_busy = 10**9
            await storm.acknowledges(10_000)
            await door.shut()
            await storm.acknowledges(10_000)
            assert not storm.load.refused
            assert not storm.load.broken
            await asyncio.to_thread(storm.server.terminate)
            assert len(list((folder / "spool").rglob("*.ndjson"))) > N_SPOOLED
            storm.restart()
            await storm.ready()
            store.n_busy = 0
            await door.open()
            await storm.end("away")
            left = list((folder / "spool").rglob("*.ndjson"))
            assert not left, left
    finally:
        store.stop()


class Door:
    """A port that leads to another one of this machine while it is open."""

    def __init__(self, inner: int) -> None:
        self.port = 0
        self._inner = inner
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Let connections through, at the same port as before."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse connections, and end those there are."""
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        inner = await asyncio.open_connection("127.0.0.1", self._inner)
        await asyncio.gather(
            self._copy(reader, inner[1]),
            self._copy(inner[0], writer),
        )

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Callable[[], None]]:
    """A file system of 64 MB of its own; gives a function that mounts it anew."""
    image = folder.with_suffix(".img")
    folder.mkdir()
    run = partial(subprocess.run, check=True)

    def mount() -> None:
        run(["mount", "-o", "loop,errors=remount-ro", image, folder])

    def mount_again() -> None:
        run(["umount", folder])
        subprocess.run(["e2fsck", "-fy", image], capture_output=True)
        mount()

    with image.open("wb") as stream:
        stream.truncate(64 * 2**20)
    run(["mkfs.ext4", "-q", "-m", "0", image])
    mount()
    try:
        yield mount_again
    finally:
        run(["umount", "--lazy", folder])


def shut_down(folder: Path) -> None:
    """Stop a mounted file system without flushing anything."""
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(number, SHUT_DOWN, struct.pack("I", WITHOUT_FLUSH))
    finally:
        os.close(number)


def mounted_from(folder: Path) -> str:
    """The device of a mounted folder."""
    command = ["findmnt", "--noheadings", "--output", "SOURCE", folder]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def check(name: str, storm: Storm) -> None:
    """Ingest by command, and compare the event log with what was acknowledged."""
    ingest = [sys.executable, "-m", "churn.cli", "ingest", "--study", storm.study]
    environment = os.environ | storm.more
    done = subprocess.run(
        ingest, cwd=HOME, env=environment, check=True, capture_output=True, text=True
    )
    os.environ.update(storm.more)
    events = open_filled(load(storm.study)).scan("events")
    counts = events.group_by(pl.col("user_id").cast(pl.Int64)).len().collect()
    acknowledged = set(storm.load.acknowledged)
    found = set(counts["user_id"])
    row = {
        "what": name,
        "sent": storm.numbers.n,
        "acknowledged": len(acknowledged),
        "503": len(storm.load.refused.get(503, [])),
        "broken": len(storm.load.broken),
        "in the log": len(found),
        "acknowledged, not there": len(acknowledged - found),
        "there twice": counts.filter(pl.col("len") > 1).height,
    }
    print(row, flush=True)
    assert set(storm.load.refused) <= {503}, storm.load.refused.keys()
    assert not row["acknowledged, not there"], done.stdout
    assert not row["there twice"], done.stdout


def main() -> None:
    """Go through the parts named, all by default."""
    options = parser(__doc__)
    options.add_argument("parts", nargs="*")
    options.add_argument("--times", type=int, default=30)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    draw = random.Random(given.seed)
    parts = {
        "killed": partial(killed, n_times=given.times),
        "ended": partial(ended, n_times=given.times),
        "power": partial(power_cut, n_times=given.times),
        "full": full,
        "read_only": read_only,
        "away": away,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in given.parts or parts:
            asyncio.run(parts[name](Path(folder) / name, draw))


if __name__ == "__main__":
    main()
