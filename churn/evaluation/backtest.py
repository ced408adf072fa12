"""Backtest: past cutoffs are scored as they would have been scored on that day.

For each test cutoff everything is chosen, fitted and corrected from the outcomes known
by then; only afterwards are the predictions compared with what happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl
from tqdm.auto import tqdm

from churn.errors import CutoffError, ModelError, TrainingError
from churn.evaluation import predicting
from churn.evaluation.predicting import Fitted
from churn.features import snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.model import fitting, folds, own
from churn.model.fitting import Model
from churn.model.selection import weights_text
from churn.model.training import Trained, learn, training_cutoffs
from churn.settings import Settings
from churn.store import Store

CHOSEN = "chosen"
"""Name of the model that training would have chosen on the day."""

CHAMPION = "champion"
"""Name of the stored model that a new training is compared with."""

RECENCY = "recency"
"""Name of the baseline: the longer silent, the likelier gone."""


@dataclass(frozen=True)
class Backtest:
    """Predictions at the test cutoffs, and how the chosen model came about.

    ``predictions``: user_id, cutoff, churned, model and probability, a row per user,
    test cutoff and model. ``model`` is chosen, recency or the name of an own model.
    ``choices``: cutoff, weights, rounds, correction, n_train_cutoffs and n_train_rows
    of the chosen model, a row per test cutoff.
    """

    predictions: pl.DataFrame
    choices: pl.DataFrame


@dataclass(frozen=True)
class _Test:
    """One test cutoff, with the cutoffs that are learned from and their plan."""

    cutoff: date
    training_cutoffs: list[date]
    plan: Plan


def backtest(
    store: Store,
    newest: date | None = None,
    models: Mapping[str, Any] | None = None,
    progress: bool = True,
    champion: Model | None = None,
) -> Backtest:
    """Score each test cutoff once with what was known by then.

    ``newest``: the newest test cutoff, by default the newest whose outcome is known.
    ``models``: unfitted scikit-learn classifiers by name. Each learns from the same
    rows and features as ours, is corrected by the same rule, and scores the same rows.
    ``champion``: a stored model, to be compared with a new training. It scores a test
    cutoff itself if it had learned nothing from later outcomes; otherwise its recipe or
    its classifier learns anew from what was known by then.

    Raises CutoffError if the outcome at ``newest`` isn't known yet, TrainingError where
    no test cutoff has anything to learn from, and ModelError for an own model whose
    name is taken or that can't be used.
    """
    models = models or {}
    _check_names(models)
    tests = [_prepare(store, cutoff) for cutoff in _test_cutoffs(store, newest)]
    # Features are computed once, for all plans together.
    plans = [test.plan for test in tests]
    plan = _union([*plans, champion.plan] if champion else plans)
    fitted, choices = _fitted(store, tests, plan, models, champion, progress)
    made = predicting.predictions(store, fitted, plan)
    return Backtest(made, pl.DataFrame(choices))


def _fitted(
    store: Store,
    tests: Sequence[_Test],
    plan: Plan,
    models: Mapping[str, Any],
    champion: Model | None,
    progress: bool,
) -> tuple[Fitted, list[dict[str, Any]]]:
    """The models of each test cutoff, and how the chosen ones came about."""
    past = _past(store, tests, plan)
    fitted: Fitted = {}
    choices = []
    fits: fitting.Fits = {}
    for test in tqdm(
        tests,
        desc="backtest",
        disable=not progress,
        leave=False,
    ):
        needed = _with_open(store, test)
        observed = past.filter(pl.col("cutoff").is_in(needed))
        earlier = predicting.columns(observed, test.plan)
        known = snapshots.label(earlier, store, as_of=test.cutoff)
        trained = learn(known, test.plan, store.settings, fits=fits)
        of_test = fitted[test.cutoff] = {CHOSEN: trained.model}
        of_test[RECENCY] = _fit_recency(known, test.plan, store.settings)
        if champion:
            of_test[CHAMPION] = _as_of(champion, test, known, store.settings, fits)
        for name, estimator in models.items():
            own = learn(known, test.plan, store.settings, estimator)
            of_test[name] = own.model
        choices.append(_choice(test.cutoff, trained))
    return fitted, choices


def _as_of(
    champion: Model,
    test: _Test,
    known: pl.DataFrame,
    settings: Settings,
    fits: fitting.Fits,
) -> Model:
    """The champion as it could have scored a test cutoff: itself, or learned anew."""
    if champion.learned_until <= test.cutoff:
        return champion
    if own.NAME in champion.recipe.weights:
        # Fitting begins with an unfitted copy.
        return learn(known, test.plan, settings, champion.pipeline).model
    learned = learn(known, test.plan, settings, fits=fits, recipe=champion.recipe)
    return learned.model


def _check_names(models: Mapping[str, Any]) -> None:
    ours = {CHOSEN, CHAMPION, RECENCY}
    taken = [name for name in models if not name.strip() or name in ours]
    if taken:
        raise ModelError(
            f"an own model can't be called {taken[0]!r}: {CHOSEN!r} and {RECENCY!r} "
            "are the models it is compared with, and an empty name can't be read in a "
            "table; give it another name"
        )


def _test_cutoffs(
    store: Store,
    newest: date | None,
) -> list[date]:
    """The study's test cutoffs up to ``newest`` that have something to learn from."""
    calendar = Calendar.of(store)
    mature = calendar.newest_mature()
    newest = newest or mature
    if newest > mature:
        raise CutoffError(
            f"cutoff {newest} has no outcome yet: test on cutoffs up to {mature}"
        )
    earliest = calendar.earliest
    series = calendar.series(newest, store.settings.backtest.n_test_cutoffs)
    cutoffs = [day for day in series if calendar.newest_mature(day) >= earliest]
    if not cutoffs:
        raise TrainingError(
            f"no test cutoff up to {newest} has anything to learn from: the earliest "
            f"cutoff that the log allows is {earliest}; more history or shorter "
            "windows are needed"
        )
    return cutoffs


