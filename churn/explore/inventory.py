"""What the store holds: events by extract, day and kind, and the people behind them.

All counts are of events or of distinct users and ids, as the column's name says.
"""

import polars as pl

from churn.events import identity
from churn.events.outsized import outsized
from churn.store import Store

COUNTS = ("rows", "kept", "duplicate", "quarantined")


def ingested(files: pl.DataFrame) -> pl.DataFrame:
    """Files that one ingest read, new or again, by extract.

    Columns: extract, n_files, rows, kept, duplicate, quarantined.
    """
    new = files.filter("new").group_by("extract")
    return new.agg(pl.len().alias("n_files"), pl.col(COUNTS).sum()).sort("extract")


def events_per_day(store: Store) -> pl.DataFrame:
    """Events per local day and kind, from the first day to the last: date, kind, n.

    n is 0 for a kind without events on a day.
    """
    volume = store.scan("volume").group_by("date", "kind").agg(pl.col("n").sum())
    counts = volume.collect()
    if counts.is_empty():
        return counts
    days = counts.select(pl.date_range(pl.col("date").min(), pl.col("date").max()))
    each = days.join(counts.select("kind").unique(), how="cross")
    joined = each.join(
        counts,
        on=["date", "kind"],
        how="left",
    )
    return joined.with_columns(pl.col("n").fill_null(0)).sort("date", "kind")


def totals(store: Store) -> pl.DataFrame:
    """Events per extract.

    Columns: extract, first_date, last_date, days_without_events (between these two),
    n_events, without_user_rate (share of events without a user id).
    """
    first = pl.col("date").min()
    last = pl.col("date").max()
    n_days = (last - first).dt.total_days() + 1
    n_events = pl.col("n").sum()
    volume = store.scan("volume").group_by("extract")
    table = volume.agg(
        first_date=first,
        last_date=last,
        days_without_events=n_days - pl.col("date").n_unique(),
        n_events=n_events,
        without_user_rate=pl.col("n_without_user").sum() / n_events,
    )
    return table.sort("extract").collect()


def commonest_events(store: Store, n: int = 20) -> pl.DataFrame:
    """The ``n`` commonest event names: event, kind, n_events; ties by name."""
    volume = store.scan("volume").group_by("event", "kind")
    counts = volume.agg(n_events=pl.col("n").sum())
    ordered = counts.sort("n_events", "event", descending=[True, False])
    return ordered.head(n).collect()


def outsized_users(store: Store) -> pl.DataFrame:
    """Users with an outsized share of all events (see ``outsized.outsized``).

    Columns: user_id, n_events, share, times (as a multiple of the other users' mean),
    n_days.
    """
    n_events = pl.col("n").sum().alias("n_events")
    activity = store.scan("activity").group_by("user_id")
    counts = activity.agg(n_events, n_days=pl.col("date").n_unique()).collect()
    return outsized(
        counts,
        int(counts["n_events"].sum()),
        counts.height,
    ).select("user_id", "n_events", "share", "times", "n_days")


def last_days(store: Store, n: int = 14) -> pl.DataFrame:
    """Events on the last ``n`` days with events, newest first.

    Columns: date, then one per extract, null where the extract has none on the day.
    """
    volume = store.scan("volume").group_by("date", "extract").agg(pl.col("n").sum())
    days = volume.collect().pivot(
        "extract", index="date", values="n", sort_columns=True
    )
    return days.sort("date", descending=True).head(n)


def people(store: Store) -> pl.DataFrame:
    """Users by source and platform: source, platform, n_users.

    The first two rows are all users, and people without a user id.
    """
    users = store.scan("users").group_by("source", "platform")
    counts = users.agg(n_users=pl.col("user_id").n_unique())
    platform = pl.col("platform").fill_null("not stated")
    table = counts.with_columns(platform).sort("source", "platform").collect()
    totals = identity.people(store)
    rows = [
        ("all", "all", totals["users"]),
        ("people without a user id", "all", totals["anonymous"]),
    ]
    first = pl.DataFrame(
        rows,
        schema=table.schema,
        orient="row",
    )
    return pl.concat([first, table])


def ids(store: Store) -> pl.DataFrame:
    """Ids known to belong to a user, by type.

    Columns: id_type, n_ids, n_users, n_shared (ids of several users).
    """
    pairs = store.scan("edges").select("id", "user_id").unique()
    n_owners = pl.col("user_id").n_unique().over("id")
    owned = pairs.with_columns(n_owners=n_owners)
    id_type = pl.col("id").str.split(":").list.first().alias("id_type")
    table = owned.group_by(id_type).agg(
        n_ids=pl.col("id").n_unique(),
        n_users=pl.col("user_id").n_unique(),
        n_shared=pl.col("id").filter(pl.col("n_owners") > 1).n_unique(),
    )
    return table.sort("id_type").collect()
