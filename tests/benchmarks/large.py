"""A night of a large app by the command line: processor seconds, memory, wall time.

``make`` simulates the app, with a file per day; ``run`` ingests its extract, trains and
scores with several numbers of processes in turn, both in the same folder.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as dtime
from pathlib import Path
from typing import Annotated

import polars as pl
import psutil
import typer

from churn.simulate.bgnbd import bgnbd
from churn.simulate.events import events

STUDY = """\
store = "store-{processes}"
reports = "reports-{processes}"

[[extracts]]
source = "table"
path = "raw"
settling_days = 0

[cluster]
processes = {processes}
"""
TOGETHER = 500_000
"""Users who are simulated at once."""

SECONDS_BETWEEN = 0.25
"""Seconds between two looks at the processes of a command."""

STEPS = {
    "ingest": ("ingest", "--now", "{now}"),
    "train": ("run", "train"),
    "score": ("run", "score", "-p", "now={now}"),
}
"""The steps, and the arguments of the command for each."""

cli = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Figures:
    """What a command cost.

    ``seconds`` of the processors, by all its processes; ``wall`` seconds; the most
    megabytes that one process had, and that all of them had together.
    """

    seconds: float
    wall: float
    of_one: float
    of_all: float


@cli.command()
def make(
    folder: Path,
    users: int = 5_000_000,
    days: int = 240,
) -> None:
    """Simulate an app, of about 20 events per user."""
    parts = folder / "parts"
    parts.mkdir(parents=True)
    for first in range(0, users, TOGETHER):
        n_users = min(TOGETHER, users - first)
        world = bgnbd(n_users, days, first)
        user = pl.col("user") + first
        named = events(world).select(
            user_id=pl.format("user-{}", user.cast(pl.String).str.zfill(9)),
            event=pl.col("event").replace({"af_uninstall": "uninstall"}),
            time=pl.col("time"),
            revenue=pl.col("revenue"),
        )
        file = parts / f"{first:09d}.parquet"
        named.sort("time").write_parquet(file, row_group_size=20_000)
    raw = folder / "raw"
    raw.mkdir()
    together = pl.scan_parquet(parts)
    for day in range(days):
        start = datetime.combine(world.start + timedelta(days=day), dtime(), UTC)
        # Bounds of the time let the reader pass over row groups of other days.
        end = start + timedelta(days=1)
        is_on_day = pl.col("time").is_between(start, end, closed="left")
        together.filter(is_on_day).sink_parquet(raw / f"{start:%Y-%m-%d}.parquet")
    n_events = pl.scan_parquet(raw).select(pl.len()).collect().item()
    after = world.start + timedelta(days=days)
    (folder / "now").write_text(f"{after}T03:00:00", encoding="utf-8")
    print(f"{n_events:,} events of {users:,} users")


@cli.command()
def run(
    folder: Path,
    processes: Annotated[list[int] | None, typer.Option()] = None,
    step: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Measure the steps, by default all, with each number of processes."""
    now = (folder / "now").read_text(encoding="utf-8")
    for number in processes or [1, 2]:
        study = folder / f"churn-{number}.toml"
        study.write_text(STUDY.format(processes=number), encoding="utf-8")
        for name in step or STEPS:
            arguments = [part.format(now=now) for part in STEPS[name]]
            found = measured([*arguments, "--study", str(study)])
            print(name, number, asdict(found), flush=True)


def measured(
    arguments: Sequence[str],
    module: str = "churn.cli",
    helpers: Sequence[int] = (),
) -> Figures:
    """Run a module in processes of their own; raises if it fails.

    ``helpers``: processes that run already and work for it, such as those of a cluster.
    """
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    before: dict[int, float] = {}
    for process_id in helpers:
        _seen(process_id, before)
    began = time.monotonic()
    command = [sys.executable, "-m", module, *arguments]
    running = subprocess.Popen(command, env=environment)
    used: dict[int, float] = {}
    of_one = of_all = 0.0
    while running.poll() is None:
        now = [mb for one in (running.pid, *helpers) for mb in _seen(one, used)]
        of_one = max([of_one, *now])
        of_all = max(of_all, sum(now))
        time.sleep(SECONDS_BETWEEN)
    if running.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {running.returncode}")
    return Figures(
        seconds=round(sum(used.values()) - sum(before.values()), 1),
        wall=round(time.monotonic() - began, 1),
        of_one=round(of_one),
        of_all=round(of_all),
    )


def _seen(process_id: int, used: dict[int, float]) -> list[float]:
    """Megabytes of each process of a tree; notes the seconds that each has used."""
    try:
        root = psutil.Process(process_id)
        everybody = [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
    megabytes = []
    for process in everybody:
        try:
            times = process.cpu_times()
            megabytes.append(process.memory_info().rss / 1e6)
            used[process.pid] = times.user + times.system
        except psutil.Error:
            continue
    return megabytes


if __name__ == "__main__":
    cli()
