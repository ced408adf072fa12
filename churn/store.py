"""data/store: append-only Parquet batches by user bucket, made visible by one atomic replacement of store.json.

    store.json                            version, number of buckets, live batches with their counts, coverage
    <table>/bucket=NN/<batch>.parquet     events (NN of the device), activity and users (NN of the user)
    <table>/<batch>.parquet               quarantine, volume
    models/<model_id>/…  scores/…         written later, by name

A file counts only if store.json lists its batch, so an ingest that dies half-way leaves the old state.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from churn.errors import StoreError
from churn.study import Study
from churn.tables import ActivityTable, Events, Quarantine, Users, Volume

SCHEMA_VERSION = 1
N_BUCKETS = 16
STAGING = ".staging-"
BUCKETED: dict[str, type[dy.Schema]] = {"events": Events, "activity": ActivityTable, "users": Users}
FLAT: dict[str, type[dy.Schema]] = {"quarantine": Quarantine, "volume": Volume}


@dataclass(frozen=True)
class Store:
    """What store.json says. ``bound`` holds the study's settings that the stored tables depend on."""

    root: Path
    bound: dict[str, str]
    batches: tuple[dict[str, Any], ...] = ()
    covered_until: date | None = None
    first_date: date | None = None
    n_buckets: int = N_BUCKETS
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def digests(self) -> set[str]:
        """SHA-256 of every file ever ingested."""
        return {file["digest"] for batch in self.batches for file in batch["files"]}

    def path(self, *parts: str) -> Path:
        """A path inside the store."""
        return self.root.joinpath(*parts)


def create_or_open(study: Study) -> Store:
    """The study's store, an empty one if there is none yet. Raises StoreError if it was made for another study."""
    file = study.store_path / "store.json"
    store = _load(file) if file.exists() else Store(study.store_path, _bound(study))
    if store.bound != _bound(study):
        changed = [k for k, v in _bound(study).items() if store.bound.get(k) != v]
        raise StoreError(
            f"{store.root} was made with another {', '.join(changed)}; daily activity depends on it: "
            "move the folder away and run `churn ingest` again"
        )
    return store


def open_filled(study: Study) -> Store:
    """The study's store, refused with StoreError while nothing has been ingested."""
    store = create_or_open(study)
    if not store.batches or store.first_date is None:
        raise StoreError(f"{store.root} holds no events yet: run `churn ingest` first")
    return store


def _bound(study: Study) -> dict[str, str]:
    return {"timezone": study.timezone, "currency": study.activity.currency}


def _load(file: Path) -> Store:
    data = json.loads(file.read_text(encoding="utf-8"))
    if data.get("schema_version") != SCHEMA_VERSION:
        raise StoreError(
            f"{file} has schema version {data.get('schema_version')}, this program writes {SCHEMA_VERSION}: "
            "move data/store away and run `churn ingest` again"
        )
    covered, first = (date.fromisoformat(data[k]) if data[k] else None for k in ("covered_until", "first_date"))
    return Store(file.parent, data["bound"], tuple(data["batches"]), covered, first, data["n_buckets"])


def commit(store: Store, batch: dict[str, Any], covered_until: date | None, first_date: date | None) -> Store:
    """Make a batch's files visible: store.json is replaced in one step, after its files are on disk."""
    new = replace(store, batches=(*store.batches, batch), covered_until=covered_until, first_date=first_date)
    content = {
        "schema_version": new.schema_version,
        "n_buckets": new.n_buckets,
        "bound": new.bound,
        "covered_until": covered_until.isoformat() if covered_until else None,
        "first_date": first_date.isoformat() if first_date else None,
        "batches": list(new.batches),
    }
    write_atomically(store.path("store.json"), json.dumps(content, indent=1).encode())
    return new


def sweep(store: Store) -> None:
    """Remove what an ingest that died has left: its staging folder and files of batches that never became visible."""
    live = {batch["id"] for batch in store.batches}
    for folder in store.root.glob(f"{STAGING}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for table in (*BUCKETED, *FLAT):
        for file in store.path(table).rglob("*.parquet"):
            if file.stem not in live:
                file.unlink()


def write_atomically(file: Path, content: bytes) -> None:
    """Write beside the file, flush to disk, then rename over it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def write_batch(store: Store, table: str, batch_id: str, frame: pl.DataFrame, bucket: int | None = None) -> None:
    """Write one batch's rows of a table (of one bucket, where the table is bucketed); no rows, no file."""
    if frame.is_empty():
        return
    file = _file(store, table, batch_id, bucket)
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(file)


def scan(store: Store, table: str, buckets: Sequence[int] | None = None) -> pl.LazyFrame:
    """Every live row of a table, or of some of its buckets. Keys may repeat: sum on read."""
    schema = BUCKETED.get(table) or FLAT[table]
    wanted = [None] if table in FLAT else (range(store.n_buckets) if buckets is None else buckets)
    files = [_file(store, table, batch["id"], bucket) for batch in store.batches for bucket in wanted]
    present = [file for file in files if file.exists()]
    if not present:
        return schema.create_empty(lazy=True)
    return pl.scan_parquet(present, hive_partitioning=False)


def _file(store: Store, table: str, batch_id: str, bucket: int | None) -> Path:
    folder = store.path(table) if bucket is None else store.path(table, f"bucket={bucket:02d}")
    return folder / f"{batch_id}.parquet"
