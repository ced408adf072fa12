"""Log-odds, log loss, calibration and logistic regression of binary outcomes.

Log losses and log-odds are in natural logarithms.
"""

import numpy as np
from scipy.special import expit, logit

from churn.stats.ranking import share_ties
from churn.stats.shares import Z

N_BINS = 10
"""Number of bins of equal size of a calibration error."""

MAX_STEPS = 50
"""Largest number of Newton steps of a logistic regression."""

Interval = tuple[float, float, float]


def calibration_error(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Mean distance of forecast and actual rate over ten bins of equal size.

    ``outcome`` and ``probability``: shape (n,). Bins follow the probability; each
    counts by its size. Observations of the same probability share their mean outcome,
    so that their order doesn't matter. NaN without observations.

    >>> calibration_error(np.array([0] * 10 + [1] * 10), np.array([0.5] * 20))
    0.0
    """
    if not len(probability):
        return float("nan")
    order = np.argsort(probability, kind="stable")
    gap = (share_ties(outcome, probability) - probability)[order]
    bins = np.array_split(gap, N_BINS)
    return float(sum(abs(b.sum()) for b in bins) / len(probability))


def noise_floor(probability: np.ndarray) -> float:
    """The calibration error expected of exactly right probabilities, by chance alone.

    ``probability``: shape (n,), in the same ten bins. A bin's gap is about normal with
    mean 0, and its mean distance from 0 is √(2/π) of its standard deviation. The
    variance of a mean outcome shared by k observations is p (1 − p) / k.

    >>> round(noise_floor(np.full(1000, 0.5)), 4), noise_floor(np.ones(1000))
    (0.0126, 0.0)
    """
    p = np.sort(np.asarray(probability, dtype=float))
    parts = np.array_split(np.arange(len(p)), N_BINS)
    bins = np.repeat(np.arange(N_BINS), [len(part) for part in parts])
    _, group, size = np.unique(p, return_inverse=True, return_counts=True)
    _, cell, size_in_bin = np.unique(
        bins * len(size) + group, return_inverse=True, return_counts=True
    )
    variance = p * (1 - p) * size_in_bin[cell] / size[group]
    deviations = np.sqrt(np.bincount(bins, variance))
    return float(np.sqrt(2 / np.pi) * deviations.sum() / len(p))


def log_losses(outcome: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The log loss of each observation, shape (n,).

    Where ``outcome`` is itself a probability, the loss in expectation. Probabilities
    are kept 1e-15 away from 0 and 1.

    >>> log_losses(np.array([1, 0]), np.array([0.5, 0.2])).round(3)
    array([0.693, 0.223])
    """
    p = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(-(outcome * np.log(p) + (1 - outcome) * np.log(1 - p)))


def expected_log_loss(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss of ``probability`` over outcomes drawn with probability ``truth``.

    Both have shape (n,).

    >>> round(expected_log_loss(np.array([0.5]), np.array([0.9])), 3)
    0.693
    """
    return float(np.mean(log_losses(truth, probability)))


def ceiling_skill(probability: np.ndarray, truth: np.ndarray) -> float:
    """(L_base − L_model) / (L_base − L_truth), with expected log losses.

    ``probability`` and the true ``truth``: shape (n,). The base forecast is the best
    constant, the mean of the truth. 1 is all that could be known, 0 no better than the
    constant; NaN if the truth is the same for all, so that nothing could be known.

    >>> ceiling_skill(np.array([0.2, 0.8]), np.array([0.2, 0.8]))
    1.0
    """
    base = expected_log_loss(np.full(len(truth), truth.mean()), truth)
    model = expected_log_loss(probability, truth)
    ceiling = expected_log_loss(truth, truth)
    return float((base - model) / (base - ceiling)) if np.ptp(truth) else float("nan")


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, which are kept 1e-6 away from 0 and 1.

    >>> log_odds(np.array([0.5, 1.0])).round(2)
    array([ 0.  , 13.82])
    """
    return np.asarray(logit(np.clip(probability, 1e-6, 1 - 1e-6)))


def logistic(
    x: np.ndarray, y: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and standard errors of an unpenalised logistic regression.

    ``x``: shape (n, columns), without an intercept of its own. ``y``: shape (n,),
    outcomes or shares. ``offset``: shape (n,), log-odds that are added as they are.
    Returns two arrays of shape (columns,); NaN where no finite coefficients fit best,
    as with outcomes that x separates. scikit-learn offers neither offset nor standard
    errors.

    >>> beta, error = logistic(np.ones((4, 1)), np.array([1, 1, 1, 0]), np.zeros(4))
    >>> beta.round(3), error.round(3)
    (array([1.099]), array([1.155]))
    """
    beta = np.zeros(x.shape[1])
    for _ in range(MAX_STEPS):
        p = expit(x @ beta + offset)
        information = (x.T * (p * (1 - p))) @ x + 1e-9 * np.eye(len(beta))
        step = np.linalg.solve(information, x.T @ (y - p))
        beta += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            return beta, np.sqrt(np.diag(np.linalg.inv(information)))
    unknown = np.full(len(beta), np.nan)
    return unknown, unknown.copy()


def calibration(outcome: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Level, slope and error of probabilities against their outcomes.

    ``outcome`` and ``probability``: shape (n,).

    - ``n``, ``mean_probability``, ``outcome_rate``.
    - ``intercept``: by how much the log-odds are too low, fitted with slope 1.
    - ``slope``: of the outcomes on the log-odds; 1 is right, below 1 the probabilities
      are too extreme. NaN if all probabilities are equal.
    - ``…_low`` and ``…_high``: their 95 % intervals. All are NaN with one outcome only.
    - ``calibration_error``, and ``error_beyond_noise``, that less ``noise_floor``.
    """
    y = np.asarray(outcome, dtype=float)
    x = log_odds(np.asarray(probability, dtype=float))
    ones = np.ones_like(x)
    intercept = _interval(ones[:, None], y, x)
    slope = (np.nan, np.nan, np.nan)
    if np.ptp(x):
        slope = _interval(np.column_stack([ones, x]), y, 0 * x)
    error = calibration_error(y, probability)
    return {
        "n": len(y),
        "mean_probability": float(np.mean(probability)),
        "outcome_rate": float(y.mean()),
        "intercept": intercept[0],
        "intercept_low": intercept[1],
        "intercept_high": intercept[2],
        "slope": slope[0],
        "slope_low": slope[1],
        "slope_high": slope[2],
        "calibration_error": error,
        "error_beyond_noise": error - noise_floor(probability),
    }


def _interval(
    x: np.ndarray,
    y: np.ndarray,
    offset: np.ndarray,
) -> Interval:
    """The last coefficient of a logistic regression, and its 95 % interval."""
    if len(np.unique(y)) < 2:
        return np.nan, np.nan, np.nan
    coefficients, errors = logistic(x, y, offset)
    value = float(coefficients[-1])
    error = float(errors[-1])
    return value, value - Z * error, value + Z * error


def level_holds(low: float, high: float, limit: float) -> bool:
    """Whether a level may be within the limit, by its 95 % interval in log-odds.

    Only an interval that lies wholly beyond the limit says no, so that a small sample,
    which has a wide interval, hardly ever does by chance. So does NaN: not known.

    >>> level_holds(0.1, 0.9, 0.2), level_holds(0.3, 0.9, 0.2)
    (True, False)
    """
    return not (low > limit or high < -limit)
