"""The app's week: how much of it each day is worth, by the app's active users.

Where nobody uses an app on Sunday, a silent Sunday says nothing about a user. Days are
therefore also counted in **app days**: a day counts as many as its weekday has active
users in the app, divided by the mean over the weekdays, so that every week holds seven.
"""

from datetime import date

import numpy as np
import polars as pl

from churn.features.columns import (
    APP_DAYS,
    FIRST_ACTIVE,
    RECENCY,
    app_days,
    total,
)

MAX_WEEKS = 4
"""Largest number of weeks before the cutoff whose active users are counted."""

PRIOR = 20
"""Active users that each weekday has beside the counted ones.

A small app's weekdays differ by chance; this draws them towards each other.
"""

ROUND_TO = 0.5
"""Step to which numbers that all users share are rounded, in app days.

Unrounded ones would be another number at every cutoff, by which a model could learn
each cutoff's churn rate by heart.
"""


def of(known: pl.DataFrame, cutoff: date, observation_days: int) -> dict[str, float]:
    """App days of the last 1 to 6 days before a cutoff, by ``APP_DAYS``.

    ``known``: active users (n) by date, as known at the cutoff. Only whole weeks inside
    the observation window are counted; without any, a day is one app day.
    """
    n_weeks = min(MAX_WEEKS, observation_days // 7)
    age = (pl.lit(cutoff) - pl.col("date")).dt.total_days()
    rows = known.filter(age.is_between(1, 7 * n_weeks)).select("n", age=age)
    ages, n = rows["age"].to_numpy(), rows["n"].to_numpy()
    counts = np.bincount((ages - 1) % 7, n, minlength=7) + PRIOR
    days = np.cumsum(counts / counts.mean())
    return dict(zip(APP_DAYS, days.tolist(), strict=False))


def silence() -> dict[str, tuple[pl.Expr, str]]:
    """The silence in app days, and how much activity it would usually have held."""
    silent = app_days(RECENCY - 1)
    habit = app_days(FIRST_ACTIVE) - silent
    rate = total("active_day") / pl.max_horizontal(habit, 1.0)
    return {
        "recency_app_days": (
            silent,
            "whole days since the last active day, in app days",
        ),
        "missed_app_days": (
            rate * silent,
            "active days expected during the silence from the user's rate per app day",
        ),
    }


def place() -> dict[str, tuple[pl.Expr, str]]:
    """Where in the app's week the cutoff lies; the same for all users.

    The next days are those of the weeks before.
    """
    last = {days: app_days(pl.lit(days)) for days in (1, 3, 4, 6)}
    places = {
        "app_days_1d": (last[1], "app days in the last day"),
        "app_days_3d": (last[3], "app days in the last 3 days"),
        "app_days_next_1d": (7 - last[6], "app days in the first day after the cutoff"),
        "app_days_next_3d": (7 - last[4], "app days in the 3 days after the cutoff"),
    }
    return {
        name: ((days / ROUND_TO).round() * ROUND_TO, meaning)
        for name, (days, meaning) in places.items()
    }
