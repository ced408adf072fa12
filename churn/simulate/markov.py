"""The Markov world.

A user has a fixed type and, every day, a hidden state. Type and state say how many
events of each name a day brings (Poisson); from day to day the state moves by the
type's transition matrix. What an observer could know who sees what a study's windows
show follows by filtering with the true parameters: the best any model can do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from tqdm.auto import tqdm

from churn.settings import Windows
from churn.simulate.world import DEFAULT_START, LAST_SECOND, World, arrivals

HOUR_SHARE = np.array(
    [1, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 7, 8, 8, 7, 7, 7, 8, 9, 10, 10, 8], dtype=float
)
CHUNK = 250  # users filtered at a time, for bounded memory


def _transitions(*rows: tuple[float, float, float, float, float]) -> list[list[float]]:
    return [*map(list, rows), [0.0, 0.0, 0.0, 0.0, 1.0]]


@dataclass(frozen=True)
class Parameters:
    """States are keen, casual, fading, gone, uninstalled. Shapes: T types, S states, E
    event names.

    The last two states are always gone and uninstalled; uninstalled is never left, and
    entering it writes one row.
    """

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
    type_share: np.ndarray = field(
        default_factory=lambda: np.array([0.2, 0.3, 0.3, 0.2])
    )  # (T,)
    first_state: np.ndarray = field(  # (T, S)
        default_factory=lambda: np.array(
            [
                [0.8, 0.2, 0, 0, 0],
                [0.5, 0.5, 0, 0, 0],
                [0.5, 0.5, 0, 0, 0],
                [0.7, 0.2, 0.1, 0, 0],
            ],
            dtype=float,
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
            [
                [1.0, 1, 1, 1, 1, 1, 1],
                [1.1, 1.1, 1, 1, 1, 0.9, 0.9],
                [0.5, 0.5, 0.6, 0.6, 1.0, 2.0, 1.8],
                [1.0] * 7,
            ]
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

    level: np.ndarray = field(
        default_factory=lambda: np.ones(1)
    )  # factor of all rates by day; the last one lasts
    hazard: np.ndarray = field(
        default_factory=lambda: np.ones(1)
    )  # the same of the odds to be in the last two states

    def daily_rate(self, day: int, weekday: int) -> np.ndarray:
        """Events by type and state on a day of the log that is this day of the week,
        (T, S).
        """
        return (
            self.rate
            * self.weekday[:, weekday : weekday + 1]
            * _lasting(self.level, day)
        )

    def step(self, day: int) -> np.ndarray:
        """Transitions from this day to the next, (T, S, S)."""
        odds = self.transition.copy()
        odds[..., -2:] *= _lasting(self.hazard, day)
        return odds / odds.sum(axis=-1, keepdims=True)


def _lasting(factors: np.ndarray, day: int) -> float:
    return float(factors[min(day, len(factors) - 1)])


@dataclass(frozen=True)
class Markov(World):
    """A world of hidden states."""

    parameters: Parameters
    counts: np.ndarray  # (n_days, n_users, E) uint16

    @property
    def names(self) -> tuple[str, ...]:
        """See World."""
        return self.parameters.events

    @cached_property
    def active(self) -> np.ndarray:
        """See World."""
        return self.counts.sum(axis=2) > 0

    def weekday(self, day: int) -> int:
        """0 is Monday."""
        return (self.start + timedelta(days=day)).weekday()

    def moments(self, rng: np.random.Generator) -> tuple[np.ndarray, pl.DataFrame]:
        """By the hour's share; on the first day all after the install."""
        installed = rng.integers(0, 20_000, self.n_users)
        day, user, name = np.nonzero(self.counts)
        day, user, name = (
            np.repeat(x, self.counts[day, user, name]) for x in (day, user, name)
        )
        hour = rng.choice(len(HOUR_SHARE), len(day), p=HOUR_SHARE / HOUR_SHARE.sum())
        second = np.minimum(hour * 3600 + rng.integers(0, 3600, len(day)), LAST_SECOND)
        after_install = (
            installed[user]
            + 1
            + second * (LAST_SECOND - installed[user]) // LAST_SECOND
        )
        second = np.where(day == self.arrival[user], after_install, second)
        return installed, pl.DataFrame(
            {"user": user, "day": day, "second": second, "name": name}
        )

    def churn(self, windows: Windows, progress: bool = False) -> np.ndarray:
        """By filtering over the days of each window."""
        silent = [silence(self, day, windows) for day in range(self.n_days + 1)]
        found = np.empty((self.n_days + 1, self.n_users))
        for first in tqdm(
            range(0, self.n_users, CHUNK), "truth", disable=not progress, leave=False
        ):
            users = slice(first, first + CHUNK)
            for day, belief in enumerate(
                beliefs(self, windows.observation_days, users)
            ):
                found[day, users] = np.einsum("tns,ts->n", belief, silent[day])
        return found


