"""Which user an id belonged to, and from when that was known.

A row that carries both an id and a user id makes an edge, which is learned once the
event has happened and been received. A row without a user id belongs to the user of its
ids from the moment the edge is known (see ``adoption``), so an edge learned later
changes no earlier result. If a second user appears on a device, the device is the first
user's up to that day; later rows without a user id belong to nobody.

Ids are written "type:value". Frames of known users have the columns id, user_id and
learned_at.
"""

import polars as pl

from churn import clocks
from churn.store import Store
from churn.store.schemas import Edges, Merges

MERGED_TYPES = ("braze_id", "amplitude_id", "mixpanel_id")
"""Types of the ids that vendors merge."""

MAX_MERGES = 5
"""Largest number of successive merges that are followed from one id to another."""

KEY = pl.col("ids").list.join("\x1f").alias("key")
"""The ids of a row joined to one text, which identifies its device."""


def edges_from_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Every source, id and user that rows carry together, and when that was learned.

    It is learned at the later of event time and time of receipt; the earliest such
    moment counts (schemas.Edges).
    """
    is_merge = pl.col("event_kind") == "merge"
    linked = events.filter(pl.col("user_id").is_not_null() & ~is_merge)
    learned_at = _learned_at().min().alias("learned_at")
    devices = clocks.usable(linked).group_by("source", "ids", "user_id").agg(learned_at)
    single = devices.explode("ids", empty_as_null=False).rename({"ids": "id"})
    earliest = pl.col("learned_at").min()
    edges = single.group_by("source", "id", "user_id").agg(earliest)
    return edges.select(Edges.column_names())


def merges_from_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Every id that a vendor declared to have become another one (schemas.Merges)."""
    tag = pl.element()
    is_merged_type = tag.str.split(":").list.first().is_in(MERGED_TYPES)
    merged_ids = pl.col("ids").list.eval(tag.filter(is_merged_type))
    merges = events.filter(pl.col("event_kind") == "merge").with_columns(merged_ids)
    pairs = merges.filter(pl.col("ids").list.len() == 2)
    rows = pairs.select(
        pl.col("ids").list.first().alias("id"),
        pl.col("ids").list.last().alias("into"),
        "user_id",
        _learned_at().alias("learned_at"),
    )
    return rows.select(Merges.column_names())


def _learned_at() -> pl.Expr:
    return pl.max_horizontal("event_time", "received_time")


def new_edges(edges: pl.DataFrame, store: Store) -> pl.DataFrame:
    """The edges that the store does not hold, or holds with a later ``learned_at``."""
    key = ["source", "id", "user_id"]
    stored = store.scan("edges").join(
        edges.lazy().select(key),
        on=key,
        how="semi",
    )
    earliest = stored.group_by(key).agg(stored_at=pl.col("learned_at").min())
    compared = edges.join(
        earliest.collect(),
        on=key,
        how="left",
    )
    is_unknown = pl.col("stored_at").is_null()
    is_earlier = pl.col("learned_at") < pl.col("stored_at")
    return compared.filter(is_unknown | is_earlier).drop("stored_at")


def known_users(store: Store, ids: pl.LazyFrame | None = None) -> pl.DataFrame:
    """The users of every id, with merges applied: id, user_id, learned_at.

    If two ids were merged, each gets the other one's user, unless it belonged to a user
    by then. With a frame of ``ids`` (column id) only their own edges are read.
    """
    earliest = pl.col("learned_at").min()
    stored = store.scan("edges")
    if ids is not None:
        stored = stored.join(ids, on="id", how="semi")
    edges = stored.group_by("id", "user_id").agg(earliest).collect()
    merges = store.scan("merges").collect()
    if merges.is_empty():
        return edges
    both_ways = pl.concat(
        [
            merges.select("id", "into", "learned_at"),
            merges.select(
                id="into",
                into="id",
                learned_at="learned_at",
            ),
        ]
    )
    for _ in range(MAX_MERGES):
        gained = _through_merges(edges, both_ways)
        edges = pl.concat([edges, gained]).group_by("id", "user_id").agg(earliest)
    return edges


