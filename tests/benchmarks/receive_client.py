"""A client that sends postbacks as fast as one process can.

Connections are kept open, and each has one request under way, as a vendor's have. It
speaks plain HTTP on asyncio's protocols: a client library would need more processor
time for a postback than the receiver does.
"""

import asyncio
import random
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus

from .receive_bodies import BODIES, QUERIES

N_VARIANTS = 64
"""Different requests of a source, so that packing sees new ids in every line."""

LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nConnection: *close", re.IGNORECASE)
MARK = "NUMBER-OF-12"
RECONNECT_SECONDS = 0.02

Sent = Callable[[int], bytes]
"""A function that writes the request with this number."""


def requests(
    source: str,
    path: str,
    peer: str = "203.0.113.1",
    seed: int = 1,
) -> Sent:
    """The requests of a source, each with its number as its person.

    ``path`` is where the receiver takes postbacks of this source, its secret included.
    ``peer`` is who sends them, as a proxy says.
    """
    draw = random.Random(seed)
    parts = [_parts(source, path, peer, draw) for _ in range(N_VARIANTS)]

    def sent(number: int) -> bytes:
        return (b"%012d" % number).join(parts[number % N_VARIANTS])

    return sent


def mixed(paths: Mapping[str, str]) -> Sent:
    """The requests of several sources in turn, given where each is taken."""
    sent = [requests(source, path) for source, path in paths.items()]
    return lambda number: sent[number % len(sent)](number)


