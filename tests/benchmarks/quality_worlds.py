"""Quality on simulated worlds with known true probabilities, and training time."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.settings import Settings, load
from churn.simulate import extracts
from churn.stats.probability import ceiling_skill
from churn.store import Store

from . import peers
from .common import filled, show
from .peers import Task
from .quality_figures import table
from .quality_predictions import SEED, ours, predictions, tasks

MOST_USERS = 20_000
"""Largest number of users over all seeds of one point of the curve."""

MAX_SEEDS = 10


def written(kind: str, n_users: int, n_days: int, seed: int, folder: Path) -> Settings:
    """The study of a world that is written to the folder."""
    extracts.write(extracts.WORLDS[kind](n_users, n_days, seed), folder, "table")
    return load(folder / "churn.toml")


def simulated(
    kind: str,
    seed: int,
    n_users: int,
    n_days: int,
    work: Path,
    features: Sequence[str],
) -> dict[str, Any]:
    """Ceiling skill of the default model in a world, at its newest mature cutoff.

    With ``features`` for peers, also print the table of all models, and return the
    skill that the features could reach.
    """
    facts = {"world": f"{kind}:{seed}", "users": n_users}
    with tempfile.TemporaryDirectory() as home:
        store = filled(written(kind, n_users, n_days, seed, Path(home)))
        truth = pl.read_parquet(Path(home) / "truth.parquet")
        truth = truth.rename({"probability": "truth"})
        newest = Calendar.of(store).newest_mature()
        if not features:
            default, _ = ours(store, [newest])
            skill = _skill(default, "probability", truth)
            return {**facts, "rows": default.height, "skill": skill}
        folder = work / f"{kind}-{seed}-{n_users}"
        wide, _ = predictions(store, [newest], folder, features)
        limit = reachable(next(tasks(store, [newest])), truth)
    names = wide.columns[3:]
    skills = {"model": names, "skill": [_skill(wide, name, truth) for name in names]}
    figures = table(wide).join(
        pl.DataFrame(skills), on="model", how="left", maintain_order="left"
    )
    rate = wide["churned"].mean()
    print(
        f"\n## {kind}:{seed}: {wide.height} of {n_users} users, churn rate {rate:.3f}"
    )
    show(figures, folder / "table.csv")
    skill = figures["skill"][0]
    return {
        **facts,
        "rows": wide.height,
        "skill": skill,
        "features_reach": limit,
        "finite_sample": limit - skill,
        "features": 1 - limit,
    }


def _skill(predicted: pl.DataFrame, name: str, truth: pl.DataFrame) -> float:
    both = predicted.join(truth, on=["user_id", "cutoff"])
    return ceiling_skill(both[name].to_numpy(), both["truth"].to_numpy())


def reachable(task: Task, truth: pl.DataFrame) -> float:
    """Ceiling skill of a booster that learns the true probabilities of the same rows.

    It is about all that the features carry.
    """
    names = peers.inputs(task.plan)["ours"]
    past = task.past.join(truth, on=["user_id", "cutoff"])
    now = task.now.join(truth, on=["user_id", "cutoff"])
    predicted = peers.soft(
        fitting.matrix(past, names),
        past["truth"].to_numpy(),
        fitting.matrix(now, names),
        SEED,
    )
    return ceiling_skill(predicted, now["truth"].to_numpy())


def curve(sizes: Sequence[int], n_days: int, work: Path) -> pl.DataFrame:
    """Ceiling skill on Markov worlds by number of users.

    Small worlds are averaged over up to ten seeds.
    """
    rows = []
    for n_users in sizes:
        n_seeds = max(1, min(MAX_SEEDS, MOST_USERS // n_users))
        for seed in range(n_seeds):
            rows.append(simulated("markov", seed, n_users, n_days, work, features=()))
    groups = pl.DataFrame(rows).group_by("users", maintain_order=True)
    return groups.agg(
        pl.len().alias("worlds"),
        pl.col("rows").mean(),
        pl.col("skill").mean(),
        pl.col("skill").min().alias("lowest"),
        pl.col("skill").max().alias("highest"),
    )


def timing(n_users: int, n_days: int) -> pl.DataFrame:
    """Processor seconds per million user-cutoffs, to choose and fit and to score.

    The default model stands beside LightGBM on the same matrix.
    """
    with tempfile.TemporaryDirectory() as home:
        store = filled(written("markov", n_users, n_days, SEED, Path(home)))
        task = next(tasks(store, [Calendar.of(store).end]))
        now = snapshots.observe(store, [task.cutoff], task.plan)
    return _timed_models(store, task, now)


def _timed_models(store: Store, task: Task, now: pl.DataFrame) -> pl.DataFrame:
    names = peers.inputs(task.plan)["ours"]
    x: np.ndarray = fitting.matrix(task.past, names)
    y = fitting.target(task.past)
    learned, train = _timed(
        len(y), lambda: training.learn(task.past, task.plan, store.settings)
    )
    booster, fit = _timed(len(y), lambda: peers.lightgbm(SEED).fit(x, y))
    _, score = _timed(now.height, lambda: fitting.predict(learned.model, now))
    _, predict = _timed(
        now.height, lambda: booster.predict_proba(fitting.matrix(now, names))
    )
    rows = [
        ("ours", train, score),
        ("LightGBM", fit, predict),
        ("ratio", train / fit, score / predict),
    ]
    columns = ["what", "train_s_per_million", "score_s_per_million"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _timed(n_rows: int, run: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the processor seconds that a million rows would have taken."""
    started = time.process_time()
    result = run()
    return result, (time.process_time() - started) * 1e6 / n_rows
