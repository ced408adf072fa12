"""The user-day table: one row per user, cutoff and day of the observation window.

Input: daily activity and users. Only rows that had happened and were known before the
cutoff count, and only eligible users have rows. ``columns`` names what features read.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from churn.clocks import known_before, known_by
from churn.events.activity import counted_once, total
from churn.features.catalogue import Plan
from churn.features.columns import ACTIVE_AGE, AGE, IS_ACTIVE
from churn.kinds import is_active

KIND_COUNTS = {
    "n_purchases": "purchase",
    "n_sent": "message_sent",
    "n_engaged": "message_engaged",
}
"""Columns that count the events of one kind."""

GONE = ("erasure", "merge")
"""Kinds after which a user is never scored again.

The user asked for erasure, or was merged into another user.
"""


def observed(
    activity: pl.LazyFrame, cutoff: date, observation_days: int, sources: Sequence[str]
) -> pl.LazyFrame:
    """Activity in the window before the cutoff, by both clocks.

    If several ``sources`` report the same event, the first of them counts.
    """
    start = cutoff - timedelta(days=observation_days)
    in_window = known_before(pl.lit(cutoff)) & (pl.col("date") >= start)
    return counted_once(activity.filter(in_window), sources)


def build(
    activity: pl.LazyFrame,
    users: pl.LazyFrame,
    cutoff: date,
    plan: Plan,
    eligible_days: int,
) -> pl.LazyFrame:
    """The days of the users eligible at one cutoff, with their ``tenure_days``.

    ``tenure_days`` is null where the users table did not know the user by the cutoff.
    """
    days = _days(observed(activity, cutoff, plan.observation_days, plan.sources), plan)
    age = (pl.lit(cutoff) - pl.col("date")).dt.total_days().cast(pl.Int32)
    minutes = (pl.col("active_at") - pl.col("began_at")).dt.total_minutes()
    days = days.with_columns(
        age=age,
        weekday=pl.col("date").dt.weekday().cast(pl.Int32),
        active_minutes=minutes,
    )
    is_gone = known_before(pl.lit(cutoff)) & pl.col("kind").is_in(GONE)
    gone = activity.filter(is_gone).select("user_id")
    eligible = _eligible(days, eligible_days).join(
        gone,
        on="user_id",
        how="anti",
    )
    eligible = eligible.join(
        _tenure(users, cutoff),
        on="user_id",
        how="left",
    )
    own_days = days.join(
        eligible,
        on="user_id",
        how="inner",
    )
    return own_days.with_columns(pl.lit(cutoff).alias("cutoff"))


def _days(window: pl.LazyFrame, plan: Plan) -> pl.LazyFrame:
    """Activity summed by user and day."""
    active = is_active(plan.counts_as_active)
    is_uninstall = pl.col("kind") == "uninstall"
    n = pl.col("n")
    kinds = [
        n.filter(pl.col("kind") == kind).sum().alias(name)
        for name, kind in KIND_COUNTS.items()
    ]
    events = [
        n.filter(pl.col("event") == name).sum().alias(f"event:{name}")
        for name in plan.vocabulary
    ]
    properties = [total(name).alias(f"property:{name}") for name in plan.properties]
    sums = [pl.col(f"property:{name}").sum() for name in plan.properties]
    return (
        window.with_columns(properties)
        .group_by("user_id", "date")
        .agg(
            n.filter(active).sum().alias("n_active"),
            n.filter(~active).sum().alias("n_passive"),
            pl.col("revenue").sum(),
            *kinds,
            pl.col("first_at").filter(active).min().alias("began_at"),
            pl.col("last_at").filter(active).max().alias("active_at"),
            pl.col("last_at").filter(is_uninstall).max().alias("uninstalled_at"),
            *events,
            *sums,
        )
    )


def _eligible(days: pl.LazyFrame, eligible_days: int) -> pl.LazyFrame:
    """Users active recently enough, and not uninstalled since."""
    state = days.group_by("user_id").agg(
        AGE.filter(IS_ACTIVE).min().alias("silence"),
        pl.col("active_at", "uninstalled_at").max(),
    )
    has_returned = pl.col("uninstalled_at") < pl.col("active_at")
    is_installed = pl.col("uninstalled_at").is_null() | has_returned
    is_recent = pl.col("silence") <= eligible_days
    return state.filter(is_recent & is_installed).select("user_id")


def _tenure(users: pl.LazyFrame, cutoff: date) -> pl.LazyFrame:
    """Days from the first day seen to the cutoff, as known by the cutoff."""
    known = users.filter(known_by(pl.lit(cutoff)))
    first = known.group_by("user_id").agg(pl.col("first_date").min())
    days = (pl.lit(cutoff) - pl.col("first_date")).dt.total_days().cast(pl.Int32)
    return first.filter(pl.col("first_date") < cutoff).select(
        "user_id", days.alias("tenure_days")
    )


def with_gaps(days: pl.LazyFrame) -> pl.LazyFrame:
    """Sort days newest first, active ones before others, and add gaps and streaks.

    - ``active_age``, ``gap``: see ``columns``.
    - ``streak``: number, unique over all users, of a run of consecutive active days.
    - ``streak_days``: how many days of that run lie from its newest day to this one.

    All are null on days without activity.
    """
    person = pl.struct("cutoff", "user_id")
    ordered = days.sort("cutoff", "user_id", ~IS_ACTIVE, "age").with_columns(
        active_age=pl.when(IS_ACTIVE).then("age"), person=person.rle_id()
    )
    begins = (ACTIVE_AGE - _neighbour(1) != 1).fill_null(True)
    counted = ordered.with_columns(
        gap=_neighbour(-1) - ACTIVE_AGE,
        streak=pl.when(IS_ACTIVE).then(begins.cum_sum()),
        row=pl.int_range(pl.len()),
    )
    first_row = pl.when(begins).then("row").forward_fill()
    streak_days = pl.col("row") - first_row + 1
    return counted.with_columns(streak_days=pl.when(IS_ACTIVE).then(streak_days))


def _neighbour(shift: int) -> pl.Expr:
    """``active_age`` of the same person's row before (1) or after (-1); null else."""
    is_same_person = pl.col("person") == pl.col("person").shift(shift)
    return pl.when(is_same_person).then(ACTIVE_AGE.shift(shift))
