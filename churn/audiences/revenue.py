"""Tenths of the scored users by revenue: who is worth most."""

from datetime import timedelta

import polars as pl

from churn import clocks
from churn.events.activity import counted_once
from churn.hashing import stable_hash
from churn.store import Store


def tenth(store: Store, scored: pl.DataFrame) -> pl.Series:
    """Tenth of each scored user by revenue, from 1, the highest, to 10.

    Null for users without revenue, who count in the size of the tenths all the same.
    The revenue is that of the observation window before the cutoff, as known at the
    cutoff. ``scored``: user_id, cutoff; the tenths are in its order.
    """
    users = scored.select("user_id").join(
        _revenue(store, scored),
        on="user_id",
        how="left",
        maintain_order="left",
    )
    rows = users.with_columns(pl.col("revenue").fill_null(0.0)).with_row_index("row")
    order = [pl.col("revenue"), stable_hash("user_id"), pl.col("user_id")]
    ranked = rows.sort(order, descending=[True, False, False])
    place = pl.int_range(pl.len()) * 10 // pl.len() + 1
    has_spent = pl.col("revenue") > 0
    placed = ranked.with_columns(revenue_tenth=pl.when(has_spent).then(place))
    return placed.sort("row")["revenue_tenth"]


def _revenue(store: Store, scored: pl.DataFrame) -> pl.DataFrame:
    """Revenue of each user in the observation window: user_id, revenue."""
    cutoff = scored["cutoff"][0]
    start = cutoff - timedelta(days=store.settings.windows.observation_days)
    activity = store.scan("activity", since=start).filter(
        pl.col("date") >= start,
        clocks.known_before(pl.lit(cutoff)),
    )
    counted = counted_once(activity, store.settings.sources)
    return counted.group_by("user_id").agg(pl.col("revenue").sum()).collect()
