"""The store: Delta tables, of which store.json pins the versions that are visible.

    store.json                  version of each table, settings, coverage
    <table>/period=YYYYQn/bucket=N/….parquet   what happens, by quarter and bucket
    <table>/bucket=N/….parquet  users, by bucket
    <table>/….parquet           small tables that are read whole
    models/<model_id>/…         scores/…  findings/…   written later, by name

The bucket of an event comes from its id, that of activity and users from the user id,
and that of anonymous activity from the set of ids. Walking the buckets one after the
other keeps memory bounded however long the history is.

A version counts only if store.json names it. Several tables thus become visible in one
step, and a writer that dies half-way leaves the previous state, to which the next one
rolls the tables back. The adopted tables hold the anonymous history whose user became
known later; they are written anew whenever identities change.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Self

from churn.errors import StoreError
from churn.settings import Settings
from churn.store import state
from churn.store.inputs import check_bound, check_inputs
from churn.store.layout import ADOPTED, BUCKETED, PERIODS, period
from churn.store.parts import WHOLE, Part, bucket_in, period_of, valid
from churn.store.places import Place
from churn.store.state import SCHEMA_VERSION, STORED

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

    from churn.store.locks import Held

N_BUCKETS = 32
PASS_ROWS = 500_000


@dataclass(frozen=True)
class Store:
    """The derived tables of one study as of one commit, and the settings for reading.

    A Store is a value: it pins one version of every table, so reads through it agree
    with each other whatever is committed meanwhile. To see later commits, use
    ``reopened``. ``append`` and ``overwrite`` return a store that pins what they wrote;
    nobody else sees that before ``commit``. Write only while holding the lock of
    ``churn.events.writing``.

    Attributes
    ----------
    place: folder or object-store address of the store.
    settings: the study's settings, under which the tables are read.
    bound: values, at the first ingest, of the settings that all tables depend on.
    inputs: by extract, the settings under which its files were read last.
    versions: the pinned version of each table that has been written.
    cleaning: whether data that must not be kept may still lie in old files.
    covered_until: last day that is complete in every extract; None without events.
    first_date: first day with events; None without events.
    salt: random text, made once per store, that goes into every hash of a person's id.
    n_buckets: number of buckets of the bucketed tables.
    schema_version: version of the files' layout.
    tag: what store.json was when this store was read; None if there was none.
    lock: the lock of the store while this process writes to it.
    """

    place: Place
    settings: Settings
    bound: dict[str, Any]
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    cleaning: bool = False
    covered_until: date | None = None
    first_date: date | None = None
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    n_buckets: int = N_BUCKETS
    schema_version: int = SCHEMA_VERSION
    tag: str | None = None
    lock: Held | None = field(default=None, repr=False, compare=False)
    _opened: dict[tuple[str, int], DeltaTable] = field(
        default_factory=dict, repr=False, compare=False
    )

    def under(self, settings: Settings) -> Self:
        """The same tables read under other settings.

        Raises StoreError if stored tables depend on a setting that differs.
        """
        check_bound(self.place.address, self.bound, settings)
        check_inputs(self.inputs, settings)
        return replace(self, settings=settings)

    def reopened(self) -> Store:
        """The store as of its newest commit, under the same settings.

        Raises StoreError if another version of the program has written it since.
        """
        from churn.store import opening

        return opening.at(self.place, self.settings)

    def scan(
        self,
        table: str,
        buckets: Sequence[int] | None = None,
        *,
        since: date | None = None,
        adopted: bool = True,
    ) -> pl.LazyFrame:
        """Every row of a table, or of some buckets of a bucketed table.

        With ``since``, files of quarters before that day are passed over, as far as the
        table has quarters; rows of the day's own quarter are not filtered.

        Columns are those of the table's schema (``schemas.BY_TABLE``). A column that an
        earlier version did not write yet is null. In tables that are appended to, such
        as activity, a key may occur in several rows: sum or take the extremes on read.
        A table without rows gives an empty frame. ``buckets`` has no effect on tables
        that are not bucketed. Without ``adopted``, activity and users lack the history
        that was anonymous at first. Raises StoreError if a file is missing or cut off.
        """
        names = [table]
        if adopted and table in ADOPTED:
            names.append(ADOPTED[table])
        first = period(since) if since and table in PERIODS else None
        part = Part(buckets if table in BUCKETED else None, since=first)
        paths = [path for name in names for path in self._paths(name, part)]
        return self._read(table, paths)

    def _paths(self, table: str, part: Part) -> list[str]:
        return [self.place.below(table, p) for p in self.files(table, part)["path"]]

    def _read(self, table: str, paths: list[str]) -> pl.LazyFrame:
        import polars as pl

        from churn.store.schemas import BY_TABLE

        empty = BY_TABLE[table].create_empty()
        if not paths:
            return empty.lazy()
        return pl.scan_parquet(
            paths,
            glob=False,
            hive_partitioning=False,
            schema=empty.schema,
            missing_columns="insert",
            storage_options=self.place.polars_options,
        )

    def rows_of(
        self,
        table: str,
        buckets: Sequence[int],
        period: str | None = None,
    ) -> pl.LazyFrame:
        """Own rows of some buckets, by default of all periods, as ``write`` needs them.

        They have columns for the partitions.
        """
        import polars as pl

        by_bucket: dict[int, list[str]] = {}
        for path in self._paths(table, Part(buckets, period=period)):
            by_bucket.setdefault(bucket_in(path), []).append(path)
        nothing = self._read(table, []).with_columns(bucket=pl.lit(0, pl.Int32))
        parts = [
            self._read(table, paths).with_columns(bucket=pl.lit(bucket, pl.Int32))
            for bucket, paths in by_bucket.items()
        ]
        rows = pl.concat([nothing, *parts])
        if table in PERIODS:
            rows = rows.with_columns(period=period_of(PERIODS[table]))
        return rows

    def files(self, table: str, part: Part = WHOLE) -> pl.DataFrame:
        """The data files of a part of a table: path, size_bytes, n_rows, period.

        Paths are relative to the table's folder. Raises StoreError if a file is missing
        or cut off.
        """
        from churn.store import delta

        try:
            opened = self.opened(table)
            if opened is None:
                return delta.no_files()
            files = delta.files(opened, part)
            if self.place.is_local:
                delta.check_present(self.place.below(table), files)
        except StoreError:
            state.check_current(self.place, self.tag)
            raise
        return files

    def n_rows(self, table: str, part: Part = WHOLE) -> int:
        """Number of rows of a part of a table, without its adopted rows."""
        return int(self.files(table, part)["n_rows"].sum())

    def passes(self, n_rows: int, pass_rows: int = PASS_ROWS) -> list[Sequence[int]]:
        """All buckets, divided into groups that fit in memory one at a time.

        With ``n_rows`` rows in all, a group holds about ``pass_rows`` rows, and always
        at least one bucket.
        """
        n_together = pass_rows * self.n_buckets // max(n_rows, 1)
        size = max(1, min(self.n_buckets, n_together))
        starts = range(0, self.n_buckets, size)
        return [range(first, min(first + size, self.n_buckets)) for first in starts]

    def append(self, table: str, rows: pl.DataFrame) -> Store:
        """The store with these rows added to a table.

        Rows of a bucketed table carry a column ``bucket``. Columns that the schema
        lacks are dropped. Raises dataframely's ValidationError if rows break the
        table's schema, and StoreError if they can't be written.
        """
        divided = valid(table, rows)
        return self if divided.is_empty() else self.write(table, divided)

    def overwrite(
        self,
        table: str,
        rows: pl.DataFrame,
        buckets: Sequence[int] | None = None,
    ) -> Store:
        """The store with these rows instead of all of a table, or of some buckets.

        The parameters and errors are those of ``append``.
        """
        divided = valid(table, rows)
        if divided.is_empty() and table not in self.versions:
            return self
        return self.write(table, divided, Part(buckets))

    def write(
        self,
        table: str,
        rows: pl.DataFrame,
        replaces: Part | None = None,
    ) -> Store:
        """Append valid rows, with their partitions, or replace a part by them."""
        from churn.store import delta

        version = self.versions.get(table)
        written = delta.write(
            self.place.below(table),
            rows,
            version,
            self.place.delta_options,
            is_new=version is None and not self.place.names(f"{table}/_delta_log"),
            replaces=replaces,
        )
        return self.pinned(table, written)

    def pinned(self, table: str, opened: DeltaTable) -> Store:
        """The store with the version at which a table was opened."""
        version = opened.version()
        self._opened[self.place.below(table), version] = opened
        return replace(self, versions={**self.versions, table: version})

    def commit(self) -> Store:
        """Make this state the visible one, by replacing store.json in one step.

        All files reach the disk first, so a crash leaves either state whole. Raises
        StoreError if another process has committed since this store was read, or has
        taken the lock over.
        """
        if self.lock is not None:
            self.lock.check()
        if self.place.is_local:
            os.sync()
        content = {name: getattr(self, name) for name in STORED}
        return replace(self, tag=state.replaced(self.place, content, self.tag))

    def opened(self, table: str) -> DeltaTable | None:
        """The table at its pinned version; None if it was never written."""
        from churn.store import delta

        version = self.versions.get(table)
        if version is None:
            return None
        address = self.place.below(table)
        if (address, version) not in self._opened:
            options = self.place.delta_options
            self._opened[address, version] = delta.opened(address, version, options)
        return self._opened[address, version]
