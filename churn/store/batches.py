"""data/store: append-only Parquet batches by bucket, made visible by one atomic
replacement of store.json.

    store.json                            version, number of buckets, live batches, coverage
    <table>/bucket=NN/<batch>.parquet     events (NN of the event), activity and users (of the user), anonymous (of ids)
    <table>/<batch>.parquet               edges, merges, files, quarantine, volume, tally
    models/<model_id>/…  scores/…         written later, by name

A file counts only if store.json lists its batch, so an ingest that dies half-way leaves
the old state. Batches are never touched again, but for erasure; only the adopted ones,
anonymous history that has found its user, are made anew.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from churn.errors import StoreError
from churn.settings import Settings
from churn.store.files import write_atomically

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 2
N_BUCKETS = 32
STAGING = ".staging-"
BUCKETED = ("events", "activity", "users", "anonymous")
FLAT = ("edges", "merges", "files", "quarantine", "volume", "tally", "tombstones")
TABLES = (*BUCKETED, *FLAT)
ADOPTED = ("activity", "users")  # tables to which anonymous history is added


@dataclass(frozen=True)
class Store:
    """The derived tables of one study, and the settings they are read under.

    ``bound`` holds the settings that the stored tables depend on, as store.json has them.
    """

    root: Path
    settings: Settings
    bound: dict[str, Any]
    batches: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    erasing: bool = False  # tombstones that not every file has been cleaned of
    covered_until: date | None = None
    first_date: date | None = None
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    n_buckets: int = N_BUCKETS
    schema_version: int = SCHEMA_VERSION

    def path(self, *parts: str) -> Path:
        """A path inside the store."""
        return self.root.joinpath(*parts)

    def under(self, settings: Settings) -> Self:
        """The same tables read under other settings.

        Raises StoreError if the stored tables depend on one of those that differ.
        """
        _check_bound(self.root, self.bound, settings)
        return replace(self, settings=settings)

    def reopened(self) -> Store:
        """The store as it is by now, other commits included."""
        return _load(self.path("store.json"), self.settings)

    def scan(self, table: str, buckets: Sequence[int] | None = None) -> pl.LazyFrame:
        """Every live row of a table, or of some of its buckets. Keys may repeat: sum on
        read.

        A column that a file lacks, since an earlier version wrote it, is null.
        """
        import polars as pl

        from churn.store.schemas import BY_TABLE

        schema = BY_TABLE[table]
        wanted = (
            [None]
            if table in FLAT
            else (range(self.n_buckets) if buckets is None else buckets)
        )
        batches = (*self.batches, *self.adopted) if table in ADOPTED else self.batches
        candidates = [
            self._file(table, batch, bucket) for batch in batches for bucket in wanted
        ]
        present = [file for file in candidates if file.exists()]
        if not present:
            return schema.create_empty(lazy=True)
        columns = schema.create_empty().schema
        return pl.scan_parquet(
            present, hive_partitioning=False, schema=columns, missing_columns="insert"
        )

    def passes(self, n_rows: int, at_once: int = 500_000) -> list[Sequence[int]]:
        """Buckets to take together: as many as have ``at_once`` rows or, where one has
        more, one by one.
        """
        n = max(1, min(self.n_buckets, at_once * self.n_buckets // max(n_rows, 1)))
        return [
            range(first, min(first + n, self.n_buckets))
            for first in range(0, self.n_buckets, n)
        ]

    def write_batch(self, table: str, batch_id: str, frame: pl.DataFrame) -> None:
        """Write one batch's rows of a table, checked against its schema; no rows, no file.

        Rows of a bucketed table come with a column ``bucket``.
        """
        from churn.store.schemas import BY_TABLE

        schema = BY_TABLE[table]
        parts = (
            frame.partition_by("bucket", as_dict=True, include_key=False)
            if table in BUCKETED
            else {(None,): frame}
        )
        for (bucket,), rows in parts.items():
            if rows.height:
                file = self._file(table, batch_id, bucket)
                file.parent.mkdir(parents=True, exist_ok=True)
                schema.validate(rows.select(schema.column_names())).write_parquet(file)

    def files(self, *tables: str) -> Iterator[Path]:
        """Every file of these tables (default: of all), live or not."""
        for table in tables or TABLES:
            yield from self.path(table).rglob("*.parquet")

    def commit(self) -> None:
        """Make a state visible: store.json is replaced in one step, after all files are on
        disk.
        """
        os.sync()
        content = {k: v for k, v in vars(self).items() if k not in ("root", "settings")}
        write_atomically(
            self.path("store.json"), json.dumps(content, indent=1, default=str).encode()
        )

    def sweep(self) -> None:
        """Remove what an ingest that died has left: its staging folder and files of batches
        that never became visible.
        """
        live = {*self.batches, *self.adopted}
        for folder in self.root.glob(f"{STAGING}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for file in self.files():
            if file.stem not in live:
                file.unlink()
        for file in self.root.rglob(".*.tmp"):
            if not _is_alive(int(file.name.split(".")[-2])):
                file.unlink(missing_ok=True)

    def _file(self, table: str, batch_id: str, bucket: Any) -> Path:
        folder = (
            self.path(table)
            if bucket is None
            else self.path(table, f"bucket={bucket:02d}")
        )
        return folder / f"{batch_id}.parquet"


def create_or_open(settings: Settings) -> Store:
    """The store of these settings, an empty one if there is none yet.

    Raises StoreError if the stored tables were made under other settings.
    """
    root, file = settings.store_path, settings.store_path / "store.json"
    if not file.exists():
        return Store(root, settings, _bound(settings))
    store = _load(file, settings)
    _check_bound(root, store.bound, settings)
    return store


def open_filled(settings: Settings) -> Store:
    """The store of these settings, refused with StoreError while it holds no events."""
    store = create_or_open(settings)
    if not store.batches or store.first_date is None:
        raise StoreError(f"{store.root} holds no events yet: run `churn ingest` first")
    return store


def _bound(settings: Settings) -> dict[str, Any]:
    """The settings that stored tables depend on."""
    return {
        "timezone": settings.timezone,
        "currency": settings.activity.currency,
        "identity": settings.identity.model_dump(mode="json"),
    }


def _check_bound(root: Path, bound: dict[str, Any], settings: Settings) -> None:
    wanted = _bound(settings)
    changed = [name for name, value in wanted.items() if bound.get(name) != value]
    if changed:
        raise StoreError(
            f"{root} was made with another {', '.join(changed)}; what is stored "
            "depends on it: move the folder away and run `churn ingest` again"
        )


def _load(file: Path, settings: Settings) -> Store:
    data = json.loads(file.read_text(encoding="utf-8"))
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{file} has schema version {version}, this program writes "
            f"{SCHEMA_VERSION}: move data/store away and run `churn ingest` again"
        )
    for name in ("covered_until", "first_date"):
        data[name] = date.fromisoformat(data[name]) if data[name] else None
    for name in ("batches", "adopted"):
        data[name] = tuple(data[name])
    return Store(root=file.parent, settings=settings, **data)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
