"""Conversion of a store that an earlier version wrote, with schema version 2.

That version kept batches of Parquet files, which its store.json listed. Their rows
become Delta tables beside them. The new store.json makes these visible in one step, and
the old files are removed. Until then the old store stays what it is, so a conversion
that was interrupted can be run again. It needs no extracts, and people who were erased
stay so.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from tqdm.auto import tqdm

from churn.errors import StoreError
from churn.events.old_files import OldFiles
from churn.settings import Identity, Settings
from churn.store import Place, Store, cleaning, compaction, locks
from churn.store.inputs import READERS, all_inputs, check_bound
from churn.store.layout import ADOPTED, BUCKETED, TABLES
from churn.store.schemas import BY_TABLE
from churn.store.state import STATE

OLD_VERSION = 2

SPANS: dict[str, pl.DataType | type[pl.DataType]] = {
    "file_id": pl.String,
    "n": pl.UInt32,
    "first_at": pl.Datetime("us", "UTC"),
    "last_at": pl.Datetime("us", "UTC"),
}
"""Number of each file's events in the log, and times of the first and the last."""


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes
    ----------
    store: the store as committed.
    n_events: events in its log.
    n_files: extract files that it knows.
    n_removed: files of the old store, which are removed.
    """

    store: Store
    n_events: int
    n_files: int
    n_removed: int


def convert(settings: Settings, progress: bool = True) -> Converted:
    """Convert the store of these settings in place.

    Raises StoreError if there is none of schema version 2, if another process writes to
    it, if it was made under other settings, or if it doesn't say which file a row came
    from. The old store is then unchanged.
    """
    place = Place(settings.store_address)
    _state(place)
    with locks.exclusively(place) as lock:
        state, tag = _state(place)
        check_bound(place.address, state["bound"], settings)
        old = _Old(Path(place.address), state)
        empty = replace(_empty(state, tag, place, settings), lock=lock)
        with _one_sentence(place):
            n_old = old.sweep()
            filled = _filled(empty, old, progress)
        # If this process dies now, the next one to write removes the old files.
        done = replace(filled, cleaning=True).commit()
        cleaning.vacuum(done)
        clean = replace(done, cleaning=state["erasing"]).commit()
        old.remove_empty_folders()
        return Converted(
            store=clean,
            n_events=clean.n_rows("events"),
            n_files=clean.n_rows("files"),
            n_removed=n_old,
        )


def _state(place: Place) -> tuple[dict[str, Any], str]:
    """The old store.json, and its entity tag.

    Raises StoreError if there is none of schema version 2.
    """
    found = place.tagged(STATE)
    if found is None:
        raise StoreError(f"{place.address} holds no store; run `churn ingest`")
    content, tag = found
    try:
        state = json.loads(content)
        version = state["schema_version"]
    except (ValueError, KeyError, TypeError):
        file = place.below(STATE)
        raise StoreError(f"{file} is damaged: restore it from a backup") from None
    if version != OLD_VERSION:
        raise StoreError(
            f"{place.address} has schema version {version}; only version "
            f"{OLD_VERSION} can be converted"
        )
    return state, tag


@contextmanager
def _one_sentence(place: Place) -> Iterator[None]:
    """Turn errors of reading into a StoreError without their text, which may quote rows.

    Errors of writing the new tables are StoreErrors already.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(
            f"{place.address} can't be converted ({type(error).__name__}): one of its "
            "files is damaged, the disk is full, or it may not be accessed. The old "
            "store is unchanged"
        ) from None


def _empty(
    state: dict[str, Any],
    tag: str,
    place: Place,
    settings: Settings,
) -> Store:
    """The new store without rows: what store.json says besides its tables.

    The old one kept no settings of extracts except for the identity rules. If these
    have changed, the next ingest thus reads the files again, as it does because other
    readers made the rows.
    """
    first, last = state["first_date"], state["covered_until"]
    identity = Identity.model_validate(state["bound"]["identity"])
    rules = identity.model_dump(mode="json")
    inputs = {
        path: {**present, "identity": rules, READERS: None}
        for path, present in all_inputs(settings).items()
    }
    return Store(
        place=place,
        settings=settings,
        bound={name: state["bound"][name] for name in ("timezone", "currency")},
        inputs=inputs,
        covered_until=date.fromisoformat(last) if last else None,
        first_date=date.fromisoformat(first) if first else None,
        salt=state["salt"],
        n_buckets=state["n_buckets"],
        tag=tag,
    )


