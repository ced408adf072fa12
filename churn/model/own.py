"""A user's own classifier in place of the blend.

It is any unfitted scikit-learn classifier or pipeline with ``predict_proba``. It sees
the features as a float64 matrix in which NaN stands for a missing value, and learns
1 for churned and 0 for stayed.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone

from churn.errors import ModelError
from churn.model.pipelines import Recipe

NAME = "own"
RECIPE = Recipe({NAME: 1.0})
# Rows to predict at a time, which bounds the memory needed.
CHUNK = 100_000


def linear_classifier() -> Any:
    """An unfitted logistic regression that takes missing values, to begin with.

    Quick to train, and a rival that any model of one's own should beat.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=1000),
    )


def fit(
    estimator: Any,
    x: np.ndarray,
    y: np.ndarray,
    random_state: int,
) -> Any:
    """A fitted clone of ``estimator``, with the study's random_state if it has none.

    Raises ModelError if it can't be cloned or fitted, has no ``predict_proba``, or
    can't take missing values. Missing values are tried here, because a feature that is
    complete in training may have gaps when users are scored.
    """
    fitted = _unfitted(estimator, random_state)
    label = type(fitted).__name__
    with_gaps = np.vstack([x[:1], np.full((1, x.shape[1]), np.nan)])
    try:
        fitted.fit(x, y)
        probability = np.asarray(fitted.predict_proba(with_gaps))
    except Exception as error:  # a user's class may raise anything
        raise ModelError(
            f"your {label} failed on the training matrix ({type(error).__name__}: "
            f"{error}). The matrix is float64 with NaN where a value is missing: put "
            "an imputer, such as SimpleImputer, before a classifier that can't take NaN"
        ) from error
    if probability.shape != (2, 2) or not np.isfinite(probability).all():
        raise ModelError(
            f"your {label} must give two finite probabilities per row, stayed and "
            f"churned; for two rows it gave an array of shape {probability.shape}"
        )
    return fitted


def fingerprint(
    estimator: Any,
    random_state: int,
) -> bytes:
    """A digest of an estimator's class and parameters."""
    unfitted = _unfitted(estimator, random_state)
    parameters = sorted(unfitted.get_params(deep=True).items())
    facts = f"{type(unfitted).__qualname__} {parameters}"
    # The repr of a function holds its address in memory, which differs between runs.
    lasting = re.sub(r" at 0x[0-9a-f]+", "", facts)
    return hashlib.sha256(lasting.encode()).digest()


def _unfitted(
    estimator: Any,
    random_state: int,
) -> Any:
    """A clone with the study's random_state wherever the estimator sets none."""
    if not hasattr(estimator, "predict_proba"):
        raise ModelError(
            f"{estimator!r} has no predict_proba: take a classifier that gives "
            "probabilities, or wrap it in CalibratedClassifierCV"
        )
    try:
        copy = clone(estimator)
    except TypeError as error:
        raise ModelError(
            f"{estimator!r} can't be cloned; pass an unfitted instance of a "
            f"scikit-learn classifier or pipeline ({error})"
        ) from error
    unset = [
        name
        for name, value in copy.get_params(deep=True).items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    return copy.set_params(**dict.fromkeys(unset, random_state))


def probabilities(
    pipeline: Any,
    typical: np.ndarray,
    group: np.ndarray,
    n_groups: int,
) -> Callable[[np.ndarray], np.ndarray]:
    """A function like that of ``blend.probabilities``, for any classifier.

    It asks the classifier again for each group of features.
    """

    def ask(x: np.ndarray) -> np.ndarray:
        replaced = [np.where(group == number, typical, x) for number in range(n_groups)]
        return np.array([pipeline.predict_proba(each)[:, 1] for each in [x, *replaced]])

    return ask
