"""How well a ranking separates outcomes: AUC and lift quality, with weights."""

import numpy as np


def weighted_auc(
    churned: np.ndarray, risk: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """AUC under each row of weights; equal risks count half.

    >>> weighted_auc(np.array([True, False, False]), np.array([0.5, 0.5, 0.1]), np.ones((1, 3)))
    array([0.75])
    """
    order = np.argsort(risk, kind="stable")
    starts = np.unique(risk[order], return_index=True)[1]
    w, y = weight[:, order].astype(float), churned[order]
    positive, negative = (np.add.reduceat(w * side, starts, axis=1) for side in (y, ~y))
    below = negative.cumsum(1) - negative / 2
    return np.asarray((positive * below).sum(1) / (positive.sum(1) * negative.sum(1)))


def weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Lower median under each row of weights; NaN without a value.

    >>> weighted_median(np.array([5, 1, 3]), np.array([[1, 1, 1], [3, 1, 0]]))
    array([3., 5.])
    """
    if not len(values):
        return np.full(len(weight), np.nan)
    order = np.argsort(values, kind="stable")
    total = weight[:, order].cumsum(1)
    return np.asarray(
        values[order][(2 * total >= total[:, -1:]).argmax(1)], dtype=float
    )


def lift_quality(churned: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """How far from random (0) to perfect (1) the model is, averaged over all depths, in
    two readings of "lift quality".

    ``gains``: area under the share of churners found by depth; equals 2 · AUC − 1.
    ``lift``: the same with that share divided by depth, which gives the small, riskiest
    groups more weight. Tied users are found at their average pace.

    >>> lift_quality(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2]))
    {'lift_quality_gains': 1.0, 'lift_quality_lift': 1.0}
    """
    y = np.asarray(churned, dtype=float)
    if len(np.unique(y)) < 2:
        return {"lift_quality_gains": float("nan"), "lift_quality_lift": float("nan")}
    depth = np.arange(1, len(y) + 1) / len(y)
    model, perfect = _gains(y, np.asarray(probability)), np.minimum(depth / y.mean(), 1)
    area = [float(np.mean(gains) - np.mean(depth)) for gains in (model, perfect)]
    lift = [float(np.mean(gains / depth) - 1) for gains in (model, perfect)]
    return {
        "lift_quality_gains": area[0] / area[1],
        "lift_quality_lift": lift[0] / lift[1],
    }


def _gains(y: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Share of churners found among the riskiest 1, 2, … n users; shape (n,)."""
    order = np.argsort(-probability, kind="stable")
    last = np.append(
        np.flatnonzero(np.diff(probability[order])) + 1, len(y)
    )  # users down to the end of each tie
    found = np.cumsum(y[order])[last - 1]
    return np.asarray(
        np.interp(
            np.arange(1, len(y) + 1), np.append(0, last), np.append(0, found) / y.sum()
        )
    )
