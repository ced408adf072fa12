"""Files that repeat the rows of another one, where rows have no event id.

If most rows of a file stand in another one too, it is probably the same file delivered
again under another name, perhaps with a day more. The extract's ``repeats`` decides
which rows count then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events import content_ids, staging
from churn.events.content_ids import is_content_id
from churn.events.sources.find import Found
from churn.events.staging import Staged, file_id
from churn.store import Store

MIN_ROWS = 2
"""Smallest number of equal rows that counts, since one may be equal by chance."""

MOST = 0.5
"""Two files repeat each other if more than this share of the smaller one is equal."""


def _content(event_id: pl.Expr) -> pl.Expr:
    """The part of a content id by which rows of two files are compared."""
    return event_id.str.split("@").list.first()


@dataclass(frozen=True)
class Repeats:
    """Files that a newer file repeats and replaces.

    Attributes
    ----------
    stored: ids of files in the log.
    staged: ids of files of this ingest; their rows are left out.
    """

    stored: frozenset[str] = frozenset()
    staged: frozenset[str] = frozenset()


def repeats(
    staged: Sequence[Staged],
    folder: Path,
    store: Store,
    replaced: set[str],
) -> Repeats:
    """The files that are replaced because a new file repeats them.

    ``replaced`` are ids of files that are read again, so that their stored rows don't
    count. Raises InputError if a file repeats another and its extract's ``repeats``
    doesn't say what to do.
    """
    if all(file.extract.source != "table" for file, _ in staged):
        return Repeats()
    pairs, sizes = _pairs(folder, store, replaced)
    order = {
        file_id(file.extract.path, file.address): (number, file)
        for number, (file, _) in enumerate(staged)
    }
    names = dict(store.scan("files").select("file_id", "address").collect().iter_rows())
    names |= {key: file.address for key, (_, file) in order.items()}
    faults: list[str] = []
    in_log: set[str] = set()
    in_stage: set[str] = set()
    for new, old, n_equal in _in_order(pairs, order):
        smaller = min(sizes[new], sizes[old])
        if n_equal < MIN_ROWS or n_equal <= MOST * smaller:
            continue
        extract = order[new][1].extract
        if extract.repeats is None:
            faults.append(_fault(names[new], names[old], n_equal, sizes[new]))
        elif extract.repeats == "replace":
            (in_stage if old in order else in_log).add(old)
    if faults:
        raise InputError("\n".join(faults))
    return Repeats(frozenset(in_log), frozenset(in_stage))


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


def _pairs(
    folder: Path,
    store: Store,
    replaced: set[str],
) -> tuple[pl.DataFrame, dict[str, int]]:
    """How many rows each pair of files shares, and how many rows each file has.

    The pairs have the columns file_id (of a staged file), other and n.
    """
    parts, sizes = [], []
    n_rows = int(
        _without_event_id(folder, range(store.n_buckets))
        .select(pl.len())
        .collect()
        .item()
    )
    for buckets in store.passes(n_rows):
        rows = _without_event_id(folder, buckets).collect()
        if rows.is_empty():
            continue
        staged = content_ids.numbered(rows).select(
            "file_id", _content(pl.col("event_id")).alias("content")
        )
        stored = _stored(rows, store, buckets, replaced)
        others = pl.concat([staged, stored]).rename({"file_id": "other"})
        joined = staged.join(others, on="content")
        differing = joined.filter(pl.col("file_id") != pl.col("other"))
        parts.append(differing.group_by("file_id", "other").len("n"))
        sizes.append(staged.group_by("file_id").len("n"))
    n = pl.col("n").sum()
    schema = {"file_id": pl.String, "other": pl.String, "n": pl.UInt32}
    pairs = pl.concat([pl.DataFrame(schema=schema), *parts])
    stored_sizes = store.scan("files").select("file_id", pl.col("kept").alias("n"))
    of_stored = dict(stored_sizes.collect().iter_rows())
    of_staged = pl.concat([pairs.drop("other").clear(), *sizes]).group_by("file_id")
    return (
        pairs.group_by("file_id", "other").agg(n),
        of_stored | dict(of_staged.agg(n).iter_rows()),
    )


def _without_event_id(folder: Path, buckets: Sequence[int]) -> pl.LazyFrame:
    """Staged rows that can be kept and whose id is made from their content."""
    rows = staging.rows(folder, buckets)
    columns = ("file", "file_id", "event_id", "source_row", "event_time")
    return rows.filter(is_content_id() & pl.col("fault").is_null()).select(columns)


def _stored(
    rows: pl.DataFrame,
    store: Store,
    buckets: Sequence[int],
    replaced: set[str],
) -> pl.DataFrame:
    """Content ids of other files' events in the time span of the rows."""
    first, last = rows["event_time"].min(), rows["event_time"].max()
    in_span = pl.col("event_time").is_between(pl.lit(first), pl.lit(last))
    counts = ~pl.col("file_id").is_in(sorted(replaced))
    events = store.scan("events", buckets).filter(is_content_id() & in_span & counts)
    content = _content(pl.col("event_id")).alias("content")
    return events.select("file_id", content).collect()
