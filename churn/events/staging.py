"""Staging: reads new extract files into a folder of canonical rows by event bucket.

Files are read lazily and in groups, so memory does not follow their size. A file that
cannot be read stops everything and is named in the error, unless it is still being
written. A row that cannot be kept is staged with its fault.
"""

import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from tqdm.auto import tqdm

from churn.errors import InputError
from churn.events import content_ids, erasure, privacy, sources, time_limits
from churn.events.sources import canonical, find
from churn.events.sources.find import Found
from churn.events.sources.unfinished import is_unfinished
from churn.events.sources.unpack import file_digest
from churn.hashing import bucket_of, digest
from churn.store import Store

GROUP_BYTES = 512 * 2**20
"""Largest total size of files that are read together."""

GROUP_FILES = 256
"""Largest number of files that are read together."""

STAGED: dict[str, Any] = {"compression": "lz4", "statistics": False, "mkdir": True}
"""How staged files are written, which are read once or twice and then removed."""

FILE_ROWS = 30_000
"""Rows per staged file; rows that a partition has not yet written are in memory."""

LINEAGE = {
    "source": pl.String,
    "extract": pl.String,
    "source_file": pl.String,
    "file_id": pl.String,
    "file": pl.Int64,
}
"""Columns that say where a row comes from; ``file`` is the number among new files."""

FILE_ID_DIGITS = 12

OPEN_HOUR = "until their hour has a _SUCCESS marker"
BEING_WRITTEN = "because they are still being written"
"""Reasons why files wait for a later ingest."""

Staged = tuple[Found, str]
"""A new file and the digest of its content."""


def file_id(extract_path: str, address: str) -> str:
    """Twelve hexadecimal digits that stand for a file, whatever its content.

    ``extract_path`` is the path of its extract as the study writes it.
    """
    place = pl.lit(f"{extract_path}\x1f{address}")
    return str(pl.select(digest(place)).item())[:FILE_ID_DIGITS]


@dataclass(frozen=True)
class _Reading:
    """The parameters for reading the files of one ingest."""

    folder: Path
    store: Store
    now: datetime
    tombstones: pl.Series

    def group_folder(self, first: int) -> Path:
        """Where the rows of the group go whose first file has the number ``first``."""
        return self.folder / f"group-{first:06d}"


def read(
    new: list[Found],
    digests: set[str],
    folder: Path,
    store: Store,
    now: datetime,
    progress: bool,
) -> tuple[list[Staged], list[Found]]:
    """Read every new file into the staging folder ``folder``.

    Returns the files with their digests, and those that must wait because they are
    still being written. A file whose digest is in ``digests``, or equals that of an
    earlier file, is listed but not read. Raises InputError for a file that cannot be
    read.
    """
    reading = _Reading(folder, store, now, erasure.tombstones(store))
    known = set(digests)
    staged: list[Staged] = []
    waiting: list[Found] = []
    with tqdm(
        total=sum(file.size for file in new),
        desc="reading",
        unit="B",
        unit_scale=True,
        disable=not progress,
        leave=False,
    ) as bar:
        for group in _groups(new):
            complete, unfinished = _read_group(group, len(staged), known, reading)
            staged += complete
            waiting += unfinished
            bar.update(sum(file.size for file in group))
    return staged, waiting


def _groups(new: list[Found]) -> Iterator[list[Found]]:
    group: list[Found] = []
    n_bytes = 0
    for file in new:
        is_full = len(group) >= GROUP_FILES or n_bytes + file.size > GROUP_BYTES
        if group and is_full:
            yield group
            group = []
            n_bytes = 0
        group.append(file)
        n_bytes += file.size
    if group:
        yield group


def _read_group(
    group: list[Found], first: int, known: set[str], reading: _Reading
) -> tuple[list[Staged], list[Found]]:
    """Stage the files of one group; returns them, and those still being written.

    ``first`` is the number of the group's first file. The digests of the files are
    added to ``known``.
    """
    now = time.time()
    waiting = [file for file in group if is_unfinished(file, now)]
    complete = [file for file in group if file not in waiting]
    try:
        staged = _stage(complete, first, known, reading)
    except (InputError, *sources.UNREADABLE):
        if not any(map(find.has_changed, complete)):
            raise
        staged = []
    changed = [file for file in complete if find.has_changed(file)]
    if changed:
        # Rows of a file that changed while it was read may be of two versions.
        shutil.rmtree(reading.group_folder(first), ignore_errors=True)
        unchanged = [file for file in complete if file not in changed]
        staged, more = _read_group(unchanged, first, known, reading)
        return staged, [*waiting, *changed, *more]
    known.update(digest for _, digest in staged)
    return staged, waiting


