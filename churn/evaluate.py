"""Train and backtest: every decision from what was known by the day it is judged on."""

import logging
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl
from tqdm.auto import tqdm

from churn import choice, model
from churn.choice import Choice
from churn.errors import CutoffError, TrainingError
from churn.features import leakage, snapshots
from churn.features.catalogue import Plan, catalogue
from churn.features.cutoffs import Calendar, parse_cutoff
from churn.model import Model
from churn.settings import Settings
from churn.store import Store

log = logging.getLogger(__name__)
MIN_CLASS = 50  # churners, and stayers, below which nothing is learned


@dataclass(frozen=True)
class Backtest:
    """What a backtest predicted, and how.

    ``predictions``: user_id, cutoff, churned, model (chosen or recency), probability.
    ``choices``: a row per cutoff.
    """

    predictions: pl.DataFrame
    choices: pl.DataFrame


def training_cutoffs(
    store: Store, newest: date | None = None, as_of: date | None = None
) -> list[date]:
    """The study's training cutoffs up to ``newest``, by default the newest mature by
    ``as_of``, by default the end.
    """
    calendar = Calendar.of(store)
    newest = newest or calendar.newest_mature(as_of)
    cutoffs = calendar.series(newest, store.settings.backtest.n_train_cutoffs)
    if not cutoffs:
        raise TrainingError(
            f"no training cutoff: the newest with a known outcome is {newest}, the "
            f"earliest the log allows is {calendar.earliest}; more history or shorter "
            "windows are needed"
        )
    return cutoffs


def train(store: Store, cutoffs: list[date]) -> tuple[Model, Choice]:
    """Build snapshots, run the poison check, choose, fit. Nothing after the newest
    cutoff's horizon is seen.

    Raises CutoffError if a cutoff lies outside the data or its horizon isn't over.
    """
    calendar = Calendar.of(store)
    calendar.check(cutoffs)
    as_of = calendar.horizon(max(cutoffs))[1]
    if as_of > calendar.end:
        newest = calendar.newest_mature()
        raise CutoffError(
            f"cutoff {max(cutoffs)} has no outcome yet: train on cutoffs up to {newest}"
        )
    plan = snapshots.plan(store, max(cutoffs))
    leakage.check(store, cutoffs, plan, as_of)
    return learn(
        snapshots.training_rows(store, cutoffs, plan, as_of), plan, store.settings
    )


def learn(
    snapshot: pl.DataFrame, plan: Plan, settings: Settings
) -> tuple[Model, Choice]:
    """Choose, fit and correct on one labelled snapshot; rows without outcome only tell
    of the level.

    Raises TrainingError with too few churners or stayers.
    """
    check_enough(snapshot.drop_nulls("churned"))
    sampled = choice.sample(snapshot, settings.backtest.max_training_rows)
    chosen = choice.choose(sampled, plan, settings)
    fitted = model.fit(sampled.drop_nulls("churned"), plan, settings, chosen.recipe)
    correction = choice.correct(fitted, sampled, chosen, settings)
    return replace(
        fitted, correction=correction, calibration=chosen.calibration
    ), chosen


def check_enough(snapshot: pl.DataFrame) -> None:
    """Raise TrainingError unless there are at least 50 churners and 50 stayers."""
    n_churned = int(snapshot["churned"].sum())
    n_stayed = snapshot.height - n_churned
    if min(n_churned, n_stayed) < MIN_CLASS:
        raise TrainingError(
            f"too little to learn from: {n_churned} churned and {n_stayed} stayed, at least {MIN_CLASS} of each are "
            "needed; use more history, more cutoffs or a longer horizon"
        )


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
    fitted, chosen = learn(known, plan, settings)
    recency = model.fit(known.drop_nulls("churned"), plan, settings, model.RECENCY)
    key = judged.select("user_id", "cutoff", "churned")
    predictions = [
        key.with_columns(
            pl.lit(name).alias("model"),
            pl.Series("probability", model.predict(m, judged)),
        )
        for name, m in (("chosen", fitted), ("recency", recency))
    ]
    facts = {
        "cutoff": test,
        "weights": weights_text(chosen),
        "rounds": chosen.recipe.rounds,
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


def weights_text(chosen: Choice) -> str:
    """The members and their weights for readers."""
    return ", ".join(
        f"{name} {weight:.0%}" for name, weight in chosen.recipe.weights.items()
    )


def parse_training_cutoffs(store: Store, newest: str, listed: list[str]) -> list[date]:
    """Training cutoffs from notebook parameters: an explicit list, else the study's
    series up to ``newest``.
    """
    if listed:
        return sorted({c for c in map(parse_cutoff, listed) if c})
    return training_cutoffs(store, parse_cutoff(newest))


def choice_metrics(chosen: Choice) -> dict[str, float]:
    """Log loss of each member and of the blend over the inner loop, weighted by their
    rows; empty without folds.
    """
    weighted = (pl.col("log_loss") * pl.col("n")).sum() / pl.col("n").sum()
    totals = chosen.folds.group_by("candidate", maintain_order=True).agg(weighted)
    return {f"log_loss {name}": loss for name, loss in totals.iter_rows()}


def choice_table(chosen: Choice) -> pl.DataFrame:
    """The inner loop for readers: one row per member and the blend, a column per judged
    cutoff, all, and the weight.
    """
    wide = chosen.folds.with_columns(pl.col("cutoff").cast(pl.String)).pivot(
        "cutoff", index="candidate", values="log_loss"
    )
    total = {
        name.removeprefix("log_loss "): loss
        for name, loss in choice_metrics(chosen).items()
    }
    together = (
        pl.col("candidate").replace_strict(total, return_dtype=pl.Float64).alias("all")
    )
    weight = pl.col("candidate").replace_strict(
        chosen.recipe.weights, default=None, return_dtype=pl.Float64
    )
    return wide.with_columns(together, weight.alias("weight"))


def feature_table(fitted: Model) -> pl.DataFrame:
    """Every feature the model sees and what it means."""
    meanings = catalogue(fitted.plan)
    rows = [
        {"feature": n, "kind": meanings[n].kind, "meaning": meanings[n].meaning}
        for n in fitted.features
    ]
    return pl.DataFrame(rows)


def choices_table(choices: pl.DataFrame) -> pl.DataFrame:
    """What each test cutoff was predicted with."""
    return choices.select(
        pl.col("cutoff").cast(pl.String),
        "weights",
        "rounds",
        "correction",
        "n_train_rows",
    )
