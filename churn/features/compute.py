"""The catalogue computed over the observation window: one row per user and cutoff.

Daily activity is first gathered to one row per user, cutoff and day; every feature is
then an expression over a user's days.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from churn.clocks import known_before, known_by
from churn.events.activity import counted_once, total
from churn.features.catalogue import AGE, Plan, catalogue
from churn.kinds import is_active

KIND_COUNTS = {
    "n_purchases": "purchase",
    "n_sent": "message_sent",
    "n_engaged": "message_engaged",
}
GONE = (
    "erasure",
    "merge",
)  # asked to be erased, or became another user: never scored again


def vocabulary(
    activity: pl.LazyFrame,
    cutoff: date,
    observation_days: int,
    sources: Sequence[str] = (),
    size: int = 12,
) -> tuple[str, ...]:
    """The commonest event names in the window before ``cutoff``, as known then; ties by
    name.

    Fixed at the newest training cutoff, so that no later event can choose a feature.
    """
    window = _observed(activity, cutoff, observation_days, sources)
    counts = (
        window.group_by("event")
        .agg(pl.col("n").sum())
        .sort("n", "event", descending=[True, False])
    )
    return tuple(counts.head(size).collect()["event"])


def _observed(
    activity: pl.LazyFrame, cutoff: date, observation_days: int, sources: Sequence[str]
) -> pl.LazyFrame:
    start = cutoff - timedelta(days=observation_days)
    return counted_once(
        activity.filter(known_before(pl.lit(cutoff)) & (pl.col("date") >= start)),
        sources,
    )


def properties(
    activity: pl.LazyFrame,
    cutoff: date,
    observation_days: int,
    sources: Sequence[str] = (),
    size: int = 5,
) -> tuple[str, ...]:
    """The commonest numeric properties in the window before ``cutoff``, by the days
    that had them; ties by name.
    """
    names = pl.col("sums").list.eval(pl.element().struct.field("name"))
    found = (
        _observed(activity, cutoff, observation_days, sources)
        .select(names.explode().alias("name"))
        .drop_nulls()
    )
    counts = found.group_by("name").len().sort("len", "name", descending=[True, False])
    return tuple(counts.head(size).collect()["name"])


def app_level(
    activity: pl.LazyFrame, cutoffs: Sequence[date], plan: Plan
) -> pl.LazyFrame:
    """What all users together did before each cutoff: cutoff, app_trend.

    ``app_trend`` is the log of active days a day in the 7 days before it over that in
    the 28 before it, as far as the observation window reaches.
    """
    active = activity.filter(is_active(plan.counts_as_active))
    return pl.concat(
        [_level(active, cutoff, min(28, plan.observation_days)) for cutoff in cutoffs]
    )


def _level(active: pl.LazyFrame, cutoff: date, window: int) -> pl.LazyFrame:
    recent = active.filter(
        known_before(pl.lit(cutoff))
        & (pl.col("date") >= cutoff - timedelta(days=window))
    )
    days = recent.select("user_id", "date").unique()
    last = (pl.col("date") >= cutoff - timedelta(days=7)).sum()
    return days.select(
        pl.lit(cutoff).alias("cutoff"),
        app_trend=((last + 1) / 7).log() - ((pl.len() + 1) / 28).log(),
    )


def compute(
    activity: pl.LazyFrame,
    users: pl.LazyFrame,
    cutoffs: Sequence[date],
    plan: Plan,
    eligible_days: int,
    level: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Features of every user eligible at each cutoff: user_id, cutoff, then the
    catalogue.

    Eligible: active within ``eligible_days`` before the cutoff by both clocks, and not
    known to have uninstalled since, to have asked for erasure, or to have become
    another user. Expects whole users: give it a user bucket of activity and of users,
    or all of them. ``level``: ``app_level`` of all users; left out, those given are
    all.
    """
    days = pl.concat(
        [_days(activity, users, cutoff, plan, eligible_days) for cutoff in cutoffs]
    )
    app = app_level(activity, cutoffs, plan) if level is None else level
    known = _gaps(days.join(app, on="cutoff", how="left"))
    return known.group_by("user_id", "cutoff").agg(
        f.expr.alias(name) for name, f in catalogue(plan).items()
    )