def _stage(
    group: list[Found], first: int, known: Collection[str], reading: _Reading
) -> list[Staged]:
    """Stage all files of a group, those of a known digest without their rows."""
    scratch = reading.folder / f"scratch-{first:06d}"
    scratch.mkdir(parents=True)
    seen = set(known)
    staged: list[Staged] = []
    frames, files = [], []
    try:
        local = [find.fetch(found, scratch) for found in group]
        for found, path in zip(group, local, strict=True):
            digest = file_digest(path)
            if digest not in seen:
                number = first + len(staged)
                frames.append(_prepared(number, found, path, scratch, reading))
                files.append((found, path))
            seen.add(digest)
            staged.append((found, digest))
        if frames:
            _sink(frames, files, reading.group_folder(first))
    finally:
        shutil.rmtree(scratch)
    return staged


def _prepared(
    number: int, found: Found, path: Path, scratch: Path, reading: _Reading
) -> pl.LazyFrame:
    """Canonical rows with lineage and bucket, without data that may not be kept."""
    extract = found.extract
    lineage = {
        "source": extract.source,
        "extract": extract.path,
        "source_file": found.name or path.name,
        "file_id": file_id(extract.path, found.address),
        "file": number,
    }
    try:
        raw = sources.read(path, extract, scratch)
    except InputError as error:
        raise _with_address(error, path, found) from error
    store = reading.store
    literals = [
        pl.lit(lineage[name], dtype).alias(name) for name, dtype in LINEAGE.items()
    ]
    fault = pl.coalesce("fault", time_limits.fault(reading.now))
    event_id = content_ids.salted(store.salt)
    rows = raw.with_columns(*literals, fault=fault, event_id=event_id)
    kept = privacy.protected(rows, store.settings, store.salt, reading.tombstones)
    # Rows without an event id are faulty, but need a bucket as well.
    bucket = bucket_of(pl.col("event_id").fill_null(""), store.n_buckets)
    return kept.with_columns(bucket.alias("bucket"))


def _sink(
    frames: list[pl.LazyFrame], files: list[tuple[Found, Path]], folder: Path
) -> None:
    """Write the frames by bucket. Raises InputError that names a damaged file."""
    folder.mkdir()
    partitions = pl.PartitionBy(
        folder,
        key="bucket",
        max_rows_per_file=FILE_ROWS,
    )
    try:
        pl.concat(frames).sink_parquet(partitions, **STAGED)
    except sources.UNREADABLE:
        for frame, (found, path) in zip(frames, files, strict=True):
            _check_readable(frame, found, path, folder / "again.parquet")
        raise


def _check_readable(
    frame: pl.LazyFrame,
    found: Found,
    path: Path,
    out: Path,
) -> None:
    try:
        frame.sink_parquet(out)
    except sources.UNREADABLE as error:
        unreadable = sources.unreadable(path, found.extract, error)
        raise _with_address(unreadable, path, found) from error


def _with_address(error: InputError, path: Path, found: Found) -> InputError:
    """The error with the object's address instead of that of its local copy."""
    return InputError(str(error).replace(str(path), found.address))


def rows(
    folder: Path,
    buckets: Sequence[int],
    kind: str = "group",
) -> pl.LazyFrame:
    """Staged rows of some buckets, or an empty frame of the same columns.

    ``kind`` is the first part of the subfolders' names: "group" holds rows by the
    bucket of their event, "user" by that of their person.
    """
    folders = []
    for bucket in buckets:
        folders += sorted(folder.glob(f"{kind}-*/bucket={bucket}"))
    if not folders:
        schema = {
            **canonical.COLUMNS,
            **LINEAGE,
            "bucket": pl.Int64,
        }
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(folders, hive_partitioning=False)
