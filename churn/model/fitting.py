"""A fitted model: fitting it to a snapshot, and predicting from one.

A model is a scikit-learn pipeline, a correction of its forecast, and the plan by which
its features are computed.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from churn.errors import ModelError
from churn.features.catalogue import Plan
from churn.features.cutoffs import left_out_in_words
from churn.model import blend, digest, own, pipelines, screening, useful_features
from churn.model.correction import Correction
from churn.model.pipelines import Recipe
from churn.settings import Settings, Windows

log = logging.getLogger(__name__)

RECENCY = Recipe({"recency": 1.0})
"""The baseline for comparison: the longer a user is silent, the likelier is churn."""


Fits = dict[str, Any]
"""Fitted pipelines by all that determines them, so that none is fitted twice."""


@dataclass(frozen=True)
class Model:
    """A fitted model and what is needed to compute its input.

    ``typical``: median of each feature over the training rows, NaN where most rows have
    no value. ``calibration``: 95 % interval of the level in the newest validation fold,
    in log-odds, and ``calibration_cutoff``: the cutoff of that fold; null where it
    isn't known. ``churn_rate`` is that of the training rows.
    ``learned_from``: SHA-256 of the training matrix, its labels and, for a classifier
    supplied by the user, its parameters. ``missing``: days whose events the log lacks,
    and ``left_out``: training cutoffs not learned from because of them.
    """

    recipe: Recipe
    features: tuple[str, ...]
    typical: tuple[float, ...]
    plan: Plan
    pipeline: Any
    correction: Correction
    calibration: tuple[float, float] | None
    calibration_cutoff: date | None
    cutoffs: tuple[date, ...]
    windows: dict[str, int]
    churn_rate: float
    n_rows: int
    n_churned: int
    learned_from: str
    missing: tuple[date, ...] = ()
    left_out: tuple[date, ...] = ()

    @property
    def learned_until(self) -> date:
        """The day by which every outcome that the model learned from was known."""
        return Windows(**self.windows).horizon(max(self.cutoffs))[1]

    @property
    def gaps(self) -> str:
        """How many cutoffs missing days have cost, in a sentence; empty if none."""
        return left_out_in_words(self.left_out, self.missing) if self.left_out else ""

    @property
    def candidate(self) -> str:
        """The only member's name, ``own`` for a user's own classifier, or ``blend``."""
        names = list(self.recipe.weights)
        return names[0] if len(names) == 1 else "blend"

    @property
    def model_id(self) -> str:
        """Newest training cutoff, candidate and a digest of what determines the model.

        The same training gives the same id.
        """
        recipe = asdict(self.recipe)
        correction = asdict(self.correction)
        facts = json.dumps([self.features, self.learned_from, recipe, correction])
        digits = hashlib.sha256(facts.encode()).hexdigest()[:8]
        return f"{max(self.cutoffs)}-{self.candidate}-{digits}"


def fit(
    snapshot: pl.DataFrame,
    plan: Plan,
    settings: Settings,
    recipe: Recipe,
    estimator: Any = None,
    fits: Fits | None = None,
) -> Model:
    """Fit a recipe to a labelled snapshot, without a correction.

    ``estimator``: a user's own classifier, fitted in place of the recipe's members;
    ``recipe`` is then ``own.RECIPE``. ``fits``: earlier fits of recipes; if one of them
    learned the same from the same rows, it is taken, otherwise this one is added.
    Nothing is fitted outside the pipeline. Raises ModelError if a feature has infinite
    values.
    """
    is_baseline = set(recipe.weights) == {"recency"}
    names = ("recency_days",) if is_baseline else useful_features.of(snapshot, plan)
    names = _strongest(snapshot, names, settings)
    x = matrix(snapshot, names)
    y = target(snapshot)
    learned_from = digest.of(x, y, estimator, settings.random_state)
    fits = {} if fits is None else fits
    key = _key(names, learned_from, recipe, settings)
    with one_thread(recipe):
        if estimator is not None:
            pipeline = own.fit(estimator, x, y, settings.random_state)
        else:
            if key not in fits:
                fits[key] = _fit_blend(recipe, names, x, y, settings)
            pipeline = fits[key]
    return Model(
        recipe=recipe,
        features=names,
        typical=_medians(x),
        plan=plan,
        pipeline=pipeline,
        correction=Correction(),
        calibration=None,
        calibration_cutoff=None,
        cutoffs=tuple(sorted(snapshot["cutoff"].unique())),
        windows=settings.windows.model_dump(),
        churn_rate=float(y.mean()),
        n_rows=len(y),
        n_churned=int(y.sum()),
        learned_from=learned_from,
    )


def _strongest(
    snapshot: pl.DataFrame,
    names: tuple[str, ...],
    settings: Settings,
) -> tuple[str, ...]:
    """The features to learn from, see ``screening``."""
    rows = screening.deciding(snapshot)
    x, y = matrix(rows, names), target(rows)
    # A booster is fitted, of a recipe or not.
    with threadpool_limits(1):
        kept = screening.strongest(names, x, y, settings.random_state)
    return tuple(names[position] for position in kept)


def _key(
    names: tuple[str, ...], learned_from: str, recipe: Recipe, settings: Settings
) -> str:
    """All that determines a fitted recipe, as text."""
    horizon_days = settings.windows.horizon_days
    facts = [names, learned_from, asdict(recipe), horizon_days, settings.random_state]
    return json.dumps(facts)


def _fit_blend(
    recipe: Recipe,
    names: tuple[str, ...],
    x: np.ndarray,
    y: np.ndarray,
    settings: Settings,
) -> Any:
    with warnings.catch_warnings():
        # A linear model may stop after its largest number of steps.
        warnings.simplefilter("ignore", ConvergenceWarning)
        horizon_days = settings.windows.horizon_days
        return pipelines.fit(recipe, names, x, y, horizon_days, settings.random_state)


def _medians(x: np.ndarray) -> tuple[float, ...]:
    """Median of each column; NaN where most rows have no value."""
    is_mostly_missing = np.isnan(x).mean(axis=0) > 0.5
    with warnings.catch_warnings():
        # A column may hold no value at all.
        warnings.simplefilter("ignore", RuntimeWarning)
        medians = np.nanmedian(x, axis=0)
    return tuple(np.where(is_mostly_missing, np.nan, medians).tolist())


def matrix(snapshot: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Feature values, shape (n_rows, n_features) float64; null becomes NaN.

    Values are rounded to nine significant digits: later digits of a sum depend on the
    order of a parallel computation, and a tree would split on the difference. Raises
    ModelError if a value is infinite.
    """
    # Column by column, so that no other copy of all is in memory.
    values = np.empty((snapshot.height, len(names)), order="F")
    for position, name in enumerate(names):
        number = snapshot[name].cast(pl.Float64).round_sig_figs(9)
        values[:, position] = number.to_numpy()
    is_infinite = np.isinf(values).any(axis=0)
    if is_infinite.any():
        infinite = [names[position] for position in np.flatnonzero(is_infinite)]
        raise ModelError(
            f"feature(s) {', '.join(infinite[:10])} hold infinite values: correct the "
            "numbers in the events from which they are computed, or make the values "
            "null (missing) in the snapshot"
        )
    return values


