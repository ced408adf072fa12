"""Days that are cut off: no events in their first or last hours, where many are usual.

A shop's days vary so much that half a day lost may look like a quiet one. It doesn't by
the hour: in a quiet day every part is quieter, while a lost file leaves hours without
anything.
"""

from collections.abc import Collection
from datetime import date

import numpy as np
import polars as pl

from churn.scoring.baseline import expected_counts
from churn.scoring.gate import Case
from churn.settings import Settings

MIN_SILENT = 15.0
"""Fewest events expected in the empty hours.

That none of fifteen come by chance happens on one day in three million.
"""

MIN_SHARE = 0.25
"""Smallest share of the day's expected events; so many are lost with a file."""


def silent_hours(
    counted: pl.DataFrame,
    settings: Settings,
    cutoff: date,
    left_out: Collection[date],
) -> list[Case]:
    """Days with empty first or last hours, by extract.

    ``counted`` is the tally by hour of all kinds. Days without any event are left out:
    these are found by their number. What is expected of an hour is lowered by as much
    as the other hours of the day are below theirs.
    """
    hours = counted.filter(pl.col("measure") == "hour").with_columns(
        hour=pl.col("value").cast(pl.Int64), known_date=pl.lit(None, pl.Date)
    )
    window_days = settings.gates.window_days
    key = ["extract", "hour"]
    counts = expected_counts(hours, key, cutoff, window_days, left_out)
    filled = counts.with_columns(pl.col("expected").fill_null(0.0))
    days = filled.sort("hour").group_by("date", "extract").agg("hour", "n", "expected")
    cases = []
    for day, extract, hour, n, expected in days.sort("date", "extract").iter_rows():
        clock = np.zeros(24)
        usual = np.zeros(24)
        clock[hour] = n
        usual[hour] = expected
        if seen := _silence(clock, usual):
            words, share = seen
            cases.append(Case(extract, str(day), words, off=share))
    return cases


def _silence(n: np.ndarray, expected: np.ndarray) -> tuple[str, float] | None:
    """The empty hours of a day in words, and their usual share; null if it has none.

    Both have shape (24,).
    """
    total = expected.sum()
    if n.sum() == 0 or total == 0:
        return None
    (filled,) = np.nonzero(n)
    first, last = int(filled[0]), int(filled[-1])
    parts = {
        f"no events before {first}:00": expected[:first].sum(),
        f"no events from {last + 1}:00 on": expected[last + 1 :].sum(),
    }
    words, lost = max(parts.items(), key=lambda part: part[1])
    level = min(1.0, n.sum() / max(total - lost, 1.0))
    if lost * level < MIN_SILENT or lost < MIN_SHARE * total:
        return None
    return f"{words}, of the usual {lost:,.0f}", float(lost / total)
