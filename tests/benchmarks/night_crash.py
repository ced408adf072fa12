"""Nights killed at random moments of each stage: what the next one does, and for whom.

    python -m tests.benchmarks.night_crash [--moments 20] [--stages ingest score …]

A small app has had a night and gets the files of two more days, so that every stage has
work to do, a training among them. `churn nightly --send` is started as a process, its
worker is killed (SIGKILL) at a random moment of the named stage, and the night is started
again. Counted are nights that complete, stages that were over and were done again all the
same, models and score files that differ from those of a night without a kill, and users
whose segment in the sandbox is not that of the scores.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from churn.braze.key import KEY_VARIABLE
from churn.nights import night, record
from churn.nights.stages import STAGES, Asked
from churn.sandbox import server
from churn.settings import load
from churn.store import Place

from ..conftest import random_log
from .common import parser, wide_tables
from .two_hundred_nights import wrong_profiles

TOML = """
[[extracts]]
source = "table"
path = "raw"
settling_days = 0

[windows]
observation_days = 28
eligible_days = 14
horizon_days = 14

[backtest]
n_train_cutoffs = 5
n_test_cutoffs = 1

[gates]
max_age_days = 3650

[nightly]
train_every_days = 2

[braze]
endpoint = "{endpoint}"
"""

PATIENCE_SECONDS = 120
"""How long a stage may take to begin."""


def run(study: Path) -> record.Night:
    """A night in this process."""
    return night.run(Asked(study, load(study), send=True), lambda *_: None)


def prepared(folder: Path, endpoint: str) -> Path:
    """A study after its first night, with the files of two more days."""
    (folder / "raw").mkdir(parents=True)
    log = random_log()
    newest = log["time"].max()
    assert newest is not None
    begin = pl.col("time") <= newest - timedelta(days=2)
    log.filter(begin).write_parquet(folder / "raw/begin.parquet")
    study = folder / "churn.toml"
    study.write_text(TOML.format(endpoint=endpoint))
    first = run(study)
    assert first.status == "done", first.error
    log.filter(~begin).write_parquet(folder / "raw/new.parquet")
    return study


def kill(study: Path, stage: str, delay: float) -> bool:
    """Start a night and kill its worker in a stage; whether it was still in it."""
    beat = load(study).heartbeat_path
    before = json.loads(beat.read_text())["night"]
    command = [sys.executable, "-m", "churn.cli", "nightly", "--send", "--study"]
    with subprocess.Popen(
        [*command, str(study)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as started:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until and started.poll() is None:
            found = json.loads(beat.read_text())
            if found["night"] != before and found["stage"] == stage:
                break
            time.sleep(0.005)
        time.sleep(delay)
        worker = subprocess.run(
            ["pgrep", "-P", str(started.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        was_there = json.loads(beat.read_text())["stage"] == stage
        for pid in worker.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        started.wait()
    return was_there


def main() -> None:
    """Kill nights, and print what came of them by stage."""
    command = parser(__doc__)
    command.add_argument("--moments", type=int, default=20)
    command.add_argument("--stages", nargs="+", default=list(STAGES))
    given = command.parse_args()
    users = random_log()["user_id"].unique().to_list()
    rng = random.Random(0)
    with (
        tempfile.TemporaryDirectory() as temporary,
        server.running(known_users=users) as sandbox,
    ):
        os.environ[KEY_VARIABLE] = sandbox.key
        base = prepared(Path(temporary) / "base", sandbox.url).parent
        whole = Path(shutil.copytree(base, Path(temporary) / "whole")) / "churn.toml"
        usual = run(whole)
        assert usual.status == "done", usual.error
        wanted = outputs(whole)
        rows = [
            one(
                base, stage, usual.stages[stage].seconds * rng.random(), sandbox, wanted
            )
            for stage in given.stages
            for _ in range(given.moments)
        ]
    table = pl.DataFrame(rows)
    with wide_tables():
        print(
            table.group_by("stage", maintain_order=True).agg(
                pl.len().alias("killed"),
                pl.col("in_stage").sum(),
                pl.col("completed").sum(),
                pl.col("done_again").sum(),
                pl.col("other_outputs").sum(),
                pl.col("wrong_users").sum(),
            )
        )


def outputs(study: Path) -> dict[str, bytes]:
    """The ids of all models, and the bytes of all scores."""
    place = Place(load(study).store_address)
    scored = {name: place.read(name) or b"" for name in place.names("scores")}
    models = {name.split("/")[1] for name in place.names("models") if "/" in name[7:]}
    return {**scored, **dict.fromkeys(models, b"")}


def one(
    base: Path,
    stage: str,
    delay: float,
    sandbox: Any,
    wanted: dict[str, bytes],
) -> dict[str, Any]:
    """One night killed and started again."""
    folder = base.parent / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    study = Path(shutil.copytree(base, folder)) / "churn.toml"
    in_stage = kill(study, stage, delay)
    stopped = record.read(Place(load(study).store_address))
    over = set()
    if stopped and stopped.status != "done":
        over = {name for name, part in stopped.stages.items() if part.is_over}
    again = run(study)
    repeated = [
        name
        for name, done in again.stages.items()
        if name in over and done.status != "skipped"
    ]
    row = {
        "stage": stage,
        "in_stage": in_stage,
        "completed": again.status == "done",
        "done_again": len(repeated),
        "other_outputs": outputs(study) != wanted,
        "wrong_users": wrong_profiles(study, sandbox),
    }
    print(row, again.error[:200], flush=True)
    return row


if __name__ == "__main__":
    main()
