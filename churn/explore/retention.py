"""What an analyst looks at before saying what churn means: retention, and who comes
back after silence.
"""

from datetime import timedelta

import polars as pl

from churn.explore import definitions
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.kinds import is_active
from churn.settings import Settings
from churn.stats import survival
from churn.store import Store


def retention(
    store: Store,
) -> pl.DataFrame:
    """Share of each cohort active n months after first seen: cohort (first of month),
    period, share, n_users.

    The last month counts only if it is covered to its end.
    """
    rows, users = snapshots.tables(store)
    first = users.group_by("user_id").agg(
        pl.col("first_date").min().dt.truncate("1mo").alias("cohort")
    )
    end = Calendar.of(store).end
    whole = pl.col("month").dt.offset_by("1mo") <= end
    months = (
        _active_days(rows, store.settings)
        .with_columns(pl.col("date").dt.truncate("1mo").alias("month"))
        .filter(whole)
    )
    period = (_months("month") - _months("cohort")).alias("period")
    active = (
        months.join(first, on="user_id")
        .group_by("cohort", period)
        .agg(pl.col("user_id").n_unique().alias("active"))
    )
    sizes = first.group_by("cohort").agg(n_users=pl.len())
    table = active.join(sizes, on="cohort").with_columns(
        share=pl.col("active") / pl.col("n_users")
    )
    return (
        table.filter(pl.col("period") >= 0)
        .select("cohort", "period", "share", "n_users")
        .sort("cohort", "period")
        .collect()
    )


def _months(name: str) -> pl.Expr:
    return pl.col(name).dt.year() * 12 + pl.col(name).dt.month().cast(pl.Int32)


def _active_days(rows: pl.LazyFrame, settings: Settings) -> pl.LazyFrame:
    return (
        rows.filter(is_active(settings.activity.counts_as_active))
        .select("user_id", "date")
        .unique()
    )


def return_curve(
    store: Store,
) -> pl.DataFrame:
    """Share of silences of n days that still end with a return: silence_days,
    n_at_risk, return_rate.

    A silence starts after each active day and ends with the next one or is cut off by
    the end of the data, so returns that are yet to come are not taken for losses
    (Kaplan-Meier). "Still" means within the longest silence that at least 50 silences
    reached.
    """
    rows, _ = snapshots.tables(store)
    last = Calendar.of(store).end - timedelta(days=1)
    days = (
        _active_days(rows, store.settings)
        .filter(pl.col("date") <= last)
        .sort("user_id", "date")
    )
    gap = (pl.col("date").shift(-1).over("user_id") - pl.col("date")).dt.total_days()
    waited = (pl.lit(last) - pl.col("date")).dt.total_days()
    lengths = days.select(
        back=gap.is_not_null(), length=pl.coalesce(gap, waited)
    ).group_by("length")
    counts = lengths.agg(back=pl.col("back").mean(), n=pl.len()).collect()
    length, back, n = (counts[name].to_numpy() for name in ("length", "back", "n"))
    length, at_risk, away = survival.kaplan_meier(length, back, n[None])
    curve = pl.DataFrame(
        {"silence_days": length, "n_at_risk": at_risk[0], "away": away[0]}
    )
    curve = curve.filter(
        (pl.col("n_at_risk") >= definitions.MIN_AT_RISK) & (pl.col("silence_days") > 0)
    )
    return curve.select(
        "silence_days",
        "n_at_risk",
        return_rate=1 - pl.col("away").last() / pl.col("away"),
    )


def shortest_horizon(curve: pl.DataFrame, max_return_rate: float) -> int | None:
    """The shortest silence after which fewer than ``max_return_rate`` still return;
    null if none is that short.

    >>> shortest_horizon(pl.DataFrame({"silence_days": [1, 2], "return_rate": [0.5, 0.05]}), 0.1)
    2
    """
    quiet = curve.filter(pl.col("return_rate") < max_return_rate)["silence_days"]
    return None if quiet.is_empty() else int(quiet[0])
