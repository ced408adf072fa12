"""The user-day table: what each user did on each day, in the order of time.

Features name the columns of this table; ``columns`` says how.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churn.features.catalogue import Plan
from churn.features.timeline import Timeline, day_of, key
from churn.features.versions import Known
from churn.kinds import is_active

KIND_COUNTS = {
    "n_purchases": "purchase",
    "n_sent": "message_sent",
    "n_engaged": "message_engaged",
    "n_uninstalls": "uninstall",
}
"""Columns that count the events of one kind."""

MINUTE = 60_000_000
HOUR = 60 * MINUTE
"""In microseconds, the unit of all times here."""


@dataclass(frozen=True)
class UserDays:
    """What users did on each day. A user is a number: that of a version.

    - ``user_ids``: the user's id by number, shape (n_users,).
    - ``every``: the days with any event. Columns: n (events), n_passive, those of
      ``KIND_COUNTS``, purchase_day (1 or 0), revenue, revenue_per_purchase,
      uninstalled_at (the last uninstall), and event:NAME and property:NAME for the
      names of the plan.
    - ``active``: the days with active events. Columns: n_active, active_day (always 1),
      weekday:1 (Monday) to weekday:7 (1 or 0), minutes from the first to the last
      active event, active_at (the last one), and hour_sin and hour_cos: its hour (UTC)
      as a point on a 24-hour circle.
    """

    user_ids: pl.Series
    every: Timeline
    active: Timeline


@dataclass(frozen=True)
class _Rows:
    """Rows of activity, sorted by user and day.

    ``facts``: the columns of ``_facts``. ``starts``: where each user's days begin,
    shape (n_days,).
    """

    facts: pl.DataFrame
    starts: np.ndarray

    @classmethod
    def of(cls, facts: pl.DataFrame) -> "_Rows":
        keys = facts["key"].to_numpy()
        return cls(facts, np.flatnonzero(np.diff(keys, prepend=-1)))

    def keys(self) -> np.ndarray:
        """The key of each user's day, shape (n_days,)."""
        return np.asarray(self.facts["key"].to_numpy()[self.starts])

    def by_day(self, column: str, function: np.ufunc = np.add) -> np.ndarray:
        """A column, reduced by user and day; shape (n_days,)."""
        values = self.facts[column].to_numpy()
        return np.asarray(function.reduceat(values, self.starts))

    def day(self) -> np.ndarray:
        """The position of each row's day, shape (n_rows,)."""
        n_rows = np.diff(self.starts, append=self.facts.height)
        return np.repeat(np.arange(len(self.starts)), n_rows)


def build(known: Known, plan: Plan) -> UserDays:
    """Sum activity by user and day."""
    facts = known.rows.lazy().select(_facts(plan)).sort("key").collect()
    every = _Rows.of(facts)
    active = _Rows.of(facts.filter("is_active"))
    n_users = len(known.user_ids)
    return UserDays(
        known.user_ids,
        _every(every, plan, n_users),
        _active(active, n_users),
    )


def _facts(plan: Plan) -> list[pl.Expr]:
    """What is summed of each row, as numbers; names are places in the plan."""
    day = pl.col("date").to_physical().cast(pl.Int64)
    n = pl.col("n")
    active = is_active(plan.counts_as_active)
    is_uninstall = pl.col("kind") == "uninstall"
    last_at = pl.col("last_at").dt.epoch("us")
    facts = [
        key(pl.col("version"), day).alias("key"),
        n,
        active.alias("is_active"),
        pl.when(active).then(0).otherwise(n).alias("n_passive"),
        *(
            pl.when(pl.col("kind") == kind).then(n).otherwise(0).alias(name)
            for name, kind in KIND_COUNTS.items()
        ),
        pl.col("revenue"),
        pl.col("first_at").dt.epoch("us"),
        last_at,
        pl.when(is_uninstall).then(last_at).otherwise(0).alias("uninstalled_at"),
        _place(pl.col("event"), plan.vocabulary).alias("event"),
    ]
    return [*facts, pl.col("sums")] if plan.properties else facts


def _place(name: pl.Expr, names: Sequence[str]) -> pl.Expr:
    """The place of a name among ``names``; null for any other."""
    place = name.cast(pl.Enum(names), strict=False).to_physical()
    return place.cast(pl.Int64)


def _every(rows: _Rows, plan: Plan, n_users: int) -> Timeline:
    """The days with any event."""
    counts = {name: rows.by_day(name) for name in ("n", "n_passive", *KIND_COUNTS)}
    revenue = rows.by_day("revenue")
    n_purchases = counts["n_purchases"]
    counts["purchase_day"] = (n_purchases > 0).astype(np.int64)
    per_purchase = np.where(n_purchases > 0, revenue / np.maximum(n_purchases, 1), 0)
    amounts = {"revenue": revenue, "revenue_per_purchase": per_purchase}
    times = {"uninstalled_at": rows.by_day("uninstalled_at", np.maximum)}
    day = rows.facts.with_columns(day=rows.day())
    named = day.select("day", "event", "n")
    for name, n in _by_name(named, plan.vocabulary, len(rows.starts)).items():
        counts[f"event:{name}"] = n.astype(np.int64)
    if plan.properties:
        pairs = day.select("day", "sums").explode("sums").unnest("sums")
        named = pairs.select("day", _place(pl.col("name"), plan.properties), "total")
        for name, total in _by_name(named, plan.properties, len(rows.starts)).items():
            amounts[f"property:{name}"] = total
    return Timeline(rows.keys(), n_users, counts, amounts, times)


def _by_name(
    rows: pl.DataFrame, names: Sequence[str], n_days: int
) -> dict[str, np.ndarray]:
    """Sums by day and name, shape (n_days,) each.

    ``rows`` has three columns: the day's position, the place among ``names``, which may
    be null, and the number to sum.
    """
    day, place, number = (column.to_numpy() for column in rows.drop_nulls())
    cells = day * len(names) + place
    sums = np.bincount(cells, number, n_days * len(names)).astype(np.float64)
    return dict(zip(names, sums.reshape(n_days, len(names)).T, strict=True))


def _active(rows: _Rows, n_users: int) -> Timeline:
    """The days with active events, from the rows of these."""
    keys = rows.keys()
    began_at = rows.by_day("first_at", np.minimum)
    active_at = rows.by_day("last_at", np.maximum)
    # 1 January 1970 was a Thursday.
    weekday = (day_of(keys) + 3) % 7 + 1
    angle = active_at // HOUR % 24 * (math.tau / 24)
    counts = {
        "n_active": rows.by_day("n"),
        "active_day": np.ones(len(keys), np.int64),
        "minutes": (active_at - began_at) // MINUTE,
    }
    for number in range(1, 8):
        counts[f"weekday:{number}"] = (weekday == number).astype(np.int64)
    amounts = {"hour_sin": np.sin(angle), "hour_cos": np.cos(angle)}
    return Timeline(keys, n_users, counts, amounts, {"active_at": active_at})
