"""The numbers that features are made of (see ``columns``), computed for a window."""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from churn.features.columns import parts
from churn.features.habits import HABITS
from churn.features.timeline import reduced
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


def _decayed(window: Window, column: str, half_life: int) -> Column:
    active = window.days.active
    return active.decayed(column, half_life, window.cutoff, *window.active())


def _largest(window: Window, column: str, days: int) -> Column:
    return reduced(np.maximum, window.days.active.counts[column], *window.active(days))


def _newest(window: Window, column: str, days: int) -> Column:
    active = window.days.active
    is_active = column in active.counts
    timeline = active if is_active else window.days.every
    start, end = window.active() if is_active else window.every()
    position = timeline.newest(column, end)
    return _age(window, timeline.day[position], position >= start)


def _oldest(window: Window, column: str, days: int) -> Column:
    is_active = column == "n_active"
    timeline = window.days.active if is_active else window.days.every
    start, _ = window.active() if is_active else window.every()
    return _age(window, timeline.day[start], np.full(len(start), True))


def _age(window: Window, day: np.ndarray, is_known: np.ndarray) -> pl.Series:
    return where(is_known, (window.cutoff - day).astype(np.int32))


NUMBERS: dict[str, Callable[[Window, str, int], Column]] = {
    "total": Window.total,
    "decayed": _decayed,
    "largest": _largest,
    "newest": _newest,
    "oldest": _oldest,
}
"""How each kind of number is computed, by the name that ``columns`` gives it."""
