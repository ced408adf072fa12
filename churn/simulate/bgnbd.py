"""The BG/NBD world (Fader, Hardie, Lee 2005), in continuous time.

The first event comes right after the install. From then on a living user's events are a
Poisson process. After each of these repeat events, but not after the first event, the
user may drop out for good, which leaves no trace in the data. Rates are Gamma
distributed over users, dropout probabilities Beta distributed, independently. Event
names carry no information.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from scipy.special import roots_jacobi
from tqdm.auto import tqdm

from churn.settings import Windows
from churn.simulate.world import DEFAULT_START, World, arrivals, eligible

DAY = 86_400
"""Seconds of a day."""

N_NODES = 96
"""Number of nodes of the quadrature over dropout probabilities."""

MIN_DROPOUT = 1e-12
"""Smallest dropout probability, so that a user's last event can be drawn."""


@dataclass(frozen=True)
class Parameters:
    """Events per day ~ Gamma(r, rate alpha); dropout probability ~ Beta(a, b).

    ``events`` are the names of the in-app events, ``mix`` the share of each.
    """

    r: float = 0.9
    alpha: float = 3.0
    a: float = 0.7
    b: float = 8.0
    events: tuple[str, ...] = ("af_content_view", "af_search", "af_purchase")
    mix: tuple[float, ...] = (0.6, 0.25, 0.15)


@dataclass(frozen=True)
class Seen:
    """Data known about users at a cutoff: arrays of shape (n,), with times in days.

    A user's window starts with the observation window or, if later, the first event.

    - ``x``: number of repeat events in the window.
    - ``last``: time from the start of the window to the last event.
    - ``length``: time from the start of the window to the cutoff.
    - ``tenure``: time from the first event to the start of the window.
    """

    x: np.ndarray
    last: np.ndarray
    length: np.ndarray
    tenure: np.ndarray


