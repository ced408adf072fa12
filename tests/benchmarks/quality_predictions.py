"""Predictions of the default model and of its peers at the same test cutoffs."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from tqdm.auto import tqdm

from churn.features import snapshots
from churn.model import fitting, training
from churn.settings import Settings
from churn.store import Store

from . import peer_bgnbd, peers
from .common import chosen, tested
from .peers import Task
from .quality_figures import OURS

SEED = 0
END_TO_END = "featuretools, LightGBM"
KEY = ["user_id", "cutoff", "churned"]


def predictions(
    store: Store,
    tests: Sequence[date],
    folder: Path,
    features: Sequence[str],
    has_events: bool = False,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A row per user and test cutoff with a column per model, the default's first.

    With it come the choices of the default model. ``features``: those that peers get.
    ``has_events``: whether the raw events are kept for the end-to-end peer.
    """
    default, choices = ours(store, tests)
    parts = [default]
    for task in tqdm(tasks(store, tests), folder.name, len(tests)):
        parts.append(of_peers(store, task, folder / "peers", features))
        if has_events:
            parts += end_to_end(folder / "featuretools", task, store.settings)
    columns = [*KEY, "model", "probability"]
    together = pl.concat([part.select(columns) for part in parts])
    wide = together.pivot("model", index=KEY, values="probability")
    complete = [name for name in wide.columns if not wide[name].null_count()]
    assert complete[len(KEY)] == OURS, "the default and its peers have other rows"
    return wide.select(complete), choices


def ours(store: Store, tests: Sequence[date]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions of the default model at each test cutoff alone, and its choices."""
    backtests = [tested(store, test, 1) for test in tests]
    predicted = pl.concat([chosen(done.predictions) for done in backtests])
    choices = pl.concat([done.choices for done in backtests], how="diagonal_relaxed")
    return predicted.with_columns(model=pl.lit(OURS)), choices


def tasks(store: Store, tests: Sequence[date]) -> Iterator[Task]:
    """The rows that each test cutoff learns from and is tested on."""
    for test in tests:
        trains = training.training_cutoffs(store, as_of=test)
        plan = snapshots.plan(store, max(trains))
        past = snapshots.build(store, trains, plan, test)
        now = snapshots.build(store, [test], plan)
        yield Task(test, past.drop_nulls("churned"), now.drop_nulls("churned"), plan)


def of_peers(
    store: Store, task: Task, cache: Path, features: Sequence[str]
) -> pl.DataFrame:
    """Predictions of all peers at one test cutoff."""
    y = fitting.target(task.past)
    predicted = {}
    for name, (kind, past, now) in peers.matrices(task, features).items():
        file = cache / _file_name(name, task.cutoff, (past, y, now))

        def run(
            kind: str = kind, past: np.ndarray = past, now: np.ndarray = now
        ) -> np.ndarray:
            return fitted(kind, past, y, now)

        predicted[name] = cached(file, run)
    seen = peer_bgnbd.history(store, task.cutoff)
    predicted |= peer_bgnbd.predictions(task, seen, store.settings.windows)
    return pl.concat([_column(task, name, p) for name, p in predicted.items()])


def fitted(
    kind: str, past: np.ndarray, churned: np.ndarray, now: np.ndarray
) -> np.ndarray:
    """Predictions of one peer.

    Columns without any value are left out: HistGradientBoosting refuses them.
    """
    is_filled = ~np.isnan(past).all(axis=0)
    model = peers.MODELS[kind](SEED).fit(past[:, is_filled], churned)
    return np.asarray(model.predict_proba(now[:, is_filled])[:, 1])


def cached(file: Path, run: Callable[[], np.ndarray]) -> np.ndarray:
    """The result of ``run``, or what an earlier run left in the file."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"probability": run()}).write_parquet(file)
    return pl.read_parquet(file)["probability"].to_numpy()


def _file_name(name: str, cutoff: date, inputs: Sequence[np.ndarray]) -> str:
    parts = [np.ascontiguousarray(part).tobytes() for part in inputs]
    return f"{re.sub('[^A-Za-z]+', '_', name)}-{cutoff}-{digest(parts)}.parquet"


def digest(parts: Sequence[bytes]) -> str:
    """A short name of an input."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _column(task: Task, name: str, probability: np.ndarray) -> pl.DataFrame:
    return task.now.select(KEY).with_columns(
        pl.lit(name).alias("model"), pl.Series("probability", probability)
    )


def end_to_end(folder: Path, task: Task, settings: Settings) -> list[pl.DataFrame]:
    """Leave the task for peer_featuretools.py, and read its predictions.

    Empty if it has made none for these rows yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "events": settings.extracts[0].path,
        "observation_days": settings.windows.observation_days,
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    now = task.now.select(KEY)
    past = task.past.select(KEY)
    rows = pl.concat([past.with_columns(is_test=False), now.with_columns(is_test=True)])
    name = f"{task.cutoff}-{digest([rows.write_csv().encode()])}.parquet"
    rows.write_parquet(folder / f"task-{name}")
    file = folder / f"done-{name}"
    if not file.exists():
        return []
    predicted = now.join(
        pl.read_parquet(file),
        on=["user_id", "cutoff"],
        how="left",
        maintain_order="left",
    )["probability"]
    if predicted.null_count():
        return []
    return [_column(task, END_TO_END, predicted.to_numpy())]
