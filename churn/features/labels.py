"""Users' returns within the horizon, from which labels are made."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from churn.clocks import known_by, local_date
from churn.events import identity
from churn.kinds import is_active
from churn.settings import Windows
from churn.store import Store


def merged_users(store: Store, as_of: date) -> pl.DataFrame:
    """Users merged into others, as known before ``as_of``: user_id, now, merged.

    ``now`` is the user they were merged into, ``merged`` the day on which they were.
    """
    merges = store.scan("merges")
    ids = pl.concat([merges.select("id"), merges.select(id="into")])
    pairs = identity.renames(store, identity.known_users(store, ids))
    timezone = store.settings.timezone
    is_known = local_date("learned_at", timezone) < as_of
    merged = local_date("merged_at", timezone).alias("merged")
    return pairs.filter(is_known).select("now", merged, user_id="was")


def returned(
    activity: pl.LazyFrame,
    users: pl.DataFrame,
    windows: Windows,
    counts_as_active: Sequence[str],
    as_of: date,
    merged: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """When users were next active: user_id, cutoff, return_days.

    ``users`` has user_id and cutoff, as has the result, in the same order.
    ``return_days`` counts from the first day of the cutoff's horizon, which is 0, to the
    user's first active day in the horizon; null without any. Only rows known before
    ``as_of`` count, because a model trained on that day could not have known more.

    ``merged`` are the ``merged_users`` of that day; null for none. From the day of the
    merge on, activity of the user they were merged into is theirs as well.
    """
    lead_days = timedelta(days=windows.lead_days)
    asked = users.lazy().select("user_id", "cutoff", start=pl.col("cutoff") + lead_days)
    # Without users there is no cutoff, and any day will do.
    cutoffs = users["cutoff"].unique().to_list() or [as_of]
    first, last = min(cutoffs), max(cutoffs)
    is_there = is_active(counts_as_active) & known_by(pl.lit(as_of))
    in_time = pl.col("date").is_between(first, windows.horizon(last)[1], closed="left")
    days = activity.filter(is_there & in_time).select("user_id", "date")
    if merged is not None:
        days = pl.concat([days, _days_after_merge(days, merged)])
    own_days = days.join(asked.select("user_id").unique(), on="user_id", how="semi")
    next_day = (
        asked.with_row_index("row")
        .sort("start")
        .join_asof(
            own_days.sort("date"),
            left_on="start",
            right_on="date",
            by="user_id",
            strategy="forward",
            check_sortedness=False,
        )
    )
    days_later = (pl.col("date") - pl.col("start")).dt.total_days().cast(pl.Int32)
    in_horizon = pl.when(days_later < windows.horizon_days).then(days_later)
    return (
        next_day.sort("row")
        .select("user_id", "cutoff", in_horizon.alias("return_days"))
        .collect()
    )


def _days_after_merge(days: pl.LazyFrame, merged: pl.DataFrame) -> pl.LazyFrame:
    """Days of the users merged into, from the merge on, under the merged users."""
    joined = days.rename({"user_id": "now"}).join(merged.lazy(), on="now")
    is_after = pl.col("date") >= pl.col("merged")
    return joined.filter(is_after).select("user_id", "date")