def _prepare(
    store: Store,
    cutoff: date,
) -> _Test:
    earlier = training_cutoffs(store, as_of=cutoff)
    return _Test(cutoff, earlier, snapshots.plan(store, max(earlier)))


def _with_open(
    store: Store,
    test: _Test,
) -> list[date]:
    """The training cutoffs and the one whose horizon is still open on the test day."""
    return Calendar.of(store).with_open(test.training_cutoffs, test.cutoff)


def _past(
    store: Store,
    tests: Sequence[_Test],
    plan: Plan,
) -> pl.DataFrame:
    """Features at every cutoff that any test learns from."""
    needed = {cutoff for test in tests for cutoff in _with_open(store, test)}
    shares = [
        snapshots.learned_share(store, test.training_cutoffs, plan) for test in tests
    ]
    return snapshots.observe(store, sorted(needed), plan, share=min(shares))


def _union(plans: Sequence[Plan]) -> Plan:
    """One plan with the columns of all; each test then reads only its own."""
    vocabulary = [name for plan in plans for name in plan.vocabulary]
    properties = [name for plan in plans for name in plan.properties]
    return replace(
        plans[0],
        vocabulary=tuple(dict.fromkeys(vocabulary)),
        properties=tuple(dict.fromkeys(properties)),
    )


def _fit_recency(
    known: pl.DataFrame,
    plan: Plan,
    settings: Settings,
) -> Model:
    labelled = folds.with_outcome(known)
    return fitting.fit(labelled, plan, settings, fitting.RECENCY)


def _choice(
    cutoff: date,
    trained: Trained,
) -> dict[str, Any]:
    return {
        "cutoff": cutoff,
        "weights": weights_text(trained.choice),
        "rounds": trained.choice.recipe.rounds,
        "correction": trained.model.correction.kind,
        "n_train_cutoffs": len(trained.model.cutoffs),
        "n_train_rows": trained.model.n_rows,
    }
