"""Leaving out features that hardly help, before members are fitted.

A catalogue has a feature for every event name, window and half-life, and most of them
say what others say as well. Learning from all takes twice as long and is not better.
"""

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from churn.model import pipelines, trees

MAX_FEATURES = 80
"""Most features to learn from; on simulated worlds 60 were too few for some."""

MAX_ROWS = 10_000
"""Most rows that decide; more would hardly change the order of the features."""


def deciding(snapshot: pl.DataFrame) -> pl.DataFrame:
    """The rows that decide, evenly spaced: at most ``MAX_ROWS``."""
    return snapshot.gather_every(max(1, -(-snapshot.height // MAX_ROWS)))


def strongest(
    names: tuple[str, ...],
    x: np.ndarray,
    y: np.ndarray,
    random_state: int,
) -> np.ndarray:
    """Positions of the features to learn from, ascending, at most ``MAX_FEATURES``.

    How much a feature helps is the loss that its splits save in a few boosted trees.
    Recency and what the parametric forecast needs are kept in any case. ``x``: the
    features called ``names``, shape (n_rows, n_features). ``y``: shape (n_rows,) of 0
    and 1. Both are of ``deciding`` rows to learn from, so that a validation cutoff has
    no say.
    """
    if len(names) <= MAX_FEATURES:
        return np.arange(len(names))
    saved = _saved(x, y, random_state)
    order = np.argsort(-saved, kind="stable")
    needed = pipelines.btyd_columns(names) or (names.index("recency_days"),)
    return np.unique([*order[:MAX_FEATURES], *needed])


def _saved(
    x: np.ndarray,
    y: np.ndarray,
    random_state: int,
) -> np.ndarray:
    """The loss that the splits on each feature save, shape (n_features,)."""
    booster = HistGradientBoostingClassifier(
        learning_rate=0.1,
        max_iter=40,
        max_leaf_nodes=8,
        min_samples_leaf=80,
        l2_regularization=20.0,
        max_features=0.3,
        max_bins=63,
        early_stopping=False,
        random_state=random_state,
    )
    return trees.saved_by_feature(booster.fit(x, y))
