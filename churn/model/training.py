"""Training a model on past cutoffs, using only what was known at each of them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl

from churn.errors import CutoffError, TrainingError
from churn.features import leakage, snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar, left_out_in_words
from churn.model import baseline, fitting, folds, selection
from churn.model.baseline import Baseline
from churn.model.fitting import Fits, Model
from churn.model.folds import Fold
from churn.model.pipelines import Recipe
from churn.model.selection import Choice
from churn.settings import Settings
from churn.store import Store

log = logging.getLogger(__name__)

# Fewest people who churned, and who stayed, at one training cutoff or another. A person
# at several cutoffs is hardly new evidence, so rows don't count.
MIN_CLASS = 50


def training_cutoffs(
    store: Store,
    newest: date | None = None,
    as_of: date | None = None,
) -> list[date]:
    """The study's training cutoffs up to ``newest``, oldest first.

    ``newest`` is by default the newest cutoff whose horizon is over by ``as_of``, by
    default the end of the log. Cutoffs around which days are missing from the log are
    left out, with a warning. Raises TrainingError if the log allows none.
    """
    calendar = Calendar.of(store)
    newest = newest or calendar.newest_mature(as_of)
    n = store.settings.backtest.n_train_cutoffs
    cutoffs = calendar.series(newest, n)
    left_out = calendar.left_out(newest, n)
    if left_out:
        log.warning("%s", left_out_in_words(left_out, calendar.missing))
    if not cutoffs:
        raise TrainingError(_none(calendar, newest, left_out))
    return cutoffs


def left_out(
    store: Store,
    newest: date | None = None,
) -> list[date]:
    """The cutoffs that ``training_cutoffs`` leaves out because days are missing."""
    calendar = Calendar.of(store)
    n = store.settings.backtest.n_train_cutoffs
    return calendar.left_out(newest or calendar.newest_mature(), n)


def _none(
    calendar: Calendar,
    newest: date,
    left_out: Sequence[date],
) -> str:
    """Why there is no training cutoff, and what to do about it."""
    if left_out:
        words = left_out_in_words(left_out, calendar.missing)
        return f"no training cutoff; {words}"
    windows = calendar.windows
    needed = windows.eligible_days + windows.lead_days + windows.horizon_days
    n_days = max((calendar.end - calendar.first).days, 0)
    return (
        f"no training cutoff: the newest with a known outcome is {newest}, the "
        f"earliest the log allows is {calendar.earliest}; more history or shorter "
        f"windows are needed: windows.eligible_days ({windows.eligible_days}), "
        f"lead_days ({windows.lead_days}) and horizon_days ({windows.horizon_days}) "
        f"add up to {needed} days, and the log has {n_days}"
    )


@dataclass(frozen=True)
class Trained:
    """A fitted model, and the measurements by which it was chosen.

    ``choice``: recipe, correction and log losses in the validation folds; for a user's
    own classifier the only candidate is ``own``. ``fold``: the newest validation fold,
    null if history is too short for any. ``estimator``: the user's own classifier,
    unfitted; null for the blend. ``baseline``: what the model saw, for later nights;
    null where the rows were not read from a store.
    """

    model: Model
    choice: Choice
    fold: Fold | None
    estimator: Any = None
    baseline: Baseline | None = None


def train(
    store: Store,
    cutoffs: list[date],
    estimator: Any = None,
    left_out: Sequence[date] = (),
) -> Trained:
    """Build snapshots, run the leakage check, choose a recipe and fit the model.

    ``estimator``: an unfitted scikit-learn classifier or pipeline with predict_proba to
    train in place of the blend, see ``churn.model.own``. ``left_out``: cutoffs that the
    model is to name as left out. No data after the newest cutoff's horizon is used.
    Raises CutoffError if a cutoff lies outside the data, has missing days around it or
    an open horizon, TrainingError if there is too little to learn from, and ModelError
    for an estimator that can't be used.
    """
    calendar = Calendar.of(store)
    calendar.check(cutoffs)
    calendar.check_whole(cutoffs)
    as_of = calendar.horizon(max(cutoffs))[1]
    if as_of > calendar.end:
        newest = calendar.newest_mature()
        raise CutoffError(
            f"cutoff {max(cutoffs)} has no outcome yet: train on cutoffs up to {newest}"
        )
    plan = snapshots.plan(store, max(cutoffs))
    leakage.check(store, cutoffs, plan, as_of)
    most = store.settings.backtest.max_training_rows
    rows = folds.sample(snapshots.training_rows(store, cutoffs, plan, as_of), most)
    if warning := one_weekday(cutoffs):
        log.warning("training: %s", warning)
    trained = learn(rows, plan, store.settings, estimator)
    missing = tuple(sorted(calendar.missing))
    model = replace(trained.model, missing=missing, left_out=tuple(left_out))
    labelled = folds.with_outcome(rows)
    validation = trained.choice.validation
    seen = baseline.of_training(labelled, model.features, validation)
    return replace(trained, model=model, baseline=seen)


def one_weekday(cutoffs: Sequence[date]) -> str:
    """A warning if all of several cutoffs are of one weekday; empty otherwise.

    >>> one_weekday([date(2026, 1, 5), date(2026, 1, 12)])[:21]
    'all cutoffs are Monda'
    >>> one_weekday([date(2026, 1, 5), date(2026, 1, 14)])
    ''
    """
    weekdays = {f"{cutoff:%A}s" for cutoff in cutoffs}
    if len(cutoffs) < 2 or len(weekdays) > 1:
        return ""
    return (
        f"all cutoffs are {weekdays.pop()}, so that the model can't know how the other "
        "weekdays differ, and its probabilities may be far off when it scores on them; "
        "set backtest.step_days to a number that 7 does not divide, such as 9"
    )


def learn(
    snapshot: pl.DataFrame,
    plan: Plan,
    settings: Settings,
    estimator: Any = None,
    fits: Fits | None = None,
    recipe: Recipe | None = None,
) -> Trained:
    """Choose a recipe, fit it and correct its forecast, on one labelled snapshot.

    Rows without an outcome serve only to estimate the level of the next period.
    ``estimator``: see ``train``; it learns from the same rows and features, and gets a
    correction by the same rule. ``fits``: earlier fits, see ``fitting.fit``; trainings
    that follow each other in time share validation folds. ``recipe``: that of an
    earlier model, to learn with its weights and rounds. Raises TrainingError if too few
    users churned or stayed.
    """
    check_enough(folds.with_outcome(snapshot))
    sampled = folds.sample(snapshot, settings.backtest.max_training_rows)
    choice = selection.choose(
        sampled,
        plan,
        settings,
        estimator,
        fits,
        recipe,
    )
    labelled = folds.with_outcome(sampled)
    fitted = fitting.fit(labelled, plan, settings, choice.recipe, estimator)
    correction = selection.correct(fitted, sampled, choice, settings)
    model = replace(
        fitted,
        correction=correction,
        calibration=choice.calibration,
        calibration_cutoff=choice.calibration_cutoff,
    )
    usable = folds.usable(sampled, settings)
    fold = usable[-1] if usable else None
    return Trained(model, choice, fold, estimator)


def check_enough(snapshot: pl.DataFrame) -> None:
    """Raise TrainingError unless ``MIN_CLASS`` people churned and as many stayed.

    Each person counts once, at however many cutoffs.
    """
    people = snapshot.unique(["user_id", "churned"])["churned"]
    n_churned = int(people.sum())
    n_stayed = len(people) - n_churned
    if min(n_churned, n_stayed) < MIN_CLASS:
        raise TrainingError(
            f"too little to learn from: {n_churned} people churned and {n_stayed} "
            f"stayed, at least {MIN_CLASS} of each are needed, whatever the number of "
            "cutoffs; use more history, a longer horizon or an app with more users"
        )
