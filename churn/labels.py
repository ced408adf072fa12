"""Churned, active or unknown over the horizon."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from churn.clocks import known_by
from churn.kinds import is_active
from churn.settings import Windows


def horizon(cutoff: date, windows: Windows) -> tuple[date, date]:
    """First day of the horizon and the day after its last: half-open."""
    start = cutoff + timedelta(days=windows.lead_days)
    return start, start + timedelta(days=windows.horizon_days)


def newest_mature(windows: Windows, covered_until: date) -> date:
    """The newest cutoff whose label is known."""
    return covered_until + timedelta(days=1 - windows.lead_days - windows.horizon_days)


def returned(
    activity: pl.LazyFrame,
    cutoffs: Sequence[date],
    windows: Windows,
    counts_as_active: Sequence[str],
    as_of: date,
) -> pl.LazyFrame:
    """Users active in each cutoff's horizon, one row each: user_id, cutoff, return_days
    (0: on its first day).

    Only what was known before ``as_of`` counts: a model trained as of that day could
    not have seen more.
    """
    active = activity.filter(is_active(counts_as_active) & known_by(pl.lit(as_of)))
    return pl.concat(
        [_returned_at(active, cutoff, *horizon(cutoff, windows)) for cutoff in cutoffs]
    )


def _returned_at(
    active: pl.LazyFrame, cutoff: date, start: date, end: date
) -> pl.LazyFrame:
    came = active.filter((pl.col("date") >= start) & (pl.col("date") < end))
    days = (
        (pl.col("date") - pl.lit(start))
        .dt.total_days()
        .cast(pl.Int32)
        .alias("return_days")
    )
    first = came.group_by("user_id").agg(days.min())
    return first.select("user_id", pl.lit(cutoff).alias("cutoff"), "return_days")
