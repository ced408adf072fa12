"""Division of a store into another number of buckets, for an app that has grown.

Every bucketed table is written anew, by group of buckets and quarter. The new files
become visible in one commit, after which the old ones are removed. Until then the store
stays what it is, so a division that was interrupted can be run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from churn.events import identity, sizing
from churn.events.writing import exclusively
from churn.hashing import bucket_of
from churn.settings import Settings
from churn.store import Store, cleaning, data_files, grouped
from churn.store.data_files import DataFile
from churn.store.layout import BUCKETED
from churn.store.parts import WHOLE


@dataclass(frozen=True)
class Divided:
    """What a division did.

    Attributes
    ----------
    store: the store as committed.
    n_events: events in its log.
    n_before: the number of buckets before; the same as now if nothing was to be done.
    """

    store: Store
    n_events: int
    n_before: int


def divide(settings: Settings, progress: bool = True) -> Divided:
    """Divide the store of these settings into ``store_buckets`` buckets.

    Where the study names no number it is the one that fits the log, and not fewer than
    there are. The disk must have room for the tables twice. Raises StoreError if
    another process writes to the store.
    """
    with exclusively(settings) as store:
        n_events = store.n_rows("events")
        fitting = max(store.n_buckets, sizing.buckets_for(n_events))
        n_buckets = settings.store_buckets or fitting
        if n_buckets == store.n_buckets:
            return Divided(store, n_events, n_buckets)
        done = _divided(store, n_buckets, progress)
        return Divided(done, n_events, store.n_buckets)


def _divided(
    before: Store,
    n_buckets: int,
    progress: bool,
) -> Store:
    store = before
    for table in BUCKETED:
        groups = grouped.groups(before, before.n_rows(table))
        work = partial(_written, table=table, n_buckets=n_buckets)
        parts = grouped.values(before, work, groups, f"dividing {table}", progress)
        files = [file for part in parts for file in part]
        store = data_files.published(store, table, files, WHOLE)
    # If this process dies now, the next one to write removes the old files.
    done = replace(store, n_buckets=n_buckets, cleaning=True).commit()
    cleaning.vacuum(done)
    return replace(done, cleaning=False).commit()


def _written(
    store: Store,
    buckets: Sequence[int],
    table: str,
    n_buckets: int,
) -> list[DataFile]:
    """Write the rows of some buckets by their new buckets."""
    bucket = bucket_of(_owner(table), n_buckets).alias("bucket")
    files = []
    for period in store.files(table)["period"].unique().sort():
        rows = store.rows_of(table, buckets, period or None).with_columns(bucket)
        files += data_files.written(store, table, rows.collect())
    return files


def _owner(table: str) -> pl.Expr:
    """What decides about the bucket of a row."""
    if table == "events":
        return pl.col("event_id")
    return identity.KEY if table == "anonymous" else pl.col("user_id")
