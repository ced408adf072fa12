"""The steps whose costs the model of scale.md is fitted to, on simulated apps."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from churn.events import ingest
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.model import storage, training
from churn.settings import load
from churn.simulate.events import events
from churn.simulate.extracts import WORLDS, WRITERS
from churn.store import open_filled

from . import speed_ledger, speed_scoring
from .speed_measure import Cost, Parts, Work, alternately, cost

STUDY = """\
store = "store"

[[extracts]]
source = "table"
path = "raw"
settling_days = 0

[backtest]
n_train_cutoffs = 12
max_training_rows = 50_000
"""
"""The study of every app. It learns from fewer rows than the default, so that small
apps already reach the largest number."""

MODEL_USERS, MODEL_DAYS = 3_000, 240
"""Size of the app on which the model of a world is trained."""

SEED = 11
NIGHT = "night.parquet"
Row = dict[str, Any]


@dataclass(frozen=True)
class App:
    """An app to simulate. ``is_fitted``: whether the model may learn from its costs."""

    world: str
    n_users: int
    n_days: int
    is_fitted: bool = True

    @property
    def name(self) -> str:
        """A name for tables and folders."""
        return f"{self.world}-{self.n_users}-{self.n_days}"


def points(app: App, folder: Path, repeat: int) -> Iterator[Row]:
    """What each step of an app costs: a row per step, see ``scale_fit.fit``."""
    home = folder / app.name
    cost(simulated, home, app.world, app.n_users, app.n_days)
    history = cost(ingested, home)
    night = cost(night_ingested, home)
    cost(model_stored, folder, home, app.world)
    sizes = cost(counted, home).parts
    steps = ((trained_from, home), (speed_scoring.scored, home))
    for_training, scoring = alternately(repeat, *steps)
    ledger = folder / f"ledger-{app.name}.db"
    url = f"sqlite:///{ledger}"
    n_active = int(sizes["n_active"])
    cost(speed_ledger.filled, url, n_active)
    (plan,) = alternately(repeat, (speed_ledger.read_and_compared, url, n_active))
    common = {**_described(app), **sizes}
    new = {"n_new": history.parts["n_added"]}
    of_night = {"n_new": night.parts["n_added"]}
    earlier = {"n_events": 0.0}
    yield {**common, **new, **earlier, **_costs("ingest", history)}
    yield {**common, **of_night, **_costs("ingest", night)}
    yield {**common, **of_night, **_costs("training rows", for_training)}
    yield {**common, **of_night, **_costs("score", scoring)}
    yield {**common, **of_night, **_costs("export plan", plan)}
    yield {**common, **of_night, **_stored("storage", home / "store")}
    yield {**common, **of_night, **_stored("ledger", ledger)}


def _described(app: App) -> Row:
    described = asdict(app)
    return {"app": app.name, **described}


def _costs(step: str, done: Cost) -> Row:
    return {"step": step, "seconds": done.seconds, "megabytes": done.megabytes}


def _stored(step: str, path: Path) -> Row:
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    return {"step": step, "seconds": None, "megabytes": n_bytes / 1e6}


def simulated(home: Path, world: str, n_users: int, n_days: int) -> Work:
    """Work that writes an app's extract, its last day apart, unless it is there."""

    def work() -> None:
        if home.exists():
            return
        raw = home / "raw"
        raw.mkdir(parents=True)
        made = WORLDS[world](n_users, n_days, SEED)
        WRITERS["table"](made, events(made), raw, False)
        last = made.start + timedelta(days=n_days - 1)
        file = raw / "events.parquet"
        rows = pl.read_parquet(file)
        is_last = rows["time"].dt.date() == last
        rows.filter(~is_last).write_parquet(file)
        rows.filter(is_last).write_parquet(home / NIGHT)
        (home / "churn.toml").write_text(STUDY, encoding="utf-8")

    return work


def ingested(home: Path) -> Work:
    """Work that ingests all days but the last into a new store."""
    shutil.rmtree(home / "store", ignore_errors=True)
    (home / "raw" / NIGHT).unlink(missing_ok=True)
    return _ingest(home)


def night_ingested(home: Path) -> Work:
    """Work that ingests the last day too."""
    shutil.copy(home / NIGHT, home / "raw" / NIGHT)
    return _ingest(home)


def _ingest(home: Path) -> Work:
    settings = load(home / "churn.toml")

    def work() -> Parts:
        done = ingest.ingest(settings, progress=False)
        return {"n_added": done.n_added}

    return work


def model_stored(folder: Path, home: Path, world: str) -> Work:
    """Work that trains a model on a small app of the world, and stores it in an app."""
    small = folder / f"model-{world}"

    def work() -> None:
        simulated(small, world, MODEL_USERS, MODEL_DAYS)()
        if not (small / "store").exists():
            ingested(small)()
        store = open_filled(load(small / "churn.toml"))
        if not store.place.names("models"):
            trained = training.train(store, training.training_cutoffs(store))
            storage.save(trained.model, store, {})
        target = open_filled(load(home / "churn.toml"))
        storage.save(storage.load(store), target, {})

    return work


def counted(home: Path) -> Work:
    """Work that counts the quantities of ``scale_fit.FEATURES``, except ``n_new``."""
    store = open_filled(load(home / "churn.toml"))

    def work() -> Parts:
        end = Calendar.of(store).end
        first = end - timedelta(days=store.settings.windows.observation_days)
        volume = store.scan("volume").collect()
        in_window = volume.filter(pl.col("date") >= first)
        users = store.scan("users").select(pl.col("user_id").n_unique()).collect()
        plan = snapshots.plan(store, end)
        return {
            "n_events": volume["n"].sum(),
            "n_window": in_window["n"].sum(),
            "n_users": users.item(),
            "n_active": snapshots.eligible_users(store, [end], plan).height,
        }

    return work


def trained_from(home: Path) -> Work:
    """Work that makes the rows which a training learns from, without learning."""
    store = open_filled(load(home / "churn.toml"))
    cutoffs = training.training_cutoffs(store)
    end = Calendar.of(store).end

    def work() -> Parts:
        plan = snapshots.plan(store, max(cutoffs))
        rows = snapshots.training_rows(store, cutoffs, plan, end)
        return {"rows": rows.height}

    return work
