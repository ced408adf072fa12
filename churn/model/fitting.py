"""Fit, predict, save and load. A model is a scikit-learn pipeline, a correction of what
it says, and its plan.
"""

import hashlib
import itertools
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from churn.errors import ModelError
from churn.features.catalogue import Plan, catalogue
from churn.model import own, pipelines
from churn.model.correction import Correction
from churn.model.pipelines import Recipe
from churn.settings import Settings

log = logging.getLogger(__name__)


RECENCY = Recipe({"recency": 1.0})
"""The simple rule that everything is measured against: the longer silent, the likelier
gone.
"""


@dataclass(frozen=True)
class Model:
    """A fitted model with all that is needed to feed it."""

    recipe: Recipe
    features: tuple[str, ...]
    typical: tuple[
        float, ...
    ]  # of each feature the median over the training rows, NaN where most have none
    plan: Plan
    pipeline: Any
    correction: Correction
    calibration: (
        tuple[float, float] | None
    )  # of the inner loop's newest fold: 95 % interval of its level, in log-odds
    cutoffs: tuple[date, ...]
    windows: dict[str, int]
    churn_rate: float  # over the training rows
    n_rows: int
    n_churned: int
    # SHA-256 of the training matrix, the labels and an own estimator's parameters.
    learned_from: str

    @property
    def candidate(self) -> str:
        """The only member's name, ``own`` for a model of one's own, or ``blend``."""
        return (
            next(iter(self.recipe.weights))
            if len(self.recipe.weights) == 1
            else "blend"
        )

    @property
    def model_id(self) -> str:
        """Newest training cutoff, candidate and what it learned from: the same
        training, the same id.
        """
        facts = json.dumps(
            [
                self.features,
                self.learned_from,
                asdict(self.recipe),
                asdict(self.correction),
            ]
        )
        return f"{max(self.cutoffs)}-{self.candidate}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def fit(
    snapshot: pl.DataFrame,
    plan: Plan,
    settings: Settings,
    recipe: Recipe,
    estimator: Any = None,
) -> Model:
    """Fit a recipe to a labelled snapshot, without a correction.

    ``estimator``: a classifier of one's own, fitted in the place of the recipe's
    members; ``recipe`` is then ``own.RECIPE``. Nothing is fitted outside the pipeline.
    """
    names = (
        ("recency_days",)
        if set(recipe.weights) == {"recency"}
        else columns(snapshot, plan)
    )
    x, y = matrix(snapshot, names), target(snapshot)
    with _one_thread():
        if estimator is None:
            pipeline = _fit_blend(recipe, names, x, y, settings)
        else:
            pipeline = own.fit(estimator, x, y, settings.random_state)
    return Model(
        recipe=recipe,
        features=names,
        typical=_typical(x),
        plan=plan,
        pipeline=pipeline,
        correction=Correction(),
        calibration=None,
        cutoffs=tuple(sorted(snapshot["cutoff"].unique())),
        windows=settings.windows.model_dump(),
        churn_rate=float(y.mean()),
        n_rows=len(y),
        n_churned=int(y.sum()),
        learned_from=_digest(x, y, estimator, settings),
    )


def _fit_blend(
    recipe: Recipe,
    names: tuple[str, ...],
    x: np.ndarray,
    y: np.ndarray,
    settings: Settings,
) -> Any:
    horizon_days = settings.windows.horizon_days
    pipeline = pipelines.blend(recipe, names, horizon_days, settings.random_state)
    with warnings.catch_warnings():
        # The network stops after its rounds on purpose, and takes all rows at once
        # where there are few.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got `batch_size`", UserWarning)
        return pipeline.fit(x, y)


def _digest(x: np.ndarray, y: np.ndarray, estimator: Any, settings: Settings) -> str:
    content = x.tobytes() + y.tobytes()
    if estimator is not None:
        content += own.fingerprint(estimator, settings.random_state)
    return hashlib.sha256(content).hexdigest()


def _typical(x: np.ndarray) -> tuple[float, ...]:
    """Of each column the median; NaN where most have none."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # a column may hold nothing at all
        return tuple(
            np.where(
                np.isnan(x).mean(axis=0) > 0.5, np.nan, np.nanmedian(x, axis=0)
            ).tolist()
        )


def columns(snapshot: pl.DataFrame, plan: Plan) -> tuple[str, ...]:
    """The features that differ between the rows; recency always."""
    names = list(catalogue(plan))
    varies = snapshot.select(pl.col(names).drop_nulls().n_unique() > 1).row(0)
    return tuple(
        name
        for name, v in zip(names, varies, strict=True)
        if v or name == "recency_days"
    )


def matrix(snapshot: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Shape (n_rows, n_features) float64; null becomes NaN.

    Rounded to nine digits: a parallel engine's sums differ beyond them, and a tree
    would split on the difference.
    """
    values: np.ndarray = snapshot.select(
        pl.col(names).cast(pl.Float64).round_sig_figs(9)
    ).to_numpy()
    return values


def target(snapshot: pl.DataFrame) -> np.ndarray:
    """Shape (n_rows,) of 0 and 1."""
    churned: np.ndarray = snapshot["churned"].cast(pl.Int8).to_numpy()
    return churned


def predict(model: Model, snapshot: pl.DataFrame) -> np.ndarray:
    """Corrected probability of churn of each row, shape (n_rows,). Raises ModelError
    where a feature is missing.
    """
    return model.correction.apply(raw(model, snapshot))


def raw(model: Model, snapshot: pl.DataFrame) -> np.ndarray:
    """The same as the pipeline says it, before the correction."""
    missing = [name for name in model.features if name not in snapshot.columns]
    if missing:
        raise ModelError(
            f"model {model.model_id} needs feature(s) {', '.join(missing[:10])} that the snapshot lacks"
        )
    if snapshot.is_empty():
        return np.empty(0)
    with _one_thread():
        return np.asarray(
            model.pipeline.predict_proba(matrix(snapshot, model.features))[:, 1]
        )


def _one_thread() -> Any:
    """For matrices so small more gain nothing, and beside other work they wait for each
    other ten times as long.
    """
    return threadpool_limits(1, "blas")


def stages(model: Model) -> Iterator[tuple[int, Callable[[pl.DataFrame], np.ndarray]]]:
    """Number of rounds and a prediction with so many, for a model of boosting alone;
    else 0 and the prediction.
    """
    if model.candidate != "boosting":
        yield 0, partial(raw, model)
        return
    first, voting = model.pipeline[0], model.pipeline[-1]
    for rounds in (n for n in pipelines.ROUNDS if n <= model.recipe.rounds):
        yield (
            rounds,
            partial(_staged, model.features, first, voting.estimators_[0], rounds),
        )


def _staged(
    names: tuple[str, ...],
    first: Any,
    boosting: Any,
    rounds: int,
    snapshot: pl.DataFrame,
) -> np.ndarray:
    at_each = boosting.staged_predict_proba(first.transform(matrix(snapshot, names)))
    return np.asarray(next(itertools.islice(at_each, rounds - 1, None))[:, 1])