def markov(
    n_users: int,
    n_days: int,
    seed: int,
    parameters: Parameters | None = None,
    start: date = DEFAULT_START,
) -> Markov:
    """Draw a world. The same arguments give the same world. Raises InputError for no
    users or under 60 days.
    """
    p = parameters or Parameters()
    rng = np.random.default_rng(seed)
    arrival = arrivals(rng, n_users, n_days)
    kind = rng.choice(len(p.type_share), n_users, p=p.type_share)
    uninstall, state = np.full(n_users, -1), np.zeros(n_users, int)
    world = Markov(
        start,
        seed,
        n_days,
        arrival,
        uninstall,
        p,
        np.zeros((n_days, n_users, len(p.events)), np.uint16),
    )
    for day in range(n_days):
        moved = (
            _draw(rng, p.first_state[kind]),
            _draw(rng, p.step(day - 1)[kind, state]),
        )
        state = np.where(arrival == day, *moved)
        here = arrival <= day
        uninstall[here & (state == p.rate.shape[1] - 1) & (uninstall < 0)] = day
        total = rng.poisson(
            np.where(here, p.daily_rate(day, world.weekday(day))[kind, state], 0.0)
        )
        busy = np.flatnonzero(total)
        world.counts[day, busy] = rng.multinomial(total[busy], p.mix[kind[busy]])
    return world


def _draw(rng: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    """One index per row of (n, S) probabilities."""
    drawn = (rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(
        axis=1
    )
    return np.minimum(drawn, probabilities.shape[1] - 1)


def beliefs(world: Markov, n_observed: int, users: slice) -> Iterator[np.ndarray]:
    """For each day 0 … n_days: P(type, state on that day | what is visible), (T,
    n_users, S).

    Visible are the install's day, the counts per event name on the ``n_observed`` days
    before, and that no uninstall row came before. A day is a matrix (fit, then step), a
    window the product of its days; days are cut into blocks as long as a window, so
    that each window is the tail of one block times the head of the next (van Herk's
    trick).
    """
    p, arrival = world.parameters, world.arrival[users]
    n_types, n_states = p.rate.shape
    unit = np.broadcast_to(
        np.eye(n_states), (n_types, len(arrival), n_states, n_states)
    )
    prior = np.repeat(
        (p.type_share[:, None] * p.first_state)[:, None], world.n_days, axis=1
    )  # by day of arrival
    tails = [unit] * n_observed  # transposed
    for first in range(0, world.n_days + 1, n_observed):
        head, seen = unit, []
        for day in range(first, first + n_observed):
            yield _belief(prior[:, arrival], tails[day - first], head)
            if day == world.n_days:
                return
            seen.append((_fit(world, day, users), p.step(day), arrival <= day))
            fit, step, here = seen[-1]
            head = _where(here, _times(head * fit, step), head)
            _age(prior, p, day - n_observed)
        tails = [unit]
        for fit, step, here in reversed(seen):
            tails.append(
                _where(
                    here, _times(tails[-1], step.transpose(0, 2, 1)) * fit, tails[-1]
                )
            )
        tails = tails[:0:-1]


def _fit(world: Markov, day: int, users: slice) -> np.ndarray:
    """How well each type and state explains a day's counts, (T, n_users, 1, S): the
    best 1, uninstalled 0.
    """
    p = world.parameters
    counts, rate = (
        world.counts[day, users].astype(float),
        p.daily_rate(day, world.weekday(day))[:, None],
    )
    n = counts.sum(axis=1)[:, None]
    logs = (
        (np.log(p.mix) @ counts.T)[..., None]
        + n * np.log(np.maximum(rate, np.finfo(float).tiny))
        - rate
    )
    logs[..., -1] = -np.inf
    return np.exp(logs - logs.max(axis=(0, 2), keepdims=True))[:, :, None]


def _times(products: np.ndarray, step: np.ndarray) -> np.ndarray:
    return (products.reshape(len(step), -1, step.shape[-1]) @ step).reshape(
        products.shape
    )


def _where(here: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """The new products, scaled against underflow, of users who have arrived."""
    new /= np.einsum("tnij->n", new)[:, None, None]
    np.copyto(new, old, where=~here[:, None, None])
    return new


def _belief(prior: np.ndarray, tail: np.ndarray, head: np.ndarray) -> np.ndarray:
    weights = np.einsum("tnj,tnjk->tnk", np.einsum("tnji,tni->tnj", tail, prior), head)
    return weights / weights.sum(axis=(0, 2), keepdims=True)


def _age(prior: np.ndarray, parameters: Parameters, day: int) -> None:
    """Move those who arrived by a day to the next one, knowing that no uninstall row
    came.
    """
    if day >= 0:
        prior[:, : day + 1, -1] = 0
        prior[:, : day + 1] = prior[:, : day + 1] @ parameters.step(day)


def silence(world: Markov, cutoff: int, windows: Windows) -> np.ndarray:
    """P(no event in the horizon | type and state on the cutoff's day), (T, S), by
    backward recursion.
    """
    p, first = world.parameters, cutoff + windows.lead_days
    last = first + windows.horizon_days - 1
    chance = np.exp(-p.daily_rate(last, world.weekday(last)))
    for day in range(last - 1, cutoff - 1, -1):
        chance = (p.step(day) @ chance[..., None])[..., 0]
        if day >= first:
            chance *= np.exp(-p.daily_rate(day, world.weekday(day)))
    return chance
