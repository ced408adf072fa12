"""One person per person: which user an id was known to be, and from when.

Rows that carry both an id and a user make an edge, learned once the event has happened
and was received. A row without a user counts for the user of its ids, from the moment
the edge was known: history is adopted, never rewritten. A device on which a second user
is seen stays the first one's until that day; from then on its anonymous rows are
nobody's. So an edge learned later changes nothing that was known before.
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from churn import clocks
from churn.events import privacy
from churn.hashing import bucket_of
from churn.store import Store
from churn.store.schemas import ActivityTable, Edges, Merges, Users

MERGED = ("braze_id", "amplitude_id")  # id types that vendors merge
CHAIN = 5  # merges of merges that are followed
KEY = pl.col("ids").list.join("\x1f").alias("key")


def edges_from_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Every (source, id, user) that rows carry, with the earliest moment it was
    learned.
    """
    both = events.filter(
        pl.col("user_id").is_not_null() & (pl.col("event_kind") != "merge")
    )
    learned = pl.max_horizontal("event_time", "received_time").min().alias("learned_at")
    by_device = clocks.usable(both).group_by("source", "ids", "user_id").agg(learned)
    single = by_device.explode("ids", empty_as_null=False).rename({"ids": "id"})
    return (
        single.group_by("source", "id", "user_id")
        .agg(pl.col("learned_at").min())
        .select(Edges.column_names())
    )


def merges_from_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Every id that a vendor declared to be another one."""
    kept = pl.col("ids").list.eval(
        pl.element().filter(pl.element().str.split(":").list.first().is_in(MERGED))
    )
    rows = (
        events.filter(pl.col("event_kind") == "merge")
        .with_columns(kept)
        .filter(pl.col("ids").list.len() == 2)
    )
    return rows.select(
        pl.col("ids").list.first().alias("id"),
        pl.col("ids").list.last().alias("into"),
        "user_id",
        pl.max_horizontal("event_time", "received_time").alias("learned_at"),
    ).select(Merges.column_names())


def news(edges: pl.DataFrame, store: Store) -> pl.DataFrame:
    """The edges that the store doesn't hold yet, or has learned later."""
    key = ["source", "id", "user_id"]
    known = store.scan("edges").join(edges.lazy().select(key), on=key, how="semi")
    before = known.group_by(key).agg(before=pl.col("learned_at").min()).collect()
    joined = edges.join(before, on=key, how="left")
    return joined.filter(
        pl.col("before").is_null() | (pl.col("learned_at") < pl.col("before"))
    ).drop("before")


def known_users(store: Store) -> pl.DataFrame:
    """Whose each id is, merges applied: id, user_id, learned_at.

    A merge makes an id the user's of the other one, unless it was somebody's already by
    then.
    """
    edges = (
        store.scan("edges")
        .group_by("id", "user_id")
        .agg(pl.col("learned_at").min())
        .collect()
    )
    merges = store.scan("merges").collect()
    ways = pl.concat(
        [
            merges.select("id", "into", "learned_at"),
            merges.select(id="into", into="id", learned_at="learned_at"),
        ]
    )
    for _ in range(CHAIN if merges.height else 0):
        through = ways.join(
            edges.rename({"id": "into", "learned_at": "edge_at"}), on="into"
        )
        through = through.with_columns(
            pl.max_horizontal("learned_at", "edge_at").alias("learned_at")
        )
        first = edges.group_by("id").agg(pl.col("learned_at").min().alias("first_at"))
        free = through.join(first, on="id", how="left").filter(
            pl.col("first_at").is_null() | (pl.col("first_at") > pl.col("learned_at"))
        )
        both = pl.concat([edges, free.select(edges.columns)])
        edges = both.group_by("id", "user_id").agg(pl.col("learned_at").min())
    return edges


