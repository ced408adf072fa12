"""The numbers that features are made of (see ``columns``), computed for a window."""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from churn.features.columns import parts
from churn.features.habits import HABITS
from churn.features.timeline import Timeline, reduced
from churn.features.window import Window, where

Column = np.ndarray | pl.Series


def numbers(window: Window, names: Iterable[str]) -> pl.DataFrame:
    """The named numbers, one row per user of the window."""
    return pl.DataFrame({name: _number(window, name) for name in names})


def _number(window: Window, name: str) -> Column:
    what, column, days = parts(name)
    if what == "habit":
        return HABITS[column](window)
    return NUMBERS[what](window, column, days)


def _total(window: Window, column: str, days: int) -> Column:
    timeline, start, end = window.of_column(column, days)
    if column in timeline.amounts:
        return timeline.amount(column, start, end)
    return timeline.count(column, start, end)


def _decayed(window: Window, column: str, half_life: int) -> Column:
    timeline, start, end = window.of_column(column)
    return timeline.decayed(column, half_life, window.cutoff, start, end)


def _largest(window: Window, column: str, days: int) -> Column:
    timeline, start, end = window.of_column(column, days)
    return reduced(np.maximum, timeline.column(column), start, end)


def _newest(window: Window, column: str, days: int) -> Column:
    timeline, start, end = window.of_column(column, days)
    position = timeline.newest(column, end)
    return _age(window, timeline, position, position >= start)


def _oldest(window: Window, column: str, days: int) -> Column:
    timeline, start, end = window.of_column(column, days)
    position = timeline.oldest(column, start)
    return _age(window, timeline, position, position < end)


def _age(
    window: Window, timeline: Timeline, position: np.ndarray, is_known: np.ndarray
) -> pl.Series:
    """The age of the day at each position, null where there is no such day."""
    day = timeline.day[np.where(is_known, position, 0)]
    return where(is_known, (window.cutoff - day).astype(np.int32))


NUMBERS: dict[str, Callable[[Window, str, int], Column]] = {
    "total": _total,
    "decayed": _decayed,
    "largest": _largest,
    "newest": _newest,
    "oldest": _oldest,
}
"""How each kind of number is computed, by the name that ``columns`` gives it."""
