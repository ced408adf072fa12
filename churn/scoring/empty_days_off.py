"""Days off without any event, in an extract that has events on days off as well."""

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

import polars as pl

from churn.events.days_off import closed_days, has_events_then
from churn.scoring.baseline import days_before
from churn.settings import Settings

EARLIER = timedelta(days=14)
"""What an extract does on days off is seen up to this long before the day.

The days off around Christmas would otherwise excuse each other.
"""


def empty_days_off(
    done: pl.DataFrame,
    settings: Settings,
    cutoff: date,
    off: Collection[date],
) -> pl.DataFrame:
    """These days of the window, in the form of ``volume_gates.day_ratios``.

    How much is done on a day off can't be judged, but where something always is, none
    at all means that files are missing. Expected is the median of the days with events.
    Days that the study calls closed are never empty by mistake.
    """
    first = days_before(cutoff, settings.gates.window_days)
    off = set(off) - closed_days(settings.gates, min(off, default=first), cutoff)
    totals = done.group_by("extract", "date").agg(pl.col("n").sum())
    rows: list[dict[str, Any]] = []
    for (extract,), counts in totals.group_by("extract", maintain_order=True):
        days = set(counts["date"])
        usual = counts["n"].median()
        for day in sorted(off):
            is_judged = max(first, min(days)) <= day < cutoff
            is_empty = is_judged and day not in days
            if is_empty and has_events_then(days, off, day - EARLIER):
                rows.append({"extract": extract, "date": day, "expected": usual})
    schema = {
        "extract": pl.String,
        "date": pl.Date,
        "expected": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema).with_columns(
        platform=pl.lit(""),
        kind=pl.lit(""),
        n=pl.lit(0, pl.Int64),
        ratio=pl.lit(0.0),
        spread=pl.lit(0.0),
    )
