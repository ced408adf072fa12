"""Forecasts for a validation fold's rows by models fitted to its training rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn.features.catalogue import Plan
from churn.model import fitting, own, pipelines
from churn.model.fitting import Fits
from churn.model.folds import Fold
from churn.model.pipelines import Recipe
from churn.settings import Settings

Predict = Callable[[pl.DataFrame], np.ndarray]


@dataclass(frozen=True)
class Forecast:
    """Probabilities for a fold's rows, shape (n,) each.

    They are for the validation cutoff, the newest training cutoff and the open cutoff;
    the last is null if the fold has no open cutoff.
    """

    validation: np.ndarray
    newest: np.ndarray
    open_cutoff: np.ndarray | None


Forecasts = dict[str, Forecast]
"""Forecasts in one fold by member."""

Stages = dict[tuple[str, int], Forecast]
"""Forecasts in one fold by member and rounds of boosting; 0 rounds for the others."""


def of_members(
    fold: Fold,
    plan: Plan,
    settings: Settings,
    rounds: int,
    leaves: int,
    fits: Fits | None = None,
) -> Stages:
    """Forecasts of every member; boosting has one for each number of rounds to try.

    ``rounds``: the most to try. ``leaves``: see ``Recipe``. ``fits``: earlier fits, see
    ``fitting.fit``.
    """
    all_members = dict.fromkeys(pipelines.MEMBERS, 1.0)
    recipe = Recipe(all_members, rounds, leaves)
    model = fitting.fit(fold.training, plan, settings, recipe, fits=fits)
    at_validation = staged(model, fold.validation)
    at_newest = staged(model, fold.newest)
    at_open = {} if fold.open_cutoff is None else staged(model, fold.open_cutoff)
    return {
        stage: Forecast(probability, at_newest[stage], at_open.get(stage))
        for stage, probability in at_validation.items()
    }


def staged(
    model: fitting.Model,
    snapshot: pl.DataFrame,
) -> dict[tuple[str, int], np.ndarray]:
    """Probability of each row by member and rounds of boosting, shape (n_rows,) each.

    Boosting has one for each number of rounds to try that it reached; the other members
    have 0 rounds.
    """
    forecast, voting = model.pipeline[0], model.pipeline[-1]
    probabilities: dict[tuple[str, int], np.ndarray] = {}
    with fitting.one_thread(model.recipe):
        x = forecast.transform(fitting.matrix(snapshot, model.features))
        for name, member in zip(model.recipe.weights, voting.estimators_, strict=True):
            if name != "boosting":
                probabilities[name, 0] = member.predict_proba(x)[:, 1]
                continue
            for rounds, both in enumerate(member.staged_predict_proba(x), start=1):
                if rounds in pipelines.ROUNDS:
                    probabilities[name, rounds] = both[:, 1]
    return probabilities


def of_estimator(
    fold: Fold,
    plan: Plan,
    settings: Settings,
    estimator: Any,
) -> Forecasts:
    """Forecasts of a user's own classifier, as the only member."""
    model = fitting.fit(fold.training, plan, settings, own.RECIPE, estimator)
    return {own.NAME: _forecast(fold, lambda rows: fitting.raw(model, rows))}


def _forecast(
    fold: Fold,
    predict: Predict,
) -> Forecast:
    return Forecast(
        validation=predict(fold.validation),
        newest=predict(fold.newest),
        open_cutoff=None if fold.open_cutoff is None else predict(fold.open_cutoff),
    )


def blend(
    forecasts: Forecasts,
    weights: Mapping[str, float],
) -> Forecast:
    """The weighted mean of members' forecasts."""
    members = [forecasts[name] for name in weights]
    shares = list(weights.values())
    has_open = members[0].open_cutoff is not None
    return Forecast(
        validation=_mean([m.validation for m in members], shares),
        newest=_mean([m.newest for m in members], shares),
        open_cutoff=(
            _mean([m.open_cutoff for m in members], shares) if has_open else None
        ),
    )


def _mean(
    probabilities: list[Any],
    shares: list[float],
) -> np.ndarray:
    return np.asarray(
        np.average(
            np.array(probabilities),
            axis=0,
            weights=shares,
        )
    )
