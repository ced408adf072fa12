"""Files that repeat the rows of another one, where rows have no event id.

If most rows of a file stand in another one too, it is probably that file delivered
again under another name, perhaps with a day more. The extract's ``repeats`` says what
then counts. Of two files the one whose last event is later is the newer delivery, or
else the longer one, so the order in which they arrive makes no difference.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events import content_ids, staging
from churn.events.content_ids import is_content_id
from churn.events.replacing import span
from churn.events.sources.find import Found
from churn.events.staging import Staged, file_id
from churn.store import Store

MIN_ROWS = 2
"""Smallest number of equal rows that counts, since one may be equal by chance."""

MOST = 0.5
"""Two files repeat each other if more than this share of the smaller one is equal."""


def _content(event_id: pl.Expr) -> pl.Expr:
    """The part of a content id by which rows of two files are compared."""
    return event_id.str.splitn("@", 2).struct.field("field_0")


@dataclass(frozen=True)
class Repeats:
    """Files whose rows a newer delivery repeats, and which it replaces.

    Attributes
    ----------
    stored: ids of files in the log.
    staged: ids of files of this ingest; their rows are left out.
    """

    stored: frozenset[str] = frozenset()
    staged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Compared:
    """The staged rows, and what they are compared with.

    Attributes
    ----------
    folder: the staging folder.
    store: the store.
    copies: ids of staged files whose rows don't count.
    replaced: ids of files whose stored rows don't count.
    """

    folder: Path
    store: Store
    copies: Collection[str]
    replaced: Collection[str]

    def staged(self, buckets: Sequence[int]) -> pl.LazyFrame:
        """Staged rows without an event id of some buckets."""
        rows = staging.rows(self.folder, buckets)
        is_copy = pl.col("file_id").is_in(sorted(self.copies))
        good = rows.filter(
            is_content_id() & pl.col("fault").is_null() & ~is_copy,
        )
        return good.select("file", "file_id", "event_id", "source_row", "event_time")

    def stored(self, rows: pl.DataFrame, buckets: Sequence[int]) -> pl.DataFrame:
        """Other files' events without an event id in the time span of the rows."""
        first, last = span(rows)
        in_span = pl.col("event_time").is_between(pl.lit(first), pl.lit(last))
        counts = ~pl.col("file_id").is_in(sorted(self.replaced))
        events = self.store.scan("events", buckets, since=first.date())
        others = events.filter(is_content_id() & in_span & counts)
        content = _content(pl.col("event_id")).alias("content")
        return others.select("file_id", content).collect()


def repeats(
    staged: Sequence[Staged],
    folder: Path,
    store: Store,
    *,
    copies: Collection[str],
    replaced: Collection[str],
) -> Repeats:
    """The files that are replaced because a newer delivery repeats them.

    ``copies`` are ids of staged files whose rows don't count, and ``replaced`` those of
    files whose stored rows don't count. Raises InputError if a file repeats another and
    its extract's ``repeats`` doesn't say what to do.
    """
    is_replaced = pl.col("file_id").is_in(sorted(replaced))
    others = store.scan("files").filter(~is_replaced).select("address").collect()
    is_alone = len(staged) == 1 and others.is_empty()
    if is_alone or all(file.extract.source != "table" for file, _ in staged):
        return Repeats()
    compared = _Compared(folder, store, copies, replaced)
    pairs = _pairs(compared)
    if pairs.is_empty():
        return Repeats()
    ages = _ages(compared)
    order = {
        file_id(file.extract.path, file.address): (number, file)
        for number, (file, _) in enumerate(staged)
    }
    order = {key: place for key, place in order.items() if key not in copies}
    names = dict(store.scan("files").select("file_id", "address").collect().iter_rows())
    names |= {key: file.address for key, (_, file) in order.items()}
    faults: list[str] = []
    older: set[str] = set()
    for one, other, n_equal in _in_order(pairs, order):
        n_rows = ages[one][1]
        if n_equal < MIN_ROWS or n_equal <= MOST * min(n_rows, ages[other][1]):
            continue
        extract = order[one][1].extract
        if extract.repeats is None:
            faults.append(_fault(names[one], names[other], n_equal, n_rows))
        elif extract.repeats == "replace":
            older.add(min(one, other, key=lambda key: (*ages[key], names[key])))
    if faults:
        raise InputError("\n".join(faults))
    return Repeats(frozenset(older - set(order)), frozenset(older & set(order)))


def _fault(
    new: str,
    old: str,
    n_equal: int,
    n_rows: int,
) -> str:
    return (
        f"{new}: {n_equal:,} of its {n_rows:,} rows stand in {old} too. If it is the "
        'newer delivery of the same data, set repeats = "replace" in its extract; if '
        'equal rows are different events, set repeats = "keep"; if it is a copy, '
        "remove it"
    )


def _in_order(
    pairs: pl.DataFrame,
    order: dict[str, tuple[int, Found]],
) -> list[tuple[str, str, int]]:
    """Each pair once, the newer file first."""
    each = []
    for one, other, n_equal in pairs.iter_rows():
        is_older = other not in order or order[other][0] < order[one][0]
        if is_older:
            each.append((one, other, n_equal))
    return each


def _pairs(compared: _Compared) -> pl.DataFrame:
    """Number of equal rows by staged file and other file: file_id, other, n."""
    schema = {"file_id": pl.String, "other": pl.String, "n": pl.UInt32}
    parts = [pl.DataFrame(schema=schema)]
    for buckets in _passes(compared):
        rows = compared.staged(buckets).collect()
        if rows.is_empty():
            continue
        content = _content(pl.col("event_id")).alias("content")
        staged = content_ids.numbered(rows).select("file_id", content)
        stored = compared.stored(rows, buckets)
        everybody = pl.concat([staged, stored])
        is_several = content_ids.may_repeat(everybody, ["content"])
        others = everybody.filter(is_several).rename({"file_id": "other"})
        joined = staged.filter(is_several.head(staged.height)).join(
            others,
            on="content",
        )
        differing = joined.filter(pl.col("file_id") != pl.col("other"))
        parts.append(differing.group_by("file_id", "other").len("n"))
    return pl.concat(parts).group_by("file_id", "other").agg(pl.col("n").sum())


def _passes(compared: _Compared) -> list[Sequence[int]]:
    store = compared.store
    everything = compared.staged(range(store.n_buckets))
    return store.passes(int(everything.select(pl.len()).collect().item()))


def _ages(compared: _Compared) -> dict[str, tuple[datetime, int]]:
    """Time of the last row, and number of rows, of every file."""
    store = compared.store
    known = store.scan("files").filter(pl.col("last_at").is_not_null())
    stored = known.select("file_id", "last_at", "kept").collect()
    everything = compared.staged(range(store.n_buckets)).group_by("file_id")
    staged = everything.agg(pl.col("event_time").max(), pl.len()).collect()
    return {
        str(name): (last, n)
        for frame in (stored, staged)
        for name, last, n in frame.iter_rows()
    }
