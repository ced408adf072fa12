"""What a night costs as the history grows, in processor seconds and files.

    python -m tests.benchmarks.nights [--nights 60] [--rows 10000] [--history 0]
    python -m tests.benchmarks.nights --histories 180 720
    python -m tests.benchmarks.nights --store [--histories 365]

The first runs `churn ingest` for one night after the other, each with a new file of an
invented product's log (`nights_log`), and asks the questions of a night every ten nights.
`--history` puts so many nights into the store first, as one file: with 90, the window
that features look at is as full in the first night as in the last. `--in-process` leaves
out what starting costs.

The second makes a store of so many nights by script: most of them as one file, the last
16 by appending the tables that an ingest makes of each. It then runs `churn nightly` for
one new file. `append` is the mean of the 16 appends, compaction included, `dearest` the
dearest of them.

The third measures single operations on a store of so many nights, each in a process of
its own, in a folder and on a server of the S3 protocol.

With `--keep` the stores stay in a folder. Processor seconds are those of user and
system, of all processes involved but the server.
"""

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from . import nights_history, nights_log, nights_steps, nights_store
from .common import parser, wide_tables
from .nights_steps import Row
from .usage import processor_seconds

QUESTIONS_EVERY = 10
"""A night of so many is asked the questions."""


def main() -> None:
    """Run the mode that the command line names."""
    command = parser(__doc__)
    command.add_argument("--nights", type=int, default=60)
    command.add_argument("--rows", type=int, default=10_000, help="rows of a night")
    command.add_argument("--history", type=int, default=0, metavar="NIGHTS")
    command.add_argument(
        "--anonymous", type=float, default=0.0, help="share of rows without a user id"
    )
    command.add_argument("--in-process", action="store_true")
    command.add_argument("--histories", type=int, nargs="+", metavar="NIGHTS")
    command.add_argument("--store", action="store_true")
    command.add_argument("--keep", type=Path, metavar="FOLDER")
    given = command.parse_args()
    log = nights_log.nights(given.rows, given.anonymous)
    with tempfile.TemporaryDirectory() as temporary, wide_tables():
        folder = given.keep or Path(temporary)
        if given.store:
            nights_history.operations(folder, (given.histories or [365])[0], log)
        elif given.histories:
            nights_history.compare(folder, given.histories, log)
        else:
            one_by_one(folder, log, given)


def one_by_one(folder: Path, log: Iterator[pl.DataFrame], given: Namespace) -> None:
    """Run the nights, print a line for each, and how much dearer the last ones are."""
    study_file = nights_log.write_study(folder)
    run = nights_steps.ingest_command
    if given.history:
        nights_log.write_night(pl.concat(islice(log, given.history)), folder)
        run(study_file)
    if given.in_process:
        run = nights_steps.ingest_here
    rows = []
    for night in range(1, given.nights + 1):
        nights_log.write_night(next(log), folder)
        row: Row = {"night": night, "ingest": processor_seconds(run, study_file)}
        if night % QUESTIONS_EVERY == 0:
            is_first = night == QUESTIONS_EVERY
            row |= nights_steps.questions(study_file, warm_up=is_first)
        nights_store.pass_a_day(folder / "store")
        row |= nights_steps.size(folder / "store")
        rows.append(row)
        print(
            "  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True
        )
    summarise(pl.DataFrame(rows, infer_schema_length=None))


def summarise(table: pl.DataFrame) -> None:
    """Print the means of ten nights, and the last ten against the nights 6 to 15."""
    decade = (pl.col("night") - 1) // 10 * 10 + 10
    names = [name for name in table.columns if name != "night"]
    print(table.group_by(decade, maintain_order=True).agg(pl.col(names).mean()))
    first = table.filter(pl.col("night").is_between(6, 15)).select(names).mean()
    last = table.tail(10).select(names).mean()
    ratios = last.select(pl.col(name) / first[name] for name in names)
    print("the last ten nights against nights 6 to 15:", ratios, sep="\n")


if __name__ == "__main__":
    main()
