"""How far another period may move a figure that rests on few test cutoffs.

What happens to all users at once (a season, a campaign, a new version) moves a figure
in one period and not in another. Drawing other users never shows this; only the
difference between cutoffs does, and cutoffs whose horizons overlap share much of it.
Taken is: such a shock belongs to a day, so two cutoffs share as much as their horizons
overlap. What moves more slowly than the test cutoffs span is in no interval.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
from scipy.stats import t

CONFIDENCE = 0.95
"""Share of the intervals that are to hold the figure."""


def n_independent(
    cutoffs: Sequence[date],
    horizon_days: int,
) -> float:
    """Number of periods without overlap that the horizons of the cutoffs are worth.

    Cutoffs that lie far apart, as validation folds do, are worth no more than their
    number.

    >>> days = [date(2026, 1, 1), date(2026, 1, 15), date(2026, 1, 29)]
    >>> n_independent(days, 28), n_independent(days[:1], 28), n_independent([], 28)
    (2.0, 1.0, 0.0)
    """
    if not cutoffs:
        return 0.0
    span = (max(cutoffs) - min(cutoffs)).days
    return min(1 + span / horizon_days, float(len(set(cutoffs))))


def half_width(
    values: np.ndarray,
    weight: np.ndarray,
    noise: np.ndarray,
    cutoffs: Sequence[date],
    horizon_days: int,
) -> float:
    """Half of the 95 % interval in which other periods may put a mean over cutoffs.

    ``values``: the figure at each cutoff, shape (k,). ``weight``: that of each cutoff
    in the mean. ``noise``: covariances, shape (k, k), that chance among the users alone
    gives the values. Infinite with one cutoff, which shows nothing of other periods.

    The variance of shocks is the variance between cutoffs beyond what chance explains,
    over the share that cutoffs don't have in common. As few cutoffs estimate it badly,
    the interval is Student's t with as many degrees of freedom as they are worth
    (Satterthwaite).

    >>> days = [date(2026, 1, 1), date(2026, 1, 29), date(2026, 2, 26)]
    >>> none = np.zeros((3, 3))
    >>> round(half_width(np.array([1, 2, 3]), np.ones(3), none, days, 28), 2)
    2.48
    """
    if len(values) < 2:
        return float("inf")
    shock, freedom = shocks(values, noise, cutoffs, horizon_days)
    together = overlap(cutoffs, horizon_days)
    share = weight / weight.sum()
    error = np.sqrt(shock * (share @ together @ share))
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom) * error)


def overlap(
    cutoffs: Sequence[date],
    horizon_days: int,
) -> np.ndarray:
    """Share of their horizons that each two cutoffs have in common, shape (k, k)."""
    days = np.array([cutoff.toordinal() for cutoff in cutoffs])
    gap = np.abs(days[:, None] - days[None])
    return np.asarray(np.clip(1 - gap / horizon_days, 0, None))


def shocks(
    values: np.ndarray,
    noise: np.ndarray,
    cutoffs: Sequence[date],
    horizon_days: int,
) -> tuple[float, float]:
    """Variance of what happens to all users in one period, and its degrees of freedom.

    The arguments are those of ``half_width``, for at least two cutoffs that aren't all
    on one day.
    """
    k = len(values)
    centring = np.eye(k) - 1 / k
    apart = centring @ overlap(cutoffs, horizon_days) @ centring
    freedom = np.trace(apart) ** 2 / np.trace(apart @ apart)
    by_chance = np.trace(centring @ noise)
    between = np.sum((values - values.mean()) ** 2)
    return max(0.0, between - by_chance) / np.trace(apart), float(freedom)
