"""How long until an event, where some were not watched to the end."""

import numpy as np


def kaplan_meier(
    days: np.ndarray, back: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct days and, under each row of weights, how many were watched so long and
    the share still away after it.

    ``days``: watched until they came back or the data ended. ``back``: whether they
    came, or the share that did.

    >>> kaplan_meier(np.array([2, 5, 5]), np.array([1, 1, 0]), np.ones((1, 3)))[2].round(2)
    array([[0.67, 0.33]])
    """
    order = np.argsort(days, kind="stable")
    distinct, starts = np.unique(days[order], return_index=True)
    at_risk = np.add.reduceat(weight[:, order], starts, axis=1)[:, ::-1].cumsum(1)[
        :, ::-1
    ]
    came = np.add.reduceat((weight * back)[:, order], starts, axis=1)
    return distinct, at_risk, (1 - came / np.maximum(at_risk, 1)).cumprod(1)
