"""Writes a store as an earlier version did, with schema version 2."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from churn.events.content_ids import is_content_id
from churn.hashing import bucket_of
from churn.store import Store
from churn.store.layout import ADOPTED, BUCKETED

BATCHES = ("20260301T000000Z-aaaaaa", "20260302T000000Z-bbbbbb")
ADOPTED_BATCH = "20260302T000000Z-bbbbbb-adopted-00"


def old_ids(events: pl.DataFrame, store: Store) -> pl.DataFrame:
    """Events with ids as they were: those without one had the file's digest and the
    row's number.
    """
    digests = store.scan("files").select("file_id", "digest").collect()
    row_id = pl.format("{}:{}", pl.col("digest").str.head(16), "source_row")
    event_id = pl.when(is_content_id()).then(row_id).otherwise("event_id")
    old = events.join(digests, on="file_id").with_columns(event_id=event_id)
    return old.with_columns(bucket=bucket_of("event_id", store.n_buckets))


def tables(store: Store) -> dict[str, pl.DataFrame]:
    """Every table of a store as it was: with the columns of then."""
    every = {}
    for table in store.versions:
        if table in BUCKETED:
            rows = store.rows_of(table, range(store.n_buckets)).collect()
        else:
            rows = store.scan(table).collect()
        if table == "events":
            rows = old_ids(rows, store).drop("file_id", "digest")
        elif table == "files":
            rows = rows.drop("file_id", "first_at", "last_at")
        elif table == "quarantine":
            rows = rows.drop("file_id")
        elif table in ("users", "adopted_users"):
            rows = rows.with_columns(last_at=pl.col("first_at"))
        every[table] = rows
    return every


def write(store: Store) -> None:
    """Write the store anew in its place, in the earlier version's two batches."""
    every = tables(store)
    root = Path(store.place.address)
    for table in every:
        shutil.rmtree(root / table)
    own_names = {adopted: table for table, adopted in ADOPTED.items()}
    for table, rows in every.items():
        if table in own_names:
            write_batch(root / own_names[table], ADOPTED_BATCH, rows)
            continue
        numbered = rows.with_row_index("number")
        for number, batch in enumerate(BATCHES):
            of_batch = numbered.filter(pl.col("number") % 2 == number)
            write_batch(root / table, batch, of_batch.drop("number"))
    write_state(store)


def write_batch(folder: Path, batch: str, rows: pl.DataFrame) -> None:
    """One batch of a table, in a file for each bucket if it has buckets."""
    if rows.is_empty():
        return
    if "bucket" not in rows.columns:
        folder.mkdir(exist_ok=True)
        rows.write_parquet(folder / f"{batch}.parquet")
        return
    parts = rows.partition_by("bucket", as_dict=True, include_key=False)
    for (bucket,), part in parts.items():
        place = folder / f"bucket={bucket:02d}"
        place.mkdir(parents=True, exist_ok=True)
        part.write_parquet(place / f"{batch}.parquet")


def write_state(store: Store, **changed: Any) -> None:
    """The earlier version's store.json."""
    identity = store.settings.identity.model_dump(mode="json")
    state = {
        "bound": {**store.bound, "identity": identity},
        "batches": BATCHES,
        "adopted": [ADOPTED_BATCH],
        "erasing": False,
        "covered_until": store.covered_until,
        "first_date": store.first_date,
        "salt": store.salt,
        "n_buckets": store.n_buckets,
        "schema_version": 2,
    }
    text = json.dumps({**state, **changed}, indent=1, default=str)
    (Path(store.place.address) / "store.json").write_text(text)
