"""What the validation folds decide: weights of the blend, rounds of boosting, and
whether the forecast is corrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import log_loss

from churn.features.catalogue import Plan
from churn.model import (
    correction,
    evidence,
    fitting,
    folds,
    forecasts,
    own,
    pipelines,
    weights,
)
from churn.model.correction import Correction, Outcomes
from churn.model.fitting import Fits
from churn.model.folds import Fold
from churn.model.forecasts import Forecasts, Stages
from churn.model.pipelines import Recipe
from churn.settings import Settings
from churn.stats import probability as probability_stats

FOLDS = {
    "candidate": pl.String,
    "cutoff": pl.Date,
    "n": pl.UInt32,
    "log_loss": pl.Float64,
}


VALIDATION = {
    "cutoff": pl.Date,
    "churned": pl.Boolean,
    "probability": pl.Float64,
}


@dataclass(frozen=True)
class Choice:
    """What the validation folds decided.

    ``folds``: log loss of each member and of the corrected blend at each validation
    cutoff, with columns candidate, cutoff, n, log_loss. ``calibration``: 95 % interval
    of the level in the newest fold, in log-odds, and ``calibration_cutoff``: the cutoff
    of that fold; null where it can't be estimated.
    ``outcomes``: uncorrected forecast and outcome in each validation fold.
    ``validation``: cutoff, churned and the corrected probability, a row per user of
    each fold.
    """

    recipe: Recipe
    correction: str = "none"
    folds: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FOLDS))
    calibration: tuple[float, float] | None = None
    calibration_cutoff: date | None = None
    outcomes: tuple[Outcomes, ...] = ()
    validation: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema=VALIDATION)
    )


def choose(
    snapshot: pl.DataFrame,
    plan: Plan,
    settings: Settings,
    estimator: Any = None,
    fits: Fits | None = None,
    recipe: Recipe | None = None,
) -> Choice:
    """Choose a recipe by log loss at validation cutoffs, predicted from earlier ones.

    ``snapshot``: labelled rows, and the unlabelled rows of an open cutoff.
    ``estimator``: a user's own classifier; then only its correction is chosen.
    ``fits``: earlier fits, see ``fitting.fit``. ``recipe``: one that was chosen before;
    then only its correction is chosen. Without a validation fold the default weights
    are used without a correction.
    """
    usable = folds.usable(snapshot, settings)
    if estimator is not None:
        alone = [
            forecasts.of_estimator(fold, plan, settings, estimator) for fold in usable
        ]
        return _validated(usable, own.RECIPE, alone, settings)
    n_users = folds.with_outcome(snapshot)["user_id"].n_unique()
    prior = pipelines.default_weights(n_users)
    leaves = pipelines.leaves(n_users)
    if not usable:
        return Choice(recipe or Recipe(prior, leaves=leaves))
    stages = _stages(usable, plan, settings, n_users, fits)
    if recipe:
        known = _near(stages, recipe)
        return _validated(usable, recipe, known, settings)
    rounds = weights.best_rounds(usable, stages)
    members = [weights.at_rounds(stage, rounds) for stage in stages]
    learned = weights.learn(usable, members, prior)
    return _validated(usable, Recipe(learned, rounds, leaves), members, settings)


def _near(
    stages: Sequence[Stages],
    recipe: Recipe,
) -> list[Forecasts]:
    """Each fold's forecasts after the number of rounds nearest to that of a recipe."""
    made = []
    for stage in stages:
        tried = [n for name, n in stage if name == "boosting"]
        nearest = min(tried, key=lambda n: abs(n - recipe.rounds))
        made.append(weights.at_rounds(stage, nearest))
    return made


def _stages(
    usable: Sequence[Fold],
    plan: Plan,
    settings: Settings,
    n_users: int,
    fits: Fits | None,
) -> list[Stages]:
    """Forecasts of every member in each fold, and of boosting by rounds.

    The newest fold, which has most to learn from, tries all numbers of rounds. An
    earlier one, whose best number is hardly larger, goes one step beyond the best.
    """
    to_try = pipelines.rounds_to_try(n_users)
    leaves = pipelines.leaves(n_users)
    made: list[Stages] = []
    for n_made, fold in enumerate(reversed(usable), start=1):
        most = to_try[-1]
        made.insert(0, forecasts.of_members(fold, plan, settings, most, leaves, fits))
        best = weights.best_rounds(usable[-n_made:], made)
        to_try = to_try[: to_try.index(best) + 2]
    return made


