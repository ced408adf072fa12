"""What came in, for readers: rows by extract, day and event, and who the people behind
them are.
"""

import polars as pl

from churn.events import identity
from churn.store import Store

COUNTS = ("rows", "kept", "duplicate", "quarantined")


def ingested(files: pl.DataFrame) -> pl.DataFrame:
    """New files of one ingest by extract: extract, n_files, rows, kept, duplicate,
    quarantined.
    """
    new = (
        files.filter("new")
        .group_by("extract")
        .agg(pl.len().alias("n_files"), pl.col(COUNTS).sum())
    )
    return new.sort("extract")


def events_per_day(store: Store) -> pl.DataFrame:
    """Events per local day and kind, from the first day to the last, 0 where there were
    none: date, kind, n.
    """
    volume = (
        store.scan("volume").group_by("date", "kind").agg(pl.col("n").sum()).collect()
    )
    if volume.is_empty():
        return volume
    days = volume.select(pl.date_range(pl.col("date").min(), pl.col("date").max()))
    every = days.join(volume.select("kind").unique(), how="cross")
    counts = every.join(volume, on=["date", "kind"], how="left").with_columns(
        pl.col("n").fill_null(0)
    )
    return counts.sort("date", "kind")


def totals(store: Store) -> pl.DataFrame:
    """Events per extract: extract, first_date, last_date, days_without_events,
    n_events, without_user_rate.
    """
    span = (pl.col("date").max() - pl.col("date").min()).dt.total_days() + 1
    volume = (
        store.scan("volume")
        .group_by("extract")
        .agg(
            first_date=pl.col("date").min(),
            last_date=pl.col("date").max(),
            days_without_events=span - pl.col("date").n_unique(),
            n_events=pl.col("n").sum(),
            without_user_rate=pl.col("n_without_user").sum() / pl.col("n").sum(),
        )
    )
    return volume.sort("extract").collect()


def commonest_events(store: Store, n: int = 20) -> pl.DataFrame:
    """The commonest event names: event, kind, n_events."""
    volume = (
        store.scan("volume").group_by("event", "kind").agg(n_events=pl.col("n").sum())
    )
    return volume.sort("n_events", "event", descending=[True, False]).head(n).collect()


def last_days(store: Store, n: int = 14) -> pl.DataFrame:
    """Events on the last days of each extract: date, then a column per extract; null
    where a day has none.
    """
    volume = (
        store.scan("volume")
        .group_by("date", "extract")
        .agg(pl.col("n").sum())
        .collect()
    )
    days = volume.pivot("extract", index="date", values="n", sort_columns=True).sort(
        "date", descending=True
    )
    return days.head(n)


def people(store: Store) -> pl.DataFrame:
    """Users by source and platform: source, platform, n_users; first all, and those
    without an id.
    """
    users = (
        store.scan("users")
        .group_by("source", "platform")
        .agg(n_users=pl.col("user_id").n_unique())
    )
    found = identity.people(store)
    by = (
        users.with_columns(pl.col("platform").fill_null("not stated"))
        .sort("source", "platform")
        .collect()
    )
    rows = [
        ("all", "all", found["users"]),
        ("people without a user id", "all", found["anonymous"]),
    ]
    return pl.concat([pl.DataFrame(rows, schema=by.schema, orient="row"), by])


def ids(store: Store) -> pl.DataFrame:
    """Ids known to be a user's, by type: id_type, n_ids, n_users, n_shared (ids seen
    with several users).
    """
    pairs = store.scan("edges").select("id", "user_id").unique()
    by_id = pairs.with_columns(pl.col("user_id").n_unique().over("id").alias("n"))
    kind = pl.col("id").str.split(":").list.first().alias("id_type")
    counts = {"n_ids": pl.col("id").n_unique(), "n_users": pl.col("user_id").n_unique()}
    counts["n_shared"] = pl.col("id").filter(pl.col("n") > 1).n_unique()
    return by_id.group_by(kind).agg(**counts).sort("id_type").collect()
