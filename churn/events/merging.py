"""Merging: brings the staged rows into the store, and makes the result visible.

Rows are merged bucket by bucket: faulty ones go to the quarantine, of equal events one
copy is kept, and events that the log holds already are dropped. If files were read
again, what the log holds of them is replaced. The other tables follow from the log (see
``deriving``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import polars as pl

from churn.events import (
    committing,
    content_ids,
    deriving,
    erasure,
    outdated,
    records,
    repeats,
    replacing,
    staged,
)
from churn.events.arrivals import Arrivals
from churn.events.deriving import Counts
from churn.events.repeats import Repeats
from churn.events.replacing import EVENT_KEY
from churn.events.seen import NOTHING, Seen
from churn.events.staged import Rows
from churn.events.staging import Read
from churn.store import Store, data_files, grouped
from churn.store.data_files import DataFile
from churn.store.inputs import READERS
from churn.store.parts import Part


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes
    ----------
    store: the store as committed.
    files: one row per file that was read (schemas.Files).
    reasons: rows quarantined now, by reason: reason, n.
    examples: some of these rows (see ``records.examples``).
    seen: events by name, and users with very many of them.
    n_added: events that were added to the log, or whose content changed.
    n_removed: events that left the log, or whose content changed.
    n_replaced: events that stay in the log with other content.
    n_requests: number of added rows that report a request for erasure.
    """

    store: Store
    files: pl.DataFrame
    reasons: pl.DataFrame
    examples: pl.DataFrame
    seen: Seen
    n_added: int
    n_removed: int
    n_replaced: int
    n_requests: int


@dataclass(frozen=True)
class _Going:
    """Which events don't count, as plain values.

    Attributes
    ----------
    replaced: ids of the known files whose stored rows staged files replace.
    copies: ids of the staged files that are copies of known ones.
    repeated: files that a newer delivery repeats.
    old: ids of the files whose stored events go, unless they are brought again.
    outdated: see ``Arrivals``.
    """

    replaced: frozenset[str]
    copies: frozenset[str]
    repeated: Repeats
    old: frozenset[str]
    outdated: frozenset[str]


@dataclass(frozen=True)
class _Group:
    """What one group of buckets brings.

    Attributes
    ----------
    files: data files for the event log.
    replaced: the buckets whose files of before these replace.
    rows: counts and times by extract file.
    faulty: rows with a fault.
    counts: of the events added.
    by_person: the events added, staged once more.
    n_added, n_removed, n_replaced: see ``Merged``.
    """

    files: list[DataFile]
    replaced: Sequence[int]
    rows: pl.DataFrame
    faulty: pl.DataFrame
    counts: Counts
    by_person: Rows
    n_added: int
    n_removed: int
    n_replaced: int


def merge(
    read: Read,
    arrived: Arrivals,
    store: Store,
    progress: bool,
    present: date,
) -> Merged:
    """Store the staged rows and make them visible.

    ``present`` is the date in the study's time zone, whose day isn't over.
    Raises InputError if a file repeats another one and the study doesn't say which of
    their rows count.
    """
    if not read.files and not arrived.outdated:
        return _nothing(store)
    replaced = frozenset(arrived.replaced(read.files))
    copies = frozenset(arrived.copies(read.files, replaced))
    rows = replace(read.rows, left_out=read.rows.left_out | copies)
    repeated = repeats.repeats(read.files, rows, store, replaced)
    old = replaced | repeated.stored | arrived.outdated
    going = _Going(replaced, copies, repeated, old, arrived.outdated)
    n_rows = rows.n_rows + (store.n_rows("events") if old else 0)
    groups = rows.divided(grouped.groups(store, n_rows))
    work = partial(_merged, going=going)
    parts = grouped.values(store, work, groups, "storing", progress)
    return _finished(store, read, arrived, going, parts, present)


