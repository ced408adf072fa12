"""Compaction: keeps the number of files small, and the rows in the order of reading.

Every night appends one small file to each bucket. When a table has gathered enough of
them, its buckets are written anew as one sorted file each, and rows that
others make redundant are dropped: of a user's first events those that were not the
earliest known on any day, and of edges all but the earliest. Counts are summed.
Replaced files stay on disk until the next cleaning, because a reader may be using them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from churn.store import cleaning
from churn.store.layout import BUCKETED, FLAT, ORDER, PERIODS
from churn.store.parts import WHOLE, Part
from churn.store.tables import Store

COMMITS = 8
"""Number of commits to a table until its log is summed up and old files are removed."""

FILES = 8
"""Mean number of files per bucket from which on those of a period become one."""


def compacted(store: Store, visible: Mapping[str, int]) -> Store:
    """The store with every table that is due cleaned and, where needed, compacted.

    ``visible`` are the versions that readers see now; their files stay.
    """
    for table, version in store.versions.items():
        if version - cleaning.summed_up(store, table) >= COMMITS:
            store = _maintained(store, table, visible.get(table))
    return store


def _maintained(
    store: Store,
    table: str,
    visible: int | None,
) -> Store:
    cleaning.remove_files(store, table, keep=visible)
    if visible is not None:
        cleaning.shorten_log(store, table, visible)
    for part in due(store, table):
        store = rewritten(store, table, part)
    return store


def due(store: Store, table: str) -> list[Part]:
    """The parts of a table that have gathered many files: its periods, or the whole.

    The present quarter is due again and again, the earlier ones after late rows only,
    so what compaction costs follows the nights and not the length of history.
    """
    n_buckets = store.n_buckets if table in BUCKETED else 1
    n_files = store.files(table).group_by("period").len("n")
    many = n_files.filter(pl.col("n") >= FILES * n_buckets)["period"].sort()
    return [Part(period=period) if table in PERIODS else WHOLE for period in many]


def rewritten(
    store: Store,
    table: str,
    part: Part,
) -> Store:
    """The store with a part's rows reduced and sorted, one file in each bucket."""
    if table in FLAT:
        rows = reduced(store.scan(table), table).collect()
        return store.write(table, rows, WHOLE)
    for buckets in store.passes(store.n_rows(table, part)):
        stored = store.rows_of(table, buckets, part.period)
        some = replace(part, buckets=buckets)
        store = store.write(table, reduced(stored, table).collect(), some)
    return store


def reduced(rows: pl.LazyFrame, table: str) -> pl.LazyFrame:
    """Rows without those that others make redundant, in the table's order."""
    if table in ("users", "adopted_users"):
        rows = firsts(rows)
    elif table in ("volume", "tally"):
        rows = sums(rows)
    elif table == "edges":
        key = ("source", "id", "user_id")
        rows = rows.group_by(key).agg(pl.col("learned_at").min())
    elif table in ("merges", "tombstones"):
        rows = rows.unique()
    return rows.sort(ORDER[table]) if table in ORDER else rows


def firsts(users: pl.LazyFrame) -> pl.LazyFrame:
    """Of each user's rows those that made the first event earlier than known so far.

    For every day, the earliest ``first_at`` among the rows known before it stays the
    same. ``users`` are rows of schemas.Users.
    """
    key = ("user_id", "source", "platform")
    ordered = users.sort("known_date", "first_at", nulls_last=False)
    earlier = pl.col("first_at").cum_min().shift(1).over(key)
    is_news = earlier.is_null() | (pl.col("first_at") < earlier)
    return ordered.filter(is_news)


def sums(counts: pl.LazyFrame) -> pl.LazyFrame:
    """Counts with equal keys as one row.

    Columns whose names begin with n are counts; the others are the key.
    """
    names = counts.collect_schema().names()
    is_count = [name for name in names if name.startswith("n")]
    key = [name for name in names if name not in is_count]
    return counts.group_by(key).agg(pl.col(is_count).sum())
