"""Markov worlds whose every parameter is drawn by seed: types, states, rates, names,
weekdays, season and drift.
"""

import itertools
from datetime import date

import numpy as np

from churn.settings import Windows
from churn.simulate.markov import Markov, Parameters, markov
from churn.simulate.world import DEFAULT_START, eligible

NAMES = "login content_view search list_view add_to_cart purchase level_achieved share rate tutorial_completion".split()
LASTS_DAYS = 1096  # so long season and drift go on
PILOT_DAYS = 240


def world(n_users: int, n_days: int, seed: int, start: date = DEFAULT_START) -> Markov:
    """Draw a world with the parameters of the seed. Raises InputError for no users or
    under 60 days.
    """
    return markov(n_users, n_days, seed, parameters(seed), start)


def parameters(seed: int) -> Parameters:
    """The parameters of a seed: the first of its draws that is a plausible app."""
    drawn = (draw(np.random.default_rng([seed, 4, k])) for k in itertools.count())
    return next(p for p in drawn if is_plausible(p))


def is_plausible(p: Parameters, n_users: int = 1000) -> bool:
    """Whether at four cutoffs of a pilot ≥ 8 % of the users so far are eligible and
    0.15 to 0.85 of them churn.
    """
    pilot, windows = markov(n_users, PILOT_DAYS, 0, p), Windows()
    who = eligible(pilot, windows)
    for day in (60, 110, 160, PILOT_DAYS - windows.horizon_days):
        returned = (
            pilot.active[day : day + windows.horizon_days, who[day]].sum(axis=0) > 0
        )
        if (
            len(returned) < 0.08 * (pilot.arrival < day).sum()
            or not 0.15 <= returned.mean() <= 0.85
        ):
            return False
    return True


def draw(rng: np.random.Generator) -> Parameters:
    """Any parameters: 2–6 types, 2–5 live states (the first the most active), 2–10
    event names.
    """
    n_types, n_live, n_names = (int(rng.integers(2, high)) for high in (7, 6, 11))
    haste, pace = _between(rng, 0.3, 5), _between(rng, 0.15, 1.5)
    first = np.zeros((n_types, n_live + 2))
    first[:, :n_live] = rng.dirichlet(np.linspace(3, 0.5, n_live), n_types)
    return Parameters(
        events=tuple(f"af_{name}" for name in rng.permutation(NAMES)[:n_names]),
        type_share=rng.dirichlet(np.full(n_types, 3)),
        first_state=first,
        transition=np.array([_transition(rng, n_live, haste) for _ in range(n_types)]),
        rate=np.array([_rate(rng, n_live, pace) for _ in range(n_types)]),
        weekday=rng.dirichlet(np.full(7, rng.choice([4, 20, 1000])), n_types) * 7,
        mix=rng.dirichlet(np.full(n_names, 2), n_types),
        level=_season(rng) * _drift(rng, 2.5),
        hazard=_drift(rng, 8),
    )


def _between(
    rng: np.random.Generator, low: float, high: float, n: int | None = None
) -> np.ndarray:
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), n)))


def _rate(rng: np.random.Generator, n_live: int, pace: np.ndarray) -> np.ndarray:
    falls = np.r_[1, _between(rng, 0.1, 0.6, n_live - 1)].cumprod()
    return np.concatenate(
        [_between(rng, 0.3, 6) * pace * falls, _between(rng, 1e-4, 5e-3, 1), [0]]
    )


def _transition(rng: np.random.Generator, n_live: int, haste: np.ndarray) -> np.ndarray:
    """Live states mix; the lower, the likelier to be left for gone, for uninstalled or
    both; few come back.
    """
    step = np.eye(n_live + 2)
    for state in range(n_live):
        move = _between(rng, 0.01, 0.2) * rng.dirichlet(np.ones(n_live))
        leave = haste * _between(rng, 1e-3, 0.1) * ((state + 1) / n_live) ** 2
        step[state] = [*move, leave, leave * rng.uniform(0, 0.3)]
        step[state, state] += 1 - step[state].sum()
    back, uninstall = _between(rng, 1e-4, 1e-2), _between(rng, 1e-3, 1e-2)
    step[-2] = [*back * rng.dirichlet(np.ones(n_live)), 1 - back - uninstall, uninstall]
    return step


def _season(rng: np.random.Generator) -> np.ndarray:
    """A wave over the year, up to half as much again at its height."""
    days = np.arange(LASTS_DAYS)
    return np.exp(rng.uniform(0, 0.4) * np.sin(2 * np.pi * (days / 365 + rng.random())))


def _drift(rng: np.random.Generator, most: float) -> np.ndarray:
    """Steady growth or decay by a factor of up to ``most`` in 240 days, ending after
    300; none in a third of them.
    """
    per_day = rng.choice([-1, 0, 1]) * np.log(rng.uniform(1.5, most)) / PILOT_DAYS
    return np.asarray(np.exp(per_day * np.arange(LASTS_DAYS).clip(max=PILOT_DAYS + 60)))
