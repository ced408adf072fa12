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
    speed = _speed(closed)
    days = {
        cutoff: _days_seen(cutoff, calendar.end, windows.lead_days) for cutoff in chosen
    }
    shares = {
        cutoff: None if speed is None else float(speed[min(day, len(speed)) - 1])
        for cutoff, day in days.items()
    }
    table = labelled.group_by("cutoff", "segment").agg(
        n=pl.len().cast(pl.Int64),
        back_rate=pl.col("return_days").is_not_null().mean(),
        stays=1 - pl.col("probability").mean(),
    )
    rate = pl.col("back_rate")
    known = table.with_columns(
        days_seen=pl.col("cutoff").replace_strict(days, return_dtype=pl.Int64),
        expected_rate=pl.col("stays")
        * pl.col("cutoff").replace_strict(shares, return_dtype=pl.Float64),
        error=(rate * (1 - rate) / pl.col("n")).sqrt(),
    )
    return known.select(*SCHEMA).sort("cutoff", "segment")


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


def _speed(closed: pl.DataFrame) -> np.ndarray | None:
    """Of all who come back, the share back by each day, at the newest closed cutoffs."""
    recent = closed.tail(28)
    curves = [np.array(back) for back in recent["back"] if len(back) and back[-1] > 0]
    if not curves:
        return None
    return np.asarray(np.mean([curve / curve[-1] for curve in curves], axis=0))
