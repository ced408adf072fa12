"""What an ingest stores about the files it read: row counts and faulty rows."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import polars as pl

from churn.events import erasure
from churn.events.staged import Staged, file_id
from churn.store import Store
from churn.store.schemas import Files

N_EXAMPLES = 3
"""Number of quarantined rows that are shown of each reason."""

EXAMPLE = {
    "reason": pl.String,
    "source_file": pl.String,
    "source_row": pl.Int64,
    "value": pl.String,
}
"""Columns of an example of a quarantined row."""

COUNTS = ("good", "unique", "kept", "quarantined")


def faulty(rows: pl.LazyFrame, store: Store) -> pl.DataFrame:
    """Staged rows with a fault, with the hashes of their ids."""
    with_fault = rows.filter(pl.col("fault").is_not_null())
    marked = with_fault.with_columns(erasure.subjects(store.salt))
    columns = (
        "source",
        "source_file",
        "file_id",
        "source_row",
        "fault",
        "subjects",
        "seen",
    )
    return marked.select(columns).collect()


def quarantine(faulty: pl.DataFrame) -> pl.DataFrame:
    """Rows for the quarantine; of erased people not even a hash is kept."""
    is_erased = pl.col("fault") == "forgotten"
    nobody = pl.lit([], pl.List(pl.String))
    subjects = pl.when(is_erased).then(nobody).otherwise("subjects")
    return faulty.with_columns(subjects=subjects).rename({"fault": "reason"})


def examples(quarantined: pl.DataFrame) -> pl.DataFrame:
    """The first rows of each reason: reason, source_file, source_row, value.

    ``value`` is the cell that was refused, shortened; null where no single cell is to
    blame, or where it may name a person.
    """
    ordered = quarantined.sort("reason", "source_file", "source_row")
    first = ordered.group_by("reason", maintain_order=True).head(N_EXAMPLES)
    return first.rename({"seen": "value"}).select(list(EXAMPLE))


def with_quarantine(
    store: Store,
    rows: pl.DataFrame,
    replaced: Collection[str],
) -> Store:
    """The store with the new faulty rows, instead of those of replaced files."""
    is_replaced = pl.col("file_id").is_in(sorted(replaced))
    stored = store.scan("quarantine").collect()
    rest = stored.filter(~is_replaced)
    if rest.height == stored.height:
        return store.append("quarantine", rows)
    return store.overwrite("quarantine", pl.concat([rest, rows.select(rest.columns)]))


def counts(**frames: pl.DataFrame) -> list[pl.DataFrame]:
    """Rows per file of each frame, in a column of the frame's name."""
    return [
        frame.group_by("file_id").agg(pl.len().cast(pl.Int64).alias(name))
        for name, frame in frames.items()
    ]


def spans(good: pl.DataFrame) -> pl.DataFrame:
    """Times of each file's first and last event."""
    return good.group_by("file_id").agg(
        first_at=pl.col("event_time").min(), last_at=pl.col("event_time").max()
    )


def file_rows(staged: Sequence[Staged], counts: pl.DataFrame) -> pl.DataFrame:
    """One row per file (schemas.Files); a copy of a known file has zero row counts."""
    columns = {
        "extract": [file.extract.path for file, _ in staged],
        "address": [file.address for file, _ in staged],
        "file_id": [file_id(f.extract.path, f.address) for f, _ in staged],
        "stamp": [file.stamp for file, _ in staged],
        "digest": [digest for _, digest in staged],
    }
    files = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    sums = counts.group_by("file_id").agg(
        pl.col(COUNTS).sum(), pl.col("first_at").min(), pl.col("last_at").max()
    )
    counted = files.join(
        sums,
        on="file_id",
        how="left",
        maintain_order="left",
    )
    rows = counted.with_columns(pl.col(COUNTS).fill_null(0)).with_columns(
        ingested_at=pl.lit(datetime.now(UTC)).dt.cast_time_unit("us"),
        rows=pl.col("good") + pl.col("quarantined"),
        duplicate=pl.col("good") - pl.col("kept"),
        copies=pl.col("good") - pl.col("unique"),
    )
    return rows.select(Files.column_names())


def without_events_of(repeated: Collection[str], store: Store) -> Store:
    """The store whose table of files counts all events of some files as duplicates."""
    if not repeated:
        return store
    is_repeated = pl.col("file_id").is_in(sorted(repeated))
    duplicate = pl.col("duplicate") + pl.col("kept")
    files = store.scan("files").with_columns(
        duplicate=pl.when(is_repeated).then(duplicate).otherwise("duplicate"),
        kept=pl.when(is_repeated).then(0).otherwise("kept"),
    )
    return store.overwrite("files", files.collect())


def with_files(
    store: Store,
    read: pl.DataFrame,
    is_new: list[bool],
    replaced: Collection[str],
) -> Store:
    """The store with one row for each file that was read.

    Of a file with the same content as before, only the stamp is updated. If it was read
    under other settings it has other counts, but it has not arrived again: the time of
    its ingest stays, and so does its number of copies in that ingest.
    """
    stored = store.scan("files").collect()
    new = read.filter(is_new).update(
        stored.select("address", "digest", "ingested_at", "copies"),
        on=["address", "digest"],
    )
    touched = read.filter([not new for new in is_new])
    is_gone = pl.col("address").is_in(new["address"].implode()) | pl.col(
        "file_id"
    ).is_in(sorted(replaced))
    rest = stored.filter(~is_gone).update(
        touched.select("address", "stamp"), on="address"
    )
    if rest.equals(stored):
        return store.append("files", new)
    return store.overwrite("files", pl.concat([rest, new]))