def owners(devices: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Whose each set of ids is: key, user_id, learned_at, and blocked_at, when a second
    user was learned (or null).

    ``devices`` has a column ``ids``; sets that belong to nobody yet have no row.
    """
    single = (
        devices.select("ids", KEY)
        .unique("key")
        .explode("ids", empty_as_null=False)
        .rename({"ids": "id"})
    )
    users = (
        single.join(known, on="id")
        .group_by("key", "user_id")
        .agg(pl.col("learned_at").min())
    )
    ordered = users.sort("learned_at", "user_id").group_by("key", maintain_order=True)
    second = pl.col("learned_at").get(1, null_on_oob=True).alias("blocked_at")
    return ordered.agg(pl.col("user_id").first(), pl.col("learned_at").first(), second)


def adopt(store: Store, batch_id: str) -> tuple[str, ...]:
    """Write activity and users rows of all anonymous history that has found its user;
    returns the batch names.

    These are the old ones where the batch ``batch_id`` brought neither edges nor merges
    nor anonymous rows.
    """
    new = replace(store, batches=(batch_id,))
    nothing_new = all(
        _is_empty(new, table) for table in ("edges", "merges", "anonymous")
    )
    if nothing_new and _is_empty(store, "merges"):
        return store.adopted
    known = known_users(store)
    names = []
    for number, buckets in enumerate(store.passes(_n_anonymous(store))):
        rows = _adopted(
            store.scan("anonymous", buckets), known, store.settings.timezone
        ).collect()
        rows = pl.concat([rows, _renamed(store, rows, known, buckets).collect()])
        if rows.height:
            names.append(f"{batch_id}-adopted-{number:02d}")
            _write(store, rows, names[-1])
    return tuple(names)


def _is_empty(store: Store, table: str) -> bool:
    return store.scan(table).head(1).collect().is_empty()


def _n_anonymous(store: Store) -> int:
    return int(store.scan("anonymous").select(pl.len()).collect().item())


def _write(store: Store, rows: pl.DataFrame, name: str) -> None:
    bucketed = rows.with_columns(bucket_of("user_id", store.n_buckets).alias("bucket"))
    store.write_batch(
        "activity",
        name,
        bucketed.select("bucket", *ActivityTable.column_names()),
    )
    seen = bucketed.group_by(
        "bucket", "user_id", "source", "platform", "known_date"
    ).agg(pl.col("first_at").min(), pl.col("last_at").max())
    store.write_batch("users", name, seen.select("bucket", *Users.column_names()))


def _adopted(
    anonymous: pl.LazyFrame, known: pl.DataFrame, timezone: str
) -> pl.LazyFrame:
    whose = (
        owners(anonymous.select("ids").unique().collect(), known)
        .lazy()
        .with_columns(
            learned=clocks.local_date("learned_at", timezone),
            blocked=clocks.local_date("blocked_at", timezone),
        )
    )
    mine = anonymous.with_columns(KEY).join(whose, on="key").filter(~is_forgotten())
    return _known_from(
        mine.filter(pl.col("blocked").is_null() | (pl.col("date") < pl.col("blocked")))
    )


def _known_from(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows as known from the later of their own day and ``learned``; the merge itself
    is nobody else's event.
    """
    later = pl.max_horizontal("known_date", "learned").alias("known_date")
    kept = rows.filter(pl.col("kind") != "merge").with_columns(later)
    return kept.select(*ActivityTable.column_names(), "platform")


def _renamed(
    store: Store,
    adopted: pl.DataFrame,
    known: pl.DataFrame,
    buckets: Sequence[int],
) -> pl.LazyFrame:
    """Rows of users whose profile was merged into another user's: they count for that
    one too, once that is known.
    """
    renamed = renames(store, known).with_columns(
        learned=clocks.local_date("learned_at", store.settings.timezone)
    )
    own = replace(store, adopted=()).scan("activity", buckets)
    theirs = pl.concat(
        [
            own.with_columns(platform=pl.lit(None, pl.String)).select(adopted.columns),
            adopted.lazy(),
        ]
    )
    rows = theirs.join(renamed.lazy(), left_on="user_id", right_on="was").with_columns(
        pl.col("now").alias("user_id")
    )
    return _known_from(rows)


def is_forgotten() -> pl.Expr:
    """True for the stand-in of an erased user: an id that others use too must not
    become theirs from the start.
    """
    return pl.col("user_id").str.starts_with(privacy.FORGOTTEN)


def renames(store: Store, known: pl.DataFrame) -> pl.DataFrame:
    """Users whose profile was merged into another user's: was, now, learned_at."""
    merges = store.scan("merges").filter(pl.col("user_id").is_not_null()).collect()
    pairs = merges.join(
        known.rename({"id": "into", "user_id": "now", "learned_at": "edge_at"}),
        on="into",
    )
    learned = pl.max_horizontal("learned_at", "edge_at").min().alias("learned_at")
    named = pairs.filter(pl.col("now") != pl.col("user_id")).rename({"user_id": "was"})
    return named.group_by("was", "now").agg(learned)


def people(store: Store) -> dict[str, int]:
    """How many people the log holds: users, and clusters of devices that share an id
    and have no user.
    """
    users = store.scan("users").select(pl.col("user_id").n_unique()).collect().item()
    devices = store.scan("anonymous").select("ids").unique().collect()
    nobody = devices.with_columns(KEY).join(
        owners(devices, known_users(store)), on="key", how="anti"
    )
    return {"users": int(users), "anonymous": n_clusters(nobody)}


def n_clusters(devices: pl.DataFrame) -> int:
    """Number of groups of devices that share at least one id, directly or through
    others.

    >>> n_clusters(pl.DataFrame({"ids": [["a:1", "g:7"], ["b:2", "g:7"], ["c:3"]]}))
    2
    """
    pairs = (
        devices.select("ids")
        .with_row_index("device")
        .explode("ids", empty_as_null=False)
    )
    if pairs.is_empty():
        return 0
    # Loaded only where there are devices to group.
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids = pairs["ids"].rank("dense").to_numpy().astype(np.int64) + devices.height
    n = int(ids.max()) + 1
    graph = coo_array(
        (np.ones(len(ids)), (pairs["device"].to_numpy(), ids)), shape=(n, n)
    )
    _, labels = connected_components(graph, directed=False)
    return len(np.unique(labels[: devices.height]))
