"""Into how many buckets a store is divided, so that any one of them fits in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events import sources
from churn.events.sources import find
from churn.events.sources.find import Found
from churn.store import Store
from churn.store.tables import N_BUCKETS

BUCKET_EVENTS = 1_000_000
"""Events that a bucket holds at most when a store is made.

An ingest needs some 1.5 GB for a million events of a group, which is a bucket or more.
"""

FULL_EVENTS = 2 * BUCKET_EVENTS
"""Mean number of events of a bucket from which on the store should be divided anew."""

MOST_BUCKETS = 16_384
SMALL_BYTES = 64 * 2**20
"""Size of all files below which they can't hold more than the least buckets do."""


def buckets_for(n_events: int) -> int:
    """The number of buckets for a log of so many events, a power of two.

    >>> buckets_for(5_000_000), buckets_for(100_000_000)
    (32, 128)
    """
    n_buckets = N_BUCKETS
    while n_buckets * BUCKET_EVENTS < n_events and n_buckets < MOST_BUCKETS:
        n_buckets *= 2
    return n_buckets


def differing(store: Store) -> list[str]:
    """A sentence if the study asks for another number of buckets than the store has."""
    wanted = store.settings.store_buckets
    if wanted in (None, store.n_buckets):
        return []
    return [
        f"the study asks for store_buckets = {wanted}, but {store.place.address} has "
        f"{store.n_buckets}: run `churn divide-store`, or take the setting back"
    ]


def warnings(store: Store) -> list[str]:
    """Sentences if the buckets aren't as many as asked for, or may not fit in memory."""
    n_events = store.n_rows("events")
    fitting = buckets_for(n_events)
    faults = differing(store)
    if n_events <= FULL_EVENTS * store.n_buckets or fitting == store.n_buckets:
        return faults
    return [
        *faults,
        f"each of the store's {store.n_buckets} buckets holds "
        f"{n_events / store.n_buckets / 1e6:.1f} million events, and memory grows with "
        f"them: run `churn divide-store`, which makes {fitting}",
    ]


def estimated_events(files: Sequence[Found]) -> int:
    """About how many events the files of a first ingest hold; 0 for small files.

    Of each extract, the file of median size is read to count its rows. A file that
    can't be read counts as empty: staging explains what is wrong with it.
    """
    if sum(file.size for file in files) < SMALL_BYTES:
        return 0
    by_extract: dict[str, list[Found]] = {}
    for file in files:
        by_extract.setdefault(file.extract.path, []).append(file)
    return sum(map(_estimated, by_extract.values()))


def _estimated(files: Sequence[Found]) -> int:
    by_size = sorted(files, key=lambda file: file.size)
    median = by_size[len(files) // 2]
    n_bytes = sum(file.size for file in files)
    return _n_rows(median) * n_bytes // max(median.size, 1)


def _n_rows(file: Found) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = find.fetch(file, Path(scratch))
            rows = sources.read(path, file.extract, Path(scratch))
            return int(rows.select(pl.len()).collect(engine="streaming").item())
        except (InputError, *sources.UNREADABLE):
            return 0
