"""One cutoff: who is eligible, and the features of those who are."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from churn.clocks import known_before, known_by
from churn.features.catalogue import Plan, catalogue
from churn.features.numbers import numbers
from churn.features.user_days import NUMBER, UserDays
from churn.features.window import Window

GONE = ("erasure", "merge")
"""Kinds after which a user is never scored again.

The user asked for erasure, or was merged into another user.
"""


def is_gone(cutoff: date) -> pl.Expr:
    """Whether a row of activity says by the cutoff that its user is gone for ever."""
    return known_before(pl.lit(cutoff)) & pl.col("kind").is_in(GONE)


def is_too_late(cutoff: date, plan: Plan) -> pl.Expr:
    """Whether a row of the observation window was not known by the cutoff."""
    start = cutoff - timedelta(days=plan.observation_days)
    in_window = pl.col("date").is_between(start, cutoff, closed="left")
    return in_window & ~known_by(pl.lit(cutoff))


@dataclass(frozen=True)
class Moment:
    """A cutoff, and what is known at it beside the users' days.

    ``app_trend``: see ``compute.app_level``. ``first_seen``: rows of the users table,
    with user_id as an Enum.
    """

    cutoff: date
    plan: Plan
    eligible_days: int
    app_trend: float
    first_seen: pl.DataFrame

    def features(self, days: UserDays, without: np.ndarray) -> pl.DataFrame:
        """A row per eligible user, other than those with the numbers ``without``.

        Columns: user_id, cutoff, and the features of the catalogue.
        """
        cutoff = (self.cutoff - date(1970, 1, 1)).days
        length = self.plan.observation_days
        recent = days.active_between(cutoff - min(self.eligible_days, length), cutoff)
        users = np.setdiff1d(recent, without, assume_unique=True)
        window = Window(days, users, cutoff, length)
        window = Window(days, users[_is_installed(window)], cutoff, length)
        features = {name: f.expr for name, f in catalogue(self.plan).items()}
        known = self._known(window)
        names = {name for expr in features.values() for name in expr.meta.root_names()}
        own = numbers(window, sorted(names - set(known.columns)))
        return known.hstack(own).select("user_id", "cutoff", **features)

    def _known(self, window: Window) -> pl.DataFrame:
        """What features use beside numbers: user_id, cutoff, tenure, the app's trend."""
        users = window.days.user_ids.gather(window.users)
        keys = pl.DataFrame({"user_id": users.cast(self.first_seen["user_id"].dtype)})
        return keys.join(
            _tenure(self.first_seen.lazy(), self.cutoff).collect(),
            on="user_id",
            how="left",
            maintain_order="left",
        ).with_columns(
            cutoff=pl.lit(self.cutoff),
            app_trend=pl.lit(self.app_trend),
        )


def _is_installed(window: Window) -> np.ndarray:
    """Whether each user has been active since the last uninstall in the window."""
    days = window.days
    start, end = window.every()
    _, end_of_active = window.active()
    uninstall = days.every.newest("n_uninstalls", end)
    has_returned = days.uninstalled_at[uninstall] < days.active_at[end_of_active - 1]
    return (uninstall < start) | has_returned


def _tenure(users: pl.LazyFrame, cutoff: date) -> pl.LazyFrame:
    """Days from the first day seen to the cutoff, as known by the cutoff."""
    known = users.filter(known_by(pl.lit(cutoff)))
    first = known.group_by("user_id").agg(pl.col("first_date").min())
    days = (pl.lit(cutoff) - pl.col("first_date")).dt.total_days().cast(pl.Int32)
    return first.filter(pl.col("first_date") < cutoff).select(
        "user_id", days.alias("tenure_days")
    )
