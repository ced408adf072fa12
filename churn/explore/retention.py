"""Retention by cohort, and the share of users who return after silence."""

from datetime import timedelta

import polars as pl

from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.kinds import is_active
from churn.settings import Settings
from churn.stats import survival
from churn.store import Store

MIN_AT_RISK = 50
"""Number of silences, or churned users, below which a share of returns is noise."""


FOLLOWED_DAYS = 28
"""Number of days in which a user must have been able to come back."""

NOBODY_RETURNS = 0.02
"""Share of users with a second active day below which nothing can be learned."""


def retention(store: Store) -> pl.DataFrame:
    """Share of each cohort that is active n months after first seen.

    Columns: cohort (first of the month), period (months since then), share, n_users
    (size of the cohort). A month counts once it is covered to its end.
    """
    activity, users = snapshots.tables(store)
    end = Calendar.of(store).end
    month = pl.col("date").dt.truncate("1mo")
    is_complete = pl.col("month").dt.offset_by("1mo") <= end
    active_days = _active_days(activity, store.settings)
    months = active_days.with_columns(month=month).filter(is_complete)
    cohort = pl.col("first_date").min().dt.truncate("1mo").alias("cohort")
    cohorts = users.group_by("user_id").agg(cohort)
    period = _month_number("month") - _month_number("cohort")
    each = months.join(cohorts, on="user_id").with_columns(period=period)
    counts = each.group_by("cohort", "period").agg(active=pl.col("user_id").n_unique())
    sizes = cohorts.group_by("cohort").agg(n_users=pl.len())
    share = pl.col("active") / pl.col("n_users")
    table = counts.join(sizes, on="cohort").with_columns(share=share)
    table = table.filter(pl.col("period") >= 0)
    columns = table.select("cohort", "period", "share", "n_users")
    return columns.sort("cohort", "period").collect()


def _month_number(name: str) -> pl.Expr:
    return pl.col(name).dt.year() * 12 + pl.col(name).dt.month().cast(pl.Int32)


def _active_days(activity: pl.LazyFrame, settings: Settings) -> pl.LazyFrame:
    active = activity.filter(is_active(settings.activity.counts_as_active))
    return active.select("user_id", "date").unique()


def return_curve(store: Store) -> pl.DataFrame:
    """Share of silences of n days that still end with a return.

    Columns: silence_days, n_at_risk, return_rate. A silence starts after each active
    day. It ends with the next active day, or is censored by the end of the data, so
    that a return after the data's end does not count as a loss (Kaplan-Meier). A return
    counts if it comes within the longest silence that 50 silences reached.
    """
    activity, _ = snapshots.tables(store)
    last = Calendar.of(store).end - timedelta(days=1)
    active_days = _active_days(activity, store.settings)
    days = active_days.filter(pl.col("date") <= last).sort("user_id", "date")
    next_day = pl.col("date").shift(-1).over("user_id")
    until_return = (next_day - pl.col("date")).dt.total_days()
    until_end = (pl.lit(last) - pl.col("date")).dt.total_days()
    silences = days.select(
        is_back=until_return.is_not_null(),
        length=pl.coalesce(until_return, until_end),
    )
    by_length = silences.group_by("length").agg(
        back_rate=pl.col("is_back").mean(), n=pl.len()
    )
    counts = by_length.collect()
    length, at_risk, away = survival.kaplan_meier(
        counts["length"].to_numpy(),
        counts["back_rate"].to_numpy(),
        counts["n"].to_numpy()[None],
    )
    curve = pl.DataFrame(
        {
            "silence_days": length,
            "n_at_risk": at_risk[0],
            "away": away[0],
        }
    )
    is_reliable = pl.col("n_at_risk") >= MIN_AT_RISK
    curve = curve.filter(is_reliable & (pl.col("silence_days") > 0))
    never_back = pl.col("away").last() / pl.col("away")
    return curve.select("silence_days", "n_at_risk", return_rate=1 - never_back)


def second_day_rate(store: Store) -> float | None:
    """Share of users who were active on a second day.

    Users count whose first active day lies at least 28 days before the end of the data.
    Null if there are fewer than 50 of them.
    """
    activity, _ = snapshots.tables(store)
    end = Calendar.of(store).end
    days = _active_days(activity, store.settings).filter(pl.col("date") < end)
    users = days.group_by("user_id").agg(
        pl.col("date").min(),
        is_back=pl.len() > 1,
    )
    is_followed = pl.col("date") <= end - timedelta(days=FOLLOWED_DAYS)
    counts = users.filter(is_followed).select(pl.len(), rate=pl.col("is_back").mean())
    n_users, rate = counts.collect().row(0)
    return None if n_users < MIN_AT_RISK else float(rate)


def shortest_horizon(curve: pl.DataFrame, max_return_rate: float) -> int | None:
    """The shortest silence, in days, after which fewer than that share still return.

    ``curve`` is that of ``return_curve``. Null if no silence in it is long enough.

    >>> curve = pl.DataFrame({"silence_days": [1, 2], "return_rate": [0.5, 0.05]})
    >>> shortest_horizon(curve, 0.1)
    2
    """
    long_enough = curve.filter(pl.col("return_rate") < max_return_rate)
    days = long_enough["silence_days"]
    return None if days.is_empty() else int(days[0])