@dataclass(frozen=True)
class Bgnbd(World):
    """A world of users who buy until they drop out.

    Its events, sorted by user, each user's first event first:

    - ``user``: shape (n_events,), an index.
    - ``second``: shape (n_events,), since midnight of the log's first day.
    - ``name``: shape (n_events,), an index of ``names``.
    """

    parameters: Parameters
    user: np.ndarray
    second: np.ndarray
    name: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """See World."""
        return self.parameters.events

    @cached_property
    def active(self) -> np.ndarray:
        """See World."""
        active = np.zeros((self.n_days, self.n_users), bool)
        active[self.second // DAY, self.user] = True
        return active

    def moments(self, rng: np.random.Generator) -> tuple[np.ndarray, pl.DataFrame]:
        """See World; the install comes one second before the first event."""
        columns = {
            "user": self.user,
            "day": self.second // DAY,
            "second": self.second % DAY,
            "name": self.name,
        }
        installed = self.second[self.first] % DAY - 1
        return installed, pl.DataFrame(columns)

    @cached_property
    def first(self) -> np.ndarray:
        """Index of each user's first event."""
        return np.searchsorted(self.user, np.arange(self.n_users))

    def churn(
        self,
        windows: Windows,
        progress: bool = False,
    ) -> np.ndarray:
        """See World; by quadrature, given the exact times of the visible events."""
        result = np.full((self.n_days + 1, self.n_users), np.nan)
        lead = windows.lead_days
        horizon = windows.horizon_days
        cutoffs = zip(seen(self, windows), eligible(self, windows), strict=True)
        shown = tqdm(
            cutoffs, "truth", self.n_days + 1, disable=not progress, leave=False
        )
        for day, (known, is_eligible) in enumerate(shown):
            users = np.flatnonzero(is_eligible)
            known = Seen(*(values[users] for values in vars(known).values()))
            result[day, users] = probability(known, self.parameters, lead, horizon)
        return result


def bgnbd(
    n_users: int,
    n_days: int,
    seed: int,
    parameters: Parameters | None = None,
    start: date = DEFAULT_START,
) -> Bgnbd:
    """Draw a world; the same arguments give the same world.

    Raises InputError for a world without users or with too few days.
    """
    p = parameters or Parameters()
    rng = np.random.default_rng([seed, 3])
    arrival = arrivals(rng, n_users, n_days)
    first = arrival * DAY + rng.integers(1, DAY, n_users)
    user, second = _repeat_events(rng, p, first, n_days * DAY)
    user = np.r_[np.arange(n_users), user]
    second = np.r_[first, second]
    order = np.argsort(user, kind="stable")
    name = rng.choice(len(p.events), len(user), p=p.mix)
    no_uninstall = np.full(n_users, -1)
    events = (user[order], second[order], name)
    return Bgnbd(start, seed, n_days, arrival, no_uninstall, p, *events)


def _repeat_events(
    rng: np.random.Generator, p: Parameters, first: np.ndarray, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """User and second of the repeat events until each user drops out or the log ends.

    ``first``: second of each user's first event. Events are sorted by user and second.
    """
    n_users = len(first)
    rate = rng.gamma(p.r, 1 / p.alpha, n_users)
    dropout = rng.beta(p.a, p.b, n_users)
    left = end - first
    n_undropped = rng.poisson(rate * left / DAY)
    user = np.repeat(np.arange(n_users), n_undropped)
    second = first[user] + (rng.random(len(user)) * left[user]).astype(int)
    order = np.lexsort((second, user))
    starts = n_undropped.cumsum() - n_undropped
    number = np.arange(len(user)) - np.repeat(starts, n_undropped)
    n_alive = rng.geometric(np.maximum(dropout, MIN_DROPOUT))
    is_alive = number < n_alive[user]
    return user[is_alive], second[order][is_alive]


def seen(world: Bgnbd, windows: Windows) -> Iterator[Seen]:
    """Data known about every user at the cutoffs 0 … n_days.

    The values are valid for users who are active in the observation window.
    """
    first = world.second[world.first] / DAY
    n_before = np.zeros((world.n_days + 1, world.n_users), np.int32)
    np.add.at(n_before[1:], (world.second // DAY, world.user), 1)
    n_before = n_before.cumsum(axis=0)
    for cutoff in range(world.n_days + 1):
        opened = max(cutoff - windows.observation_days, 0)
        start = np.maximum(first, opened)
        newest = world.first + np.maximum(n_before[cutoff] - 1, 0)
        last = world.second[newest] / DAY
        repeats = n_before[cutoff] - np.maximum(n_before[opened], 1)
        yield Seen(repeats, last - start, cutoff - start, start - first)


def probability(
    known: Seen,
    p: Parameters,
    lead: float,
    horizon: float,
) -> np.ndarray:
    """P(no event from ``lead`` to ``lead + horizon`` days after the cutoff | known).

    Shape (n,). With rate λ and dropout probability d, a user survives until the window
    starts with exp(−λ d tenure). For x events in a window of length T, the last at t,
    being alive has the weight λ^x (1 − d)^x exp(−λ T), and having dropped out the
    weight λ^x d (1 − d)^(x − 1) exp(−λ t), or 0 if x = 0. A living user is silent with
    1 − exp(−λ d lead) (1 − exp(−λ horizon)). λ integrates in closed form, to
    (alpha + time)^−(r + x), and d by Gauss-Jacobi quadrature, whose weight function is
    the Beta density. Does not hold for users without any event in a window that began
    after their first.
    """
    node, weight = roots_jacobi(N_NODES, p.b - 1, p.a - 1)
    d = (1 + node) / 2
    x = known.x[:, None]
    length = known.length[:, None]
    before = p.alpha + known.tenure[:, None] * d

    def integral(logs: np.ndarray, time: np.ndarray) -> np.ndarray:
        return np.asarray(logs - (p.r + x) * np.log(before + time))

    survived = x * np.log1p(-d)
    dropped = np.where(x > 0, (x - 1) * np.log1p(-d) + np.log(d), -np.inf)
    dead = integral(dropped, known.last[:, None])
    alive = integral(survived, length)
    at_lead = integral(survived, length + lead * d)
    at_end = integral(survived, length + (lead * d + horizon))
    top = np.maximum(dead, alive).max(axis=1, keepdims=True)
    dead, alive, at_lead, at_end = (
        np.exp(logs - top) @ weight for logs in (dead, alive, at_lead, at_end)
    )
    return np.asarray((dead + alive - at_lead + at_end) / (dead + alive))
