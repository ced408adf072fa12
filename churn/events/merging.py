"""Merging: makes one batch of the staged rows and commits it to the store.

Rows are merged bucket by bucket: faulty ones go to the quarantine, of equal events one
copy is kept, and events that the log holds already are dropped. The rows that remain
are regrouped by the bucket of their person, from which activity, users and identity
edges are derived.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from tqdm.auto import tqdm

from churn.events import (
    activity,
    adoption,
    content_ids,
    coverage,
    erasure,
    identity,
    properties,
    staging,
)
from churn.events.staging import Staged
from churn.hashing import bucket_of
from churn.store import Store
from churn.store.schemas import Events, Tally, Volume

EVENT_KEY = ["source", "event_id"]

TIMED_IDS = ("adjust", "appsflyer", "ga4")
"""Sources whose event ids are derived from the event's time and other columns."""

COUNTS = ("good", "unique", "kept", "quarantined")

PERSON_COLUMNS = (
    "event_time",
    "event_time_basis",
    "received_time",
    "event_kind",
    "event",
    "user_id",
    "ids",
    "source",
    "platform",
    "revenue",
    "currency",
    "revenue_usd",
)
"""Columns of an event that activity, users and identity edges are made from."""


def merge(
    staged: Sequence[Staged], folder: Path, store: Store, batch_id: str, progress: bool
) -> Store:
    """Store the rows staged in ``folder`` as one batch and make it visible.

    Returns the store as committed.
    """
    everything = staging.rows(folder, range(store.n_buckets))
    n_rows = int(everything.select(pl.len()).collect().item())
    passes = store.passes(n_rows)
    _store_events(staged, folder, passes, store, batch_id, progress)
    _store_people(folder, passes, store, batch_id)
    return _commit(store, batch_id)


def _store_events(
    staged: Sequence[Staged],
    folder: Path,
    passes: list[Sequence[int]],
    store: Store,
    batch_id: str,
    progress: bool,
) -> None:
    """Write events, quarantine, volume, tally and files of the batch."""
    tombstones = erasure.tombstones(store)
    counts, volumes, tallies, quarantine = [], [], [], []
    bar = tqdm(
        passes,
        "storing",
        disable=not progress,
        leave=False,
    )
    for number, buckets in enumerate(bar):
        rows = staging.rows(folder, buckets)
        faulty = _faulty(rows, store)
        good = content_ids.numbered(rows.filter(pl.col("fault").is_null()).collect())
        unique = _unique(good)
        new = _new(unique, store, buckets)
        if tombstones.len():
            new = erasure.without_mentions(new, store.salt, tombstones)
        counts += _counts(
            good=good,
            unique=unique,
            kept=new,
            quarantined=faulty,
        )
        quarantine.append(faulty)
        volumes.append(coverage.volume(new, store.settings))
        tallies.append(coverage.tally(new, store.settings))
        events = new.select("bucket", *Events.column_names())
        store.write_batch("events", batch_id, events)
        _stage_by_person(new, store, folder / f"user-{number:06d}")
    volume = coverage.summed(volumes, Volume.column_names())
    tally = coverage.summed(tallies, Tally.column_names())
    files = _file_rows(staged, pl.concat(counts, how="diagonal"))
    store.write_batch("quarantine", batch_id, _quarantine(pl.concat(quarantine)))
    store.write_batch("volume", batch_id, volume)
    store.write_batch("tally", batch_id, tally)
    store.write_batch("files", batch_id, files)


def _faulty(rows: pl.LazyFrame, store: Store) -> pl.DataFrame:
    with_fault = rows.filter(pl.col("fault").is_not_null())
    marked = with_fault.with_columns(erasure.subjects(store.salt))
    columns = ("source", "source_file", "source_row", "file", "fault", "subjects")
    return marked.select(columns).collect()


def _quarantine(faulty: pl.DataFrame) -> pl.DataFrame:
    """Rows for the quarantine; of erased people not even a hash is kept."""
    is_erased = pl.col("fault") == "forgotten"
    nobody = pl.lit([], pl.List(pl.String))
    subjects = pl.when(is_erased).then(nobody).otherwise("subjects")
    return faulty.with_columns(subjects=subjects).rename({"fault": "reason"})


def _unique(good: pl.DataFrame) -> pl.DataFrame:
    """One row per event: the copy that was received first, then by order of files."""
    is_repeated = good.select(pl.struct(EVENT_KEY).is_duplicated()).to_series()
    copies = good.filter(is_repeated).sort(
        "received_time", "source_file", "source_row", nulls_last=True
    )
    first = copies.unique(
        EVENT_KEY,
        keep="first",
        maintain_order=True,
    )
    return pl.concat([good.filter(~is_repeated), first])


