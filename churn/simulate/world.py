"""What all simulated worlds share: seeded, their true churn probability known, written
by simulate_exports.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from churn.errors import InputError
from churn.settings import Windows

DEFAULT_START = date(2025, 1, 6)
LAST_SECOND = 80_000  # of a day; leaves room to push events of one second apart


@dataclass(frozen=True)
class World(ABC):
    """What happened: all that can be seen of it, and the parameters nobody sees."""

    start: date
    seed: int
    n_days: int  # of the log
    arrival: np.ndarray  # (n_users,) day of the install
    uninstall: np.ndarray  # (n_users,) day of the uninstall row, -1 for none

    @property
    def n_users(self) -> int:
        """Users that ever arrive."""
        return len(self.arrival)

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the in-app events."""

    @cached_property
    @abstractmethod
    def active(self) -> np.ndarray:
        """Who had an in-app event on which day, (n_days, n_users)."""

    @abstractmethod
    def moments(self, rng: np.random.Generator) -> tuple[np.ndarray, pl.DataFrame]:
        """Second of the day of each install; in-app events: user, day, second (of the
        day), name (index).

        ``rng`` draws what the world leaves open.
        """

    @abstractmethod
    def churn(self, windows: Windows, progress: bool = False) -> np.ndarray:
        """P(no event in the horizon | what is visible) at the cutoffs 0 … n_days,
        (n_days + 1, n_users).

        Visible are the first-seen date, the observation window's events, and that no
        uninstall came before the cutoff. Means something for eligible users only.
        """


def arrivals(rng: np.random.Generator, n_users: int, n_days: int) -> np.ndarray:
    """Days of the installs: many in the first month, the others evenly. Raises
    InputError for too small a world.
    """
    if n_users < 1 or n_days < 60:
        raise InputError(
            f"a world needs at least 1 user and 60 days, not {n_users} and {n_days}"
        )
    first_wave = rng.random(n_users) < 0.4
    return np.where(
        first_wave, rng.integers(0, 30, n_users), rng.integers(0, n_days, n_users)
    )


def eligible(world: World, windows: Windows) -> np.ndarray:
    """Who is eligible at the cutoffs 0 … n_days, (n_days + 1, n_users); nobody before a
    whole eligible window.
    """
    seen = np.zeros((world.n_days + 1, world.n_users), np.int32)
    np.cumsum(world.active, axis=0, out=seen[1:])
    cutoffs = np.arange(world.n_days + 1)[windows.eligible_days :, None]
    recent = seen[windows.eligible_days :] > seen[: -windows.eligible_days]
    stayed = (world.uninstall < 0) | (world.uninstall >= cutoffs)
    return np.pad(recent & stayed, ((windows.eligible_days, 0), (0, 0)))


def truth(world: World, windows: Windows, progress: bool = False) -> pl.DataFrame:
    """True churn probability of every eligible user at every cutoff: user (index),
    cutoff, probability.

    It knows what the study's windows let anyone see, see World.churn. Cutoffs start
    when the log holds a whole eligible window and end the day after the last.
    """
    day, user = np.nonzero(eligible(world, windows))
    probability = world.churn(windows, progress)[day, user].clip(0, 1)
    cutoff = pl.lit(world.start) + pl.duration(days=pl.col("day"))
    frame = pl.DataFrame({"user": user, "day": day, "probability": probability})
    return frame.select("user", cutoff.alias("cutoff"), "probability")