def _gaps(days: pl.LazyFrame) -> pl.LazyFrame:
    """Days sorted, newest first and active ones before others, with what lies between
    the active ones.

    ``gap``: days back to the active day before. ``streak``: number, over all users, of
    a row of active days without a gap, ``streak_days`` how many of it come up to and
    with this day. All null where the day isn't active.
    """
    key, active = pl.struct("cutoff", "user_id"), pl.col("n_active") > 0
    ordered = days.sort("cutoff", "user_id", ~active, "age").with_columns(
        active_age=pl.when(active).then("age"), person=key.rle_id()
    )
    before = pl.when(pl.col("person") == pl.col("person").shift(-1)).then(
        pl.col("active_age").shift(-1)
    )
    after = pl.when(pl.col("person") == pl.col("person").shift(1)).then(
        pl.col("active_age").shift(1)
    )
    begins = (pl.col("active_age") - after != 1).fill_null(True)
    counted = ordered.with_columns(
        gap=before - pl.col("active_age"),
        streak=pl.when(active).then(begins.cum_sum()),
        row=pl.int_range(pl.len()),
    )
    first = pl.when(begins).then("row").forward_fill()
    return counted.with_columns(
        streak_days=pl.when(active).then(pl.col("row") - first + 1)
    )


def _days(
    activity: pl.LazyFrame,
    users: pl.LazyFrame,
    cutoff: date,
    plan: Plan,
    eligible_days: int,
) -> pl.LazyFrame:
    active = is_active(plan.counts_as_active)
    n = pl.col("n")
    day = (
        _observed(activity, cutoff, plan.observation_days, plan.sources)
        .with_columns(total(name).alias(f"property:{name}") for name in plan.properties)
        .group_by("user_id", "date")
        .agg(
            n.filter(active).sum().alias("n_active"),
            n.filter(~active).sum().alias("n_passive"),
            pl.col("revenue").sum(),
            *[
                n.filter(pl.col("kind") == kind).sum().alias(name)
                for name, kind in KIND_COUNTS.items()
            ],
            pl.col("first_at").filter(active).min().alias("began_at"),
            pl.col("last_at").filter(active).max().alias("active_at"),
            pl.col("last_at")
            .filter(pl.col("kind") == "uninstall")
            .max()
            .alias("uninstalled_at"),
            *[
                n.filter(pl.col("event") == name).sum().alias(f"event:{name}")
                for name in plan.vocabulary
            ],
            *[pl.col(f"property:{name}").sum() for name in plan.properties],
        )
        .with_columns(
            age=(pl.lit(cutoff) - pl.col("date")).dt.total_days().cast(pl.Int32),
            weekday=pl.col("date").dt.weekday().cast(pl.Int32),
            active_minutes=(
                pl.col("active_at") - pl.col("began_at")
            ).dt.total_minutes(),
        )
    )
    gone = activity.filter(
        known_before(pl.lit(cutoff)) & pl.col("kind").is_in(GONE)
    ).select("user_id")
    eligible = _eligible(day, eligible_days).join(gone, on="user_id", how="anti")
    eligible = eligible.join(_tenure(users, cutoff), on="user_id", how="left")
    return day.join(eligible, on="user_id", how="inner").with_columns(
        pl.lit(cutoff).alias("cutoff")
    )


def _eligible(day: pl.LazyFrame, eligible_days: int) -> pl.LazyFrame:
    state = day.group_by("user_id").agg(
        AGE.filter(pl.col("n_active") > 0).min().alias("silence"),
        pl.col("active_at", "uninstalled_at").max(),
    )
    here = pl.col("uninstalled_at").is_null() | (
        pl.col("uninstalled_at") < pl.col("active_at")
    )
    return state.filter((pl.col("silence") <= eligible_days) & here).select("user_id")


def _tenure(users: pl.LazyFrame, cutoff: date) -> pl.LazyFrame:
    known = users.filter(known_by(pl.lit(cutoff)))
    first = (
        known.group_by("user_id")
        .agg(pl.col("first_date").min())
        .filter(pl.col("first_date") < cutoff)
    )
    tenure = (
        (pl.lit(cutoff) - pl.col("first_date"))
        .dt.total_days()
        .cast(pl.Int32)
        .alias("tenure_days")
    )
    return first.select("user_id", tenure)
