"""Files that repeat the rows of another one, where rows have no event id.

If most rows of a file stand in another one too, it is probably that file delivered
again under another name, perhaps with a day more. The extract's ``repeats`` says what
then counts. Of two files the one whose last event is later is the newer delivery, or
else the longer one, so the order in which they arrive makes no difference.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import polars as pl

from churn.errors import InputError
from churn.events import content_ids
from churn.events.content_ids import is_content_id
from churn.events.replacing import span
from churn.events.sources.find import Found
from churn.events.staged import Rows, Staged, file_id
from churn.store import Store, grouped

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


def repeats(
    files: Sequence[Staged],
    rows: Rows,
    store: Store,
    replaced: Collection[str],
) -> Repeats:
    """The files that are replaced because a newer delivery repeats them.

    ``rows``: those of ``files`` that count. ``replaced`` are ids of files whose stored
    rows don't count. Raises InputError if a file repeats another and
    its extract's ``repeats`` doesn't say what to do.
    """
    is_replaced = pl.col("file_id").is_in(sorted(replaced))
    others = store.scan("files").filter(~is_replaced).select("address").collect()
    is_alone = len(files) == 1 and others.is_empty()
    if is_alone or all(file.extract.source != "table" for file, _ in files):
        return Repeats()
    pairs, ages = _compared(rows, store, frozenset(replaced))
    if pairs.is_empty():
        return Repeats()
    order = {
        file_id(file.extract.path, file.address): (number, file)
        for number, (file, _) in enumerate(files)
    }
    order = {key: place for key, place in order.items() if key not in rows.left_out}
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


Ages = dict[str, tuple[datetime, int]]
"""Time of the last row, and number of rows, of every file."""


def _compared(
    rows: Rows,
    store: Store,
    replaced: frozenset[str],
) -> tuple[pl.DataFrame, Ages]:
    """Number of equal rows by staged file and other file, and the files' ages.

    The frame has the columns file_id, other, n.
    """
    work = partial(_of_group, replaced=replaced)
    groups = rows.divided(grouped.groups(store, rows.n_rows))
    parts = grouped.values(store, work, groups, "files that repeat others")
    equal = pl.concat([equal for equal, _ in parts])
    pairs = equal.group_by("file_id", "other").agg(pl.col("n").sum())
    known = store.scan("files").filter(pl.col("last_at").is_not_null())
    stored = known.select("file_id", "last_at", n=pl.col("kept").cast(pl.Int64))
    ages = pl.concat([ages for _, ages in parts]).group_by("file_id")
    staged = ages.agg(pl.col("last_at").max(), pl.col("n").sum())
    return pairs, {
        name: (last, n)
        for frame in (stored.collect(), staged)
        for name, last, n in frame.iter_rows()
    }


def _of_group(
    store: Store,
    staged: Rows,
    replaced: Collection[str],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs of files of one group of buckets, and last_at and n of its staged files."""
    good = staged.scan().filter(is_content_id() & pl.col("fault").is_null())
    columns = ("file_id", "event_id", "source_row", "event_time")
    rows = good.select(columns).collect()
    ages = rows.group_by("file_id").agg(
        last_at=pl.col("event_time").max(),
        n=pl.len().cast(pl.Int64),
    )
    return _pairs(rows, store, staged.buckets, replaced), ages


def _pairs(
    rows: pl.DataFrame,
    store: Store,
    buckets: Sequence[int],
    replaced: Collection[str],
) -> pl.DataFrame:
    """Number of equal rows by staged file and other file: file_id, other, n."""
    if rows.is_empty():
        schema = {"file_id": pl.String, "other": pl.String, "n": pl.UInt32}
        return pl.DataFrame(schema=schema)
    content = _content(pl.col("event_id")).alias("content")
    staged = content_ids.numbered(rows).select("file_id", content)
    everybody = pl.concat([staged, _stored(rows, store, buckets, replaced)])
    is_several = content_ids.may_repeat(everybody, ["content"])
    others = everybody.filter(is_several).rename({"file_id": "other"})
    joined = staged.filter(is_several.head(staged.height)).join(others, on="content")
    differing = joined.filter(pl.col("file_id") != pl.col("other"))
    return differing.group_by("file_id", "other").len("n")


def _stored(
    rows: pl.DataFrame,
    store: Store,
    buckets: Sequence[int],
    replaced: Collection[str],
) -> pl.DataFrame:
    """Other files' events without an event id in the time span of the rows."""
    first, last = span(rows)
    in_span = pl.col("event_time").is_between(pl.lit(first), pl.lit(last))
    counts = ~pl.col("file_id").is_in(sorted(replaced))
    events = store.scan("events", buckets, since=first.date())
    others = events.filter(is_content_id() & in_span & counts)
    content = _content(pl.col("event_id")).alias("content")
    return others.select("file_id", content).collect()
