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
from churn.features import snapshots
from churn.features.catalogue import Plan, catalogue
from churn.features.cutoffs import Calendar
from churn.model import fitting, own
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
    past = _past(store, tests, plan)
    scored = snapshots.observe(store, [test.cutoff for test in tests], plan)
    predictions = []
    choices = []
    fits: fitting.Fits = {}
    for test in tqdm(
        tests,
        desc="backtest",
        disable=not progress,
        leave=False,
    ):
        needed = _with_open(store, test)
        earlier = _columns(past.filter(pl.col("cutoff").is_in(needed)), test.plan)
        later = scored.filter(pl.col("cutoff") == test.cutoff)
        known = snapshots.label(earlier, store, as_of=test.cutoff)
        outcomes = snapshots.label(later, store)
        trained = learn(known, test.plan, store.settings, fits=fits)
        fitted = {CHOSEN: trained.model}
        fitted[RECENCY] = _fit_recency(known, test.plan, store.settings)
        if champion:
            fitted[CHAMPION] = _as_of(champion, test, known, store.settings, fits)
        for name, estimator in models.items():
            own = learn(known, test.plan, store.settings, estimator)
            fitted[name] = own.model
        predictions += [_predict(name, fitted[name], outcomes) for name in fitted]
        choices.append(_choice(test.cutoff, trained))
    return Backtest(pl.concat(predictions), pl.DataFrame(choices))


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


def _columns(
    observed: pl.DataFrame,
    plan: Plan,
) -> pl.DataFrame:
    """The columns that ``plan`` alone would have given.

    The number of event names in use (n_names_…) depends on the plan's vocabulary, so it
    is counted again.
    """
    names = catalogue(plan)
    counts = []
    for name in names:
        if name.startswith("n_names_"):
            columns = [name.replace("names", event) for event in plan.vocabulary]
            in_use = [(pl.col(column) > 0).cast(pl.Int32) for column in columns]
            counts.append(pl.sum_horizontal(in_use).alias(name))
    return observed.with_columns(counts).select("user_id", "cutoff", *names)


def _fit_recency(
    known: pl.DataFrame,
    plan: Plan,
    settings: Settings,
) -> Model:
    labelled = known.drop_nulls("churned")
    return fitting.fit(labelled, plan, settings, fitting.RECENCY)


def _predict(
    name: str,
    model: Model,
    outcomes: pl.DataFrame,
) -> pl.DataFrame:
    probability = fitting.predict(model, _columns(outcomes, model.plan))
    return outcomes.select(
        "user_id",
        "cutoff",
        "churned",
        pl.lit(name).alias("model"),
        pl.Series("probability", probability),
    )


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
