"""How often an outcome of given probabilities is to be expected, and how far off."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from churn.stats.probability import log_odds
from churn.stats.shares import Z


class Expected(NamedTuple):
    """A count to expect; the limits of 95 % are null where not known."""

    n: float
    low: float | None
    high: float | None


def count(probability: np.ndarray, calibration: tuple[float, float] | None) -> Expected:
    """How many of these probabilities will come true.

    ``calibration``: the 95 % interval of a model's level, in log-odds, in its newest
    validation fold; null where it isn't known. The limits hold if the level is off no
    further than it may have been there. Chance among the outcomes is added to it.

    >>> expected = count(np.full(100, 0.5), (-0.2, 0.2))
    >>> [round(n) for n in expected]
    [50, 39, 61]
    """
    n = float(probability.sum())
    if calibration is None or np.isnan(calibration).any():
        return Expected(n, None, None)
    x = log_odds(probability)
    least, most = (float(expit(x + shift).sum()) for shift in calibration)
    chance = Z * float(np.sqrt((probability * (1 - probability)).sum()))
    low = n - np.hypot(max(n - least, 0), chance)
    high = n + np.hypot(max(most - n, 0), chance)
    return Expected(n, max(float(low), 0.0), min(float(high), float(len(probability))))
