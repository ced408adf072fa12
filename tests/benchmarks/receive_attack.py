"""How long vendors wait for `churn receive` while others attack it.

    python -m tests.benchmarks.receive_attack [--seconds 30] [--per-second 200]

Postbacks are sent at a steady rate, at first alone. Then three attacks go on at once, in
a process of their own: requests with a wrong secret, on 32 connections as fast as they
are answered; 400 connections that send one byte of a header a second; and bodies of 100
MB. All come from other addresses than the postbacks. The limits are the default ones.
"""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from . import receive_client
from .common import parser, wide_tables
from .receive_client import Load, flood, paced, until
from .receive_servers import PATHS, Server, launched, receive_command, running, study

N_SLOW = 400
SOURCE = "appsflyer"
ATTACKER = "198.51.100.1"
SLOW = b"GET /adjust/anything HTTP/1.1\r\nX: "
MIB = 2**20


async def attack(port: int, seconds: float) -> None:
    """Attack the receiver at this port for so long."""
    end = time.perf_counter() + seconds
    wrong = receive_client.requests(SOURCE, f"/{SOURCE}/not-the-secret", ATTACKER)
    load = Load()
    slow = [_again(_slow, port, end) for _ in range(N_SLOW)]
    large = [_again(_large, port, end) for _ in range(4)]
    await asyncio.gather(flood(port, wrong, until(seconds), load, 32), *slow, *large)
    assert not load.acknowledged
    counts = {status: len(numbers) for status, numbers in load.refused.items()}
    print(f"refused of the attackers: {counts}", flush=True)


async def _again(
    attempt: Any,
    port: int,
    end: float,
) -> None:
    """Open a connection and attack on it, again and again."""
    while time.perf_counter() < end:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(end - time.perf_counter()):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await attempt(reader, writer)
                finally:
                    writer.close()


async def _slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(SLOW)
    while not reader.at_eof():
        writer.write(b"a")
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await reader.read()


async def _large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (
        f"POST {PATHS[SOURCE]} HTTP/1.1\r\nHost: r\r\nX-Forwarded-For: {ATTACKER}\r\n"
    )
    writer.write(f"{head}Content-Length: {100 * MIB}\r\n\r\n".encode())
    for _ in range(100):
        writer.write(bytes(MIB))
        await writer.drain()
    await reader.read()


def measured(
    what: str,
    server: Server,
    seconds: float,
    per_second: float,
) -> dict[str, Any]:
    """Send postbacks at a steady rate; what they had to wait."""
    sent = receive_client.requests(SOURCE, PATHS[SOURCE])
    numbers = range(int(seconds * per_second))
    load = asyncio.run(paced(server.port, sent, numbers, per_second))
    took = pl.Series(load.seconds) * 1000
    return {
        "what": what,
        "sent": len(numbers),
        "acknowledged": len(load.acknowledged),
        "refused": sum(map(len, load.refused.values())),
        "broken": len(load.broken),
        "p50": took.quantile(0.5),
        "p99": took.quantile(0.99),
        "max": took.max(),
        "MB": server.memory_mb(),
    }


def main() -> None:
    """Measure without and with attackers."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=30)
    options.add_argument("--per-second", type=float, default=200)
    options.add_argument("--attack", type=int, metavar="PORT")
    given = options.parse_args()
    if given.attack:
        asyncio.run(attack(given.attack, given.seconds))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = study(Path(folder), max_per_second=2000)
        with running(receive_command(file)) as server:
            rows = [measured("alone", server, given.seconds, given.per_second)]
            command = ["-m", "tests.benchmarks.receive_attack"]
            more = ["--attack", str(server.port), "--seconds", str(given.seconds)]
            attackers = launched([*command, *more])
            rows.append(measured("attacked", server, given.seconds, given.per_second))
            print(attackers.process.communicate()[0])
    with wide_tables(float_precision=2):
        print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
