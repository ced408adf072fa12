"""Users' returns within the horizon, from which labels are made."""

from collections.abc import Callable, Sequence
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
    users: pl.DataFrame,
    windows: Windows,
    merged: pl.DataFrame | None,
    find: Callable[[pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """When users were next active: user_id, cutoff, return_days.

    ``users`` has user_id and cutoff, as has the result, in the same order.
    ``return_days`` counts from the first day of the cutoff's horizon, which is 0, to the
    user's first active day in the horizon; null without any.

    ``merged`` are the ``merged_users`` of a day; null for none. From the day of the
    merge on, activity of the user they were merged into counts as well. ``find``
    makes the ``first_days`` of the log from ``searches``.
    """
    asked = users.select("user_id", "cutoff").with_row_index("row")
    start = pl.col("cutoff") + timedelta(days=windows.lead_days)
    days = timedelta(days=windows.horizon_days)
    own = asked.select("row", "user_id", since=start, until=start + days)
    found = find(own if merged is None else _with_merged(own, merged))
    first = found.group_by("row").agg(pl.col("date").min())
    joined = asked.join(first, on="row", how="left", maintain_order="left")
    days_later = (pl.col("date") - start).dt.total_days().cast(pl.Int32)
    return joined.select("user_id", "cutoff", days_later.alias("return_days"))


def _with_merged(searches: pl.DataFrame, merged: pl.DataFrame) -> pl.DataFrame:
    """The searches, and those for users merged into, from the day of the merge on."""
    joined = searches.join(merged, on="user_id")
    of_other = joined.select(
        "row",
        "until",
        user_id="now",
        since=pl.max_horizontal("since", "merged"),
    )
    return pl.concat([searches, of_other.select(searches.columns)])


def first_days(
    activity: pl.LazyFrame,
    searches: pl.DataFrame,
    counts_as_active: Sequence[str],
    as_of: date,
) -> pl.DataFrame:
    """The first active day that each search finds: row, date; no row without any.

    ``searches``: row, user_id, and the days from ``since`` to before ``until``. Only
    rows of ``activity`` known before ``as_of`` count, because a model trained on that
    day could not have known more.
    """
    is_there = is_active(counts_as_active) & known_by(pl.lit(as_of))
    days = activity.filter(is_there).select("user_id", "date")
    own_days = days.join(
        searches.lazy().select("user_id").unique(),
        on="user_id",
        how="semi",
    )
    next_day = (
        searches.lazy()
        .sort("since")
        .join_asof(
            own_days.sort("date"),
            left_on="since",
            right_on="date",
            by="user_id",
            strategy="forward",
            check_sortedness=False,
        )
    )
    return (
        next_day.filter(pl.col("date") < pl.col("until"))
        .select("row", "date")
        .collect()
    )
