"""Log-odds, log losses and calibration of probabilities."""

import numpy as np
from scipy.special import expit, logit

N_BINS = 10


def calibration_error(churned: np.ndarray, probability: np.ndarray) -> float:
    """Mean distance of predicted and actual churn rate over ten bins of equal size,
    weighted by size.

    >>> round(calibration_error(np.array([0, 1] * 10), np.array([0.5] * 20)), 3)
    0.0
    """
    bins = np.array_split(np.argsort(probability, kind="stable"), N_BINS)
    gaps = [
        abs(churned[b].mean() - probability[b].mean()) * len(b) for b in bins if len(b)
    ]
    return float(sum(gaps) / len(probability))


def log_losses(outcome: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Log loss of each row, in expectation where ``outcome`` is itself a
    probability.
    """
    p = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(-(outcome * np.log(p) + (1 - outcome) * np.log(1 - p)))


def ceiling_skill(probability: np.ndarray, truth: np.ndarray) -> float:
    """(L_base − L_model) / (L_base − L_truth), log losses in expectation under the true
    probabilities.

    The base is the best constant, the mean of the true probabilities. 1 is all that
    could be known, 0 is no better than the constant.

    >>> ceiling_skill(np.array([0.2, 0.8]), np.array([0.2, 0.8]))
    1.0
    """
    base = expected_log_loss(np.full(len(truth), truth.mean()), truth)
    own = expected_log_loss(probability, truth)
    return float((base - own) / (base - expected_log_loss(truth, truth)))


def expected_log_loss(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss that ``probability`` would have over all outcomes that ``truth``
    makes possible.
    """
    return float(np.mean(log_losses(truth, probability)))


MAX_STEPS = 50  # of Newton's method


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Of probabilities kept a millionth away from 0 and 1."""
    return np.asarray(logit(np.clip(probability, 1e-6, 1 - 1e-6)))


def logistic(
    x: np.ndarray, y: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of an unpenalised logistic regression and their standard errors,
    shape (n_columns,) each.

    NaN where no finite ones fit best. ``y`` may be shares. scikit-learn has neither
    offset nor standard errors.
    """
    beta = np.zeros(x.shape[1])
    for _ in range(MAX_STEPS):
        p = expit(x @ beta + offset)
        information = (x.T * (p * (1 - p))) @ x + 1e-9 * np.eye(len(beta))
        step = np.linalg.solve(information, x.T @ (y - p))
        beta += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            return beta, np.sqrt(np.diag(np.linalg.inv(information)))
    return np.full((2, len(beta)), np.nan)  # type: ignore[return-value]


Z = 1.96


def calibration(churned: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Forecast and actual rate, intercept and slope each with its 95 % interval,
    calibration error beyond noise.
    """
    y, x = (
        np.asarray(churned, dtype=float),
        log_odds(np.asarray(probability, dtype=float)),
    )
    one = np.ones_like(x)
    intercept = _interval(one[:, None], y, x)
    slope = (
        _interval(np.column_stack([one, x]), y, 0 * x)
        if np.ptp(x)
        else (np.nan, np.nan, np.nan)
    )
    return {
        "n": len(y),
        "forecast_churn_rate": float(np.mean(probability)),
        "churn_rate": float(y.mean()),
        **dict(
            zip(
                ("intercept", "intercept_low", "intercept_high"), intercept, strict=True
            )
        ),
        **dict(zip(("slope", "slope_low", "slope_high"), slope, strict=True)),
        "calibration_error": calibration_error(y, probability),
        "error_beyond_noise": calibration_error(y, probability)
        - noise_floor(probability),
    }


def _interval(
    x: np.ndarray, y: np.ndarray, offset: np.ndarray
) -> tuple[float, float, float]:
    """Last coefficient of a logistic regression and its 95 % interval; NaN where there
    is none.
    """
    if len(np.unique(y)) < 2:
        return np.nan, np.nan, np.nan
    beta, error = (float(found[-1]) for found in logistic(x, y, offset))
    return beta, beta - Z * error, beta + Z * error


def noise_floor(probability: np.ndarray) -> float:
    """The calibration error to expect of probabilities that are exactly right: chance
    alone, over the same ten bins.

    A bin's gap is then normal about 0 with variance sum p (1 − p) / n², and its mean
    distance from 0 is √(2/π) of that deviation.

    >>> round(noise_floor(np.full(1000, 0.5)), 3), noise_floor(np.ones(1000))
    (0.04, 0.0)
    """
    p = np.sort(np.asarray(probability, dtype=float))
    bins = np.array_split(p, N_BINS)
    return float(
        np.sqrt(2 / np.pi) * sum(np.sqrt(np.sum(b * (1 - b))) for b in bins) / len(p)
    )
