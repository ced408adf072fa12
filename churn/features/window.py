"""One cutoff's observation window: which of the user-days its features may see."""

from dataclasses import dataclass, field

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

    - ``users``: their numbers, ascending, shape (n_users,). All have an active day in
      the window.
    - ``cutoff``: days since 1970. ``length``: of the window, in days; nothing older is
      seen, whatever number of days is asked for.
    """

    days: UserDays
    users: np.ndarray
    cutoff: int
    length: int
    _stretches: dict[tuple[bool, int], Stretch] = field(default_factory=dict)

    def every(self, days: int = WHOLE) -> Stretch:
        """The last ``days`` days with events."""
        return self._stretch(self.days.every, days)

    def active(self, days: int = WHOLE) -> Stretch:
        """The last ``days`` days with active events."""
        return self._stretch(self.days.active, days)

    def _stretch(self, timeline: Timeline, days: int) -> Stretch:
        name = (timeline is self.days.active, days)
        if name not in self._stretches:
            first = self.cutoff - min(days or self.length, self.length)
            start = timeline.position(self.users, first)
            end = timeline.position(self.users, self.cutoff)
            self._stretches[name] = (start, end)
        return self._stretches[name]

    def recency(self) -> np.ndarray:
        """Days since the last active day, shape (n_users,)."""
        _, end = self.active()
        return np.asarray(self.cutoff - self.days.active.day[end - 1])


def where(is_known: np.ndarray, values: np.ndarray) -> pl.Series:
    """The values, but null where they aren't known."""
    frame = pl.DataFrame({"known": is_known, "value": values})
    return frame.select(pl.when("known").then("value")).to_series()
