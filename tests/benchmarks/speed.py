"""Speed and memory of everything that takes time, beside peers, in one table.

    python -m tests.benchmarks.speed --events 20_000_000
    python -m tests.benchmarks.speed --only features scoring --events 2_000_000

Sections:

- night: `churn nightly` on the demo's app for one day more, against an import of polars
  and scikit-learn.
- features: all features of a log at one cutoff and at twelve, against DuckDB, which
  computes 29 columns from the same files.
- scoring: a million users, stage by stage; reasons against the probabilities alone.
- training: per million user-cutoffs, against LightGBM's defaults on the same matrix.
- ingest: an AppsFlyer report and tables, against polars reading the same columns.
- ledger: reading a ledger and finding what changed, on SQLite and PostgreSQL.
- delivery: requests per second at 50 ms, against the same transport without a ledger.
- growth: exponents of ingest, features and scoring between logs of several sizes.

Every figure is taken in a process of its own and, where there is a peer, next to it and
in turns; of ``--repeat`` runs the one with the fewest processor seconds counts. Seconds
are those of the processor (user and system), of all threads and children; servers are
not part of them. Memory is the most that the process has had, what it has imported
included. With ``--keep`` stores stay in a folder and are used again. Needs the
dependency group `peers`, and `--url` for a ledger on PostgreSQL.
"""

import importlib
import os
import tempfile
import traceback
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path

from .speed_measure import Options, Row, printed

SECTIONS = {
    "night": "speed_night",
    "features": "speed_features",
    "scoring": "speed_scoring",
    "training": "speed_training",
    "ingest": "speed_ingest",
    "ledger": "speed_ledger",
    "delivery": "speed_delivery",
    "growth": "speed_growth",
}
"""The modules of the sections, each with a function ``rows``.

A process that measures one of them should not load the others, so they are imported
when their turn has come.
"""


def main() -> None:
    """Measure the sections that the command line names, and print their table."""
    given = options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        sizes = Options(
            folder=folder,
            events=given.events,
            sizes=sorted(given.sizes),
            scored=given.scored,
            known=given.known,
            sent=given.sent,
            trained=given.trained,
            url=given.url,
            repeat=given.repeat,
        )
        failed: list[str] = []
        printed(measured(given.only, sizes, failed), given.json)
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


def measured(
    sections: Sequence[str], given: Options, failed: list[str]
) -> Iterator[Row]:
    """The rows of some sections, as they come.

    A section that fails, for instance by want of memory, leaves the others alone. Its
    name is added to ``failed``, and its error is printed.
    """
    for name in sections:
        try:
            module = importlib.import_module(f"{__package__}.{SECTIONS[name]}")
            yield from module.rows(given)
        except Exception:
            traceback.print_exc()
            failed.append(name)


def options() -> Namespace:
    """The command line's options."""
    command = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add = command.add_argument
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    add("--events", type=int, default=2_000_000, help="of features and ingest")
    add(
        "--sizes",
        type=int,
        nargs="+",
        default=[1_000_000, 20_000_000, 100_000_000],
        metavar="EVENTS",
        help="of growth",
    )
    add("--scored", type=int, default=1_000_000, metavar="USERS")
    add("--known", type=int, default=10_000_000, metavar="USERS", help="in the ledger")
    add("--sent", type=int, default=1_500_000, metavar="USERS", help="in delivery")
    add("--trained", type=int, default=10_000, metavar="USERS", help="in training")
    add("--url", default=os.environ.get("CHURN_TEST_POSTGRES_URL", ""))
    add("--repeat", type=int, default=2, metavar="RUNS")
    add("--keep", type=Path, metavar="FOLDER")
    add("--json", type=Path, metavar="FILE", help="add rows to a file of JSON lines")
    return command.parse_args()


if __name__ == "__main__":
    main()
