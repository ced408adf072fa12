"""The same app ingested and scored by one process and by each engine, in an object store.

All of them get the same extract and the same model. A worker is killed in the middle of
each scoring by several processes; what it and every other worker began is noted.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import typer
from polars.testing import assert_frame_equal

from churn.cluster import map_buckets
from churn.events import ingest
from churn.features.cutoffs import Calendar
from churn.model import storage, training
from churn.scoring import scores
from churn.settings import Cluster, load
from churn.store import grouped, open_filled
from churn.store.layout import TABLES

from .. import object_server
from . import large

STUDY = """\
store = "{store}"

[[extracts]]
source = "table"
path = "{raw}"
settling_days = 0

[backtest]
n_train_cutoffs = 6
max_training_rows = 50_000

[cluster]
engine = "{engine}"
address = "{address}"
processes = {processes}
"""
BUCKET = "machines"
MODEL_USERS = 3_000
KILLED = "scores"
"""The step in which a worker is killed."""

ENGINES = {
    "one process": ("local", 1),
    "local": ("local", 2),
    "dask": ("dask", 2),
    "spark": ("spark", 2),
}
"""Engine and number of processes by the names of the results."""

cli = typer.Typer(add_completion=False)


@cli.command()
def run(folder: Path, users: int = 1_050_000, days: int = 240) -> None:
    """Ingest and score with every engine; the app has about 19 events per user."""
    raw = folder / "raw"
    if not raw.exists():
        large.make(folder, users, days)
    model_made(folder, days)
    with object_server.in_another_process() as address:
        object_server.empty(address, BUCKET)
        os.environ.update(object_server.environment(address))
        with dask_cluster(folder) as (scheduler, helpers):
            for name in ENGINES:
                study = study_of(folder, name, scheduler)
                working = helpers if name == "dask" else []
                for step in ("ingested", "scored"):
                    found = large.measured(
                        [step, str(study)],
                        "tests.benchmarks.engines",
                        working,
                    )
                    print(name, step, asdict(found), flush=True)
                compare(folder, name)


def study_of(
    folder: Path,
    name: str,
    scheduler: str = "",
    raw: str = "raw",
) -> Path:
    """Write the study of an engine; its store is in the object store."""
    engine, processes = ENGINES[name]
    addresses = {"local": "", "dask": scheduler, "spark": "local[2,4]"}
    tag = name.replace(" ", "-")
    file = folder / f"{tag}.toml"
    written = STUDY.format(
        store=f"s3://{BUCKET}/{tag}",
        raw=raw,
        engine=engine,
        address=addresses[engine],
        processes=processes,
    )
    file.write_text(written, encoding="utf-8")
    return file


def model_made(folder: Path, days: int) -> None:
    """Train the model of all engines on a small app beside, unless it is there."""
    small = folder / "small"
    if small.exists():
        return
    large.make(small, MODEL_USERS, days)
    study = study_of(small, "one process")
    text = study.read_text(encoding="utf-8")
    study.write_text(text.replace(f"s3://{BUCKET}/one-process", "store"))
    settings = load(study)
    ingest.ingest(settings, progress=False)
    store = open_filled(settings)
    trained = training.train(store, training.training_cutoffs(store))
    storage.save(trained.model, store, {})


@contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and two workers by their command lines: address and process ids."""
    from distributed import Client

    own = {**os.environ, "POLARS_MAX_THREADS": "1"}
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    place = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    place += ["--scheduler-file", str(file)]
    commands = [
        [*dask, "scheduler", "--port", "0", *place],
        [*dask, "worker", "--nworkers", "2", "--nthreads", "1", *place],
    ]
    running = [subprocess.Popen(one, env=own, **quiet) for one in commands]  # type: ignore[call-overload]
    try:
        with Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, [one.pid for one in running]
    finally:
        for one in running:
            one.terminate()
            one.wait()


@cli.command()
def ingested(study: Path) -> None:
    """Ingest the extract."""
    ingest.ingest(load(study), progress=False)


@cli.command()
def scored(study: Path) -> None:
    """Score the newest day; with several processes, one is killed in the middle."""
    store = open_filled(load(study))
    model = storage.load(open_filled(load(study.parent / "small" / "one-process.toml")))
    storage.save(model, store, {})
    starts = study.with_suffix(".starts")
    shutil.rmtree(starts, ignore_errors=True)
    starts.mkdir()
    setattr(grouped, "map_buckets", partial(noted, folder=starts))  # noqa: B010
    made = scores.make(store, model, Calendar.of(store).end)
    made.write_parquet(study.with_suffix(".parquet"))
    begun = [file.name.split("-")[0] for file in starts.iterdir()]
    again = sorted({int(group) for group in begun if begun.count(group) > 1})
    print(f"{len(set(begun))} groups, twice those from bucket {again}")


def noted(
    work: Any,
    groups: Sequence[Any],
    cluster: Cluster,
    what: str,
    folder: Path,
) -> list[Any]:
    """``map_buckets`` that notes which groups of the scoring are begun."""
    if what != KILLED or cluster.is_one_process:
        return map_buckets(work, groups, cluster, what)
    middle = groups[len(groups) // 2][0]
    dying = partial(_noted, work=work, folder=folder, middle=middle)
    return map_buckets(dying, groups, cluster, what)


def _noted(group: Any, work: Any, folder: Path, middle: int) -> Any:
    """Kill this process, as if memory did not suffice, where the middle first begins."""
    first = group[0] if isinstance(group[0], int) else group[0][0]
    folder.joinpath(f"{first}-{uuid4()}").touch()
    if first == middle and len(list(folder.glob(f"{first}-*"))) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(group)


def compare(folder: Path, name: str) -> None:
    """Raise AssertionError if an engine's tables or scores aren't those of one process."""
    if name == "one process":
        return
    alone, other = (
        open_filled(load(folder / f"{tag.replace(' ', '-')}.toml"))
        for tag in ("one process", name)
    )
    for table in TABLES:
        assert alone.n_rows(table) == other.n_rows(table), table
    expected, found = (
        pl.read_parquet(folder / f"{tag.replace(' ', '-')}.parquet")
        for tag in ("one process", name)
    )
    assert_frame_equal(found, expected, rel_tol=0, abs_tol=1e-9)
    print(f"{name}: {found.height:,} scores and all segments are the same", flush=True)


if __name__ == "__main__":
    cli()