def _merged(store: Store, group: Rows, going: _Going) -> _Group:
    """Write the events that the staged rows of some buckets add to the log."""
    buckets = group.buckets
    rows = group.scan().collect().rechunk()
    faulty = records.faulty(rows.lazy(), store)
    good = content_ids.numbered(rows.filter(pl.col("fault").is_null()))
    unique = _counting(good, store, going)
    present = outdated.with_renewed(unique, store, buckets, going.outdated)
    change = replacing.difference(present, store, buckets, going.old)
    files, replaces = replacing.written(store, buckets, change)
    by_file = records.counts(
        good=good,
        unique=unique,
        kept=change.kept,
        quarantined=faulty,
    )
    return _Group(
        files=files,
        replaced=buckets if replaces else (),
        rows=pl.concat([*by_file, records.spans(good)], how="diagonal"),
        faulty=faulty,
        counts=deriving.counts(change.added, store.settings),
        by_person=deriving.stage_by_person(change.added, store, group.place),
        n_added=change.added.height,
        n_removed=change.removed.height,
        n_replaced=change.n_replaced,
    )


def _counting(good: pl.DataFrame, store: Store, going: _Going) -> pl.DataFrame:
    """One row per event, without those of files that others replace."""
    is_repeated = pl.col("file_id").is_in(sorted(going.repeated.staged))
    unique = _unique(good.filter(~is_repeated))
    tombstones = erasure.tombstones(store)
    if tombstones.len():
        return erasure.without_mentions(unique, store.salt, tombstones)
    return unique


def _finished(
    before: Store,
    read: Read,
    arrived: Arrivals,
    going: _Going,
    parts: Sequence[_Group],
    present: date,
) -> Merged:
    """Bring all tables up to date, and make everything visible."""
    files = records.file_rows(read.files, pl.concat([part.rows for part in parts]))
    is_new = [
        not arrived.is_touched(file, digest, going.copies)
        for file, digest in read.files
    ]
    quarantine = records.quarantine(pl.concat([part.faulty for part in parts]))
    store = _with_events(before, parts)
    store = records.without_events_of(going.repeated.stored, store)
    store = records.with_files(store, files, is_new, going.replaced)
    store = records.with_quarantine(store, quarantine, going.replaced)
    counted = deriving.summed([part.counts for part in parts])
    store, seen = _derived(store, parts, counted, arrived)
    erasures = counted.volume.filter(pl.col("kind") == "erasure")
    done = committing.committed(store, before.versions, present, cleans=bool(going.old))
    return Merged(
        store=done,
        files=files.filter(is_new),
        reasons=quarantine.group_by("reason").agg(n=pl.len()).sort("reason"),
        examples=records.examples(quarantine),
        seen=seen,
        n_added=sum(part.n_added for part in parts),
        n_removed=sum(part.n_removed for part in parts),
        n_replaced=sum(part.n_replaced for part in parts),
        n_requests=int(erasures["n"].sum()),
    )


def _with_events(store: Store, parts: Sequence[_Group]) -> Store:
    """The store with the data files of all groups in its event log."""
    buckets = [bucket for part in parts for bucket in part.replaced]
    return data_files.published(
        store,
        "events",
        [file for part in parts for file in part.files],
        Part(buckets) if buckets else None,
    )


def _derived(
    store: Store,
    parts: Sequence[_Group],
    counted: Counts,
    arrived: Arrivals,
) -> tuple[Store, Seen]:
    """The store whose other tables follow from its events, and what was seen of them."""
    by_person = staged.together([part.by_person for part in parts])
    # Another version of the readers may count what the earlier one didn't.
    is_upgrade = any(READERS in names for names in arrived.changed.values())
    if is_upgrade or any(part.n_removed for part in parts):
        by_person.place.remove_below("")
        return deriving.rebuild(store, by_person.place)
    return deriving.add(store, by_person, counted)


def _nothing(store: Store) -> Merged:
    """The result without any file to read."""
    return Merged(
        store=store,
        files=store.scan("files").collect().clear(),
        reasons=pl.DataFrame(schema={"reason": pl.String, "n": pl.UInt32}),
        examples=pl.DataFrame(schema=records.EXAMPLE),
        seen=NOTHING,
        n_added=0,
        n_removed=0,
        n_replaced=0,
        n_requests=0,
    )


def _unique(good: pl.DataFrame) -> pl.DataFrame:
    """One row per event: the copy that was received first, then by order of files."""
    is_repeated = content_ids.may_repeat(good, EVENT_KEY)
    if not is_repeated.any():
        return good
    copies = good.filter(is_repeated).sort(
        "received_time", "source_file", "source_row", nulls_last=True
    )
    first = copies.unique(
        EVENT_KEY,
        keep="first",
        maintain_order=True,
    )
    return pl.concat([good.filter(~is_repeated), first])
