"""Churned, active or unknown over the horizon."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from churn.clocks import known_by
from churn.kinds import is_active
from churn.settings import Windows


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
        [_returned_at(active, cutoff, *windows.horizon(cutoff)) for cutoff in cutoffs]
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
