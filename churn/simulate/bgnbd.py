"""The BG/NBD world (Fader, Hardie, Lee 2005), in continuous time.

The first event comes right after the install. From then on a living user's events are a
Poisson process; after each of these repeat events, not after the first, the user may
drop out for good, unseen. Rates are Gamma and dropout probabilities Beta distributed
over users, independently. Event names say nothing.
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

DAY = 86_400  # seconds
N_NODES = 96  # of the quadrature


@dataclass(frozen=True)
class Parameters:
    """Events per day ~ Gamma(r, rate alpha), dropout probability after a repeat event ~
    Beta(a, b).
    """

    r: float = 0.9
    alpha: float = 3.0
    a: float = 0.7
    b: float = 8.0
    events: tuple[str, ...] = ("af_content_view", "af_search", "af_purchase")
    mix: tuple[float, ...] = (0.6, 0.25, 0.15)


@dataclass(frozen=True)
class Seen:
    """What is known of users at a cutoff; times in days."""

    x: np.ndarray  # repeat events in the observation window
    last: (
        np.ndarray
    )  # from the start of their window (the first event, if later) to the last event
    length: np.ndarray  # from there to the cutoff
    tenure: (
        np.ndarray
    )  # from the first event to the start of the window; 0 if it lies within


@dataclass(frozen=True)
class Bgnbd(World):
    """A world of people who buy till they die."""

    parameters: Parameters
    user: np.ndarray  # (n_events,) sorted
    # (n_events,) since midnight of the first day; sorted by user, the first event first
    second: np.ndarray
    name: np.ndarray  # (n_events,) index

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
        """As they were drawn; the install one second before the first event."""
        columns = {
            "user": self.user,
            "day": self.second // DAY,
            "second": self.second % DAY,
            "name": self.name,
        }
        return self.second[self.first] % DAY - 1, pl.DataFrame(columns)

    @cached_property
    def first(self) -> np.ndarray:
        """Index of each user's first event."""
        return np.searchsorted(self.user, np.arange(self.n_users))

    def churn(self, windows: Windows, progress: bool = False) -> np.ndarray:
        """By quadrature, given the exact times of the first event and of those in the
        window.
        """
        found = np.full((self.n_days + 1, self.n_users), np.nan)
        cutoffs = zip(seen(self, windows), eligible(self, windows), strict=True)
        for day, (known, who) in enumerate(
            tqdm(cutoffs, "truth", self.n_days + 1, disable=not progress, leave=False)
        ):
            users = np.flatnonzero(who)
            some = Seen(*(values[users] for values in vars(known).values()))
            found[day, users] = probability(
                some, self.parameters, windows.lead_days, windows.horizon_days
            )
        return found


def bgnbd(
    n_users: int,
    n_days: int,
    seed: int,
    parameters: Parameters | None = None,
    start: date = DEFAULT_START,
) -> Bgnbd:
    """Draw a world. The same arguments give the same world. Raises InputError for no
    users or under 60 days.
    """
    p = parameters or Parameters()
    rng = np.random.default_rng([seed, 3])
    arrival = arrivals(rng, n_users, n_days)
    first = arrival * DAY + rng.integers(1, DAY, n_users)
    rate, dropout = rng.gamma(p.r, 1 / p.alpha, n_users), rng.beta(p.a, p.b, n_users)
    left = n_days * DAY - first
    n = rng.poisson(rate * left / DAY)  # if nobody ever died
    user = np.repeat(np.arange(n_users), n)
    second = first[user] + (rng.random(len(user)) * left[user]).astype(int)
    order = np.lexsort((second, user))
    alive = (
        np.arange(len(user)) - np.repeat(n.cumsum() - n, n)
        < rng.geometric(np.maximum(dropout, 1e-12))[user]
    )
    user, second = (
        np.r_[np.arange(n_users), user[alive]],
        np.r_[first, second[order][alive]],
    )
    order = np.argsort(user, kind="stable")
    name = rng.choice(len(p.events), len(user), p=p.mix)
    return Bgnbd(
        start,
        seed,
        n_days,
        arrival,
        np.full(n_users, -1),
        p,
        user[order],
        second[order],
        name,
    )


def seen(world: Bgnbd, windows: Windows) -> Iterator[Seen]:
    """What is known of every user at the cutoffs 0 … n_days; right for those active in
    the window.
    """
    first = world.second[world.first] / DAY
    n = np.zeros((world.n_days + 1, world.n_users), np.int32)
    np.add.at(n[1:], (world.second // DAY, world.user), 1)
    n = n.cumsum(axis=0)  # events before each day
    for cutoff in range(world.n_days + 1):
        opened = max(cutoff - windows.observation_days, 0)
        start = np.maximum(first, opened)
        last = world.second[world.first + np.maximum(n[cutoff] - 1, 0)] / DAY
        repeats = n[cutoff] - np.maximum(n[opened], 1)
        yield Seen(repeats, last - start, cutoff - start, start - first)


def probability(known: Seen, p: Parameters, lead: float, horizon: float) -> np.ndarray:
    """P(no event between ``lead`` and ``lead + horizon`` days after the cutoff | what
    is known), for each user.

    With rate λ and dropout d, a user lives to the window's start with exp(−λ d tenure).
    Then, for x events, the last at t, in a window of length T, living weighs λ^x (1 −
    d)^x exp(−λ T), having died λ^x d (1 − d)^(x − 1) exp(−λ t) (0 for x = 0), and the
    living are silent with 1 − exp(−λ d lead) (1 − exp(−λ horizon)). λ integrates in
    closed form, to (alpha + time)^−(r + x); d by Gauss-Jacobi, whose weight is the Beta
    density. Users without any event in a window that began after their first are not
    provided for.
    """
    node, weight = roots_jacobi(N_NODES, p.b - 1, p.a - 1)
    d = (1 + node) / 2
    x, length = known.x[:, None], known.length[:, None]
    before = p.alpha + known.tenure[:, None] * d

    def term(logs: np.ndarray, time: np.ndarray) -> np.ndarray:
        return np.asarray(logs - (p.r + x) * np.log(before + time))

    alive, dead = (
        x * np.log1p(-d),
        np.where(x > 0, (x - 1) * np.log1p(-d) + np.log(d), -np.inf),
    )
    logs = [
        term(dead, known.last[:, None]),
        *(term(alive, length + more) for more in (0, lead * d, lead * d + horizon)),
    ]
    top = np.maximum(logs[0], logs[1]).max(axis=1, keepdims=True)
    died, lives, at_lead, at_end = (np.exp(term - top) @ weight for term in logs)
    return np.asarray((died + lives - at_lead + at_end) / (died + lives))
