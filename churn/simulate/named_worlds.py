"""Random worlds in which only some events count as active, and the others tell a lot.

Parameters are drawn as in ``random_worlds``, but which events users cause depends on
their hidden state as well: someone about to leave may see more errors and share less.
One, some or all of the event names count as being active.
"""

import itertools
from dataclasses import replace
from datetime import date

import numpy as np

from churn.simulate import random_worlds
from churn.simulate.markov import Markov, markov
from churn.simulate.markov_parameters import Parameters
from churn.simulate.world import DEFAULT_START

NAMES = (*random_worlds.NAMES, "error", "help_view")


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
    drawn = (draw(np.random.default_rng([seed, 5, k])) for k in itertools.count())
    return next(p for p in drawn if random_worlds.is_plausible(p))


def draw(rng: np.random.Generator) -> Parameters:
    """Any parameters, plausible or not, with 2 to 12 event names."""
    base = random_worlds.draw(rng)
    n_names = int(rng.integers(2, len(NAMES) + 1))
    names = tuple(f"af_{name}" for name in rng.permutation(NAMES)[:n_names])
    some = int(rng.integers(1, n_names + 1))
    n_active = int(rng.choice([1, some, n_names]))
    return replace(
        base,
        events=names,
        active_names=names[:n_active],
        mix=_mix(rng, n_names, base.rate.shape),
    )


def _mix(rng: np.random.Generator, n_names: int, shape: tuple[int, ...]) -> np.ndarray:
    """Shares of event names by type and state, shape (T, S, E).

    In some worlds the shares of a type hardly depend on the state, in others they
    depend on it strongly.
    """
    n_types, n_states = shape
    likeness = np.exp(rng.uniform(np.log(0.5), np.log(20)))
    by_type = rng.dirichlet(np.full(n_names, 2), n_types)
    strength = likeness * n_names * by_type + 0.05
    return np.array([rng.dirichlet(alpha, n_states) for alpha in strength])
