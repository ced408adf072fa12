"""Backtest and choice of candidate: every decision from what was known by the day it is judged on."""

import logging
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from tqdm.auto import tqdm

from churn import features, labels, model, snapshots
from churn.errors import CutoffError, TrainingError
from churn.features import Plan
from churn.model import Model
from churn.store import Store
from churn.study import Study, Windows

log = logging.getLogger(__name__)
MIN_CLASS = 50  # churners, and stayers, below which nothing is learned
MAX_FOLDS = 4


@dataclass(frozen=True)
class Choice:
    """What the inner, time-ordered loop settled on. ``folds``: candidate, cutoff, n, log_loss."""

    candidate: str
    calibrator: LogisticRegression | None
    folds: pl.DataFrame


@dataclass(frozen=True)
class Backtest:
    """What a backtest predicted, and how.

    ``predictions``: user_id, cutoff, churned, model (chosen or recency), probability. ``choices``: a row per cutoff.
    """

    predictions: pl.DataFrame
    choices: pl.DataFrame


def training_cutoffs(target: Store, study: Study, newest: date | None = None, as_of: date | None = None) -> list[date]:
    """The study's training cutoffs up to ``newest``, by default the newest mature by ``as_of``, by default the end."""
    end = as_of or snapshots.covered_end(target)
    newest = newest or labels.newest_mature(study.windows, end - timedelta(days=1))
    found = snapshots.series(newest, study, study.backtest.n_train_cutoffs, snapshots.earliest(target, study))
    if not found:
        raise TrainingError(
            f"no training cutoff: the newest with a known outcome is {newest}, the earliest the log allows is "
            f"{snapshots.earliest(target, study)}; more history or shorter windows are needed"
        )
    return found


def train(target: Store, study: Study, cutoffs: list[date]) -> tuple[Model, Choice]:
    """Build snapshots, run the poison check, choose, fit. Nothing after the newest cutoff's horizon is seen.

    Raises CutoffError if a cutoff lies outside the data or its horizon isn't over.
    """
    as_of = labels.horizon(max(cutoffs), study.windows)[1]
    snapshots.check_cutoffs(target, study, cutoffs)
    if as_of > snapshots.covered_end(target):
        newest = labels.newest_mature(study.windows, snapshots.covered_end(target) - timedelta(days=1))
        raise CutoffError(f"cutoff {max(cutoffs)} has no outcome yet: train on cutoffs up to {newest}")
    plan = snapshots.plan(target, study, max(cutoffs))
    snapshots.poison_check(target, study, [min(cutoffs), max(cutoffs)], plan)
    return learn(snapshots.build(target, study, cutoffs, plan, as_of), plan, study)


def learn(snapshot: pl.DataFrame, plan: Plan, study: Study) -> tuple[Model, Choice]:
    """Choose and fit on one labelled snapshot. Raises TrainingError with too few churners or stayers."""
    known = snapshot.drop_nulls("churned")
    check_enough(known)
    choice = choose(known, plan, study)
    return model.fit(known, choice.candidate, plan, study, choice.calibrator), choice


def check_enough(snapshot: pl.DataFrame) -> None:
    """Raise TrainingError unless there are at least 50 churners and 50 stayers."""
    n_churned = int(snapshot["churned"].sum())
    n_stayed = snapshot.height - n_churned
    if min(n_churned, n_stayed) < MIN_CLASS:
        raise TrainingError(
            f"too little to learn from: {n_churned} churned and {n_stayed} stayed, at least {MIN_CLASS} of each are "
            "needed; use more history, more cutoffs or a longer horizon"
        )


