"""Days of many users in one long sequence, and sums over any stretch of them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

DAY_BITS = 20
"""Binary digits of a day's number, counted from 1970: enough until the year 4840."""


def key(user: Any, day: Any) -> Any:
    """One number for a user's number and a day; it sorts by user and then by day.

    Both are 64-bit integers: expressions, arrays or scalars. Days are not before 1970.
    """
    return user * 2**DAY_BITS + day


def day_of(keys: np.ndarray) -> np.ndarray:
    """The day of each key, counted from 1970."""
    return np.asarray(keys & (2**DAY_BITS - 1))


def user_of(keys: np.ndarray) -> np.ndarray:
    """The user's number of each key."""
    return keys >> DAY_BITS


@dataclass(frozen=True)
class Timeline:
    """Days of users, sorted by user and then by day, with numbers about each day.

    - ``keys``: ``key`` of each day, shape (n_days,). Users have the numbers from 0 to
      before ``n_users``.
    - ``counts``, ``amounts``, ``times``: columns of integers, of floats, and of instants
      in microseconds since 1970; shape (n_days,) each.

    A stretch is a part of a user's days: from the position ``start`` to before ``end``.
    Methods take arrays of both, one stretch for each of some users, in order.
    """

    keys: np.ndarray
    n_users: int
    counts: dict[str, np.ndarray]
    amounts: dict[str, np.ndarray]
    times: dict[str, np.ndarray]
    _kept: dict[tuple[str, str, int], np.ndarray] = field(default_factory=dict)

    @cached_property
    def day(self) -> np.ndarray:
        """Days since 1970, shape (n_days,)."""
        return day_of(self.keys)

    @cached_property
    def first(self) -> np.ndarray:
        """Where each user's days begin, and the end of all, shape (n_users + 1,)."""
        n_days = np.bincount(user_of(self.keys), minlength=self.n_users)
        return np.append(0, np.cumsum(n_days))

    def column(self, name: str) -> np.ndarray:
        """A column of integers or of floats, shape (n_days,)."""
        is_count = name in self.counts
        return self.counts[name] if is_count else self.amounts[name]

    @cached_property
    def gap(self) -> np.ndarray:
        """Days from each day back to the one before it, shape (n_days,).

        A user's first day has no gap, and its number means nothing.
        """
        return np.diff(self.day, prepend=0)

    @cached_property
    def streak(self) -> np.ndarray:
        """How many neighbouring days end with each day, shape (n_days,)."""
        positions = np.arange(len(self.keys))
        is_first = np.diff(self.keys, prepend=-1) != 1
        first = np.maximum.accumulate(np.where(is_first, positions, 0))
        return np.asarray(positions - first + 1)

    def position(self, users: np.ndarray, day: int) -> np.ndarray:
        """Where the days of each user that are not before ``day`` begin."""
        n_earlier = np.append(0, np.cumsum(self.day < day))
        first, last = self.first[users], self.first[users + 1]
        return np.asarray(first + n_earlier[last] - n_earlier[first])

    def count(self, column: str, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The sum of a column of integers over each stretch; 0 over an empty one."""
        name = ("running total", column, 0)
        if name not in self._kept:
            self._kept[name] = np.append(0, np.cumsum(self.counts[column]))
        running = self._kept[name]
        return np.asarray(running.take(end) - running.take(start))

    def amount(self, column: str, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The sum of a column of floats over each stretch; 0 over an empty one.

        It is summed anew: the difference of two running totals would lose digits.
        """
        return reduced(np.add, self.amounts[column], start, end)

    def decayed(
        self,
        column: str,
        half_life: int,
        day: int,
        start: np.ndarray,
        end: np.ndarray,
    ) -> np.ndarray:
        """The sum of a column, whose weight halves with each half-life before ``day``.

        A day's weight is 1 if it is ``day`` itself.
        """
        newest = int(self.day.max(initial=0))
        name = ("decayed", column, half_life)
        if name not in self._kept:
            self._kept[name] = self.column(column) * self._weight(newest, half_life)
        at_newest = reduced(np.add, self._kept[name], start, end)
        return np.asarray(at_newest * np.exp2((newest - day) / half_life))

    def _weight(self, day: int, half_life: int) -> np.ndarray:
        """Each day's weight, which is 1 at ``day`` and halves with each half-life."""
        name = ("weight", str(day), half_life)
        if name not in self._kept:
            self._kept[name] = np.exp2((self.day - day) / half_life)
        return self._kept[name]

    def newest(self, column: str, end: np.ndarray) -> np.ndarray:
        """The last position before ``end`` at which a column is above 0.

        If the user has no such day, it is a day of another user, or −1.
        """
        name = ("newest", column, 0)
        if name not in self._kept:
            positions = np.arange(len(self.keys))
            is_there = self.column(column) > 0
            last = np.maximum.accumulate(np.where(is_there, positions, -1))
            self._kept[name] = np.append(-1, last)
        return np.asarray(self._kept[name][end])

    def oldest(self, column: str, start: np.ndarray) -> np.ndarray:
        """The first position from ``start`` on at which a column is above 0.

        If the user has no such day, it is a day of another user, or the number of days.
        """
        name = ("oldest", column, 0)
        if name not in self._kept:
            n_days = len(self.keys)
            is_there = self.column(column) > 0
            positions = np.where(is_there, np.arange(n_days), n_days)
            next_one = np.minimum.accumulate(positions[::-1])[::-1]
            self._kept[name] = np.append(next_one, n_days)
        return np.asarray(self._kept[name][start])


def reduced(
    function: np.ufunc,
    values: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
) -> np.ndarray:
    """A reduction, such as ``np.add``, of the values of each stretch; 0 if it is empty.

    The stretches are in order and don't overlap.

    >>> values = np.array([1, 2, 3, 4])
    >>> reduced(np.add, values, np.array([0, 2, 3]), np.array([2, 2, 4]))
    array([3, 0, 4])
    """
    result = np.zeros(len(start), values.dtype)
    is_filled = start < end
    if is_filled.any():
        bounds = np.column_stack([start, end])[is_filled].ravel()
        # The last stretch may end with the last value, and no bound lies behind that.
        padded = np.append(values, 0)
        result[is_filled] = function.reduceat(padded, bounds)[::2]
    return result
