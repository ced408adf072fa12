"""Exact inference in the Markov world: type and state given the visible data.

Arrays have the axes T (types), n (users) and S (states). A day's matrix is its fit to
the counts, then the transition to the next day.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from churn.settings import Windows
from churn.simulate.markov_parameters import Parameters

if TYPE_CHECKING:
    from churn.simulate.markov import Markov


def beliefs(
    world: Markov,
    n_observed: int,
    users: slice,
) -> Iterator[np.ndarray]:
    """P(type, state on the day | visible data) for each day 0 … n_days.

    Each has shape (T, n, S). Visible are the day of the install, the counts per event
    name on the ``n_observed`` days before, and the lack of an earlier uninstall. A
    window is the product of its days' matrices. Days are cut into blocks as long as a
    window, so that each window is the tail of one block times the head of the next (van
    Herk).
    """
    p = world.parameters
    arrival = world.arrival[users]
    n_types, n_states = p.rate.shape
    shape = (n_types, len(arrival), n_states, n_states)
    unit = np.broadcast_to(np.eye(n_states), shape)
    first = (p.type_share[:, None] * p.first_state)[:, None]
    prior = np.repeat(first, world.n_days, axis=1)  # by day of arrival
    tails = [unit] * n_observed
    for block in range(0, world.n_days + 1, n_observed):
        head = unit
        days = []
        for day in range(block, block + n_observed):
            yield _belief(prior[:, arrival], tails[day - block], head)
            if day == world.n_days:
                return
            fit = _fit(world, day, users)
            step = p.step(day)
            is_here = arrival <= day
            days.append((fit, step, is_here))
            head = _where(is_here, _times(head * fit, step), head)
            _age(prior, p, day - n_observed)
        tails = _tails(unit, days)


def _tails(
    unit: np.ndarray, days: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> list[np.ndarray]:
    """Products, transposed, of a block's last days: of all of them first."""
    tails = [unit]
    for fit, step, is_here in reversed(days):
        product = _times(tails[-1], step.transpose(0, 2, 1)) * fit
        tails.append(_where(is_here, product, tails[-1]))
    return tails[:0:-1]


def _fit(
    world: Markov,
    day: int,
    users: slice,
) -> np.ndarray:
    """Likelihood of a day's counts by type and state, shape (T, n, 1, S).

    Scaled so that the best is 1; uninstalled has 0.
    """
    p = world.parameters
    counts = world.counts[day, users].astype(float)
    rate = p.daily_rate(day, world.weekday(day))[:, None]
    n = counts.sum(axis=1)[:, None]
    of_names = counts @ np.log(p.mix).swapaxes(1, 2)
    logs = of_names + n * np.log(np.maximum(rate, np.finfo(float).tiny)) - rate
    logs[..., -1] = -np.inf
    return np.exp(logs - logs.max(axis=(0, 2), keepdims=True))[:, :, None]


def _times(products: np.ndarray, step: np.ndarray) -> np.ndarray:
    flat = products.reshape(len(step), -1, step.shape[-1])
    return (flat @ step).reshape(products.shape)


def _where(
    is_here: np.ndarray,
    new: np.ndarray,
    old: np.ndarray,
) -> np.ndarray:
    """The new products of users who have arrived, scaled against underflow."""
    new /= np.einsum("tnij->n", new)[:, None, None]
    np.copyto(new, old, where=~is_here[:, None, None])
    return new


def _belief(
    prior: np.ndarray,
    tail: np.ndarray,
    head: np.ndarray,
) -> np.ndarray:
    before = np.einsum("tnji,tni->tnj", tail, prior)
    weights = np.einsum("tnj,tnjk->tnk", before, head)
    return weights / weights.sum(axis=(0, 2), keepdims=True)


def _age(
    prior: np.ndarray,
    parameters: Parameters,
    day: int,
) -> None:
    """Move users who arrived by ``day`` to the next day, given no uninstall."""
    if day >= 0:
        prior[:, : day + 1, -1] = 0
        prior[:, : day + 1] = prior[:, : day + 1] @ parameters.step(day)


def silence(
    world: Markov,
    cutoff: int,
    windows: Windows,
) -> np.ndarray:
    """P(no active event in the horizon | type and state on its day), shape (T, S).

    By recursion from the horizon's last day backwards.
    """
    p = world.parameters
    first = cutoff + windows.lead_days
    last = first + windows.horizon_days - 1
    chance = np.exp(-p.active_rate(last, world.weekday(last)))
    for day in range(last - 1, cutoff - 1, -1):
        chance = (p.step(day) @ chance[..., None])[..., 0]
        if day >= first:
            chance *= np.exp(-p.active_rate(day, world.weekday(day)))
    return chance
