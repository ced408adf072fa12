"""A digest of all that a model learns from, so that the same training is known again."""

import hashlib
from typing import Any

import numpy as np

from churn.model import own

ROWS = 50_000
"""Rows that are digested at a time, so that not all are copied at once."""


def of(
    x: np.ndarray,
    y: np.ndarray,
    estimator: Any,
    random_state: int,
) -> str:
    """The SHA-256 of features, labels and, unless it is null, a user's own classifier.

    ``x``: shape (n_rows, n_features), whatever its order in memory. ``y``: shape
    (n_rows,).
    """
    content = hashlib.sha256()
    for start in range(0, len(x), ROWS):
        content.update(x[start : start + ROWS].tobytes())
    content.update(y.tobytes())
    if estimator is not None:
        content.update(own.fingerprint(estimator, random_state))
    return content.hexdigest()
