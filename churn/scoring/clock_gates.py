"""The gate on a day's hourly profile, which a wrong time zone or clock shifts."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl

from churn.scoring.baseline import MIN_ROWS, expected_counts
from churn.scoring.gate import Case, verdict
from churn.settings import Settings

# Log-likelihood per event that a shift of the clock must gain over no shift. A day's own
# whims gain a little by some shift too, and a flat profile can't show a shift at all.
MIN_GAIN = 0.1
# Share of the deviation from the usual hourly profile that a shift must explain. A
# campaign's peak deviates as much, but moving the clock explains little of it.
MIN_EXPLAINED = 0.7


def clock_shift(
    counted: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if a day's hourly profile is its weekday's, shifted by the limit or more.

    The cause is a wrong time zone of the extract, or a wrong clock.
    """
    limit = settings.gates.max_clock_shift_hours
    cases: list[Case] = []
    for day, extract, hour, n, expected in _profiles(counted, settings, cutoff):
        shift = largest_shift(_clock(hour, n), _clock(hour, expected))
        if abs(shift) >= limit:
            seen = f"the hourly profile is shifted by {shift:+d} hours"
            cases.append(Case(extract, str(day), seen, off=float(abs(shift))))
    return verdict(
        cutoff,
        "clock_shift",
        cases,
        expected=f"a shift of less than {limit} hours",
        cure="Check the extract's timezone for these days and ingest anew",
        all_clear="no day in the window has a shifted hourly profile",
    )


def _profiles(
    counted: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> Any:
    """Per day and extract: hours, events and expected events, each a list."""
    hours = counted.filter(pl.col("measure") == "hour").with_columns(
        hour=pl.col("value").cast(pl.Int64), known_date=pl.lit(None, pl.Date)
    )
    counts = expected_counts(
        hours, ["extract", "hour"], cutoff, settings.gates.window_days
    )
    days = counts.group_by("date", "extract").agg(
        "hour", "n", pl.col("expected").fill_null(0.0)
    )
    return days.sort("date", "extract").iter_rows()


def _clock(hour: list[int], values: list[float]) -> np.ndarray:
    clock = np.zeros(24)
    clock[hour] = values
    return clock


def largest_shift(n: np.ndarray, expected: np.ndarray) -> int:
    """Hours by which the expected profile must move to explain a day, or 0.

    Both have shape (24,). It is 0 unless a shift fits clearly better than none. On the
    first day of a shift, some hours have moved to the neighbouring day and left a gap.
    Each shift is therefore tried twice: as a rotation of the clock, and with these
    hours empty. It must fit better than the same hours empty without a shift, which is
    what a day with missing data looks like.
    """
    if min(n.sum(), expected.sum()) < MIN_ROWS:
        return 0
    hour = np.arange(24)
    still = _fit(n, expected)
    best = (still, 0)
    for hours in range(-11, 13):
        is_inside = (hour >= hours) & (hour < 24 + hours)
        rotated = np.roll(expected, hours)
        first_day = rotated * is_inside
        best = max(best, (_fit(n, rotated), hours), (_fit(n, first_day), hours))
        still = max(still, _fit(n, expected * is_inside))
    likelihood, shift = best
    gain = likelihood - still
    deviation = _fit(n, n) - still
    return shift if gain >= max(MIN_GAIN, MIN_EXPLAINED * deviation) else 0


def _fit(n: np.ndarray, profile: np.ndarray) -> float:
    """Log-likelihood per event of hourly counts under a profile.

    One event is added to each hour, so that no hour is impossible.
    """
    smoothed = profile + 1
    return float(n @ np.log(smoothed / smoothed.sum()) / n.sum())
