"""Scored users by how long they have been known, and how many the model has met."""

from datetime import date

import polars as pl

from churn.features import by_group, snapshots
from churn.store import Store

BANDS = {"0 to 6": 0, "7 to 27": 7, "28 to 89": 28, "90 and more": 90}
"""Days since a user was first seen: names and lower ends."""


def by_age(
    store: Store,
    scored: pl.DataFrame,
    known_until: date,
) -> pl.DataFrame:
    """Users by days since they were first seen.

    Columns: days_known, n, share, met_rate (share first seen before ``known_until``,
    the model's newest training cutoff), mean_probability, and churn_rate, null while the
    outcome isn't known.
    """
    users = by_group.tables(store)[1].select("user_id", "first_date").collect()
    first = users.group_by("user_id").agg(pl.col("first_date").min())
    labelled = snapshots.label(scored, store)
    known = labelled.join(first, on="user_id", how="left", maintain_order="left")
    days = (pl.col("cutoff") - pl.col("first_date")).dt.total_days().clip(0)
    band = pl.lit(None, pl.String)
    for name, start in BANDS.items():
        band = pl.when(days >= start).then(pl.lit(name)).otherwise(band)
    band = band.cast(pl.Enum(list(BANDS)))
    table = known.group_by(band.alias("days_known")).agg(
        n=pl.len().cast(pl.Int64),
        met_rate=(pl.col("first_date") < known_until).mean(),
        mean_probability=pl.col("probability").mean(),
        churn_rate=pl.col("churned").mean(),
    )
    share = pl.col("n") / pl.col("n").sum()
    order = ("days_known", "n", "share", "met_rate", "mean_probability", "churn_rate")
    return table.with_columns(share=share).select(order).sort("days_known")
