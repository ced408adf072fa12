"""Markov worlds whose every parameter is drawn by seed.

Drawn are types, states, rates, event names, weekdays, season and drift.
"""

import itertools
from datetime import date

import numpy as np

from churn.settings import Windows
from churn.simulate.markov import Markov, markov
from churn.simulate.markov_parameters import Parameters
from churn.simulate.world import DEFAULT_START, eligible

NAMES = (
    "login",
    "content_view",
    "search",
    "list_view",
    "add_to_cart",
    "purchase",
    "level_achieved",
    "share",
    "rate",
    "tutorial_completion",
)

LASTING_DAYS = 1096
"""Number of days for which season and drift are drawn."""

PILOT_DAYS = 240
"""Length of the world on which parameters are tested for plausibility."""

PILOT_CUTOFFS = (60, 110, 160)
"""Cutoffs of the pilot that must look plausible, besides the newest mature one."""

MIN_ELIGIBLE_RATE = 0.08
MIN_CHURN_RATE = 0.15
MAX_CHURN_RATE = 0.85


def world(
    n_users: int,
    n_days: int,
    seed: int,
    start: date = DEFAULT_START,
) -> Markov:
    """Draw a world with the parameters of the seed.

    Raises InputError for a world without users or with too few days.
    """
    return markov(n_users, n_days, seed, parameters(seed), start)


def parameters(seed: int) -> Parameters:
    """The parameters of a seed: the first of its draws that is a plausible app."""
    drawn = (draw(np.random.default_rng([seed, 4, k])) for k in itertools.count())
    return next(p for p in drawn if is_plausible(p))


def is_plausible(p: Parameters, n_users: int = 1000) -> bool:
    """Whether a pilot world looks like an app at each of four cutoffs.

    At each cutoff at least 8 % of the users who have arrived must be eligible, and 15 %
    to 85 % of these must churn.
    """
    windows = Windows()
    horizon = windows.horizon_days
    pilot = markov(n_users, PILOT_DAYS, 0, p)
    is_eligible = eligible(pilot, windows)
    for day in (*PILOT_CUTOFFS, PILOT_DAYS - horizon):
        active = pilot.active[day : day + horizon, is_eligible[day]]
        returned = active.sum(axis=0) > 0
        n_arrived = (pilot.arrival < day).sum()
        if len(returned) < MIN_ELIGIBLE_RATE * n_arrived:
            return False
        if not MIN_CHURN_RATE <= returned.mean() <= MAX_CHURN_RATE:
            return False
    return True


def draw(rng: np.random.Generator) -> Parameters:
    """Any parameters, plausible or not.

    2 to 6 types, 2 to 5 live states, the first the most active, and 2 to 10 events.
    """
    n_types = int(rng.integers(2, 7))
    n_live = int(rng.integers(2, 6))
    n_names = int(rng.integers(2, 11))
    haste = _between(rng, 0.3, 5)
    pace = _between(rng, 0.15, 1.5)
    first = np.zeros((n_types, n_live + 2))
    first[:, :n_live] = rng.dirichlet(np.linspace(3, 0.5, n_live), n_types)
    names = rng.permutation(NAMES)[:n_names]
    return Parameters(
        events=tuple(f"af_{name}" for name in names),
        type_share=rng.dirichlet(np.full(n_types, 3)),
        first_state=first,
        transition=np.array([_transition(rng, n_live, haste) for _ in range(n_types)]),
        rate=np.array([_rate(rng, n_live, pace) for _ in range(n_types)]),
        weekday=rng.dirichlet(np.full(7, rng.choice([4, 20, 1000])), n_types) * 7,
        mix=rng.dirichlet(np.full(n_names, 2), n_types)[:, None],
        level=_season(rng) * _drift(rng, 2.5),
        hazard=_drift(rng, 8),
    )


def _between(
    rng: np.random.Generator, low: float, high: float, n: int | None = None
) -> np.ndarray:
    """Numbers drawn evenly on a log scale."""
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), n)))


def _rate(
    rng: np.random.Generator,
    n_live: int,
    pace: np.ndarray,
) -> np.ndarray:
    """Events per day by state: falling over live states, few if gone, then none."""
    falls = np.r_[1, _between(rng, 0.1, 0.6, n_live - 1)].cumprod()
    live = _between(rng, 0.3, 6) * pace * falls
    gone = _between(rng, 1e-4, 5e-3, 1)
    return np.concatenate([live, gone, [0]])


def _transition(
    rng: np.random.Generator,
    n_live: int,
    haste: np.ndarray,
) -> np.ndarray:
    """Transition probabilities of one type.

    Live states mix. The less active a state, the likelier users leave it for gone or
    uninstalled. Few of the gone come back.
    """
    step = np.eye(n_live + 2)
    for state in range(n_live):
        move = _between(rng, 0.01, 0.2) * rng.dirichlet(np.ones(n_live))
        leave = haste * _between(rng, 1e-3, 0.1) * ((state + 1) / n_live) ** 2
        step[state] = [*move, leave, leave * rng.uniform(0, 0.3)]
        step[state, state] += 1 - step[state].sum()
    back = _between(rng, 1e-4, 1e-2)
    uninstall = _between(rng, 1e-3, 1e-2)
    to_live = back * rng.dirichlet(np.ones(n_live))
    step[-2] = [*to_live, 1 - back - uninstall, uninstall]
    return step


def _season(rng: np.random.Generator) -> np.ndarray:
    """A factor by day: a wave over the year, at its height up to 1.5."""
    years = np.arange(LASTING_DAYS) / 365
    height = rng.uniform(0, 0.4)
    return np.exp(height * np.sin(2 * np.pi * (years + rng.random())))


def _drift(rng: np.random.Generator, most: float) -> np.ndarray:
    """A factor by day: steady growth or decay up to day 300, in a third of cases none.

    It reaches up to ``most``, or its inverse, in 240 days.
    """
    direction = rng.choice([-1, 0, 1])
    per_day = direction * np.log(rng.uniform(1.5, most)) / PILOT_DAYS
    days = np.arange(LASTING_DAYS).clip(max=PILOT_DAYS + 60)
    return np.asarray(np.exp(per_day * days))
