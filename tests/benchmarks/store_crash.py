"""Ingests and erasures killed at random moments, and what the store holds then.

    python -m tests.benchmarks.store_crash [--kills 20] [--rows 20000] [--seed 1]

Four runs are killed: a night that is appended, a night after which every table is due
for compaction, an erasure, and an ingest after a setting has changed, which replaces
all rows. Each starts from the same store, in a process of its own, and is ended with
SIGKILL at a moment drawn evenly over the time an undisturbed run needs. What a reader
then sees must be the state before or the state after. The same run again must lead to
the state of the undisturbed one. Anything else ends the benchmark with an
AssertionError.
"""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from churn import forget
from churn.events import ingest
from churn.settings import Settings, load
from churn.store import Place, compaction, opening
from churn.store.layout import BUCKETED, TABLES

HOME = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
STUDY = '[[extracts]]\nsource = "table"\npath = "raw"\n'
CHANGED = STUDY + 'timezone = "Asia/Tokyo"\n'
ERASED = ["user-1", "user-2", "user-3"]
UNSTABLE = ("ingested_at", "stamp")
"""Columns that differ between two runs over the same files."""

N_DUE = 10
"""Nights after which every bucket has enough files to be compacted."""

Digest = dict[str, tuple[int, int]]


@dataclass
class Outcome:
    """How often a killed run left the old state, the new one, or an open erasure."""

    old: int = 0
    new: int = 0
    cleaning: int = 0


def child(folder: Path, run: str) -> None:
    """Wait for a line on standard input, then run once."""
    print("ready", flush=True)
    sys.stdin.readline()
    settings = load(folder / "churn.toml")
    if run == "erasure":
        forget.forget(settings, ERASED)
    else:
        ingest.ingest(settings, NOW, progress=False)


def digest(settings: Settings) -> Digest:
    """Of every table the number of rows and a sum over them.

    Neither depends on files, on the order of rows or on compaction.
    """
    store = opening.at(Place(settings.store_address), settings)
    found = {}
    for table in TABLES:
        if table in BUCKETED:
            rows = store.rows_of(table, range(store.n_buckets))
        else:
            rows = store.scan(table)
        reduced = compaction.reduced(rows, table).drop(UNSTABLE, strict=False)
        hashes = reduced.select(pl.struct(pl.all()).hash().alias("hash")).collect()
        total = sum(hashes["hash"].to_list()) % 2**64
        found[table] = (hashes.height, total)
    return found


def visible(settings: Settings) -> tuple[Digest, bool]:
    """The digest without tombstones, and whether an erasure is still to be completed.

    Tombstones are visible before the rows are erased.
    """
    store = opening.at(Place(settings.store_address), settings)
    found = digest(settings)
    del found["tombstones"]
    return found, store.cleaning


def night(
    folder: Path,
    number: int,
    n_rows: int,
) -> None:
    """Write the extract file of one night, in which some rows have no user."""
    draw = random.Random(number)
    lines = ["user_id,anonymous_id,event,time,revenue"]
    month, day = 1 + number // 28, 1 + number % 28
    for _ in range(n_rows):
        who = draw.randrange(n_rows)
        user = "" if draw.random() < 0.2 else f"user-{who}"
        event = draw.choice(["open", "search", "buy"])
        at = f"2026-{month:02d}-{day:02d}T{draw.randrange(24):02d}:{draw.randrange(60):02d}:00"
        lines.append(f"{user},device-{who},{event},{at},{draw.randrange(9)}")
    (folder / "raw").mkdir(exist_ok=True)
    (folder / f"raw/{number:03d}.csv").write_text("\n".join(lines) + "\n")


def prepare(
    folder: Path,
    run: str,
    n_rows: int,
) -> None:
    """A study whose store is such that the next command does what ``run`` names."""
    (folder / "churn.toml").write_text(STUDY)
    with never_compacted():
        for number in range(N_DUE if run == "compaction" else 3):
            night(folder, number, n_rows if number == 0 else n_rows // 10)
            ingest.ingest(load(folder / "churn.toml"), NOW, progress=False)
    if run in ("append", "compaction"):
        night(folder, N_DUE, n_rows // 4)
    if run == "replacement":
        (folder / "churn.toml").write_text(CHANGED)
    # The nights before were days ago.
    before = time.time() - 86_400
    for file in folder.rglob("store/*/_delta_log/*"):
        os.utime(file, (before, before))


@contextlib.contextmanager
def never_compacted() -> Iterator[None]:
    """Let tables gather files."""
    default = compaction.COMMITS
    compaction.COMMITS = 10**6
    try:
        yield
    finally:
        compaction.COMMITS = default


def run_once(
    folder: Path,
    run: str,
    kill_after: float | None = None,
) -> float:
    """Run in a process of its own, perhaps killed; the seconds it took."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.store_crash",
        "--child",
        str(folder),
        run,
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=HOME, **pipes) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        started = time.monotonic()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
        took = time.monotonic() - started
    assert kill_after is not None or process.returncode == 0
    return took


def drill(
    folder: Path,
    run: str,
    n_kills: int,
    n_rows: int,
    draw: random.Random,
) -> Outcome:
    """Kill one run many times, each time from the same store."""
    template, copy = folder / f"{run}-before", folder / "study"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    prepare(copy, run, n_rows)
    shutil.copytree(copy, template)
    settings = load(copy / "churn.toml")
    old, _ = visible(settings)
    lasts = run_once(copy, run)
    new, is_cleaning = visible(settings)
    undisturbed = digest(settings)
    assert old != new or run == "compaction"
    assert not is_cleaning
    outcome = Outcome()
    for _ in range(n_kills):
        restore(template, copy)
        run_once(copy, run, draw.uniform(0, lasts))
        seen, is_cleaning = visible(settings)
        assert seen in (old, new), different(seen, old, new)
        outcome.old += seen == old
        outcome.new += seen == new
        outcome.cleaning += is_cleaning
        run_once(copy, run)
        assert digest(settings) == undisturbed, different(
            digest(settings), undisturbed, undisturbed
        )
        left = [*settings.store_path.glob(".churn-staging*")]
        left += settings.store_path.rglob("*#*")
        assert not left, left
    print(f"{run}: {lasts:.2f} s undisturbed, {outcome}", flush=True)
    return outcome


def different(
    seen: Digest,
    old: Digest,
    new: Digest,
) -> str:
    """The tables that are neither as before nor as after."""
    tables = {t: seen[t] for t in seen if seen[t] not in (old[t], new[t])}
    return f"{tables}, before {old}, after {new}"


def restore(template: Path, copy: Path) -> None:
    """Make the study folder as it was before the run."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(template, copy)


def main() -> None:
    """Kill each of the four runs, and print the outcomes."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    for name, default in {"kills": 20, "rows": 20_000, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--runs", nargs="*", default=[*RUNS])
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        for run in given.runs:
            drill(Path(folder), run, given.kills, given.rows, draw)


RUNS = ("append", "compaction", "erasure", "replacement")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
