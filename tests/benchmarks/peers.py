"""Alternatives to the default model: common models, none of them tuned.

Peers learn from exactly the labelled rows that the default learns from, once from our
features and once from plain RFM: recency, active days, events and revenue in the
observation window, and tenure. lightgbm and catboost are imported where they are used:
only benchmarks need them.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from churn.features.catalogue import Plan, catalogue
from churn.model import fitting

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


@dataclass(frozen=True)
class Task:
    """One test cutoff: labelled rows to learn from, and rows to predict."""

    cutoff: date
    past: pl.DataFrame
    now: pl.DataFrame
    plan: Plan


def _signed_log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))


def _logistic(seed: int) -> Any:
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(
        FunctionTransformer(_signed_log),
        fill,
        StandardScaler(),
        LogisticRegression(max_iter=2000),
    )


def _boosting(seed: int) -> Any:
    return HistGradientBoostingClassifier(random_state=seed)


def lightgbm(seed: int, **options: Any) -> Any:
    """LightGBM with its defaults, but for the threads and ``options``."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=seed, n_jobs=THREADS, verbose=-1, **options)


def _small(seed: int) -> Any:
    return lightgbm(
        seed, n_estimators=200, learning_rate=0.02, num_leaves=8, min_child_samples=80
    )


def _catboost(seed: int) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        random_seed=seed, verbose=0, allow_writing_files=False, thread_count=THREADS
    )


MODELS: dict[str, Callable[[int], Any]] = {
    "logistic": _logistic,
    "HistGradientBoosting": _boosting,
    "LightGBM": lightgbm,
    "LightGBM small": _small,
    "CatBoost": _catboost,
}
RECENCY = "recency"


def inputs(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The two sets of features that every model gets."""
    days = plan.observation_days
    rfm = (
        "recency_days",
        f"active_days_{days}d",
        f"n_events_{days}d",
        f"revenue_{days}d",
        "tenure_days",
    )
    return {"RFM": rfm, "ours": tuple(catalogue(plan))}


def matrices(
    task: Task, labels: Sequence[str] = ("RFM", "ours")
) -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    """Model, training matrix and test matrix of each peer.

    ``labels`` are names of ``inputs``; the recency rule always comes first.
    """

    def pair(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        return fitting.matrix(task.past, names), fitting.matrix(task.now, names)

    sets = {
        label: pair(names)
        for label, names in inputs(task.plan).items()
        if label in labels
    }
    many = {
        f"{name} [{label}]": (name, *pairs)
        for name in MODELS
        for label, pairs in sets.items()
    }
    return {RECENCY: ("logistic", *pair(("recency_days",))), **many}


def soft(past: np.ndarray, truth: np.ndarray, now: np.ndarray, seed: int) -> np.ndarray:
    """Predictions of a booster that learns from true probabilities, not outcomes.

    They show what the features could reach.
    """
    from lightgbm import LGBMRegressor

    learner = LGBMRegressor(
        objective="cross_entropy",
        n_estimators=1500,
        learning_rate=0.03,
        num_leaves=24,
        min_child_samples=20,
        colsample_bytree=0.5,
        random_state=seed,
        n_jobs=THREADS,
        verbose=-1,
    )
    return np.asarray(learner.fit(past, truth).predict(now))