def _validated(
    usable: Sequence[Fold],
    recipe: Recipe,
    members: Sequence[Forecasts],
    settings: Settings,
) -> Choice:
    """The recipe, its correction, and their log losses in the validation folds."""
    if not usable:
        return Choice(recipe)
    blends = [forecasts.blend(forecast, recipe.weights) for forecast in members]
    periods = []
    for fold, blend in zip(usable, blends, strict=True):
        earlier = evidence.earlier_outcomes(usable, blends, fold, settings)
        known = evidence.of_fold(fold, blend, settings, earlier)
        periods.append((known, Outcomes(blend.validation, fold.y)))
    kind = correction.choose(periods)
    corrected = []
    for known, outcomes in periods:
        chosen = correction.corrections(known).get(kind, Correction())
        corrected.append(chosen.apply(outcomes.probability))
    return Choice(
        recipe=recipe,
        correction=kind,
        folds=_table(usable, members, corrected),
        calibration=_calibration(usable[-1].y, corrected[-1]),
        calibration_cutoff=usable[-1].cutoff,
        outcomes=tuple(outcomes for _, outcomes in periods),
        validation=_forecasts(usable, corrected),
    )


def _forecasts(
    usable: Sequence[Fold],
    corrected: Sequence[np.ndarray],
) -> pl.DataFrame:
    """What was forecast in each fold, and what came of it."""
    parts = [
        pl.DataFrame({"churned": fold.y.astype(bool), "probability": forecast})
        .with_columns(cutoff=pl.lit(fold.cutoff))
        .select(*VALIDATION)
        for fold, forecast in zip(usable, corrected, strict=True)
    ]
    return pl.concat(parts)


def _calibration(
    y: np.ndarray,
    probability: np.ndarray,
) -> tuple[float, float] | None:
    facts = probability_stats.calibration(y, probability)
    interval = (facts["intercept_low"], facts["intercept_high"])
    return interval if np.isfinite(interval).all() else None


def _table(
    usable: Sequence[Fold],
    members: Sequence[Forecasts],
    corrected: Sequence[np.ndarray],
) -> pl.DataFrame:
    """Log loss by candidate and fold.

    For a user's own classifier it is the loss of the corrected forecast.
    """
    result = own.NAME if own.NAME in members[0] else "blend"
    rows: list[tuple[str, date, int, float]] = []
    for name in dict.fromkeys([*members[0], result]):
        for fold, forecast, final in zip(
            usable,
            members,
            corrected,
            strict=True,
        ):
            p = final if name == result else forecast[name].validation
            loss = log_loss(fold.y, p, labels=[0, 1])
            rows.append((name, fold.cutoff, len(fold.y), loss))
    return pl.DataFrame(rows, FOLDS, orient="row")


def correct(
    model: fitting.Model,
    snapshot: pl.DataFrame,
    choice: Choice,
    settings: Settings,
) -> Correction:
    """The chosen correction for the final model, from what is known when it is fitted.

    None if the evidence isn't enough to estimate it.
    """
    if choice.correction == "none":
        return Correction()
    labelled = folds.with_outcome(snapshot)
    newest = labelled.filter(pl.col("cutoff") == pl.col("cutoff").max())
    open_rows = snapshot.filter(pl.col("churned").is_null())
    has_open = not open_rows.is_empty()
    # The shape of the forecast is estimated from the validation folds, because a model
    # can't show it on rows that it learned from.
    known = evidence.gather(
        newest=(newest, fitting.raw(model, newest)),
        open_cutoff=(
            (open_rows, fitting.raw(model, open_rows)) if has_open else (None, None)
        ),
        earlier=choice.outcomes,
        settings=settings,
    )
    return correction.corrections(known).get(choice.correction, Correction())


def choice_metrics(choice: Choice) -> dict[str, float]:
    """Log loss of each candidate over all folds, weighted by rows; may be empty."""
    weighted = (pl.col("log_loss") * pl.col("n")).sum() / pl.col("n").sum()
    totals = choice.folds.group_by("candidate", maintain_order=True).agg(weighted)
    return {f"log_loss {name}": loss for name, loss in totals.iter_rows()}


def weights_text(choice: Choice) -> str:
    """Members and weights in words, such as "logistic 40%, boosting 60%"."""
    parts = [f"{name} {share:.0%}" for name, share in choice.recipe.weights.items()]
    return ", ".join(parts)
