"""Users' returns within the horizon, from which labels are made."""

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
    """Users active in each cutoff's horizon: user_id, cutoff, return_days.

    ``return_days`` counts from the horizon's first day, which is 0, to the user's first
    active day. Only rows known before ``as_of`` count, because a model trained on that
    day could not have known more.
    """
    active = activity.filter(is_active(counts_as_active) & known_by(pl.lit(as_of)))
    return pl.concat(
        [_returned_at(active, cutoff, *windows.horizon(cutoff)) for cutoff in cutoffs]
    )


def _returned_at(
    active: pl.LazyFrame, cutoff: date, start: date, end: date
) -> pl.LazyFrame:
    in_horizon = active.filter((pl.col("date") >= start) & (pl.col("date") < end))
    days = (pl.col("date") - pl.lit(start)).dt.total_days().cast(pl.Int32)
    first = in_horizon.group_by("user_id").agg(days.min().alias("return_days"))
    return first.select("user_id", pl.lit(cutoff).alias("cutoff"), "return_days")
