"""The Kaplan-Meier estimate of the time until an event, with censored observations."""

import numpy as np


def kaplan_meier(
    duration: np.ndarray, event: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct durations, the weight at risk at each, and the share surviving it.

    ``duration``: shape (n,), time observed until the event or the end of observation.
    ``event``: shape (n,), whether the event came, or the share of the weight for which
    it did. ``weight``: shape (k, n), counts. Returns shapes (m,), (k, m) and (k, m).
    Where nothing is at risk the survival stays as it was.

    >>> duration, event = np.array([2, 5, 5]), np.array([1, 1, 0])
    >>> distinct, at_risk, surviving = kaplan_meier(duration, event, np.ones((1, 3)))
    >>> distinct, at_risk, surviving.round(2)
    (array([2, 5]), array([[3., 2.]]), array([[0.67, 0.33]]))
    """
    order = np.argsort(duration, kind="stable")
    distinct, starts = np.unique(duration[order], return_index=True)
    ending = np.add.reduceat(weight[:, order], starts, axis=1)
    at_risk = ending[:, ::-1].cumsum(axis=1)[:, ::-1]
    n_events = np.add.reduceat((weight * event)[:, order], starts, axis=1)
    surviving = 1 - n_events / np.maximum(at_risk, 1)
    return distinct, at_risk, surviving.cumprod(axis=1)
