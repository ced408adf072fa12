"""Gates: is this data, are these scores, fit to be sent? Each says what it saw as one finding."""

from datetime import date, timedelta
from typing import Any

import polars as pl

from churn import store
from churn.model import Model
from churn.store import Store
from churn.study import Study
from churn.tables import Findings


def check(target: Store, study: Study, cutoff: date, scores: pl.DataFrame, model: Model) -> pl.DataFrame:
    """Every gate's finding for one cutoff; see ``tables.Findings``."""
    found = [missing_day(target, study, cutoff), score_shift(study, cutoff, scores, model)]
    return Findings.validate(pl.DataFrame(found).select(Findings.column_names()))


def _finding(cutoff: date, gate: str, passed: bool, sentence: str, **facts: str) -> dict[str, Any]:
    details = {"days": "", "expected": "", "seen": "", **facts}
    return {"cutoff": cutoff, "gate": gate, "passed": passed, **details, "sentence": sentence}


def missing_day(target: Store, study: Study, cutoff: date) -> dict[str, Any]:
    """Fails if a day before the cutoff has far fewer events than the same weekday usually has, in any extract.

    A missing day makes everybody look churned.
    """
    daily = store.scan(target, "volume").group_by("extract", "date").agg(pl.col("n").sum()).collect()
    short = [day for extract in daily["extract"].unique().sort() for day in _short_days(daily, extract, study, cutoff)]
    days = ", ".join(sorted({day.isoformat() for day in short}))
    share = study.gates.min_day_share
    sentence = (
        f"{days}: under {share:.0%} of the events usual for that weekday; fetch the missing files and ingest again"
        if short
        else f"every one of the {study.gates.window_days} days before the cutoff has its usual events"
    )
    return _finding(
        cutoff, "missing_day", not short, sentence, days=days, expected=f"at least {share:.0%} of the usual"
    )


def _short_days(daily: pl.DataFrame, extract: str, study: Study, cutoff: date) -> list[date]:
    mine = daily.filter(pl.col("extract") == extract)
    counts = dict(mine.select("date", "n").iter_rows())
    first = min(counts)
    days = [cutoff - timedelta(days=k) for k in range(1, study.gates.window_days + 1)]
    return [
        day
        for day in days
        if day >= first and counts.get(day, 0) < study.gates.min_day_share * _usual(counts, day, first)
    ]


def _usual(counts: dict[date, int], day: date, first: date) -> float:
    """Median of the same weekday in the eight weeks before; absent days count as none."""
    before = [day - timedelta(days=7 * k) for k in range(1, 9)]
    seen = sorted(counts.get(d, 0) for d in before if d >= first)
    return float(seen[len(seen) // 2]) if seen else 0.0


def score_shift(study: Study, cutoff: date, scores: pl.DataFrame, model: Model) -> dict[str, Any]:
    """Fails if the mean probability is far from the churn rate the model was trained on."""
    mean = float(scores["probability"].to_numpy().mean())
    shift = abs(mean - model.churn_rate)
    passed = shift <= study.gates.max_score_shift and not scores.is_empty()
    sentence = (
        f"mean probability {mean:.1%} against a churn rate of {model.churn_rate:.1%} in training"
        if passed
        else f"{scores.height} users scored, mean probability {mean:.1%}, but {model.churn_rate:.1%} churned in "
        "training: look for missing events, or train again"
    )
    limit = f"within {study.gates.max_score_shift:.0%} of {model.churn_rate:.1%}"
    return _finding(cutoff, "score_shift", passed, sentence, expected=limit, seen=f"{mean:.1%}")
