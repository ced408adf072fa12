"""Columns of the user-day table, over which features are aggregated.

``user_days`` builds that table: one row per user, cutoff and day with an event. A
feature is an aggregation of these columns over the days of one user and cutoff.
"""

import polars as pl

AGE = pl.col("age")
"""Days from the day to the cutoff: 1 for the day just before it."""

N_ACTIVE = pl.col("n_active")
"""Number of active events on the day, 0 if there were only passive ones."""

IS_ACTIVE = N_ACTIVE > 0
"""Whether the user was active on the day."""

ACTIVE_AGE = pl.col("active_age")
"""``AGE`` of an active day; null on other days."""

GAP = pl.col("gap")
"""Days from an active day back to the previous active one, newest day first.

Null on the oldest active day and on days without activity.
"""

RECENCY = ACTIVE_AGE.min()
"""Days since the last active day."""


def within(days: int) -> pl.Expr:
    """Whether the day lies in the last ``days`` days before the cutoff."""
    return days >= AGE


def decay(half_life: int) -> pl.Expr:
    """The weight of a day that halves with every ``half_life`` days of its age."""
    return pl.lit(2.0).pow(-AGE / half_life)
