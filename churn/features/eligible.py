"""Who is eligible at a cutoff, and for how long each user has been known."""

from datetime import date

import numpy as np
import polars as pl

from churn.clocks import known_by
from churn.features.window import Window


def eligible(window: Window, eligible_days: int) -> Window:
    """The window of the users active within ``eligible_days`` and not uninstalled since.

    Both lie in the window: what came before it is not seen.
    """
    start, end = window.active(eligible_days)
    recent = window.of(start < end)
    return recent.of(_is_installed(recent))


def _is_installed(window: Window) -> np.ndarray:
    """Whether each user has been active since the last uninstall, if there was one."""
    every, active = window.days.every, window.days.active
    start, end = window.every()
    _, end_of_active = window.active()
    uninstall = every.newest("n_uninstalls", end)
    active_at = active.times["active_at"][end_of_active - 1]
    has_returned = every.times["uninstalled_at"][uninstall] < active_at
    return np.asarray((uninstall < start) | has_returned)


def tenure(users: pl.LazyFrame, cutoff: date) -> pl.LazyFrame:
    """Days from the first day seen to the cutoff, as known by it: user_id, tenure_days.

    Users whom the users table did not know by the cutoff have no row.
    """
    known = users.filter(known_by(pl.lit(cutoff)))
    first = known.group_by("user_id").agg(pl.col("first_date").min())
    days = (pl.lit(cutoff) - pl.col("first_date")).dt.total_days().cast(pl.Int32)
    return first.filter(pl.col("first_date") < cutoff).select(
        "user_id", days.alias("tenure_days")
    )
