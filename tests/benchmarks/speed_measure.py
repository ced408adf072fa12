"""How speed is measured: every piece of work in a process of its own, and table rows."""

import json
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from . import usage

Parts = Mapping[str, float]
Work = Callable[[], Parts | None]
"""Work that is measured. It may return figures of its own, such as seconds by part."""

Step = tuple[Any, ...]
"""A function that prepares work and returns it, and the function's arguments.

What is prepared, such as an opened store, is not measured, but takes memory. The
function must be found in its module by name, because another process imports it.
"""

HEADER = (
    "what",
    "unit",
    "ours",
    "peer",
    "ratio",
    "peak MB",
    "peer's MB",
)


@dataclass(frozen=True)
class Options:
    """Sizes of what is measured, and where stores and files are kept meanwhile.

    ``events``: rows of the log. ``sizes``: rows of the logs that growth is seen from.
    ``scored``: users who are scored. ``known``: users in the ledger. ``sent``: users
    who are sent. ``trained``: users of the app on which models are trained. ``url``: a PostgreSQL database, or empty. ``repeat``: number of runs,
    of which the one with least processor seconds counts.
    """

    folder: Path
    events: int
    sizes: Sequence[int]
    scored: int
    known: int
    sent: int
    trained: int
    url: str
    repeat: int


@dataclass(frozen=True)
class Cost:
    """Processor seconds and peak megabytes of some work, and the figures it returned."""

    seconds: float
    megabytes: float
    parts: Parts = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure of ours beside that of a peer, which may be missing.

    Memory is that of the whole process, with what it has imported.
    """

    what: str
    unit: str
    ours: float
    peer: float | None = None
    megabytes: float | None = None
    peer_megabytes: float | None = None

    @property
    def ratio(self) -> float | None:
        """Our figure as a multiple of the peer's."""
        return self.ours / self.peer if self.peer else None


def compared(what: str, ours: Cost, peer: Cost) -> Row:
    """The row that compares the processor seconds of two pieces of work."""
    return Row(
        what,
        "s",
        ours.seconds,
        peer.seconds,
        ours.megabytes,
        peer.megabytes,
    )


def cost(*step: Any) -> Cost:
    """What a step costs in a new process, whose children count as well."""
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with pool:
        return pool.submit(_measured, step).result()


def _measured(step: Step) -> Cost:
    prepare, *arguments = step
    work: Work = prepare(*arguments)
    before = usage.used_seconds()
    parts = work() or {}
    seconds = usage.used_seconds() - before
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    megabytes = max(usage.peak_megabytes(), of_children)
    return Cost(seconds, megabytes, parts)


def alternately(repeat: int, *steps: Step) -> list[Cost]:
    """The least cost of each step over some runs, which alternate between the steps.

    A busy spell of the machine thus doesn't fall on one of them.
    """
    return [min(costs, key=_seconds) for costs in in_turns(repeat, *steps)]


def in_turns(repeat: int, *steps: Step) -> list[list[Cost]]:
    """The costs of each step in some runs, which alternate between the steps."""
    rounds = [[cost(*step) for step in steps] for _ in range(repeat)]
    return [list(costs) for costs in zip(*rounds, strict=True)]


def _seconds(done: Cost) -> float:
    return done.seconds


def printed(rows: Iterable[Row], file: Path | None) -> None:
    """Print rows as a Markdown table, and add each to a file of JSON lines."""
    print(_line(HEADER), _line(["---"] * len(HEADER)), sep="\n", flush=True)
    for row in rows:
        print(_line(_cells(row)), flush=True)
        if file is not None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(row)) + "\n")


def _cells(row: Row) -> Iterator[str]:
    yield row.what
    yield row.unit
    yield _number(row.ours)
    yield _number(row.peer)
    yield _number(row.ratio)
    yield _number(row.megabytes)
    yield _number(row.peer_megabytes)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    n_digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{n_digits}f}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