class _Old:
    """The batches of the old store in the folder ``root``."""

    def __init__(self, root: Path, state: dict[str, Any]) -> None:
        self._root = root
        self._batches: list[str] = state["batches"]
        self._adopted: list[str] = state["adopted"]
        self._n_buckets: int = state["n_buckets"]

    def sweep(self) -> int:
        """Remove what earlier writers have left behind; the number of live files.

        These are files of batches that were never committed or were replaced, and the
        tables of an interrupted conversion.
        """
        live = {*self._batches, *self._adopted}
        n_live = 0
        for table in TABLES:
            shutil.rmtree(self._root / table / "_delta_log", ignore_errors=True)
            for file in (self._root / table).rglob("*.parquet"):
                if file.stem in live:
                    n_live += 1
                else:
                    file.unlink()
        return n_live

    def remove_empty_folders(self) -> None:
        """Remove the folders in which no file is left."""
        for table in TABLES:
            folder = self._root / table
            for part in [*folder.glob("bucket=*"), folder]:
                if part.is_dir() and not any(part.iterdir()):
                    part.rmdir()

    def n_rows(self, table: str) -> int:
        """Number of rows of a table."""
        rows = self.rows(table, range(self._n_buckets))
        return int(rows.select(pl.len()).collect().item())

    def rows(self, table: str, buckets: Sequence[int]) -> pl.LazyFrame:
        """Rows of some buckets of a table, or all of a flat one.

        They have the columns of the present schema, with null in those that their
        version lacked, and a column ``bucket`` if the table has buckets.
        """
        empty = BY_TABLE[table].create_empty().lazy()
        if table not in BUCKETED:
            files = self._present(table, "")
            return _scanned(files, table) if files else empty
        parts = [empty.with_columns(bucket=pl.lit(None, pl.Int32))]
        for bucket in buckets:
            files = self._present(table, f"bucket={bucket:02d}")
            if files:
                number = pl.lit(bucket, pl.Int32)
                parts.append(_scanned(files, table).with_columns(bucket=number))
        return pl.concat(parts)

    def _present(self, table: str, part: str) -> list[Path]:
        """Files of a table's live batches in one of its folders.

        A batch without rows there has no file.
        """
        owners = {adopted: table for table, adopted in ADOPTED.items()}
        batches = self._adopted if table in owners else self._batches
        folder = self._root / owners.get(table, table) / part
        files = [folder / f"{batch}.parquet" for batch in batches]
        return [file for file in files if file.exists()]


def _scanned(files: list[Path], table: str) -> pl.LazyFrame:
    return pl.scan_parquet(
        files,
        glob=False,
        hive_partitioning=False,
        schema=BY_TABLE[table].create_empty().schema,
        missing_columns="insert",
        # Users once had the time of their last event too.
        extra_columns="ignore",
    )


def _filled(
    store: Store,
    old: _Old,
    progress: bool,
) -> Store:
    """The new store with all rows of the old one, not committed."""
    files = OldFiles(old.rows("files", ()).collect(), store.settings)
    spans = [pl.DataFrame(schema=SPANS)]
    bar = tqdm(
        TABLES,
        "converting",
        disable=not progress,
        leave=False,
    )
    for table in bar:
        if table == "files":
            continue
        for buckets in _passes(store, old, table):
            rows = compaction.reduced(old.rows(table, buckets), table).collect()
            if table == "events":
                rows = files.with_file_id(rows.drop("file_id"), "kept")
                spans.append(_spans(rows))
            elif table == "quarantine":
                rows = files.with_file_id(rows.drop("file_id"), "quarantined")
            store = store.append(table, rows)
    return store.append("files", files.table(_summed(spans)))


def _passes(
    store: Store,
    old: _Old,
    table: str,
) -> list[Sequence[int]]:
    """Groups of buckets that fit in memory; a flat table is read at once."""
    return store.passes(old.n_rows(table)) if table in BUCKETED else [()]


def _spans(events: pl.DataFrame) -> pl.DataFrame:
    return events.group_by("file_id").agg(
        n=pl.len(),
        first_at=pl.col("event_time").min(),
        last_at=pl.col("event_time").max(),
    )


def _summed(spans: list[pl.DataFrame]) -> pl.DataFrame:
    return (
        pl.concat(spans)
        .group_by("file_id")
        .agg(
            pl.col("n").sum(),
            pl.col("first_at").min(),
            pl.col("last_at").max(),
        )
    )
