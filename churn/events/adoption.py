"""Adoption: assigns earlier anonymous history to the user it turns out to belong to.

Activity of anonymous devices, and of users whose profile was merged into another, is
written again under the user it belongs to. Its known date is the day on which that user
became known. The original rows stay as they are.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from churn import clocks
from churn.events.erasure import is_forgotten
from churn.events.identity import KEY, known_users, owners, renames
from churn.hashing import bucket_of
from churn.store import Store, data_files, grouped
from churn.store.compaction import firsts
from churn.store.data_files import DataFile
from churn.store.layout import ADOPTED
from churn.store.parts import WHOLE
from churn.store.schemas import ActivityTable

USERS_KEY = ("bucket", "user_id", "source", "platform", "known_date")

CHANGING = ("edges", "merges", "anonymous")
"""Tables that decide which anonymous history belongs to whom."""


def adopt(store: Store, before: Mapping[str, int]) -> Store:
    """The store with activity and users rows of all history whose user is known.

    ``before`` are the versions of its tables when the present adopted rows were made.
    These stay if no edges, merges or anonymous rows have come since.
    """
    is_unchanged = all(
        store.versions.get(table) == before.get(table) for table in CHANGING
    )
    if is_unchanged and not store.n_rows("merges"):
        return store
    groups = grouped.groups(store, store.n_rows("anonymous"))
    parts = grouped.values(store, _of_group, groups, "adopted history")
    _known.clear()
    for table in ADOPTED.values():
        files = [file for part in parts for file in part[table]]
        store = data_files.published(store, table, files, WHOLE)
    return store


_known: list[tuple[Store, pl.DataFrame]] = []
"""The store whose known users were read last, and they."""


def _known_users(store: Store) -> pl.DataFrame:
    """The known users, who are too many to be sent: each process reads them once."""
    if not _known or _known[0][0] is not store:
        _known[:] = [(store, known_users(store))]
    return _known[0][1]


def _of_group(store: Store, buckets: Sequence[int]) -> dict[str, list[DataFile]]:
    """Data files by table with what the history of some buckets brings to users."""
    known = _known_users(store)
    adopted = _adopted(store, known, buckets).collect()
    renamed = _renamed(store, adopted, known, buckets).collect()
    return _written(store, pl.concat([adopted, renamed]))


def _adopted(
    store: Store,
    known: pl.DataFrame,
    buckets: Sequence[int],
) -> pl.LazyFrame:
    """Anonymous activity under the user of its device, until a second user appears."""
    timezone = store.settings.timezone
    anonymous = store.scan("anonymous", buckets)
    devices = anonymous.select("ids").unique().collect()
    users = owners(devices, known).lazy()
    dated = users.with_columns(
        learned=clocks.local_date("learned_at", timezone),
        blocked=clocks.local_date("blocked_at", timezone),
    )
    owned = anonymous.with_columns(KEY).join(dated, on="key").filter(~is_forgotten())
    has_one_user = pl.col("blocked").is_null()
    is_before_second = pl.col("date") < pl.col("blocked")
    return _known_from(owned.filter(has_one_user | is_before_second))


def _renamed(
    store: Store, adopted: pl.DataFrame, known: pl.DataFrame, buckets: Sequence[int]
) -> pl.LazyFrame:
    """Activity of users whose profile was merged, under the user it was merged into."""
    learned = clocks.local_date("learned_at", store.settings.timezone)
    renamed = renames(store, known).with_columns(learned=learned)
    own = store.scan("activity", buckets, adopted=False)
    with_platform = own.with_columns(platform=pl.lit(None, pl.String))
    activity = pl.concat([with_platform.select(adopted.columns), adopted.lazy()])
    rows = activity.join(
        renamed.drop("merged_at").lazy(),
        left_on="user_id",
        right_on="was",
    )
    return _known_from(rows.with_columns(pl.col("now").alias("user_id")))


def _known_from(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows whose known date is at least the day of ``learned``.

    Merge events are left out, because they belong to the merged profile itself.
    """
    known_date = pl.max_horizontal("known_date", "learned").alias("known_date")
    kept = rows.filter(pl.col("kind") != "merge").with_columns(known_date)
    return kept.select(*ActivityTable.column_names(), "platform")


def _written(
    store: Store,
    rows: pl.DataFrame,
) -> dict[str, list[DataFile]]:
    """Data files by table with these adopted rows."""
    bucket = bucket_of("user_id", store.n_buckets).alias("bucket")
    bucketed = rows.with_columns(bucket)
    seen = bucketed.group_by(USERS_KEY).agg(pl.col("first_at").min())
    frames = {
        ADOPTED["activity"]: bucketed.select("bucket", *ActivityTable.column_names()),
        ADOPTED["users"]: firsts(seen.lazy()).collect(),
    }
    return {
        table: data_files.written(store, table, frame)
        for table, frame in frames.items()
    }
