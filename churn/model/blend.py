"""Probabilities of a fitted blend, and what they would be with features replaced."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from churn.model import layers, trees
from churn.model.inputs import Probabilities, inputs

# Rows to predict at a time, so that they stay in the processor's cache.
CHUNK = 8_192

MEMBERS: dict[str, Callable[[Any], Probabilities]] = {
    "recency": layers.recency,
    "logistic": layers.linear,
    "boosting": trees.boosting,
    "network": layers.network,
}
"""How each member's probabilities are computed, by its name in ``pipelines``."""


def probabilities(
    pipeline: Pipeline,
    typical: np.ndarray,
    group: np.ndarray,
    n_groups: int,
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from features, shape (n_rows, n_features), to probabilities of churn.

    ``typical``: shape (n_features,). ``group``: shape (n_features,), a number from 0 to
    ``n_groups`` - 1 for each feature. The function returns an array of shape
    (1 + n_groups, n_rows): the probabilities of the rows as they are, and with all
    features of each group typical.
    """
    forecast, voting = pipeline[0], pipeline[-1]
    members = [
        MEMBERS[name](member) for name, member in voting.named_estimators_.items()
    ]

    def ask(x: np.ndarray) -> np.ndarray:
        asked = inputs(forecast, x, typical, group, n_groups)
        each = [member(asked) for member in members]
        return np.average(each, axis=0, weights=voting.weights)

    return ask
