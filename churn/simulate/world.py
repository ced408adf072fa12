"""The base of all simulated worlds: arrivals, eligibility and true probabilities."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from churn.errors import InputError
from churn.settings import Windows

DEFAULT_START = date(2025, 1, 6)
"""First day of a simulated log, a Monday."""

LAST_SECOND = 80_000
"""Last second of a day at which events are drawn.

The rest of the day is left free so that events in the same second can be moved apart.
"""

MIN_DAYS = 60
"""Smallest number of days of a world."""

FIRST_WAVE_RATE = 0.4
"""Share of users who install within the first ``FIRST_WAVE_DAYS``."""

FIRST_WAVE_DAYS = 30


@dataclass(frozen=True)
class World(ABC):
    """What happened in a simulated app.

    - ``n_days``: length of the log.
    - ``arrival``: shape (n_users,), day of each user's install.
    - ``uninstall``: shape (n_users,), day of the uninstall event, -1 for none.
    """

    start: date
    seed: int
    n_days: int
    arrival: np.ndarray
    uninstall: np.ndarray

    @property
    def n_users(self) -> int:
        """Number of users who arrive at some time."""
        return len(self.arrival)

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the in-app events."""

    @property
    def active_names(self) -> tuple[str, ...]:
        """Names of the in-app events that count as being active."""
        return self.names

    @cached_property
    @abstractmethod
    def active(self) -> np.ndarray:
        """Whether a user had an active event on a day, shape (n_days, n_users)."""

    @abstractmethod
    def moments(self, rng: np.random.Generator) -> tuple[np.ndarray, pl.DataFrame]:
        """Second of the day of each install, and the in-app events.

        Events have user, day, second (of the day) and name (an index of ``names``).
        ``rng`` draws the details that the world itself doesn't determine.
        """

    @abstractmethod
    def churn(
        self,
        windows: Windows,
        progress: bool = False,
    ) -> np.ndarray:
        """The true churn probability at the cutoffs 0 … n_days.

        Shape (n_days + 1, n_users): P(no active event in the horizon | visible data).
        Visible are the first-seen date, the events of the observation window, and the
        fact that no uninstall came before the cutoff. The values are valid for eligible
        users only.
        """


def arrivals(
    rng: np.random.Generator,
    n_users: int,
    n_days: int,
) -> np.ndarray:
    """Days of the installs: many in the first month, the others evenly spread.

    Raises InputError for a world without users or with too few days.
    """
    if n_users < 1 or n_days < MIN_DAYS:
        raise InputError(
            f"a world needs at least 1 user and {MIN_DAYS} days, "
            f"not {n_users} and {n_days}"
        )
    is_early = rng.random(n_users) < FIRST_WAVE_RATE
    early = rng.integers(0, FIRST_WAVE_DAYS, n_users)
    any_day = rng.integers(0, n_days, n_users)
    return np.where(is_early, early, any_day)


def eligible(world: World, windows: Windows) -> np.ndarray:
    """Whether each user is eligible at the cutoffs 0 … n_days.

    Shape (n_days + 1, n_users); nobody is before a whole eligible window has passed.
    """
    days = windows.eligible_days
    n_active = np.zeros((world.n_days + 1, world.n_users), np.int32)
    np.cumsum(
        world.active,
        axis=0,
        out=n_active[1:],
    )
    cutoffs = np.arange(world.n_days + 1)[days:, None]
    is_recent = n_active[days:] > n_active[:-days]
    is_installed = (world.uninstall < 0) | (world.uninstall >= cutoffs)
    return np.pad(is_recent & is_installed, ((days, 0), (0, 0)))


def truth(
    world: World,
    windows: Windows,
    progress: bool = False,
) -> pl.DataFrame:
    """True churn probability of every eligible user at every cutoff.

    Columns: user (an index), cutoff, probability. The probability is conditional on the
    data inside the windows (see ``World.churn``). Cutoffs begin when the log holds a
    whole eligible window, and end on the day after the log's last.
    """
    day, user = np.nonzero(eligible(world, windows))
    probability = world.churn(windows, progress)[day, user].clip(0, 1)
    frame = pl.DataFrame(
        {
            "user": user,
            "day": day,
            "probability": probability,
        }
    )
    cutoff = pl.lit(world.start) + pl.duration(days=pl.col("day"))
    return frame.select("user", cutoff.alias("cutoff"), "probability")