def _new(
    unique: pl.DataFrame,
    store: Store,
    buckets: Sequence[int],
) -> pl.DataFrame:
    """Rows that the log does not hold yet.

    If an id is made from the event's time, a stored copy has the same time, so only
    stored events of the new rows' time span are compared.
    """
    if unique.is_empty():
        return unique
    first, last = unique["event_time"].min(), unique["event_time"].max()
    in_span = pl.col("event_time").is_between(pl.lit(first), pl.lit(last))
    has_timed_id = pl.col("source").is_in(TIMED_IDS) | content_ids.is_content_id()
    may_match = ~has_timed_id | in_span
    stored = store.scan("events", buckets).filter(may_match).select(EVENT_KEY)
    keys = unique.lazy().select(EVENT_KEY)
    known = stored.join(
        keys,
        on=EVENT_KEY,
        how="semi",
    ).collect()
    return unique.join(
        known,
        on=EVENT_KEY,
        how="anti",
        maintain_order="left",
    )


def _counts(**frames: pl.DataFrame) -> list[pl.DataFrame]:
    """Rows per file of each frame, in a column of the frame's name."""
    return [
        frame.group_by("file").agg(pl.len().cast(pl.Int64).alias(name))
        for name, frame in frames.items()
    ]


def _file_rows(staged: Sequence[Staged], counts: pl.DataFrame) -> pl.DataFrame:
    """One row per file (schemas.Files); a copy of a known file has zero row counts."""
    columns = {
        "extract": [file.extract.path for file, _ in staged],
        "address": [file.address for file, _ in staged],
        "file_id": [
            staging.file_id(file.extract.path, file.address) for file, _ in staged
        ],
        "stamp": [file.stamp for file, _ in staged],
        "digest": [digest for _, digest in staged],
    }
    numbered = pl.DataFrame(columns).with_row_index("file")
    files = numbered.with_columns(pl.col("file").cast(pl.Int64))
    sums = counts.group_by("file").agg(pl.col(COUNTS).sum())
    counted = files.join(
        sums,
        on="file",
        how="left",
        maintain_order="left",
    )
    return counted.with_columns(pl.col(COUNTS).fill_null(0)).with_columns(
        ingested_at=pl.lit(datetime.now(UTC)).dt.cast_time_unit("us"),
        rows=pl.col("good") + pl.col("quarantined"),
        duplicate=pl.col("good") - pl.col("kept"),
        copies=pl.col("good") - pl.col("unique"),
    )


def _stage_by_person(
    events: pl.DataFrame,
    store: Store,
    folder: Path,
) -> None:
    """Stage events again, in the bucket of their user or, without one, of their ids.

    All rows of one person then lie in one bucket.
    """
    person = pl.coalesce("user_id", identity.KEY)
    staged = events.lazy().select(
        *PERSON_COLUMNS,
        properties.numbers(pl.col("properties")),
        bucket_of(person, store.n_buckets).alias("bucket"),
    )
    staged.sink_parquet(pl.PartitionBy(folder, key="bucket"), mkdir=True)


def _store_people(
    folder: Path, passes: list[Sequence[int]], store: Store, batch_id: str
) -> None:
    """Write activity, users, anonymous activity, edges and merges of the batch."""
    timezone = store.settings.timezone
    currency = store.settings.activity.currency
    everything = staging.rows(folder, range(store.n_buckets), "user")
    names = properties.commonest_numbers(everything)
    edges, merges = [], []
    for buckets in passes:
        rows = staging.rows(folder, buckets, "user")
        of_users = activity.from_events(rows, timezone, currency, names)
        users = activity.users_from_events(rows, timezone)
        anonymous = activity.anonymous_from_events(rows, timezone, currency, names)
        _write(store, "activity", batch_id, of_users, pl.col("user_id"))
        _write(store, "users", batch_id, users, pl.col("user_id"))
        _write(store, "anonymous", batch_id, anonymous, identity.KEY)
        edges.append(identity.edges_from_events(rows).collect())
        merges.append(identity.merges_from_events(rows).collect())
    new_edges = identity.new_edges(pl.concat(edges), store)
    store.write_batch("edges", batch_id, new_edges)
    store.write_batch("merges", batch_id, pl.concat(merges).unique())


def _write(
    store: Store, table: str, batch_id: str, rows: pl.LazyFrame, person: pl.Expr
) -> None:
    bucket = bucket_of(person, store.n_buckets).alias("bucket")
    store.write_batch(table, batch_id, rows.with_columns(bucket).collect())


def _commit(store: Store, batch_id: str) -> Store:
    """Work out coverage and identity with the new batch, then make it visible.

    Batches that are replaced stay on disk until the next ingest, because another
    process may be reading them.
    """
    with_batch = replace(store, batches=(*store.batches, batch_id))
    volume = with_batch.scan("volume").collect()
    done = replace(
        with_batch,
        covered_until=coverage.covered_until(volume, store.settings),
        first_date=min(volume["date"], default=None),
        adopted=adoption.adopt(with_batch, batch_id),
    )
    done.commit()
    return done
