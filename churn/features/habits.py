"""Numbers about a user's active days in their order: gaps, streaks and the last day.

Each function takes a window and returns one number per user. A gap is the number of
days from an active day back to the active day before it, if both lie in the window. A
streak is a run of neighbouring active days in the window.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from churn.features.timeline import reduced, user_of
from churn.features.window import Stretch, Window, where


def _gaps(window: Window) -> tuple[np.ndarray, Stretch]:
    """The gap at every active day, and the stretch of each user's gaps."""
    start, end = window.active()
    return window.days.active.gap, (np.minimum(start + 1, end), end)


def gap_max(window: Window) -> pl.Series:
    """The longest gap, in days; null without any."""
    gaps, (start, end) = _gaps(window)
    longest = reduced(np.maximum, gaps, start, end)
    return where(start < end, longest.astype(np.int32))


def gap_last(window: Window) -> pl.Series:
    """The newest gap, in days; null without any."""
    gaps, (start, end) = _gaps(window)
    return where(start < end, gaps[end - 1].astype(np.int32))


def gap_std(window: Window) -> pl.Series:
    """The standard deviation of the gaps, in days; null with fewer than two."""
    gaps, (start, end) = _gaps(window)
    n = end - start
    total = reduced(np.add, gaps, start, end)
    of_squares = reduced(np.add, gaps**2, start, end)
    # In integers, so that equal gaps give exactly 0.
    variance = (n * of_squares - total**2) / np.maximum(n * (n - 1), 1)
    return where(n > 1, np.sqrt(variance))


def n_gaps_as_long(window: Window) -> np.ndarray:
    """How many gaps are at least as long as the current silence."""
    gaps, (start, end) = _gaps(window)
    is_as_long = gaps >= _at_each_day(window, window.recency())
    return reduced(np.add, is_as_long.astype(np.int64), start, end)


def streak_last(window: Window) -> np.ndarray:
    """Length in days of the newest streak."""
    start, end = window.active()
    return np.asarray(np.minimum(window.days.active.streak[end - 1], end - start))


def streak_max(window: Window) -> np.ndarray:
    """Length in days of the longest streak."""
    start, end = window.active()
    # A streak that began before the window counts from the window's first day on.
    positions = np.arange(len(window.days.active.keys))
    n_in_window = positions - _at_each_day(window, start) + 1
    n_days = np.minimum(window.days.active.streak, n_in_window)
    return reduced(np.maximum, n_days, start, end)


def _at_each_day(window: Window, values: np.ndarray) -> np.ndarray:
    """A number of each user of the window, at each active day of the user; else 0."""
    by_user = np.zeros(len(window.days.user_ids), np.int64)
    by_user[window.users] = values
    return np.asarray(by_user[user_of(window.days.active.keys)])


def n_last_day(window: Window) -> np.ndarray:
    """Active events on the last active day."""
    _, end = window.active()
    return np.asarray(window.days.active.counts["n_active"][end - 1])


HABITS: dict[str, Callable[[Window], np.ndarray | pl.Series]] = {
    "gap_max": gap_max,
    "gap_last": gap_last,
    "gap_std": gap_std,
    "n_gaps_as_long": n_gaps_as_long,
    "streak_last": streak_last,
    "streak_max": streak_max,
    "n_last_day": n_last_day,
}
"""The numbers by the name that ``columns.habit`` takes."""