def _parts(
    source: str,
    path: str,
    peer: str,
    draw: random.Random,
) -> list[bytes]:
    """What stands between the places of the number in one of a source's requests."""
    given = _ids(draw)
    proxy = f"Host: receiver\r\nX-Forwarded-For: {peer}\r\n"
    if source in QUERIES:
        pairs = [f"{key}={quote_plus(value % given)}" for key, value in QUERIES[source]]
        text = f"GET {path}?{'&'.join(pairs)} HTTP/1.1\r\n{proxy}\r\n"
    else:
        body = BODIES[source] % given
        text = (
            f"POST {path} HTTP/1.1\r\n{proxy}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
    return text.encode().split(MARK.encode())


def _ids(draw: random.Random) -> dict[str, str]:
    def drawn() -> str:
        return str(uuid.UUID(int=draw.getrandbits(128), version=4))

    at = datetime.now(UTC) - timedelta(seconds=draw.uniform(60, 600))
    return {
        "number": MARK,
        "id_1": drawn().upper(),
        "id_2": drawn(),
        "hex": f"{draw.getrandbits(128):032x}",
        "digits": f"{draw.getrandbits(63):019d}",
        "ip": f"203.0.113.{draw.randrange(256)}",
        "price": f"{draw.uniform(1, 99):05.2f}",
        "second": f"{at:%Y-%m-%d %H:%M:%S}",
        "time": f"{at:%Y-%m-%d %H:%M:%S.000}",
        "epoch": f"{at.timestamp():.0f}",
        "epoch_ms": f"{at.timestamp() * 1000:.0f}",
    }


@dataclass
class Load:
    """What was sent and what came back.

    Attributes
    ----------
    acknowledged: numbers that were answered with 2xx.
    refused: numbers that were answered otherwise, by status.
    broken: numbers whose connection ended before an answer came.
    seconds: of every answer, from the moment the request was due.
    failed: called with every number that got no 2xx.
    """

    acknowledged: list[int] = field(default_factory=list)
    refused: dict[int, list[int]] = field(default_factory=dict)
    broken: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: Callable[[int], None] = lambda number: None

    def answered(
        self,
        number: int,
        status: int,
        due: float,
    ) -> None:
        """Note an answer."""
        self.seconds.append(time.perf_counter() - due)
        if 200 <= status < 300:
            self.acknowledged.append(number)
        else:
            self.refused.setdefault(status, []).append(number)
            self.failed(number)

    def lost(self, number: int) -> None:
        """Note that no answer came."""
        self.broken.append(number)
        self.failed(number)


class _Connection(asyncio.Protocol):
    """One connection; asks ``source`` for the next request when an answer has come."""

    def __init__(self, source: "_Source") -> None:
        self.source = source
        self.under_way: tuple[int, float] | None = None
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.source.ready(self)

    def send(self, number: int, due: float) -> None:
        self.under_way = number, due
        self.transport.write(self.source.sent(number))

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0 or self.under_way is None:
            return
        length = LENGTH.search(self.received, 0, end)
        if len(self.received) < end + 4 + int(length[1] if length else 0):
            return
        status = int(self.received[9:12])
        is_last = CLOSE.search(self.received, 0, end) is not None
        (number, due), self.under_way, self.received = self.under_way, None, b""
        self.source.load.answered(number, status, due)
        if is_last:
            self.transport.close()
        else:
            self.source.ready(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.under_way:
            self.source.load.lost(self.under_way[0])
        self.source.lost(self)


class _Source:
    """Gives each connection its next request, and ends when there is none."""

    def __init__(
        self,
        port: int,
        sent: Sent,
        numbers: Iterable[int],
        load: Load,
    ) -> None:
        self.port = port
        self.sent = sent
        self.load = load
        self.numbers = iter(numbers)
        self.is_over = False
        self.open: set[_Connection] = set()
        self.connecting: set[asyncio.Task[None]] = set()

    def ready(self, connection: _Connection) -> None:
        """Let a connection send, or close it if nothing is left."""
        self.open.add(connection)
        number = None if self.is_over else next(self.numbers, None)
        if number is None:
            self.is_over = True
            connection.transport.close()
        else:
            connection.send(number, time.perf_counter())

    def lost(self, connection: _Connection) -> None:
        """Open another one for a connection that the receiver closed."""
        self.open.discard(connection)
        if not self.is_over:
            self.connect()

    def connect(self) -> None:
        """Open a connection, trying again for as long as there is something to send."""
        task = asyncio.ensure_future(self._connected())
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    async def _connected(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.is_over:
            try:
                await loop.create_connection(
                    lambda: _Connection(self), "127.0.0.1", self.port
                )
                return
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)

    async def drained(self) -> None:
        """Wait until every request was answered or lost."""
        while not self.is_over or self.open or self.connecting:
            await asyncio.sleep(0.01)


class _Paced(_Source):
    """Sends when requests are due, however slowly answers come."""

    def __init__(
        self,
        port: int,
        sent: Sent,
        load: Load,
    ) -> None:
        super().__init__(port, sent, (), load)
        self.idle: list[_Connection] = []
        self.due: deque[tuple[int, float]] = deque()

    def ready(self, connection: _Connection) -> None:
        self.open.add(connection)
        if self.due:
            connection.send(*self.due.popleft())
        elif self.is_over:
            connection.transport.close()
        else:
            self.idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        super().lost(connection)

    def send(self, number: int, due: float) -> None:
        """Send on a connection that is idle, or on the first that will be."""
        if self.idle:
            self.idle.pop().send(number, due)
        else:
            self.due.append((number, due))

    def close(self) -> None:
        """Close what is idle; what is under way closes when it has been answered."""
        self.is_over = True
        for connection in self.idle:
            connection.transport.close()


async def flood(
    port: int,
    sent: Sent,
    numbers: Iterable[int],
    load: Load,
    n_connections: int = 64,
) -> None:
    """Send all numbers, each connection as soon as it has its answer."""
    source = _Source(port, sent, numbers, load)
    for _ in range(n_connections):
        source.connect()
    await source.drained()


async def paced(
    port: int,
    sent: Sent,
    numbers: Iterable[int],
    per_second: float,
    n_connections: int = 64,
) -> Load:
    """Send all numbers at a steady rate.

    Seconds are counted from when a request was due, so that a pause of the receiver
    counts for all that had to wait.
    """
    source = _Paced(port, sent, Load())
    for _ in range(n_connections):
        source.connect()
    while source.connecting:
        await asyncio.sleep(0.01)
    started = time.perf_counter()
    for place, number in enumerate(numbers):
        due = started + place / per_second
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        source.send(number, due)
    source.close()
    await source.drained()
    return source.load


def until(
    seconds: float,
    start: int = 0,
) -> Iterator[int]:
    """Numbers from ``start`` on, for so many seconds."""
    end = time.perf_counter() + seconds
    number = start
    while time.perf_counter() < end:
        yield number
        number += 1
