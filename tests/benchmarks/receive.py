"""Postbacks a second, the wait for an answer, and memory of `churn receive`.

    python -m tests.benchmarks.receive [rates|waits|memory] [--seconds 5] [--rounds 5]

`rates` sends the postbacks of each source on 64 connections, to three servers in turn:
the receiver, the same receiver with a journal that keeps nothing (its answers are the
same, no byte is written), and the shortest aiohttp handler that writes each body to a
file and calls fsync before it answers. `waits` sends at a steady rate, and counts every
wait from the moment its postback was due. `memory` sends a million postbacks of all
sources, and prints the receiver's resident memory on the way.

The client is a process of its own, and so is each server. Every postback that was sent
must be acknowledged, or the benchmark ends with an AssertionError.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from . import receive_client
from .common import parser, wide_tables
from .receive_client import Load, Sent, flood, paced
from .receive_servers import SOURCES, Server, journal_off, minimal, receiver

SERVERS = {"receiver": receiver, "without writing": journal_off, "fsync each": minimal}


@dataclass
class Round:
    """Postbacks acknowledged in one round, with the wall and processor seconds."""

    n: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Postbacks per second of the clock."""
        return self.n / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Postbacks per second of the server's processor time."""
        return self.n / self.cpu


def measured(
    server: Server,
    sent: Sent,
    numbers: Iterable[int],
    n_connections: int = 64,
) -> Round:
    """Send all numbers to a server."""
    load = Load()
    cpu, started = server.cpu_seconds(), time.perf_counter()
    asyncio.run(flood(server.port, sent, numbers, load, n_connections))
    seconds = time.perf_counter() - started
    assert_all_acknowledged(load)
    return Round(len(load.acknowledged), seconds, server.cpu_seconds() - cpu)


def assert_all_acknowledged(load: Load) -> None:
    """Raise AssertionError if any postback was refused or lost its connection."""
    assert not load.refused, load.refused.keys()
    assert not load.broken, len(load.broken)


def rates(
    seconds: float,
    rounds: int,
    sources: Iterable[str],
) -> pl.DataFrame:
    """Medians by source and server; servers take turns, so that all see the same load."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {
            name: stack.enter_context(start(Path(folder) / name.replace(" ", "-")))
            for name, start in SERVERS.items()
        }
        for source in sources:
            sent = receive_client.requests(source, servers["receiver"].paths[source])
            found: dict[str, list[Round]] = {name: [] for name in servers}
            for place, (name, server) in itertools.product(
                range(rounds + 1), servers.items()
            ):
                numbers = receive_client.until(seconds, place * 10**9)
                one = measured(server, sent, numbers)
                if place:  # the first round warms up
                    found[name].append(one)
            rows.append(_row(source, found))
            print(rows[-1], flush=True)
    return pl.DataFrame(rows)


def _row(source: str, found: dict[str, list[Round]]) -> dict[str, Any]:
    """Medians, and the medians of the ratios within each round."""
    ours, silent, each = found.values()
    return {
        "source": source,
        "per second": statistics.median(r.per_second for r in ours),
        "without writing": statistics.median(r.per_second for r in silent),
        "fsync each": statistics.median(r.per_second for r in each),
        "per CPU second": statistics.median(r.per_cpu_second for r in ours),
        "to no writing": _ratio(ours, silent, "per_second"),
        "to no writing, CPU": _ratio(ours, silent, "per_cpu_second"),
        "to fsync each": _ratio(ours, each, "per_second"),
        "to fsync each, CPU": _ratio(ours, each, "per_cpu_second"),
    }


def _ratio(
    ours: list[Round],
    others: list[Round],
    name: str,
) -> float:
    pairs = zip(ours, others, strict=True)
    return statistics.median(getattr(a, name) / getattr(b, name) for a, b in pairs)


def waits(
    per_second: float,
    seconds: float,
    sources: Iterable[str],
) -> pl.DataFrame:
    """Milliseconds from when a postback was due to its answer, by source and server."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, start in SERVERS.items():
            server = stack.enter_context(start(Path(folder) / name.replace(" ", "-")))
            for source in sources:
                sent = receive_client.requests(source, server.paths[source])
                numbers = range(int(seconds * per_second))
                cpu = server.cpu_seconds()
                load = asyncio.run(paced(server.port, sent, numbers, per_second))
                assert_all_acknowledged(load)
                took = pl.Series(load.seconds) * 1000
                quantiles = {f"p{q:g}": took.quantile(q / 100) for q in (50, 99, 99.9)}
                share = (server.cpu_seconds() - cpu) / seconds
                rows.append(
                    {
                        "server": name,
                        "source": source,
                        **quantiles,
                        "max": took.max(),
                        "share of a core": share,
                    }
                )
                print(rows[-1], flush=True)
    return pl.DataFrame(rows)


def memory(n: int, step: int) -> pl.DataFrame:
    """Resident MB of the receiver after every ``step`` of ``n`` postbacks."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, receiver(Path(folder)) as server:
        sent = receive_client.mixed(server.paths)
        for start in range(0, n, step):
            one = measured(server, sent, range(start, start + step))
            rows.append(
                {
                    "postbacks": start + step,
                    "MB": server.memory_mb(),
                    "per second": one.per_second,
                }
            )
            print(rows[-1], flush=True)
    return pl.DataFrame(rows)


def main() -> None:
    """Run the parts named, all by default."""
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", default=["rates", "waits", "memory"])
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--sources", nargs="*", default=list(SOURCES))
    options.add_argument("--per-second", type=float, default=500)
    options.add_argument("--waits-seconds", type=float, default=60)
    options.add_argument("--postbacks", type=int, default=1_000_000)
    given = options.parse_args()
    for table in _tables(given):
        with wide_tables(float_precision=2):
            print(table, flush=True)


def _tables(given: Any) -> Iterator[pl.DataFrame]:
    if "rates" in given.parts:
        yield rates(given.seconds, given.rounds, given.sources)
    if "waits" in given.parts:
        yield waits(given.per_second, given.waits_seconds, given.sources[:1])
    if "memory" in given.parts:
        yield memory(given.postbacks, max(1, given.postbacks // 20))


if __name__ == "__main__":
    main()
