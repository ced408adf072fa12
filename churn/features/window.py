"""One cutoff's observation window: which of the user-days its features may see."""

from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from churn.features.columns import WHOLE
from churn.features.timeline import Timeline
from churn.features.user_days import UserDays

Stretch = tuple[np.ndarray, np.ndarray]
"""Positions of the first day and of the one after the last, shape (n_users,) each."""


@dataclass(frozen=True)
class Window:
    """The last days of some users before a cutoff.

    - ``users``: their numbers, ascending, shape (n_users,).
    - ``cutoff``: days since 1970. ``length``: of the window, in days; nothing older is
      seen, whatever number of days is asked for.
    """

    days: UserDays
    users: np.ndarray
    cutoff: int
    length: int
    _stretches: dict[tuple[bool, int], Stretch] = field(default_factory=dict)

    @classmethod
    def before(
        cls, cutoff: date, days: UserDays, users: np.ndarray, length: int
    ) -> "Window":
        """The window of ``length`` days before a date."""
        return cls(days, users, (cutoff - date(1970, 1, 1)).days, length)

    def of(self, is_kept: np.ndarray) -> "Window":
        """The same window of fewer users; ``is_kept`` has the shape (n_users,)."""
        return Window(self.days, self.users[is_kept], self.cutoff, self.length)

    def user_ids(self) -> pl.Series:
        """The users' ids, shape (n_users,)."""
        return self.days.user_ids.gather(self.users)

    def every(self, days: int = WHOLE) -> Stretch:
        """The last ``days`` days with events."""
        return self._stretch(self.days.every, days)

    def active(self, days: int = WHOLE) -> Stretch:
        """The last ``days`` days with active events."""
        return self._stretch(self.days.active, days)

    def of_column(
        self, column: str, days: int = WHOLE
    ) -> tuple[Timeline, np.ndarray, np.ndarray]:
        """The timeline of a column, with the stretch of the last ``days`` days.

        Raises KeyError for an unknown column.
        """
        for timeline in (self.days.active, self.days.every):
            if column in timeline.counts or column in timeline.amounts:
                return timeline, *self._stretch(timeline, days)
        raise KeyError(f"the user-day table has no column {column!r}")

    def _stretch(self, timeline: Timeline, days: int) -> Stretch:
        name = (timeline is self.days.active, days)
        if name not in self._stretches:
            first = self.cutoff - min(days or self.length, self.length)
            start = timeline.position(self.users, first)
            end = self._end_of_active if name[0] else self._end_of_every
            self._stretches[name] = (start, end)
        return self._stretches[name]

    @cached_property
    def _end_of_active(self) -> np.ndarray:
        return self.days.active.position(self.users, self.cutoff)

    @cached_property
    def _end_of_every(self) -> np.ndarray:
        return self.days.every.position(self.users, self.cutoff)

    def recency(self) -> np.ndarray:
        """Days since the last active day, of users who have one; shape (n_users,)."""
        _, end = self.active()
        return np.asarray(self.cutoff - self.days.active.day[end - 1])


def where(is_known: np.ndarray, values: np.ndarray) -> pl.Series:
    """The values, but null where they aren't known."""
    frame = pl.DataFrame({"known": is_known, "value": values})
    return frame.select(pl.when("known").then("value")).to_series()
