"""Users at past cutoffs: cheap features known then, and when the user came back.

``definitions`` compares definitions of churn on these rows.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl

from churn.clocks import known_before, known_by
from churn.features import by_group
from churn.features.cutoffs import Calendar
from churn.features.versions import GONE
from churn.hashing import stable_hash
from churn.kinds import is_active
from churn.store import Store

MAX_USERS = 20_000
"""Largest number of users compared; those with the lowest stable hash.

A share of so many has an interval of less than one point to either side, and a hundred
resamples of them are a matter of seconds.
"""

MAX_CUTOFFS = 24
"""Largest number of cutoffs, spread over the whole log and over the weekdays."""

MIN_STEP_DAYS = 6
"""Smallest distance of cutoffs: about a week, so that short logs have several."""

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""The instant of leaving of a user who is never eligible again."""

FEATURES = (
    "recency_days",
    "active_days_7d",
    "active_days_28d",
    "active_days",
    "gap_days",
    "recency_per_gap",
)


def user_days(store: Store, end: date) -> tuple[pl.DataFrame, int]:
    """Days before ``end`` on which users were active or left, and how many users.

    Columns: user (a number), date, known_date, active_at and left_at (the last instants
    of that day, null without any). Rows count as in ``snapshots.label``: those received
    before the last covered day had settled.
    """
    activity, _ = by_group.tables(store)
    settled = Calendar.of(store).settled(end)
    covered = activity.filter((pl.col("date") < end) & known_by(pl.lit(settled)))
    active = is_active(store.settings.activity.counts_as_active)
    users = covered.filter(active).select("user_id").unique()
    users = users.sort(stable_hash("user_id")).head(MAX_USERS).with_row_index("user")
    is_uninstall = pl.col("kind") == "uninstall"
    is_gone = pl.col("kind").is_in(GONE)
    gone_at = pl.when(is_gone).then(pl.lit(NEVER))
    left_at = gone_at.when(is_uninstall).then("last_at")
    instants = pl.col("active_at", "left_at")
    rows = covered.with_columns(
        active_at=pl.when(active).then("last_at"), left_at=left_at
    )
    days = (
        rows.filter(pl.any_horizontal(instants.is_not_null()))
        .join(users, on="user_id")
        .group_by("user", "date", "known_date")
        .agg(instants.max())
        .sort("date")
        .collect()
    )
    return days, days["user"].n_unique()


def rows(
    days: pl.DataFrame, calendar: Calendar, eligible: Sequence[int]
) -> pl.DataFrame:
    """One row per user and cutoff, of users active within the longest eligible window.

    Columns: user, cutoff, ``FEATURES``, next (the first active day after the lead time,
    null without any) and log_days (length of the log by the cutoff). ``eligible``: all
    windows compared, in days.
    """
    active = days.filter(pl.col("active_at").is_not_null())
    first, end = calendar.first, calendar.end
    lead = calendar.windows.lead_days
    n_days = max(0, (end - first).days - min(eligible))
    cutoffs = [end - timedelta(days=age) for age in ages(n_days)]
    parts = [_at_cutoff(days.lazy(), cutoff, max(eligible)) for cutoff in cutoffs]
    start = pl.col("cutoff") + timedelta(days=lead)
    users = pl.concat(parts).collect().with_columns(start=start).sort("start")
    joined = users.join_asof(
        active.select("user", pl.col("date").alias("next")),
        left_on="start",
        right_on="next",
        by="user",
        strategy="forward",
        check_sortedness=False,
    )
    log_days = (pl.col("cutoff") - first).dt.total_days()
    return joined.with_columns(log_days=log_days).sort("cutoff", "user")


def ages(n_days: int) -> range:
    """Ages of the cutoffs in days, up to ``n_days``, evenly spread from 0 on.

    They are no whole weeks apart, so that their weekdays differ.
    """
    step_days = max(MIN_STEP_DAYS, -(-n_days // MAX_CUTOFFS))
    return range(0, n_days + 1, step_days + (step_days % 7 == 0))


def _at_cutoff(
    days: pl.LazyFrame,
    cutoff: date,
    longest: int,
) -> pl.LazyFrame:
    """Features, by both clocks, of users active in the ``longest`` days before.

    A user with one active day has a gap of ``longest`` days.
    """
    age = (pl.lit(cutoff) - pl.col("date")).dt.total_days()
    is_active_day = pl.col("active_at").is_not_null()
    ages = age.filter(is_active_day & (age <= longest))
    has_left = pl.col("left_at").is_not_null()
    past = days.filter(known_before(pl.lit(cutoff)) & ((age <= longest) | has_left))
    state = past.group_by("user").agg(
        pl.col("active_at", "left_at").max(),
        recency_days=ages.min(),
        span=ages.max() - ages.min(),
        active_days=ages.n_unique(),
        active_days_7d=ages.filter(ages <= 7).n_unique(),
        active_days_28d=ages.filter(ages <= 28).n_unique(),
    )
    stayed = pl.col("left_at").is_null() | (pl.col("left_at") < pl.col("active_at"))
    eligible = state.filter(pl.col("recency_days").is_not_null() & stayed)
    mean_gap = pl.col("span") / (pl.col("active_days") - 1)
    gap = pl.when(pl.col("span") > 0).then(mean_gap).otherwise(pl.lit(longest))
    return eligible.with_columns(
        gap_days=gap, recency_per_gap=pl.col("recency_days") / gap
    ).select("user", pl.lit(cutoff).alias("cutoff"), *FEATURES)


def label(
    rows: pl.DataFrame, horizon: int, eligible: int, lead: int, end: date
) -> pl.DataFrame:
    """The rows eligible under one definition at cutoffs whose horizon is over by end.

    Adds churned, and about the time after the horizon: is_back (whether the user came
    back), followed (days until then, or until the data ends) and followable (days from
    the horizon's end to the data's). Windows are in days.
    """
    closes = pl.col("cutoff") + timedelta(days=lead + horizon)
    is_eligible = pl.col("recency_days") <= eligible
    has_window = pl.col("log_days") >= eligible
    kept = rows.filter(is_eligible & has_window & (closes <= end))
    until_back = (pl.col("next") - closes).dt.total_days()
    until_end = (pl.lit(end) - closes).dt.total_days()
    return kept.with_columns(
        churned=pl.col("next").is_null() | (pl.col("next") >= closes),
        is_back=pl.col("next").is_not_null(),
        followed=pl.coalesce(until_back, until_end - 1),
        followable=until_end,
    )
