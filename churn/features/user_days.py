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

KIND_COUNTS = {
    "n_purchases": "purchase",
    "n_sent": "message_sent",
    "n_engaged": "message_engaged",
    "n_uninstalls": "uninstall",
}
"""Columns that count the events of one kind."""

MINUTE = 60_000_000
"""In microseconds, the unit of all times here."""


@dataclass(frozen=True)
class UserDays:
    """What users did on each day. A user is a number: that of a version.

    - ``user_ids``: the user's id by number, shape (n_users,).
    - ``every``: the days with any event. Columns: n (events), any_day (always 1), n_passive,
      those of ``KIND_COUNTS``, purchase_day (1 or 0), revenue, revenue_per_purchase,
      uninstalled_at (the last uninstall), and event:NAME and property:NAME for the
      names of the plan.
    - ``active``: the days with active events. Columns: n_active, active_day (always 1),
      weekday:1 (Monday) to weekday:7 (1 or 0), minutes from the first to the last
      active event, active_at (the last one), and hour_sin and hour_cos: its hour in
      the plan's time zone as a point on a 24-hour circle.
    """

    user_ids: pl.Series
    every: Timeline
    active: Timeline


@dataclass(frozen=True)
class _Rows:
    """Rows of activity, sorted by user and day.

    ``starts``: where each user's days begin, shape (n_days,). ``day``: the position of
    each row's day, shape (n_rows,).
    """

    facts: pl.DataFrame
    keys: np.ndarray
    starts: np.ndarray
    day: np.ndarray

    @classmethod
    def of(cls, facts: pl.DataFrame) -> "_Rows":
        keys = facts["key"].to_numpy()
        is_first = np.diff(keys, prepend=-1) != 0
        starts = np.flatnonzero(is_first)
        return cls(facts, keys[starts], starts, np.cumsum(is_first) - 1)

    def by_day(self, column: str, function: np.ufunc) -> np.ndarray:
        """A column, reduced by user and day; shape (n_days,)."""
        values = self.facts[column].to_numpy()
        return np.asarray(function.reduceat(values, self.starts))

    def n_where(self, is_counted: pl.Expr) -> np.ndarray:
        """The number of such events by user and day, shape (n_days,)."""
        is_row = self.facts.select(is_counted.fill_null(False)).to_series().to_numpy()
        n = self.facts["n"].to_numpy()[is_row]
        counts = np.bincount(self.day[is_row], n, len(self.keys))
        return counts.astype(np.int64)


def build(known: Known, plan: Plan) -> UserDays:
    """Sum activity by user and day."""
    day = pl.col("date").to_physical().cast(pl.Int64)
    in_microseconds = pl.col("first_at", "last_at").dt.epoch("us")
    facts = known.rows.lazy().with_columns(
        in_microseconds, key=key(pl.col("version"), day)
    )
    needless = ("user_id", "date", "known_date", "source", "event", "version")
    ordered = facts.drop(needless, strict=False).sort("key").collect()
    every = _Rows.of(ordered)
    active = _Rows.of(ordered.filter("is_active"))
    n_users = len(known.user_ids)
    return UserDays(
        known.user_ids,
        _every(every, plan, n_users),
        _active(active, plan, n_users),
    )


def _every(rows: _Rows, plan: Plan, n_users: int) -> Timeline:
    """The days with any event."""
    counts = {
        "n": rows.by_day("n", np.add),
        "any_day": np.ones(len(rows.keys), np.int64),
        "n_passive": rows.n_where(~pl.col("is_active")),
    }
    for name, kind in KIND_COUNTS.items():
        counts[name] = rows.n_where(pl.col("kind") == kind)
    revenue = rows.by_day("revenue", np.add)
    n_purchases = counts["n_purchases"]
    counts["purchase_day"] = (n_purchases > 0).astype(np.int64)
    per_purchase = np.where(n_purchases > 0, revenue / np.maximum(n_purchases, 1), 0)
    amounts = {"revenue": revenue, "revenue_per_purchase": per_purchase}
    days = rows.facts.with_columns(day=rows.day)
    named = days.select("day", "place", "n")
    for name, n in _by_name(named, plan.vocabulary, len(rows.keys)).items():
        counts[f"event:{name}"] = n.astype(np.int64)
    if plan.properties:
        named = _properties(days, plan.properties)
        for name, total in _by_name(named, plan.properties, len(rows.keys)).items():
            amounts[f"property:{name}"] = total
    times = {"uninstalled_at": _uninstalled_at(days, len(rows.keys))}
    return Timeline(rows.keys, n_users, counts, amounts, times)


def _properties(days: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Sums of the named properties: day, place among the names, total."""
    pairs = days.select("day", "sums").explode("sums").unnest("sums")
    place = pl.col("name").cast(pl.Enum(names), strict=False).to_physical()
    return pairs.select("day", place, "total")


def _uninstalled_at(days: pl.DataFrame, n_days: int) -> np.ndarray:
    """The last uninstall of each day, 0 without any; shape (n_days,)."""
    uninstalls = days.filter(pl.col("kind") == "uninstall")
    last_at = np.zeros(n_days, np.int64)
    at = uninstalls["last_at"].to_numpy()
    np.maximum.at(last_at, uninstalls["day"].to_numpy(), at)
    return last_at


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


def _active(rows: _Rows, plan: Plan, n_users: int) -> Timeline:
    """The days with active events, from the rows of these."""
    began_at = rows.by_day("first_at", np.minimum)
    active_at = rows.by_day("last_at", np.maximum)
    # 1 January 1970 was a Thursday.
    weekday = (day_of(rows.keys) + 3) % 7 + 1
    hour = _local_hour(active_at, plan.timezone)
    angles = np.arange(24) * (math.tau / 24)
    counts = {
        "n_active": rows.by_day("n", np.add),
        "active_day": np.ones(len(rows.keys), np.int64),
        "minutes": (active_at - began_at) // MINUTE,
    }
    for number in range(1, 8):
        counts[f"weekday:{number}"] = (weekday == number).astype(np.int64)
    amounts = {"hour_sin": np.sin(angles)[hour], "hour_cos": np.cos(angles)[hour]}
    return Timeline(rows.keys, n_users, counts, amounts, {"active_at": active_at})


def _local_hour(at: np.ndarray, timezone: str) -> np.ndarray:
    """The hour of the day, 0 to 23, of instants in microseconds since 1970.

    >>> _local_hour(np.array([0, 3_600_000_000]), "America/New_York")
    array([19, 20], dtype=int8)
    """
    instants = pl.Series(at).cast(pl.Datetime("us", "UTC"))
    return instants.dt.convert_time_zone(timezone).dt.hour().to_numpy()
