"""What a user might pick instead: usual models on plain RFM or on our features, and
BG/NBD. None of it is tuned.

Peers learn from exactly the labelled rows that the default learns from. Plain RFM is
recency, active days, events and revenue in the observation window, and tenure. BG/NBD
needs no label: it is fitted by maximum likelihood to the active days of everybody first
seen before the test cutoff, as known then. lightgbm and catboost are imported where
they are used: only benchmarks have them.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln, hyp2f1
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from churn.clocks import known_before
from churn.features import snapshots
from churn.features.catalogue import Plan, catalogue
from churn.kinds import is_active
from churn.model import fitting
from churn.settings import Settings
from churn.store import Store

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


@dataclass(frozen=True)
class Task:
    """One test cutoff: labelled rows to learn from, rows to predict, the plan of their
    columns.
    """

    cutoff: date
    past: pl.DataFrame
    judged: pl.DataFrame
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
    """LightGBM's defaults on two threads, but for ``options``."""
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
PARAMETRIC = ("BG/NBD 1-P(alive)", "BG/NBD exp(-E[N])")


def inputs(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The two sets of columns that every model gets."""
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
    """Of every peer with a matrix: which model, what it learns from, what it
    predicts.
    """

    def pair(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        return fitting.matrix(task.past, names), fitting.matrix(task.judged, names)

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


def history(store: Store, cutoff: date) -> pl.DataFrame:
    """Everybody active before a cutoff: user_id, repeats (active days after the first),
    last and age in days.
    """
    rows, _ = snapshots.tables(store)
    active = rows.filter(
        known_before(pl.lit(cutoff))
        & is_active(store.settings.activity.counts_as_active)
    )
    first, last = pl.col("date").min(), pl.col("date").max()
    return (
        active.group_by("user_id")
        .agg(
            repeats=pl.col("date").n_unique().cast(pl.Float64) - 1,
            last=(last - first).dt.total_days().cast(pl.Float64),
            age=(pl.lit(cutoff) - first).dt.total_days().cast(pl.Float64),
        )
        .sort("user_id")
        .collect()
    )


def _terms(
    params: np.ndarray, x: np.ndarray, last: np.ndarray, age: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood of every user as one still alive, and as one who left after the
    last active day.
    """
    r, alpha, a, b = np.exp(params)
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = rate + betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    left = (
        rate
        + betaln(a + 1, b + np.maximum(x, 1) - 1)
        - betaln(a, b)
        - (r + x) * np.log(alpha + last)
    )
    return alive, np.where(x > 0, left, -np.inf)


def bgnbd_fit(seen: pl.DataFrame) -> np.ndarray:
    """Logarithms of r, alpha, a and b (Fader, Hardie, Lee 2005), by maximum
    likelihood.
    """
    x, last, age = (seen[name].to_numpy() for name in ("repeats", "last", "age"))
    starts = [
        np.log([1.0, age.mean() / (1 + x.mean()), a, b])
        for a, b in ((1.0, 2.0), (0.5, 5.0))
    ]

    def loss(params: np.ndarray) -> float:
        held = np.clip(params, -12, 12)
        return float(
            -np.logaddexp(*_terms(held, x, last, age)).mean()
            + 1e-3 * ((params - held) ** 2).sum()
        )

    found = [
        minimize(loss, start, method="Nelder-Mead", options={"maxiter": 2000})
        for start in starts
    ]
    return np.clip(min(found, key=lambda f: f.fun).x, -12, 12)


def bgnbd_expected(params: np.ndarray, seen: pl.DataFrame, days: int) -> np.ndarray:
    """E[active days in the ``days`` from the cutoff on] of every user."""
    x, last, age = (seen[name].to_numpy() for name in ("repeats", "last", "age"))
    r, alpha, a, b = np.exp(params)
    a = a if abs(a - 1) > 1e-6 else 1 + 1e-6
    z = days / (alpha + age + days)
    series = (1 - z) ** (a - 1) * hyp2f1(
        a + b - 1 - r, a - 1, a + b + x - 1, z
    )  # Euler's form: no overflow
    alive, left = _terms(params, x, last, age)
    return np.clip((a + b + x - 1) / (a - 1) * (1 - series), 0, None) * expit(
        alive - left
    )


def parametric(
    task: Task, seen: pl.DataFrame, settings: Settings
) -> dict[str, np.ndarray]:
    """Both scores that BG/NBD offers for the judged rows."""
    params, windows = bgnbd_fit(seen), settings.windows
    mine = task.judged.select("user_id").join(
        seen, on="user_id", how="left", maintain_order="left"
    )
    alive, left = _terms(
        params, *(mine[name].to_numpy() for name in ("repeats", "last", "age"))
    )
    until = bgnbd_expected(params, mine, windows.lead_days + windows.horizon_days)
    before = (
        bgnbd_expected(params, mine, windows.lead_days) if windows.lead_days else 0.0
    )
    return dict(
        zip(PARAMETRIC, (expit(left - alive), np.exp(-(until - before))), strict=True)
    )


def soft(
    past: np.ndarray, truth: np.ndarray, judged: np.ndarray, seed: int
) -> np.ndarray:
    """Predictions of a booster that learns from true probabilities, not outcomes: what
    the features could reach.
    """
    from lightgbm import LGBMRegressor

    learner = LGBMRegressor(
        objective="cross_entropy", n_estimators=1500, learning_rate=0.03, num_leaves=24, min_child_samples=20,
        colsample_bytree=0.5, random_state=seed, n_jobs=THREADS, verbose=-1,
    )  # fmt: skip
    return np.asarray(learner.fit(past, truth).predict(judged))
