"""The store: append-only Parquet batches, made visible by replacing store.json.

    store.json                            version, settings, live batches, coverage
    <table>/bucket=NN/<batch>.parquet     tables that are read bucket by bucket
    <table>/<batch>.parquet               small tables that are read whole
    models/<model_id>/…  scores/…         written later, by name

The bucket of an event comes from its id, that of activity and users from the user id,
and that of anonymous activity from the set of ids. Walking the buckets one after the
other keeps memory bounded however long the history is.

A file counts only if store.json lists its batch, so an ingest that dies half-way leaves
the previous state. Batch files are never changed afterwards, except to erase people.
Adopted batches hold the anonymous history whose user became known later; they are
written anew whenever identities change.
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
from churn.store.places import Place

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 2
N_BUCKETS = 32
PASS_ROWS = 500_000
STAGING = ".staging-"
BUCKETED = ("events", "activity", "users", "anonymous")
FLAT = ("edges", "merges", "files", "quarantine", "volume", "tally", "tombstones")
TABLES = (*BUCKETED, *FLAT)
ADOPTING = ("activity", "users")
"""Tables that also have adopted batches."""


@dataclass(frozen=True)
class Store:
    """The derived tables of one study as of one commit, and the settings for reading.

    A Store is a value: it lists the batches that were live when it was opened, so reads
    through it agree with each other whatever is committed meanwhile. To see later
    commits, use ``reopened``. To change the store, write batches, add their names to
    ``batches`` with ``dataclasses.replace`` and call ``commit``, all while holding the
    lock of ``churn.events.writing``.

    Attributes
    ----------
    root: folder of the store.
    settings: the study's settings, under which the tables are read.
    bound: values, at the first ingest, of the settings that stored tables depend on.
    batches: names of the live batches, oldest first.
    adopted: names of the live batches of adopted history (activity and users only).
    erasing: whether an erasure has begun but not yet cleaned every file.
    covered_until: last day that is complete in every extract; None without events.
    first_date: first day with events; None without events.
    salt: random text, made once per store, that goes into every hash of a person's id.
    n_buckets: number of buckets of the bucketed tables.
    schema_version: version of the files' layout.
    """

    root: Path
    settings: Settings
    bound: dict[str, Any]
    batches: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    erasing: bool = False
    covered_until: date | None = None
    first_date: date | None = None
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    n_buckets: int = N_BUCKETS
    schema_version: int = SCHEMA_VERSION

    @property
    def place(self) -> Place:
        """Where the store's files are."""
        return Place(str(self.root))

    def path(self, *parts: str) -> Path:
        """The path of a file or folder inside the store, which need not exist."""
        return self.root.joinpath(*parts)

    def under(self, settings: Settings) -> Self:
        """The same tables read under other settings.

        Raises StoreError if stored tables depend on a setting that differs.
        """
        _check_bound(self.root, self.bound, settings)
        return replace(self, settings=settings)

    def reopened(self) -> Store:
        """The store as of its newest commit, under the same settings.

        Raises StoreError if another version of the program has written it since.
        """
        return _load(self.path("store.json"), self.settings)

    def scan(self, table: str, buckets: Sequence[int] | None = None) -> pl.LazyFrame:
        """Every live row of a table, or of some buckets of a bucketed table.

        Columns are those of the table's schema (``schemas.BY_TABLE``). A column that an
        earlier version did not write yet is null. In tables that are appended to, such
        as activity, a key may occur in several rows: sum or take the extremes on read.
        A table without rows gives an empty frame. ``buckets`` has no effect on tables
        that are not bucketed.
        """
        import polars as pl

        from churn.store.schemas import BY_TABLE

        empty = BY_TABLE[table].create_empty()
        batches = self.batches
        if table in ADOPTING:
            batches += self.adopted
        present = [
            file
            for batch_id in batches
            for file in self._files_of(table, batch_id, buckets)
            if file.exists()
        ]
        if not present:
            return empty.lazy()
        return pl.scan_parquet(
            present,
            hive_partitioning=False,
            schema=empty.schema,
            missing_columns="insert",
        )

    def passes(self, n_rows: int, pass_rows: int = PASS_ROWS) -> list[Sequence[int]]:
        """All buckets, divided into groups that fit in memory one at a time.

        With ``n_rows`` rows in all, a group holds about ``pass_rows`` rows, and always
        at least one bucket.
        """
        n_together = pass_rows * self.n_buckets // max(n_rows, 1)
        size = max(1, min(self.n_buckets, n_together))
        starts = range(0, self.n_buckets, size)
        return [range(first, min(first + size, self.n_buckets)) for first in starts]

    def write_batch(self, table: str, batch_id: str, frame: pl.DataFrame) -> None:
        """Write one batch's rows of a table; they are invisible until ``commit``.

        Rows of a bucketed table carry a column ``bucket``, which is not stored. Columns
        that the schema lacks are dropped. No file is written for no rows. Raises
        dataframely's ValidationError if rows break the table's schema.
        """
        from churn.store.schemas import BY_TABLE

        schema = BY_TABLE[table]
        if table in BUCKETED:
            parts = frame.partition_by("bucket", as_dict=True, include_key=False)
        else:
            parts = {(None,): frame}
        for (bucket,), rows in parts.items():
            if rows.is_empty():
                continue
            file = self._file(table, batch_id, bucket)
            file.parent.mkdir(parents=True, exist_ok=True)
            valid = schema.validate(rows.select(schema.column_names()))
            valid.write_parquet(file)

    def files(self, *tables: str) -> Iterator[Path]:
        """Every batch file of these tables, live or not; by default of all tables."""
        for table in tables or TABLES:
            yield from self.path(table).rglob("*.parquet")

    def commit(self) -> None:
        """Make this state the visible one, by replacing store.json in one step.

        All files reach the disk first, so a crash leaves either state whole.
        """
        os.sync()
        content = {k: v for k, v in vars(self).items() if k not in ("root", "settings")}
        text = json.dumps(content, indent=1, default=str)
        write_atomically(self.path("store.json"), text.encode())

    def sweep(self) -> None:
        """Remove the files that a crashed writer has left behind.

        These are its staging folder, files of batches that were never committed, and
        temporary files of processes that no longer run. Call it under the lock only.
        """
        for folder in self.root.glob(f"{STAGING}*"):
            shutil.rmtree(folder, ignore_errors=True)
        live = {*self.batches, *self.adopted}
        for file in self.files():
            if file.stem not in live:
                file.unlink()
        for file in self.root.rglob(".*.tmp"):
            process_id = int(file.name.split(".")[-2])
            if not _is_alive(process_id):
                file.unlink(missing_ok=True)

    def _files_of(
        self, table: str, batch_id: str, buckets: Sequence[int] | None
    ) -> list[Path]:
        if table in FLAT:
            return [self._file(table, batch_id, None)]
        wanted = range(self.n_buckets) if buckets is None else buckets
        return [self._file(table, batch_id, bucket) for bucket in wanted]

    def _file(self, table: str, batch_id: str, bucket: Any) -> Path:
        folder = self.path(table)
        if bucket is not None:
            folder = folder / f"bucket={bucket:02d}"
        return folder / f"{batch_id}.parquet"


def create_or_open(settings: Settings) -> Store:
    """The store of these settings; an empty one, not yet on disk, if there is none.

    Raises StoreError if the stored tables were made under other settings or by another
    version of the program.
    """
    root = settings.store_path
    file = root / "store.json"
    if not file.exists():
        return Store(root, settings, _bound(settings))
    store = _load(file, settings)
    _check_bound(root, store.bound, settings)
    return store


def open_filled(settings: Settings) -> Store:
    """The store of these settings, for readers that need events.

    Raises StoreError if it holds none yet, and in the cases of ``create_or_open``.
    """
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
            f"{root} was made with another {', '.join(changed)}, and its tables depend "
            "on that: restore the setting, or move the folder away and run "
            "`churn ingest` again"
        )


def _load(file: Path, settings: Settings) -> Store:
    data = json.loads(file.read_text(encoding="utf-8"))
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{file} has schema version {version}, but this program reads and writes "
            f"{SCHEMA_VERSION}: move the folder away and run `churn ingest` again"
        )
    for name in ("covered_until", "first_date"):
        data[name] = date.fromisoformat(data[name]) if data[name] else None
    for name in ("batches", "adopted"):
        data[name] = tuple(data[name])
    return Store(root=file.parent, settings=settings, **data)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
