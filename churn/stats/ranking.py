"""How well a score ranks outcomes: AUC, gains and lift quality; a weighted median.

Nothing here depends on the order of observations: where scores are tied, figures are
their expected values over random orders of the tied observations.
"""

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


def auc_within(
    outcome: np.ndarray, score: np.ndarray, period: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """The AUC within each period, averaged over them, under each row of weights.

    ``period``: shape (n,), the period of each observation; the others are those of
    ``auc_of_weights``. Returns shape (k,). Each period counts by its weight, one with a
    single outcome not at all; NaN if there is no other. Over pooled periods an AUC
    would also reward a score for knowing in which period churn is common, which ranks
    nobody.

    >>> outcome, score = np.array([0, 0, 1, 1, 1, 0]), np.array([1, 2, 1, 8, 9, 8])
    >>> auc_within(outcome, score, np.array([0, 0, 0, 1, 1, 1]), np.ones((1, 6)))
    array([0.5])
    """
    values, totals = [], []
    for each in np.unique(period):
        part = period == each
        auc = auc_of_weights(outcome[part], score[part])
        values.append(auc(weight[:, part]))
        totals.append(weight[:, part].sum(axis=1))
    return mean_of_known(np.array(values), np.array(totals))


def mean_of_known(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean over the first axis without NaN; NaN where nothing is known.

    ``weight``: of the shape of ``values``, at least 0.

    >>> mean_of_known(np.array([[1.0], [np.nan], [4.0]]), np.array([[2], [5], [1]]))
    array([2.])
    """
    known = np.where(np.isnan(values), 0, weight)
    with np.errstate(invalid="ignore"):
        total = (np.nan_to_num(values) * known).sum(axis=0)
        return np.asarray(total / known.sum(axis=0))


def share_ties(values: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean of those whose score is the same, shape (n,).

    Sums of these by rank are the expected sums over random orders of the tied.

    >>> share_ties(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]))
    array([0.5, 0.5, 1. ])
    """
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(group, values) / size)[group])


def chance_of_top(score: np.ndarray, period: np.ndarray, depth: float) -> np.ndarray:
    """Chance of each observation to be among the highest of its period, shape (n,).

    ``depth``: which share of a period's observations these are. The chance is 1 or 0
    but for ties across the boundary, which are broken at random.

    >>> chance_of_top(np.array([9, 5, 5, 1]), np.zeros(4), 0.5)
    array([1. , 0.5, 0.5, 0. ])
    """
    chance = np.empty(len(score))
    for each in np.unique(period):
        part = period == each
        _, group, size = np.unique(
            -score[part], return_inverse=True, return_counts=True
        )
        n_above = np.cumsum(size) - size
        n_taken = np.clip(depth * part.sum() - n_above, 0, size)
        chance[part] = (n_taken / size)[group]
    return chance


def weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The lower median under each row of weights, shape (k,).

    ``values``: shape (n,). ``weight``: shape (k, n). NaN if there are no values
    or all of them weigh nothing.

    >>> weighted_median(np.array([5, 1, 3]), np.array([[1, 1, 1], [3, 1, 0]]))
    array([3., 5.])
    """
    if not len(values):
        return np.full(len(weight), np.nan)
    order = np.argsort(values, kind="stable")
    total = weight[:, order].cumsum(axis=1)
    has_half = 2 * total >= total[:, -1:]
    median = np.asarray(values[order][has_half.argmax(axis=1)], dtype=float)
    return np.where(total[:, -1] > 0, median, np.nan)


def lift_quality(outcome: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """How far a ranking is from random (0) to perfect (1), averaged over all depths.

    ``outcome``: shape (n,), bool or 0 and 1. ``score``: shape (n,), highest first.

    - ``lift_quality_gains``: area under the share of positives captured by depth;
      equals 2 · AUC − 1.
    - ``lift_quality_lift``: the same with that share divided by the depth, which gives
      more weight to the small groups with the highest scores.

    Both are NaN if all outcomes are the same.

    >>> lift_quality(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2]))
    {'lift_quality_gains': 1.0, 'lift_quality_lift': 1.0}
    """
    y = np.asarray(outcome, dtype=float)
    if len(np.unique(y)) < 2:
        return {"lift_quality_gains": float("nan"), "lift_quality_lift": float("nan")}
    depth = np.arange(1, len(y) + 1) / len(y)
    actual = gains(y, np.asarray(score), depth)
    perfect = np.minimum(depth / y.mean(), 1)
    area = [float(np.mean(found) - np.mean(depth)) for found in (actual, perfect)]
    lift = [float(np.mean(found / depth) - 1) for found in (actual, perfect)]
    return {
        "lift_quality_gains": area[0] / area[1],
        "lift_quality_lift": lift[0] / lift[1],
    }


def gains(outcome: np.ndarray, score: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Share of all positives among the highest scores, at each depth.

    ``outcome`` and ``score``: shape (n,). ``depth``: shape (k,), shares of all
    observations from 0 to 1. NaN without positives.

    >>> gains(np.array([1, 0, 1, 0]), np.array([9, 5, 5, 1]), np.array([0.25, 0.5, 1]))
    array([0.5 , 0.75, 1.  ])
    """
    if not np.any(outcome):
        return np.full(len(depth), np.nan)
    _, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    captured = np.cumsum(np.bincount(group, outcome)) / np.sum(outcome)
    depths = np.cumsum(size) / len(score)
    return np.asarray(np.interp(depth, np.append(0, depths), np.append(0, captured)))
