"""Retention by cohort, and the share of users who return after silence."""

from datetime import date, timedelta

import polars as pl

from churn.explore import past_cutoffs
from churn.features import by_group
from churn.features.cutoffs import Calendar
from churn.kinds import is_active
from churn.settings import Settings
from churn.stats.shares import wilson
from churn.store import Store

MIN_AT_RISK = 50
"""Number of silent, or churned, users below which a share of returns is noise.

With 50 the 95 % interval of a share reaches up to 14 points to either side. With fewer
a tenth can hardly be told from a quarter; more would end the curve of a small app much
earlier.
"""

MAX_FOLLOWED_DAYS = 180
"""Longest time, in days, within which a return after a silence counts.

That is twice the longest horizon that ``definitions`` compares. With a longer time only
the oldest silences of a long log would count.
"""

NEVER = 10**6
"""Length, in days, of a silence that had not ended when the data did."""

CURVE = {
    "silence_days": pl.Int64,
    "followed_days": pl.Int64,
    "n_users": pl.Int64,
    "return_rate": pl.Float64,
}

FOLLOWED_DAYS = 28
"""Number of days in which a user must have been able to come back.

Who was first seen yesterday has not come back yet either. Four weeks hold four of every
weekday, so that a weekly or fortnightly visitor has been back.
"""

NOBODY_RETURNS = 0.02
"""Share of users with a second active day below which nothing can be learned.

Apps keep far more, even poor ones; a user id that is made anew at every visit leaves
next to nobody.
"""


def retention(store: Store) -> pl.DataFrame:
    """Share of each cohort that is active n months after first seen.

    Columns: cohort (first of the month), period (months since then), share, n_users
    (size of the cohort). A month counts once it is covered to its end.
    """
    activity, users = by_group.tables(store)
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
    """Share of silences of n days that end within a fixed time after these days.

    Columns: silence_days, followed_days (that time, the same in all rows), n_users,
    return_rate, low, high. A silence starts after each active day. It counts at n days
    if it lasted longer than that, and began early enough for the log to show all of the
    ``followed_days`` after them; nothing is assumed of what comes after the log. They
    are half of the log, at most ``MAX_FOLLOWED_DAYS``. The curve ends where fewer than
    50 users have such a silence, and is empty if that is so from the beginning. The
    95 % Wilson interval (low, high) counts users once, however many silences they had.
    At most 20,000 users count, by stable hash.
    """
    calendar = Calendar.of(store)
    end = calendar.end
    days, _ = past_cutoffs.user_days(store, end)
    active = days.filter(pl.col("active_at").is_not_null())
    n_days = (end - calendar.first).days
    followed = min(MAX_FOLLOWED_DAYS, n_days // 2)
    left = _silences(active, end)
    rows = []
    for n in range(1, n_days - followed):
        lasted = (pl.col("length") > n) & (pl.col("seen") >= n + followed)
        left = left.filter(lasted)
        n_users = left["user"].n_unique()
        if n_users < MIN_AT_RISK:
            break
        rate = (left["length"] <= n + followed).mean()
        rows.append((n, followed, n_users, rate))
    curve = pl.DataFrame(rows, CURVE, orient="row")
    low, high = wilson(pl.col("return_rate"), pl.col("n_users"))
    return curve.with_columns(low=low, high=high)


def _silences(active: pl.DataFrame, end: date) -> pl.DataFrame:
    """The silences after active days: user, length, and seen (days to the data's end).

    ``length`` counts the days to the next active day, ``NEVER`` without any.
    """
    days = active.select("user", "date").unique().sort("user", "date")
    until_next = pl.col("date").shift(-1).over("user") - pl.col("date")
    until_end = pl.lit(end - timedelta(days=1)) - pl.col("date")
    return days.select(
        "user",
        length=until_next.dt.total_days().fill_null(NEVER),
        seen=until_end.dt.total_days(),
    )


def second_day_rate(store: Store) -> float | None:
    """Share of users who were active on a second day.

    Users count whose first active day lies at least 28 days before the end of the data.
    Null if there are fewer than 50 of them.
    """
    activity, _ = by_group.tables(store)
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

    ``curve`` is that of ``return_curve``; the whole interval must lie below the share.
    Null if no silence in it is known to be long enough.

    >>> curve = pl.DataFrame({"silence_days": [1, 2, 3], "high": [0.5, 0.12, 0.06]})
    >>> shortest_horizon(curve, 0.1)
    3
    """
    long_enough = curve.filter(pl.col("high") < max_return_rate)
    days = long_enough["silence_days"]
    return None if days.is_empty() else int(days[0])