def _through_merges(edges: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """Edges that ids gain from the ids they were merged with."""
    of_other = edges.rename({"id": "into", "learned_at": "edge_at"})
    gained = merges.join(of_other, on="into").with_columns(
        pl.max_horizontal("learned_at", "edge_at").alias("learned_at")
    )
    first_users = edges.group_by("id").agg(first_at=pl.col("learned_at").min())
    compared = gained.join(
        first_users,
        on="id",
        how="left",
    )
    has_no_user = pl.col("first_at").is_null()
    had_no_user_yet = pl.col("first_at") > pl.col("learned_at")
    return compared.filter(has_no_user | had_no_user_yet).select(edges.columns)


def owners(devices: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The user of each device: key, user_id, learned_at, blocked_at.

    ``devices`` has a column ``ids``, and ``known`` is a frame of known users. Devices
    without a user have no row. ``blocked_at`` is when a second user was learned; null
    if there is none.
    """
    keyed = devices.select("ids", KEY).unique("key")
    single = keyed.explode("ids", empty_as_null=False).rename({"ids": "id"})
    of_users = single.join(known, on="id").group_by("key", "user_id")
    users = of_users.agg(pl.col("learned_at").min()).sort("learned_at", "user_id")
    return users.group_by("key", maintain_order=True).agg(
        pl.col("user_id").first(),
        pl.col("learned_at").first(),
        pl.col("learned_at").get(1, null_on_oob=True).alias("blocked_at"),
    )


def renames(store: Store, known: pl.DataFrame) -> pl.DataFrame:
    """Merged users by old and new user id: was, now, merged_at, learned_at.

    If the new user was merged into a third one, the old one is that user as well.
    ``learned_at`` is later than ``merged_at`` if the user of an id was learned later.
    """
    merges = store.scan("merges").filter(pl.col("user_id").is_not_null()).collect()
    of_other = known.rename(
        {
            "id": "into",
            "user_id": "now",
            "learned_at": "edge_at",
        }
    )
    pairs = merges.rename({"user_id": "was"}).join(of_other, on="into")
    instants = {
        "merged_at": pl.col("learned_at"),
        "learned_at": pl.max_horizontal("learned_at", "edge_at"),
    }
    direct = _earliest(pairs.with_columns(**instants))
    onward = direct.rename(
        {
            "was": "now",
            "now": "last",
            "merged_at": "merged_later",
            "learned_at": "learned_later",
        }
    )
    found = direct
    for _ in range(MAX_MERGES - 1):
        longer = found.join(onward, on="now").select(
            "was",
            now="last",
            merged_at=pl.max_horizontal("merged_at", "merged_later"),
            learned_at=pl.max_horizontal("learned_at", "learned_later"),
        )
        found = _earliest(pl.concat([found, longer]))
    return found


def _earliest(pairs: pl.DataFrame) -> pl.DataFrame:
    """Each pair of different users once, with its earliest instants."""
    changed = pairs.filter(pl.col("now") != pl.col("was"))
    earliest = pl.col("merged_at", "learned_at").min()
    return changed.group_by("was", "now").agg(earliest)


def people(store: Store) -> dict[str, int]:
    """How many people the log holds.

    ``users`` counts user ids, ``anonymous`` groups of devices that share an id and have
    no user.
    """
    n_users = store.scan("users").select(pl.col("user_id").n_unique()).collect().item()
    devices = store.scan("anonymous").select("ids").unique().collect()
    owned = owners(devices, known_users(store))
    unowned = devices.with_columns(KEY).join(
        owned,
        on="key",
        how="anti",
    )
    return {"users": int(n_users), "anonymous": n_clusters(unowned)}


def n_clusters(devices: pl.DataFrame) -> int:
    """Number of groups of devices that share an id, directly or through others.

    >>> n_clusters(pl.DataFrame({"ids": [["a:1", "g:7"], ["b:2", "g:7"], ["c:3"]]}))
    2
    """
    numbered = devices.select("ids").with_row_index("device")
    pairs = numbered.explode("ids", empty_as_null=False)
    if pairs.is_empty():
        return 0
    # SciPy is slow to import, so it is loaded only if there are devices to group.
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A graph whose nodes are the devices and, numbered after them, the ids.
    ids = pairs["ids"].rank("dense").to_numpy().astype(np.int64) + devices.height
    n_nodes = int(ids.max()) + 1
    edges = (pairs["device"].to_numpy(), ids)
    graph = coo_array((np.ones(len(ids)), edges), shape=(n_nodes, n_nodes))
    _, labels = connected_components(graph, directed=False)
    return len(np.unique(labels[: devices.height]))
