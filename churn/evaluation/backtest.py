"""Train and backtest: every decision from what was known by the day it is judged on."""

import logging
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl
from tqdm.auto import tqdm

from churn.errors import CutoffError, TrainingError
from churn.features import snapshots
from churn.features.catalogue import Plan, catalogue
from churn.features.cutoffs import Calendar
from churn.model import fitting
from churn.model.selection import weights_text
from churn.model.training import learn, training_cutoffs
from churn.settings import Settings
from churn.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backtest:
    """What a backtest predicted, and how.

    ``predictions``: user_id, cutoff, churned, model (chosen or recency), probability.
    ``choices``: a row per cutoff.
    """

    predictions: pl.DataFrame
    choices: pl.DataFrame


def backtest(
    store: Store, newest: date | None = None, progress: bool = True
) -> Backtest:
    """Score each test cutoff T once, with everything chosen and fitted from what was
    mature and known by T.
    """
    calendar = Calendar.of(store)
    first, mature = calendar.earliest, calendar.newest_mature()
    newest = newest or mature
    if newest > mature:
        raise CutoffError(
            f"cutoff {newest} has no outcome yet: test on cutoffs up to {mature}"
        )
    tests = calendar.series(newest, store.settings.backtest.n_test_cutoffs)
    tests = [test for test in tests if calendar.newest_mature(test) >= first]
    if not tests:
        raise TrainingError(
            f"no test cutoff up to {newest} has anything to learn from: the log allows none before {first}"
        )
    trains = {test: training_cutoffs(store, as_of=test) for test in tests}
    plans = {test: snapshots.plan(store, max(trains[test])) for test in tests}
    needed = {test: calendar.with_open(trains[test], test) for test in tests}
    together = _union(plans)
    share = min(
        snapshots.learned_share(store, trains[test], together) for test in tests
    )
    past = snapshots.observe(
        store,
        sorted({c for n in needed.values() for c in n}),
        together,
        share=share,
    )
    judged = snapshots.observe(store, tests, together)
    done = []
    for test in tqdm(tests, desc="backtest", disable=not progress, leave=False):
        rows, now = (
            past.filter(pl.col("cutoff").is_in(needed[test])),
            judged.filter(pl.col("cutoff") == test),
        )
        known = snapshots.label(_columns(rows, plans[test]), store, as_of=test)
        done.append(
            _test(
                test,
                known,
                snapshots.label(_columns(now, plans[test]), store),
                plans[test],
                store.settings,
            )
        )
    return Backtest(pl.concat([p for p, _ in done]), pl.DataFrame([c for _, c in done]))


def _union(plans: dict[date, Plan]) -> Plan:
    """One plan that holds every plan's columns; each test cutoff then reads its own."""
    names: dict[str, Any] = {
        field: tuple(
            dict.fromkeys(
                name for plan in plans.values() for name in getattr(plan, field)
            )
        )
        for field in ("vocabulary", "properties")
    }
    return replace(next(iter(plans.values())), **names)


def _test(
    test: date,
    known: pl.DataFrame,
    judged: pl.DataFrame,
    plan: Plan,
    settings: Settings,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Predictions of one test cutoff's rows by what is learned from ``known``, and
    how.
    """
    trained = learn(known, plan, settings)
    fitted, choice = trained.model, trained.choice
    recency = fitting.fit(known.drop_nulls("churned"), plan, settings, fitting.RECENCY)
    key = judged.select("user_id", "cutoff", "churned")
    predictions = [
        key.with_columns(
            pl.lit(name).alias("model"),
            pl.Series("probability", fitting.predict(m, judged)),
        )
        for name, m in (("chosen", fitted), ("recency", recency))
    ]
    facts = {
        "cutoff": test,
        "weights": weights_text(choice),
        "rounds": choice.recipe.rounds,
        "correction": fitted.correction.kind,
        "n_train_cutoffs": len(fitted.cutoffs),
        "n_train_rows": fitted.n_rows,
    }
    return pl.concat(predictions), facts


def _columns(observed: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """As if only this plan had been computed: its columns, and of its own names how
    many were used.
    """
    names = catalogue(plan)
    used = {
        name: [
            (pl.col(name.replace("names", event)) > 0).cast(pl.Int32)
            for event in plan.vocabulary
        ]
        for name in names
        if name.startswith("n_names_")
    }
    kinds = [pl.sum_horizontal(each).alias(name) for name, each in used.items()]
    return observed.with_columns(kinds).select("user_id", "cutoff", *names)
