"""The speed of training and of prediction beside LightGBM at its defaults."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.settings import Settings, load
from churn.store import open_filled

from . import peers
from .common import filled
from .peers import Task
from .quality_predictions import SEED, tasks
from .quality_worlds import written
from .speed_measure import Options, Parts, Row, Work, alternately, cost
from .usage import processor_seconds

N_DAYS = 240
N_PREDICTED = 100_000
"""Rows to predict, drawn with replacement from those of the newest cutoff."""


def rows(given: Options) -> Iterator[Row]:
    """Training with all its choices, and prediction, per million rows."""
    world = given.folder / f"world-{given.trained}"
    cost(made, world, given.trained)
    ours, peer = alternately(given.repeat, (learned, world), (boosted, world))
    n_rows = f"{ours.parts['rows']:,.0f}"
    for what, name in (
        (f"training on {n_rows} user-cutoffs, against LightGBM", "train"),
        ("prediction, against LightGBM", "predict"),
    ):
        yield Row(
            what,
            "s per million",
            ours.parts[name],
            peer.parts[name],
            ours.megabytes,
            peer.megabytes,
        )


def made(world: Path, n_users: int) -> Work:
    """Work that simulates and ingests a world, unless the folder has it."""

    def work() -> None:
        if not world.exists():
            filled(written("markov", n_users, N_DAYS, SEED, world))

    return work


def _task(world: Path) -> tuple[Task, Settings]:
    """The rows to learn from, and rows of the day after the log to predict."""
    store = open_filled(load(world / "churn.toml"))
    task = next(tasks(store, [Calendar.of(store).end]))
    eligible = snapshots.observe(store, [task.cutoff], task.plan)
    now = eligible.sample(N_PREDICTED, with_replacement=True, seed=SEED)
    return replace(task, now=now), store.settings


def learned(world: Path) -> Work:
    """Work that trains the default model and predicts with it."""
    task, settings = _task(world)
    fitted: list[fitting.Model] = []

    def train() -> None:
        done = training.learn(task.past, task.plan, settings)
        fitted.append(done.model)

    def work() -> Parts:
        train_seconds = processor_seconds(train)
        predict_seconds = processor_seconds(fitting.predict, fitted[0], task.now)
        return _per_million(task, train_seconds, predict_seconds)

    return work


def boosted(world: Path) -> Work:
    """Work that fits LightGBM to the same matrix and predicts the same rows."""
    task, _ = _task(world)
    names = peers.inputs(task.plan)["ours"]
    past, churned = fitting.matrix(task.past, names), fitting.target(task.past)
    model = peers.lightgbm(SEED)

    def predict() -> None:
        model.predict_proba(fitting.matrix(task.now, names))

    def work() -> Parts:
        train_seconds = processor_seconds(model.fit, past, churned)
        return _per_million(task, train_seconds, processor_seconds(predict))

    return work


def _per_million(task: Task, train: float, predict: float) -> Parts:
    n_rows = task.past.height
    return {
        "rows": n_rows,
        "train": train * 1e6 / n_rows,
        "predict": predict * 1e6 / N_PREDICTED,
    }
