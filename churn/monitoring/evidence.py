"""What the newest outcomes say of a figure: its mean, with an interval.

Two kinds of chance count: other users, and other periods. Cutoffs on neighbouring days
share most of their horizons and of their users, and are hardly more evidence than one of
them. How much periods differ is learned from the cutoffs and, since these are few, from
a prior.
"""

from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import t

from churn.evaluation import periods

PRIOR_PERIODS = 6.0
"""Weight of the priors, in periods; as for the forecast of the next period."""

PRIORS = {"shift": 0.1, "auc": 0.01, "gain": 0.02}
"""Prior standard deviation of each figure between periods.

That of the level is half of what the forecast of the next period takes, since the limit
of the level leaves room for a period's own luck already; the others are what simulated
apps show.
"""


class Interval(NamedTuple):
    """A mean over cutoffs and its 95 % interval; all NaN if nothing is known."""

    value: float
    low: float
    high: float


def newest(
    figures: pl.DataFrame,
    horizon_days: int,
) -> pl.DataFrame:
    """The rows of the last half of a horizon's days, and of a week at least.

    Older ones say less of the present, and new ones would be lost among them.
    """
    days = timedelta(days=max(7, horizon_days // 2))
    return figures.filter(pl.col("cutoff") >= pl.col("cutoff").max() - days)


def interval(
    figures: pl.DataFrame,
    name: str,
    horizon_days: int,
) -> Interval:
    """The mean of a figure over cutoffs: auc, gain or shift.

    ``figures``: cutoff, the figure, and its standard error among users as ``…_error``.
    """
    known = figures.drop_nulls([name, f"{name}_error"]).sort("cutoff")
    if known.is_empty():
        unknown = float("nan")
        return Interval(unknown, unknown, unknown)
    values = known[name].to_numpy()
    errors = known[f"{name}_error"].to_numpy()
    cutoffs = known["cutoff"].to_list()
    shared = periods.overlap(cutoffs, horizon_days)
    # Horizons that overlap hold the same days of the same users.
    noise = np.outer(errors, errors) * shared
    shock, freedom = PRIORS[name] ** 2, 0.0
    if len(values) > 1:
        observed, freedom = periods.shocks(values, noise, cutoffs, horizon_days)
        weights = [PRIOR_PERIODS, freedom]
        shock = float(np.average([shock, observed], weights=weights))
    share = np.full(len(values), 1 / len(values))
    variance = share @ (noise + shock * shared) @ share
    half = t.ppf(0.975, PRIOR_PERIODS + freedom) * np.sqrt(variance)
    value = float(values.mean())
    return Interval(value, value - float(half), value + float(half))