def choose(snapshot: pl.DataFrame, plan: Plan, study: Study) -> Choice:
    """The candidate with the lowest log loss over later cutoffs, each predicted from cutoffs mature by then.

    Without two such cutoffs there is nothing to choose by: the logistic regression is taken, uncalibrated.
    """
    folds = _folds(sorted(snapshot["cutoff"].unique()), study.windows)
    tried = [_fold(snapshot, name, plan, study, *fold) for fold in folds for name in model.CANDIDATES]
    if not tried:
        return Choice("logistic", None, pl.DataFrame(schema=_FOLDS))
    predictions = pl.concat(tried)
    table = predictions.group_by("candidate", "cutoff", maintain_order=True).agg(n=pl.len(), log_loss=_loss().mean())
    totals = predictions.group_by("candidate", maintain_order=True).agg(log_loss=_loss().mean())
    best = str(totals.sort("log_loss", maintain_order=True)["candidate"][0])
    mine = predictions.filter(pl.col("candidate") == best)
    return Choice(best, _calibrator(mine, study.windows), table)


_FOLDS = {"candidate": pl.String, "cutoff": pl.Date, "n": pl.UInt32, "log_loss": pl.Float64}


def _folds(cutoffs: list[date], windows: Windows) -> list[tuple[list[date], date]]:
    """The newest cutoffs that have others mature by then to learn from."""
    folds = [([c for c in cutoffs if labels.horizon(c, windows)[1] <= judge], judge) for judge in cutoffs]
    usable = [fold for fold in folds if fold[0]]
    step = max(1, len(usable) // MAX_FOLDS)
    return usable[::-1][::step][:MAX_FOLDS][::-1]


def _fold(
    snapshot: pl.DataFrame, candidate: str, plan: Plan, study: Study, learned: list[date], judge: date
) -> pl.DataFrame:
    past = snapshot.filter(pl.col("cutoff").is_in(learned))
    judged = snapshot.filter(pl.col("cutoff") == judge)
    empty = past["churned"].n_unique() < 2
    p = np.full(judged.height, 0.5) if empty else model.predict(model.fit(past, candidate, plan, study), judged)
    return judged.select("cutoff", "churned", pl.lit(candidate).alias("candidate"), pl.Series("probability", p))


def _loss() -> pl.Expr:
    p = pl.col("probability").clip(1e-15, 1 - 1e-15)
    return -pl.when(pl.col("churned")).then(p.log()).otherwise((1 - p).log())


def _calibrator(folds: pl.DataFrame, windows: Windows) -> LogisticRegression | None:
    """Kept only if, fitted on earlier folds mature by the last one, it makes that one's log loss better."""
    cutoffs: list[date] = sorted(folds["cutoff"].unique())
    last = cutoffs[-1]
    mature = [c for c in cutoffs if labels.horizon(c, windows)[1] <= last]
    earlier, judge = folds.filter(pl.col("cutoff").is_in(mature)), folds.filter(pl.col("cutoff") == last)
    if not mature or min(_n_classes(earlier), _n_classes(judge)) < 2:
        return None
    raw = judge["probability"].to_numpy()
    calibrated = model.calibrate(_platt(earlier), raw)
    y = model.target(judge)
    return _platt(folds) if log_loss(y, calibrated) < log_loss(y, raw) else None


def _n_classes(frame: pl.DataFrame) -> int:
    return frame["churned"].n_unique()


def _platt(frame: pl.DataFrame) -> LogisticRegression:
    platt = LogisticRegression(C=1e6)  # so weak a penalty is none
    platt.fit(model.log_odds(frame["probability"].to_numpy()), model.target(frame))
    return platt


def backtest(target: Store, study: Study, newest: date | None = None, progress: bool = True) -> Backtest:
    """Score each test cutoff T once, with everything chosen and fitted from what was mature and known by T."""
    newest = newest or labels.newest_mature(study.windows, snapshots.covered_end(target) - timedelta(days=1))
    tests = snapshots.series(newest, study, study.backtest.n_test_cutoffs, snapshots.earliest(target, study))
    if not tests:
        raise TrainingError(f"no test cutoff: {newest} lies before {snapshots.earliest(target, study)}")
    trains = {test: training_cutoffs(target, study, as_of=test) for test in tests}
    plans = {test: snapshots.plan(target, study, max(trains[test])) for test in tests}
    observed = snapshots.observe(
        target, study, sorted({*tests, *(c for cutoffs in trains.values() for c in cutoffs)}), _union(plans)
    )
    done = [
        _test(target, study, observed, test, trains[test], plans[test])
        for test in tqdm(tests, desc="backtest", disable=not progress, leave=False)
    ]
    return Backtest(pl.concat([p for p, _ in done]), pl.DataFrame([c for _, c in done]))


def _union(plans: dict[date, Plan]) -> Plan:
    """One plan that holds every plan's columns; each test cutoff then reads its own."""
    names = dict.fromkeys(name for plan in plans.values() for name in plan.vocabulary)
    return replace(next(iter(plans.values())), vocabulary=tuple(names))


def _test(
    target: Store, study: Study, observed: pl.DataFrame, test: date, trains: list[date], plan: Plan
) -> tuple[pl.DataFrame, dict[str, Any]]:
    mine = observed.select("user_id", "cutoff", *features.catalogue(plan))
    past = snapshots.label(mine.filter(pl.col("cutoff").is_in(trains)), target, study, as_of=test)
    judged = snapshots.label(mine.filter(pl.col("cutoff") == test), target, study)
    chosen, choice = learn(past, plan, study)
    recency = model.fit(past, "recency", plan, study)
    key = judged.select("user_id", "cutoff", "churned")
    predictions = [
        key.with_columns(pl.lit(name).alias("model"), pl.Series("probability", model.predict(m, judged)))
        for name, m in (("chosen", chosen), ("recency", recency))
    ]
    facts = {
        "cutoff": test,
        "candidate": choice.candidate,
        "calibrated": choice.calibrator is not None,
        "n_train_cutoffs": len(trains),
        "n_train_rows": chosen.n_rows,
        "forecast_churn_rate": float(predictions[0]["probability"].to_numpy().mean()),
        "churn_rate": float(model.target(judged).mean()),
    }
    return pl.concat(predictions), facts


def parse_training_cutoffs(target: Store, study: Study, newest: str, listed: list[str]) -> list[date]:
    """Training cutoffs from notebook parameters: an explicit list, else the study's series up to ``newest``."""
    if listed:
        return sorted({c for c in map(snapshots.parse_cutoff, listed) if c})
    return training_cutoffs(target, study, snapshots.parse_cutoff(newest))


def choice_metrics(choice: Choice) -> dict[str, float]:
    """Log loss of each candidate over the folds of the inner loop, weighted by their rows; empty without folds."""
    weighted = (pl.col("log_loss") * pl.col("n")).sum() / pl.col("n").sum()
    totals = choice.folds.group_by("candidate", maintain_order=True).agg(weighted)
    return {f"log_loss {name}": loss for name, loss in totals.iter_rows()}


def choice_table(choice: Choice) -> pl.DataFrame:
    """The inner loop for readers: one row per candidate, a column per judged cutoff, then all together."""
    wide = choice.folds.with_columns(pl.col("cutoff").cast(pl.String)).pivot(
        "cutoff", index="candidate", values="log_loss"
    )
    total = {name.removeprefix("log_loss "): loss for name, loss in choice_metrics(choice).items()}
    used = pl.when(pl.col("candidate") == choice.candidate).then(pl.lit("used")).otherwise(pl.lit(""))
    together = pl.col("candidate").replace_strict(total, return_dtype=pl.Float64).alias("all")
    return wide.with_columns(together, used.alias(" "))


def feature_table(fitted: Model) -> pl.DataFrame:
    """Every feature the model sees and what it means."""
    meanings = features.catalogue(fitted.plan)
    return pl.DataFrame([{"feature": name, "meaning": meanings[name].meaning} for name in fitted.features])


def choices_table(choices: pl.DataFrame) -> pl.DataFrame:
    """What each test cutoff was predicted with, and forecast against actual churn rate."""
    return choices.select(
        pl.col("cutoff").cast(pl.String), "candidate", "calibrated", "n_train_rows", "forecast_churn_rate", "churn_rate"
    )
