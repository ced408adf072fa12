"""The Markov world: users of fixed types with a hidden state that moves every day.

Type and state determine the mean number of events of each name on a day (Poisson). The
true churn probability follows by filtering with the true parameters: no model can do
better.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from tqdm.auto import tqdm

from churn.settings import Windows
from churn.simulate.markov_filter import beliefs, silence
from churn.simulate.markov_parameters import Parameters
from churn.simulate.world import DEFAULT_START, LAST_SECOND, World, arrivals

HOUR_SHARE = np.array(
    [
        1,
        1,
        1,
        1,
        1,
        2,
        4,
        6,
        7,
        7,
        7,
        7,
        8,
        8,
        7,
        7,
        7,
        8,
        9,
        10,
        10,
        8,
    ],
    dtype=float,
)
"""Relative frequency of events by hour, from midnight to the hour of LAST_SECOND."""

LAST_INSTALL_SECOND = 20_000
"""Last second of a day at which installs are drawn."""

CHUNK = 250
"""Number of users filtered at a time, which bounds memory."""


@dataclass(frozen=True)
class Markov(World):
    """A world of hidden states.

    ``counts``: shape (n_days, n_users, E), events of each name.
    """

    parameters: Parameters
    counts: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """See World."""
        return self.parameters.events

    @property
    def active_names(self) -> tuple[str, ...]:
        """See World."""
        return self.parameters.active_names or self.names

    @cached_property
    def active(self) -> np.ndarray:
        """See World."""
        return np.asarray(self.counts[..., self.parameters.is_active].any(axis=2))

    def weekday(self, day: int) -> int:
        """The weekday of a day of the log; 0 is Monday."""
        return (self.start + timedelta(days=day)).weekday()

    def moments(self, rng: np.random.Generator) -> tuple[np.ndarray, pl.DataFrame]:
        """See World; hours follow HOUR_SHARE, on the first day after the install."""
        installed = rng.integers(0, LAST_INSTALL_SECOND, self.n_users)
        cells = np.nonzero(self.counts)
        n_events = self.counts[cells]
        day, user, name = (np.repeat(index, n_events) for index in cells)
        share = HOUR_SHARE / HOUR_SHARE.sum()
        hour = rng.choice(len(HOUR_SHARE), len(day), p=share)
        second = np.minimum(hour * 3600 + rng.integers(0, 3600, len(day)), LAST_SECOND)
        is_first_day = day == self.arrival[user]
        left = LAST_SECOND - installed[user]
        after_install = installed[user] + 1 + second * left // LAST_SECOND
        second = np.where(is_first_day, after_install, second)
        columns = {
            "user": user,
            "day": day,
            "second": second,
            "name": name,
        }
        return installed, pl.DataFrame(columns)

    def churn(
        self,
        windows: Windows,
        progress: bool = False,
    ) -> np.ndarray:
        """See World; by filtering over the days of each window."""
        n_observed = windows.observation_days
        silent = [silence(self, day, windows) for day in range(self.n_days + 1)]
        probabilities = np.empty((self.n_days + 1, self.n_users))
        firsts = range(0, self.n_users, CHUNK)
        for first in tqdm(
            firsts,
            "truth",
            disable=not progress,
            leave=False,
        ):
            users = slice(first, first + CHUNK)
            for day, belief in enumerate(beliefs(self, n_observed, users)):
                probabilities[day, users] = np.einsum("tns,ts->n", belief, silent[day])
        return probabilities


def markov(
    n_users: int,
    n_days: int,
    seed: int,
    parameters: Parameters | None = None,
    start: date = DEFAULT_START,
) -> Markov:
    """Draw a world; the same arguments give the same world.

    Raises InputError for a world without users or with too few days.
    """
    p = parameters or Parameters()
    rng = np.random.default_rng(seed)
    arrival = arrivals(rng, n_users, n_days)
    kind = rng.choice(len(p.type_share), n_users, p=p.type_share)
    uninstall = np.full(n_users, -1)
    state = np.zeros(n_users, int)
    counts = np.zeros((n_days, n_users, len(p.events)), np.uint16)
    world = Markov(start, seed, n_days, arrival, uninstall, p, counts)
    uninstalled = p.rate.shape[1] - 1
    for day in range(n_days):
        first = _draw(rng, p.first_state[kind])
        moved = _draw(rng, p.step(day - 1)[kind, state])
        state = np.where(arrival == day, first, moved)
        is_here = arrival <= day
        uninstall[is_here & (state == uninstalled) & (uninstall < 0)] = day
        rate = p.daily_rate(day, world.weekday(day))[kind, state]
        total = rng.poisson(np.where(is_here, rate, 0.0))
        busy = np.flatnonzero(total)
        mix = p.mix_by_state[kind[busy], state[busy]]
        counts[day, busy] = rng.multinomial(total[busy], mix)
    return world


def _draw(rng: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    """One state per row of probabilities, shape (n, S)."""
    draw = rng.random((len(probabilities), 1))
    state = (draw > probabilities.cumsum(axis=1)).sum(axis=1)
    return np.minimum(state, probabilities.shape[1] - 1)
