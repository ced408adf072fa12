"""Seeded worlds whose true churn probability is known, for simulate_exports to write as extracts.

In the Markov world a user has a fixed type and, every day, a hidden state. Type and state say how many events of each
name a day brings (Poisson); from day to day the state moves by the type's transition matrix. What a perfect observer
could know follows by forward filtering with the true parameters: the best any model can do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import polars as pl
from tqdm.auto import tqdm

from churn.errors import InputError
from churn.study import Windows

UNINSTALLED = 4  # index of the absorbing state; entering it writes one uninstall row
DEFAULT_START = date(2025, 1, 6)


def _transitions(*rows: tuple[float, float, float, float, float]) -> list[list[float]]:
    return [*map(list, rows), [0.0, 0.0, 0.0, 0.0, 1.0]]


@dataclass(frozen=True)
class Parameters:
    """States are keen, casual, fading, gone, uninstalled. Shapes: T types, S states, E event names."""

    events: tuple[str, ...] = (
        "af_login",
        "af_content_view",
        "af_search",
        "af_add_to_cart",
        "af_purchase",
        "af_level_achieved",
        "af_share",
        "af_rate",
    )
    type_share: np.ndarray = field(default_factory=lambda: np.array([0.2, 0.3, 0.3, 0.2]))  # (T,)
    first_state: np.ndarray = field(  # (T, S)
        default_factory=lambda: np.array(
            [[0.8, 0.2, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0.7, 0.2, 0.1, 0, 0]], dtype=float
        )
    )
    transition: np.ndarray = field(  # (T, S, S)
        default_factory=lambda: np.array(
            [
                _transitions(
                    (0.970, 0.024, 0.006, 0, 0),
                    (0.030, 0.945, 0.025, 0, 0),
                    (0.005, 0.025, 0.915, 0.050, 0.005),
                    (0.000, 0.001, 0.000, 0.994, 0.005),
                ),
                _transitions(
                    (0.930, 0.050, 0.020, 0, 0),
                    (0.025, 0.935, 0.040, 0, 0),
                    (0.005, 0.020, 0.905, 0.062, 0.008),
                    (0.000, 0.001, 0.000, 0.993, 0.006),
                ),
                _transitions(
                    (0.960, 0.030, 0.010, 0, 0),
                    (0.015, 0.960, 0.025, 0, 0),
                    (0.004, 0.016, 0.945, 0.032, 0.003),
                    (0.000, 0.001, 0.000, 0.995, 0.004),
                ),
                _transitions(
                    (0.780, 0.130, 0.090, 0, 0),
                    (0.020, 0.860, 0.120, 0, 0),
                    (0.005, 0.015, 0.820, 0.130, 0.030),
                    (0.000, 0.001, 0.000, 0.985, 0.014),
                ),
            ]
        )
    )
    rate: np.ndarray = field(  # (T, S) events on an average day
        default_factory=lambda: np.array(
            [
                [3.8, 1.1, 0.12, 0.002, 0],
                [1.45, 0.32, 0.05, 0.002, 0],
                [0.35, 0.1, 0.03, 0.002, 0],
                [1.6, 0.3, 0.05, 0.001, 0],
            ]
        )
    )
    weekday: np.ndarray = field(  # (T, 7) Monday first
        default_factory=lambda: np.array(
            [[1.0, 1, 1, 1, 1, 1, 1], [1.1, 1.1, 1, 1, 1, 0.9, 0.9], [0.5, 0.5, 0.6, 0.6, 1.0, 2.0, 1.8], [1.0] * 7]
        )
    )
    mix: np.ndarray = field(  # (T, E) shares of the event names
        default_factory=lambda: np.array(
            [
                [0.25, 0.30, 0.12, 0.08, 0.06, 0.12, 0.05, 0.02],
                [0.30, 0.35, 0.14, 0.07, 0.03, 0.07, 0.03, 0.01],
                [0.22, 0.28, 0.10, 0.06, 0.04, 0.25, 0.04, 0.01],
                [0.45, 0.30, 0.15, 0.04, 0.01, 0.03, 0.01, 0.01],
            ]
        )
    )

    def daily_rate(self, weekday: int) -> np.ndarray:
        """Events on a day of the week by type and state, flattened to (T·S,)."""
        return (self.rate * self.weekday[:, weekday : weekday + 1]).ravel()

    def blocks(self) -> np.ndarray:
        """The transition matrix over (type, state), (T·S, T·S): types never change."""
        n_types, n_states = self.rate.shape
        joint = np.zeros((n_types, n_states, n_types, n_states))
        joint[np.arange(n_types), :, np.arange(n_types)] = self.transition
        return joint.reshape(n_types * n_states, -1)


@dataclass(frozen=True)
class World:
    """What happened: all that can be seen of it, and the parameters nobody sees."""

    parameters: Parameters
    start: date
    seed: int
    arrival: np.ndarray  # (n_users,) day of the install
    uninstall: np.ndarray  # (n_users,) day of the uninstall row, -1 for none
    counts: np.ndarray  # (n_days, n_users, E) uint16

    @property
    def n_days(self) -> int:
        """Days of the log."""
        return int(self.counts.shape[0])

    @property
    def n_users(self) -> int:
        """Users that ever arrive."""
        return int(self.counts.shape[1])

    def weekday(self, day: int) -> int:
        """0 is Monday."""
        return (self.start + timedelta(days=day)).weekday()


def markov(
    n_users: int, n_days: int, seed: int, parameters: Parameters | None = None, start: date = DEFAULT_START
) -> World:
    """Draw a world. The same arguments give the same world. Raises InputError for no users or under 60 days."""
    if n_users < 1 or n_days < 60:
        raise InputError(f"a world needs at least 1 user and 60 days, not {n_users} and {n_days}")
    p = parameters or Parameters()
    rng = np.random.default_rng(seed)
    first_wave = rng.random(n_users) < 0.4
    arrival = np.where(first_wave, rng.integers(0, 30, n_users), rng.integers(0, n_days, n_users))
    kind = rng.choice(len(p.type_share), n_users, p=p.type_share)
    counts = np.zeros((n_days, n_users, len(p.events)), np.uint16)
    uninstall = np.full(n_users, -1)
    state = np.zeros(n_users, int)
    for day in range(n_days):
        state = np.where(arrival == day, _draw(rng, p.first_state[kind]), _draw(rng, p.transition[kind, state]))
        here = arrival <= day
        uninstall[here & (state == UNINSTALLED) & (uninstall < 0)] = day
        weekday = (start + timedelta(days=day)).weekday()
        total = rng.poisson(np.where(here, p.rate[kind, state] * p.weekday[kind, weekday], 0.0))
        busy = np.flatnonzero(total)
        counts[day, busy] = rng.multinomial(total[busy], p.mix[kind[busy]])
    return World(p, start, seed, arrival, uninstall, counts)


def _draw(rng: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    """One index per row of (n, S) probabilities."""
    drawn = (rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    return np.minimum(drawn, probabilities.shape[1] - 1)


def beliefs(world: World) -> Iterator[np.ndarray]:
    """For each day 0 … n_days: P(type, state on that day | everything visible before it), (n_users, T·S).

    Visible are the install, the counts per event name, and whether an uninstall row came. Rows of users who have not
    arrived are zero.
    """
    p = world.parameters
    prior = (p.type_share[:, None] * p.first_state).ravel()
    step = p.blocks()
    belief = np.zeros((world.n_users, prior.size))
    for day in range(world.n_days):
        yield belief
        belief[world.arrival == day] = prior
        belief = _posterior(world, belief, day) @ step
    yield belief


def _posterior(world: World, belief: np.ndarray, day: int) -> np.ndarray:
    p = world.parameters
    rate, counts = p.daily_rate(world.weekday(day)), world.counts[day].astype(float)
    n = counts.sum(axis=1, keepdims=True)
    by_type = np.repeat(counts @ np.log(p.mix).T, p.rate.shape[1], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_rate = np.where(n > 0, n * np.log(rate), 0.0) - rate
    fits = np.exp(by_type + by_rate - np.max(by_type + by_rate, axis=1, keepdims=True))
    gone = np.arange(rate.size) % p.rate.shape[1] == UNINSTALLED
    has_row = (world.uninstall >= 0) & (world.uninstall <= day)
    weighed = belief * fits * np.where(has_row[:, None], gone, ~gone)
    total = weighed.sum(axis=1, keepdims=True)
    return np.divide(weighed, total, out=np.zeros_like(weighed), where=total > 0)


def silence(world: World, cutoff: int, windows: Windows) -> np.ndarray:
    """P(no event in the horizon | type and state on the cutoff's day), (T·S,), by backward recursion."""
    p, step = world.parameters, world.parameters.blocks()
    first = cutoff + windows.lead_days
    chance = np.ones(step.shape[0])
    for day in range(first + windows.horizon_days - 1, cutoff - 1, -1):
        quiet = np.exp(-p.daily_rate(world.weekday(day))) if day >= first else 1.0
        ahead = chance if day == first + windows.horizon_days - 1 else step @ chance
        chance = quiet * ahead
    return chance


def truth(world: World, windows: Windows, progress: bool = False) -> pl.DataFrame:
    """True churn probability of every eligible user at every cutoff: user (index), cutoff, probability.

    Cutoffs start when the log holds a whole eligible window and end the day after the last.
    """
    active = world.counts.sum(axis=2) > 0
    frames = []
    days = tqdm(beliefs(world), "truth", world.n_days + 1, disable=not progress, leave=False)
    for day, belief in enumerate(days):
        if day < windows.eligible_days:
            continue
        recent = active[day - windows.eligible_days : day].any(axis=0)
        stayed = (world.uninstall < 0) | (world.uninstall >= day)
        who = np.flatnonzero(recent & stayed)
        p = np.clip(belief[who] @ silence(world, day, windows), 0, 1)
        cutoff = world.start + timedelta(days=day)
        frames.append(pl.DataFrame({"user": who, "probability": p}).with_columns(cutoff=pl.lit(cutoff)))
    return pl.concat(frames).select("user", "cutoff", "probability")