def target(snapshot: pl.DataFrame) -> np.ndarray:
    """Labels, shape (n_rows,): 1 for churned, 0 for stayed."""
    churned: np.ndarray = snapshot["churned"].cast(pl.Int8).to_numpy()
    return churned


def predict(model: Model, snapshot: pl.DataFrame) -> np.ndarray:
    """Corrected probability of churn of each row, shape (n_rows,).

    Raises ModelError if a feature is missing or has infinite values.
    """
    return model.correction.apply(raw(model, snapshot))


def raw(model: Model, snapshot: pl.DataFrame) -> np.ndarray:
    """Probability of churn of each row before the correction, shape (n_rows,)."""
    probability: np.ndarray = _raw(model, snapshot, [0] * len(model.features), 0)[0]
    return probability


def without(
    model: Model, snapshot: pl.DataFrame, groups: Sequence[Sequence[str]]
) -> np.ndarray:
    """Corrected probabilities, shape (1 + n_groups, n_rows).

    The first are those of the rows as they are, the others what they would be if all
    features of a group had their typical values. Every feature of the model is in
    exactly one of ``groups``. Raises ModelError if a feature is missing or has infinite
    values.
    """
    number = {name: i for i, group in enumerate(groups) for name in group}
    numbers = [number[name] for name in model.features]
    return model.correction.apply(_raw(model, snapshot, numbers, len(groups)))


def _raw(
    model: Model, snapshot: pl.DataFrame, group: Sequence[int], n_groups: int
) -> np.ndarray:
    """Probabilities before the correction, shape (1 + n_groups, n_rows).

    ``group``: the number of each feature's group.
    """
    missing = [name for name in model.features if name not in snapshot.columns]
    if missing:
        raise ModelError(
            f"model {model.model_id} needs feature(s) {', '.join(missing[:10])} that "
            "the snapshot lacks"
        )
    if snapshot.is_empty():
        return np.empty((1 + n_groups, 0))
    module = own if own.NAME in model.recipe.weights else blend
    ask = module.probabilities(
        model.pipeline, np.array(model.typical), np.array(group), n_groups
    )
    with one_thread(model.recipe):
        parts = [
            ask(matrix(part, model.features))
            for part in snapshot.iter_slices(module.CHUNK)
        ]
    return np.concatenate(parts, axis=1)


def one_thread(recipe: Recipe) -> Any:
    """A context in which linear algebra, and the blend's boosting, use one thread.

    It saves processor time rather than clock time: on an idle machine more threads may
    finish sooner. They gain little for matrices this small, though, and wait for each
    other without giving up their core, which takes up to ten times as long when other
    programs use the cores. A user's own classifier keeps the threads that it starts by
    OpenMP, because it may be one that needs them.
    """
    return threadpool_limits(1, "blas" if own.NAME in recipe.weights else None)
