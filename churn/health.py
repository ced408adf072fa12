"""Gates: is this data, are these scores, fit to be sent? Each says what it saw as one finding."""

import statistics
from datetime import date, timedelta
from typing import Any

import polars as pl

from churn import store
from churn.model import Model
from churn.store import Store
from churn.study import Study
from churn.tables import Findings

WEEKS = 4  # of the same weekday that say what is usual
NOISE = 5.0  # standard deviations of a count by which a day must be off, so that small apps raise no false alarm
MIN_EVENT = 20.0  # events a day from which a name is missed when it is gone
RECENT_DAYS = 7  # compared with the weeks before, for rows without a user


def check(target: Store, study: Study, cutoff: date, scores: pl.DataFrame, model: Model) -> pl.DataFrame:
    """Every gate's finding for one cutoff; see ``tables.Findings``."""
    found = [*data(store.scan(target, "volume").collect(), study, cutoff), score_shift(study, cutoff, scores, model)]
    return Findings.validate(pl.DataFrame(found).select(Findings.column_names()))


def data(volume: pl.DataFrame, study: Study, cutoff: date) -> list[dict[str, Any]]:
    """The findings about the event log alone."""
    past = volume.filter(pl.col("date") < cutoff)
    ratios = _day_ratios(past, cutoff, study.gates.window_days)
    return [
        missing_day(ratios, study, cutoff),
        excess_day(ratios, study, cutoff),
        vanished_event(past, cutoff),
        unknown_users(past, study, cutoff),
    ]


def _finding(cutoff: date, gate: str, passed: bool, sentence: str, **facts: str) -> dict[str, Any]:
    details = {"days": "", "expected": "", "seen": "", **facts}
    return {"cutoff": cutoff, "gate": gate, "passed": passed, **details, "sentence": sentence}


def _day_ratios(past: pl.DataFrame, cutoff: date, window_days: int) -> pl.DataFrame:
    """Each judged day's events over what is usual: extract, date, n, usual, ratio.

    Usual is the median of the same weekday in the four weeks before, times how the app has grown since: the median of
    the neighbouring days' own ratios. So growth, decline and weekends are nobody's fault.
    """
    parts = [_one_extract(past.filter(pl.col("extract") == e), cutoff, window_days) for e in past["extract"].unique()]
    schema = {"extract": pl.String, "date": pl.Date, "n": pl.Float64, "usual": pl.Float64, "ratio": pl.Float64}
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def _one_extract(past: pl.DataFrame, cutoff: date, window_days: int) -> pl.DataFrame:
    counts = dict(past.group_by("date").agg(pl.col("n").sum()).iter_rows())
    days = [cutoff - timedelta(days=k) for k in range(window_days, 0, -1)]
    known = [(day, usual) for day in days if (usual := _usual(counts, day, min(counts)))]
    raw = pl.DataFrame(
        {
            "date": [d for d, _ in known],
            "usual": [u for _, u in known],
            "n": [float(counts.get(d, 0)) for d, _ in known],
        },
        schema={"date": pl.Date, "usual": pl.Float64, "n": pl.Float64},
    )
    growth = (pl.col("n") / pl.col("usual")).rolling_median(15, min_samples=1, center=True)
    grown = raw.with_columns(usual=pl.col("usual") * growth.clip(0.5, 2.0), extract=pl.lit(past["extract"][0]))
    return grown.select("extract", "date", "n", "usual", (pl.col("n") / pl.col("usual")).alias("ratio"))


def _usual(counts: dict[date, int], day: date, first: date) -> float:
    """Median of the same weekday in the four weeks before, absent days counting as none; 0 without two such days."""
    before = [day - timedelta(days=7 * k) for k in range(1, WEEKS + 1)]
    seen = [counts.get(d, 0) for d in before if d >= first]
    return float(statistics.median(seen)) if len(seen) > 1 else 0.0


def missing_day(ratios: pl.DataFrame, study: Study, cutoff: date) -> dict[str, Any]:
    """Fails if a day has far fewer events than its weekday usually has, in any extract: users would look churned."""
    limit = study.gates.min_day_share
    found = _off(ratios, pl.col("ratio") < limit)
    return _days_finding(cutoff, "missing_day", found, f"at least {limit:.0%} of the usual", "fetch the missing files")


def excess_day(ratios: pl.DataFrame, study: Study, cutoff: date) -> dict[str, Any]:
    """Fails if a day has far more events than is usual for its weekday: delivered twice, or a clock that was wrong."""
    limit = study.gates.max_day_share
    found = _off(ratios, pl.col("ratio") > limit)
    return _days_finding(cutoff, "excess_day", found, f"at most {limit:.0%} of the usual", "look for a double delivery")


def _off(ratios: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    beyond_noise = (pl.col("n") - pl.col("usual")).abs() > NOISE * pl.col("usual").sqrt()
    return ratios.filter(condition & beyond_noise).sort("date")


def _days_finding(cutoff: date, gate: str, found: pl.DataFrame, expected: str, cure: str) -> dict[str, Any]:
    days = ", ".join(sorted({d.isoformat() for d in found["date"]}))
    seen = ", ".join(f"{r:.0%}" for r in found["ratio"])
    sentence = f"{days}: {seen} of the events usual for that weekday; {cure} and ingest again"
    passed = found.is_empty()
    whole = "every judged day before the cutoff is as its weekday usually is"
    return _finding(cutoff, gate, passed, whole if passed else sentence, days=days, expected=expected, seen=seen)


def vanished_event(past: pl.DataFrame, cutoff: date) -> dict[str, Any]:
    """Fails if an event name that came every day has not come on the last one: renamed, or lost in a release."""
    last = cutoff - timedelta(days=1)
    weeks = past.filter((pl.col("date") < last) & (pl.col("date") >= last - timedelta(days=7 * WEEKS)))
    daily = (
        weeks.group_by("event", "date")
        .agg(pl.col("n").sum())
        .group_by("event")
        .agg(usual=pl.col("n").sum() / weeks["date"].n_unique(), share=pl.len() / weeks["date"].n_unique())
    )
    here = past.filter(pl.col("date") == last)["event"].unique()
    constant = (pl.col("usual") >= MIN_EVENT) & (pl.col("share") > 0.9)
    gone = daily.filter(constant & ~pl.col("event").is_in(here.to_list())).sort("event")
    names = ", ".join(gone["event"])
    sentence = (
        f"{names}: usual every day, not once on {last}; was the event renamed?" if names else "no usual event is gone"
    )
    return _finding(cutoff, "vanished_event", not names, sentence, days=str(last) if names else "", seen=names)


def unknown_users(past: pl.DataFrame, study: Study, cutoff: date) -> dict[str, Any]:
    """Fails if the share of events without a user rose by more than the limit in the last week."""
    recent = pl.col("date") >= cutoff - timedelta(days=RECENT_DAYS)
    window = past.filter(pl.col("date") >= cutoff - timedelta(days=7 * (WEEKS + 1)))
    now, before = (_unknown_rate(window.filter(part)) for part in (recent, ~recent))
    limit = study.gates.max_unknown_rise
    sentence = f"{now:.1%} of the last week's events have no user, {before:.1%} in the weeks before"
    return _finding(
        cutoff,
        "unknown_users",
        now - before <= limit,
        sentence,
        expected=f"a rise of at most {limit:.0%}",
        seen=f"{now:.1%}",
    )


def _unknown_rate(part: pl.DataFrame) -> float:
    without, n = int(part["n_without_user"].sum()), int(part["n"].sum())
    return without / n if n else 0.0


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
