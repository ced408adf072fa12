"""How well a score ranks outcomes: AUC and lift quality, and a weighted median."""

from collections.abc import Callable

import numpy as np


def auc_of_weights(
    outcome: np.ndarray, score: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """The AUC as a function of weights; sorting is done once, for many resamples.

    ``outcome``: shape (n,), bool or 0 and 1. ``score``: shape (n,). The function takes
    weights of shape (k, n), at least 0, and returns shape (k,): the weighted share of
    pairs of a positive and a negative in which the positive has the higher score, ties
    counting a half. NaN where all weight is on one outcome.

    >>> auc = auc_of_weights(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    >>> auc(np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 1, 0]]))
    array([0.875, 1.   ,   nan])
    """
    order = np.argsort(score, kind="stable")
    starts = np.unique(score[order], return_index=True)[1]
    is_positive = outcome[order].astype(bool)

    def auc(weight: np.ndarray) -> np.ndarray:
        ordered = weight[:, order].astype(float)
        positive = np.add.reduceat(ordered * is_positive, starts, axis=1)
        negative = np.add.reduceat(ordered * ~is_positive, starts, axis=1)
        below = negative.cumsum(axis=1) - negative / 2
        won = (positive * below).sum(axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(won / pairs)

    return auc


def weighted_auc(
    outcome: np.ndarray, score: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """The AUC under each row of weights, shape (k,); see ``auc_of_weights``.

    >>> outcome = np.array([True, False, False])
    >>> weighted_auc(outcome, np.array([0.5, 0.5, 0.1]), np.ones((1, 3)))
    array([0.75])
    """
    return auc_of_weights(outcome, score)(weight)


def weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The lower median under each row of weights, shape (k,).

    ``values``: shape (n,). ``weight``: shape (k, n). NaN if there are no values.

    >>> weighted_median(np.array([5, 1, 3]), np.array([[1, 1, 1], [3, 1, 0]]))
    array([3., 5.])
    """
    if not len(values):
        return np.full(len(weight), np.nan)
    order = np.argsort(values, kind="stable")
    total = weight[:, order].cumsum(axis=1)
    has_half = 2 * total >= total[:, -1:]
    return np.asarray(values[order][has_half.argmax(axis=1)], dtype=float)


def lift_quality(outcome: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """How far a ranking is from random (0) to perfect (1), averaged over all depths.

    ``outcome``: shape (n,), bool or 0 and 1. ``score``: shape (n,), highest first.

    - ``lift_quality_gains``: area under the share of positives captured by depth;
      equals 2 · AUC − 1.
    - ``lift_quality_lift``: the same with that share divided by the depth, which gives
      more weight to the small groups with the highest scores.

    Positives among ties count at the average pace of their group. Both are NaN if all
    outcomes are the same.

    >>> lift_quality(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2]))
    {'lift_quality_gains': 1.0, 'lift_quality_lift': 1.0}
    """
    y = np.asarray(outcome, dtype=float)
    if len(np.unique(y)) < 2:
        return {"lift_quality_gains": float("nan"), "lift_quality_lift": float("nan")}
    depth = np.arange(1, len(y) + 1) / len(y)
    actual = _gains(y, np.asarray(score))
    perfect = np.minimum(depth / y.mean(), 1)
    area = [float(np.mean(gains) - np.mean(depth)) for gains in (actual, perfect)]
    lift = [float(np.mean(gains / depth) - 1) for gains in (actual, perfect)]
    return {
        "lift_quality_gains": area[0] / area[1],
        "lift_quality_lift": lift[0] / lift[1],
    }


def _gains(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Share of positives among the 1, 2, … n highest scores, shape (n,)."""
    order = np.argsort(-score, kind="stable")
    changes = np.flatnonzero(np.diff(score[order])) + 1
    tie_ends = np.append(changes, len(y))
    captured = np.cumsum(y[order])[tie_ends - 1]
    depths = np.append(0, tie_ends)
    shares = np.append(0, captured) / y.sum()
    return np.asarray(np.interp(np.arange(1, len(y) + 1), depths, shares))
