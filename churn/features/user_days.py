"""The user-day table: what each user did on each day, in the order of time.

Input: daily activity. A row counts by both clocks: what it says must have happened, and
must have been known, before the cutoff. Features name the table's columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from churn.clocks import known_before
from churn.events.activity import counted_once
from churn.features.catalogue import Plan
from churn.features.timeline import Timeline, day_of, key, user_of
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
    """What users did on each day; a user is a number.

    - ``user_ids``: the users by number, shape (n_users,).
    - ``every``: the days with any event. Columns: n (events), n_passive, those of
      ``KIND_COUNTS``, purchase_day (1 or 0), revenue, revenue_per_purchase, and
      event:NAME and property:NAME for the names of the plan.
    - ``active``: the days with active events. Columns: n_active, active_day (always 1),
      weekday:1 (Monday) to weekday:7 (1 or 0), minutes between the first and the last
      active event, and hour_sin and hour_cos, the hour (UTC) of the last one as a point
      on a 24-hour circle.
    - ``uninstalled_at``: the day's last uninstall, by day of ``every``.
    - ``active_at``: the day's last active event, by day of ``active``.
    """

    user_ids: pl.Series
    every: Timeline
    active: Timeline
    uninstalled_at: np.ndarray
    active_at: np.ndarray

    def active_between(self, start: int, end: int) -> np.ndarray:
        """Numbers of the users active on a day from ``start`` to before ``end``."""
        day = self.active.day
        in_time = (day >= start) & (day < end)
        return np.unique(user_of(self.active.keys[in_time]))


NUMBER = pl.col("user_id").to_physical().cast(pl.Int64)
"""The number of a row's user, whose id is an Enum."""


def numbered(
    activity: pl.LazyFrame, users: pl.LazyFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables, collected, with user ids as an Enum of the users who have activity.

    Users are then compared and sorted as numbers. Other rows of ``users`` are left out.
    """
    rows = activity.collect()
    ids = pl.Enum(rows["user_id"].unique().sort())
    user_id = pl.col("user_id").cast(ids, strict=False)
    have_activity = users.with_columns(user_id).drop_nulls("user_id")
    return rows.with_columns(user_id), have_activity.collect()


def numbers_of(rows: pl.DataFrame) -> np.ndarray:
    """The numbers of the users in these rows, ascending; shape (n_users,)."""
    return np.unique(rows.select(NUMBER).to_series().to_numpy())


def observed(
    activity: pl.LazyFrame, cutoff: date, observation_days: int, sources: Sequence[str]
) -> pl.LazyFrame:
    """Activity in the window before the cutoff, by both clocks.

    If several ``sources`` report the same event, the first of them counts.
    """
    start = cutoff - timedelta(days=observation_days)
    in_window = known_before(pl.lit(cutoff)) & (pl.col("date") >= start)
    return counted_once(activity.filter(in_window), sources)


def build(rows: pl.DataFrame, plan: Plan) -> UserDays:
    """Sum rows of daily activity by user and day; ``user_id`` must be an Enum."""
    facts = rows.lazy().select(_facts(rows, plan)).sort("key").collect()
    done = facts.filter("is_active")
    return UserDays(
        user_ids=rows["user_id"].dtype.categories,  # type: ignore[attr-defined]
        every=_every(facts, plan),
        active=_active(done),
        uninstalled_at=_by_day(facts, "uninstalled_at", np.maximum),
        active_at=_by_day(done, "last_at", np.maximum),
    )


def _facts(rows: pl.DataFrame, plan: Plan) -> list[pl.Expr]:
    """What is summed of each row, as numbers; names are places in the plan."""
    day = pl.col("date").to_physical().cast(pl.Int64)
    n = pl.col("n")
    active = is_active(plan.counts_as_active)
    is_uninstall = pl.col("kind") == "uninstall"
    last_at = pl.col("last_at").dt.epoch("us")
    facts = [
        key(NUMBER, day).alias("key"),
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


def _starts(facts: pl.DataFrame) -> np.ndarray:
    """Position of the first row of each user's day, shape (n_days,)."""
    return np.flatnonzero(np.diff(facts["key"].to_numpy(), prepend=-1))


def _by_day(facts: pl.DataFrame, column: str, function: np.ufunc) -> np.ndarray:
    """A column reduced by user and day, shape (n_days,)."""
    return np.asarray(function.reduceat(facts[column].to_numpy(), _starts(facts)))


def _every(facts: pl.DataFrame, plan: Plan) -> Timeline:
    """The days with any event."""
    starts = _starts(facts)
    counts = {
        name: _by_day(facts, name, np.add) for name in ("n", "n_passive", *KIND_COUNTS)
    }
    revenue = _by_day(facts, "revenue", np.add)
    n_purchases = counts["n_purchases"]
    counts["purchase_day"] = (n_purchases > 0).astype(np.int64)
    amounts = {
        "revenue": revenue,
        "revenue_per_purchase": np.where(
            n_purchases > 0, revenue / np.maximum(n_purchases, 1), 0
        ),
    }
    day = np.repeat(np.arange(len(starts)), np.diff(starts, append=facts.height))
    numbered = facts.with_columns(day=day)
    named = _by_name(numbered.select("day", "event", "n"), plan.vocabulary, len(starts))
    for name, n in named.items():
        counts[f"event:{name}"] = n.astype(np.int64)
    if plan.properties:
        pairs = numbered.select("day", "sums").explode("sums").unnest("sums")
        pairs = pairs.select("day", _place(pl.col("name"), plan.properties), "total")
        sums = _by_name(pairs, plan.properties, len(starts))
        amounts |= {f"property:{name}": total for name, total in sums.items()}
    return Timeline(facts["key"].to_numpy()[starts], counts, amounts)


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


def _active(done: pl.DataFrame) -> Timeline:
    """The days with active events, from the rows of these."""
    keys = done["key"].to_numpy()[_starts(done)]
    began_at = _by_day(done, "first_at", np.minimum)
    active_at = _by_day(done, "last_at", np.maximum)
    # 1 January 1970 was a Thursday.
    weekday = (day_of(keys) + 3) % 7 + 1
    angle = active_at // HOUR % 24 * (math.tau / 24)
    counts = {
        "n_active": _by_day(done, "n", np.add),
        "active_day": np.ones(len(keys), np.int64),
        "minutes": (active_at - began_at) // MINUTE,
    }
    for number in range(1, 8):
        counts[f"weekday:{number}"] = (weekday == number).astype(np.int64)
    amounts = {"hour_sin": np.sin(angle), "hour_cos": np.cos(angle)}
    return Timeline(keys, counts, amounts)
