"""Early outcomes: who is back already in horizons that are still open."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.scoring import scores
from churn.store import Store

MAX_CUTOFFS = 4
"""Most open cutoffs that are looked at, evenly spread."""

N_PAST = 28
"""Newest closed cutoffs from which it is known how fast users come back."""

SCHEMA = {
    "cutoff": pl.Date,
    "segment": pl.String,
    "n": pl.Int64,
    "days_seen": pl.Int64,
    "back_rate": pl.Float64,
    "expected_rate": pl.Float64,
    "error": pl.Float64,
}


def outcomes(
    store: Store,
    closed: pl.DataFrame,
) -> pl.DataFrame:
    """Users back so far against those expected, by open cutoff and segment.

    Columns: those of ``SCHEMA``. ``expected_rate``: of those whom the forecast lets come
    back, the share that was back after so many days at the closed cutoffs; null while
    none has closed. ``error``: standard error of the share by the number of users.
    """
    calendar = Calendar.of(store)
    windows = store.settings.windows
    open_ones = [
        cutoff
        for cutoff in scores.cutoffs(store)
        if _days_seen(cutoff, calendar.end, windows.lead_days) > 0
        and cutoff > calendar.newest_mature()
        and calendar.has_whole_horizon(cutoff)
    ]
    chosen = _spread(open_ones)
    if not chosen:
        return pl.DataFrame(schema=SCHEMA)
    tables = [scores.read(store, cutoff)[0] for cutoff in chosen]
    labelled = snapshots.label(pl.concat(tables), store)
    days = {
        cutoff: _days_seen(cutoff, calendar.end, windows.lead_days) for cutoff in chosen
    }
    table = labelled.group_by("cutoff", "segment").agg(
        n=pl.len().cast(pl.Int64),
        back_rate=pl.col("return_days").is_not_null().mean(),
        stays=1 - pl.col("probability").mean(),
    )
    rate = pl.col("back_rate")
    seen = table.with_columns(
        days_seen=pl.col("cutoff").replace_strict(days, return_dtype=pl.Int64),
        error=(rate * (1 - rate) / pl.col("n")).sqrt(),
    )
    joined = seen.join(_speed(closed), on=["segment", "days_seen"], how="left")
    expected = pl.col("stays") * pl.col("share_back")
    return (
        joined.with_columns(expected_rate=expected)
        .select(*SCHEMA)
        .sort("cutoff", "segment")
    )


def _days_seen(
    cutoff: date,
    end: date,
    lead_days: int,
) -> int:
    """Complete days of a horizon."""
    return (end - cutoff - timedelta(days=lead_days)).days


def _spread(cutoffs: list[date]) -> list[date]:
    if len(cutoffs) <= MAX_CUTOFFS:
        return cutoffs
    places = np.linspace(0, len(cutoffs) - 1, MAX_CUTOFFS).round().astype(int)
    return [cutoffs[place] for place in places]


def _speed(closed: pl.DataFrame) -> pl.DataFrame:
    """Of all of a segment who come back, the share back by each day.

    Means over the newest closed cutoffs, weighted by users. Columns: segment,
    days_seen, share_back.
    """
    segments = closed.tail(N_PAST).select(pl.col("segments").explode()).drop_nulls()
    each = segments.unnest("segments").select("segment", "n", "back")
    by_day = each.with_columns(
        days_seen=pl.int_ranges(1, pl.col("back").list.len() + 1, dtype=pl.Int64)
    ).explode("back", "days_seen")
    n_back = (pl.col("back") * pl.col("n")).sum()
    totals = by_day.group_by("segment", "days_seen").agg(n_back=n_back)
    all_back = pl.col("n_back").max().over("segment")
    share = pl.when(all_back > 0).then(pl.col("n_back") / all_back)
    return totals.select("segment", "days_seen", share_back=share)
