"""Staging: reads new extract files into canonical rows by event bucket.

Files are read lazily and in groups, so memory does not follow their size, and each
group may be read by another process. A file that cannot be read stops everything and is
named in the error, unless it is still being written. A row that cannot be kept is
staged with its fault.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events import (
    content_ids,
    erasure,
    nothing_kept,
    privacy,
    sources,
    staged,
    time_limits,
)
from churn.events.sources import find
from churn.events.sources.find import Found
from churn.events.sources.unfinished import is_unfinished
from churn.events.sources.unpack import file_digest
from churn.events.staged import LINEAGE, Rows, Staged, file_id
from churn.hashing import bucket_of
from churn.settings import Cluster
from churn.store import Store, grouped
from churn.store.recovery import Stage

GROUP_BYTES = 512 * 2**20
"""Largest total size of files that are read together."""

GROUP_FILES = 256
"""Largest number of files that are read together."""

MIN_BYTES = 2**20
"""Total size below which files aren't worth a group, and a process, of their own."""

HELD_ROWS = 1_000_000
"""Rows of all buckets that are in memory while they wait for the end of their file."""

OPEN_HOUR = "until their hour has a _SUCCESS marker"
BEING_WRITTEN = "because they are still being written"
"""Reasons why files wait for a later ingest."""


@dataclass(frozen=True)
class Read:
    """Files that were read, by one group or in all.

    Attributes
    ----------
    files: the new files with their digests.
    waiting: files that must wait because they are still being written.
    rows: the staged rows.
    faults: rows by file and fault, see ``nothing_kept.faults``.
    """

    files: list[Staged]
    waiting: list[Found]
    rows: Rows
    faults: pl.DataFrame


@dataclass(frozen=True)
class _Reading:
    """The parameters for reading a group, as plain values."""

    stage: Stage
    now: datetime
    digests: frozenset[str]


def read(
    new: list[Found],
    digests: frozenset[str],
    stage: Stage,
    store: Store,
    now: datetime,
    progress: bool,
) -> Read:
    """Read every new file, and stage its rows.

    A file whose digest is in ``digests``, or equals that of an earlier file, is listed,
    but its rows are left out. Raises InputError for a file that cannot be read.
    """
    work = partial(_read_group, reading=_Reading(stage, now, digests))
    groups = _groups(new, store.settings.cluster)
    parts = grouped.values(store, work, groups, "reading", progress)
    seen: set[str] = set()
    copies: set[str] = set()
    for part in parts:
        again = [file for file, digest in part.files if digest in seen]
        copies |= {file_id(file.extract.path, file.address) for file in again}
        seen |= {digest for _, digest in part.files}
    nothing = Rows(stage.place, range(store.n_buckets), {}, 0)
    rows = staged.together([nothing, *(part.rows for part in parts)])
    each = [nothing_kept.faults(nothing.scan(), store.settings)]
    faults = pl.concat([*each, *(part.faults for part in parts)])
    counted = faults.filter(~pl.col("file_id").is_in(sorted(copies)))
    return Read(
        files=[file for part in parts for file in part.files],
        waiting=[file for part in parts for file in part.waiting],
        rows=replace(
            rows,
            n_rows=int(counted["n"].sum()),
            left_out=frozenset(copies),
        ),
        faults=counted,
    )


def _groups(new: Sequence[Found], cluster: Cluster) -> list[list[Found]]:
    """The files in groups of limited size, of which there are enough for all processes."""
    most_bytes, most_files = GROUP_BYTES, GROUP_FILES
    if not cluster.is_one_process:
        n_groups = grouped.GROUPS_EACH * cluster.processes
        share = sum(file.size for file in new) // n_groups
        most_bytes = min(max(MIN_BYTES, share), most_bytes)
    groups: list[list[Found]] = []
    n_bytes = 0
    for file in new:
        is_full = not groups or len(groups[-1]) >= most_files
        if is_full or n_bytes + file.size > most_bytes:
            groups.append([])
            n_bytes = 0
        groups[-1].append(file)
        n_bytes += file.size
    return groups


def _read_group(
    store: Store,
    group: Sequence[Found],
    reading: _Reading,
) -> Read:
    """Stage the files of one group."""
    now = time.time()
    waiting = [file for file in group if is_unfinished(file, now)]
    complete = [file for file in group if file not in waiting]
    try:
        with reading.stage.scratch_folder() as scratch:
            done = _stage(complete, scratch, store, reading)
    except (InputError, *sources.UNREADABLE):
        if not any(map(find.has_changed, complete)):
            raise
    changed = [file for file in complete if find.has_changed(file)]
    if changed:
        # Rows of a file that changed while it was read may be of two versions.
        unchanged = [file for file in complete if file not in changed]
        done = _read_group(store, unchanged, reading)
    return replace(done, waiting=[*waiting, *changed, *done.waiting])


def _stage(
    group: Sequence[Found],
    scratch: Path,
    store: Store,
    reading: _Reading,
) -> Read:
    """Stage all files of a group, those of a known digest without their rows."""
    seen = set(reading.digests)
    files: list[Staged] = []
    frames, sources_of = [], []
    local = [find.fetch(found, scratch) for found in group]
    tombstones = erasure.tombstones(store)
    for found, path in zip(group, local, strict=True):
        digest = file_digest(path)
        if digest not in seen:
            frame = _prepared(found, path, scratch, store, reading.now, tombstones)
            frames.append(frame)
            sources_of.append((found, path))
        seen.add(digest)
        files.append((found, digest))
    place = reading.stage.place
    rows = Rows(place, range(store.n_buckets), {}, 0)
    if frames:
        rows = _staged(frames, sources_of, scratch, rows)
    faults = nothing_kept.faults(rows.scan(), store.settings)
    return Read(files, [], rows, faults)


def _prepared(
    found: Found,
    path: Path,
    scratch: Path,
    store: Store,
    now: datetime,
    tombstones: pl.Series,
) -> pl.LazyFrame:
    """Canonical rows with lineage and bucket, without data that may not be kept."""
    extract = found.extract
    lineage = {
        "source": extract.source,
        "extract": extract.path,
        "source_file": found.name or path.name,
        "file_id": file_id(extract.path, found.address),
    }
    try:
        raw = sources.read(path, extract, scratch)
    except InputError as error:
        raise _with_address(error, path, found) from error
    literals = [pl.lit(lineage[name], pl.String).alias(name) for name in LINEAGE]
    fault = pl.coalesce("fault", time_limits.fault(now))
    event_id = content_ids.salted(store.salt)
    rows = raw.with_columns(*literals, fault=fault, event_id=event_id)
    kept = privacy.protected(rows, store.settings, store.salt, tombstones)
    # Rows without an event id are faulty, but need a bucket as well.
    bucket = bucket_of(pl.col("event_id").fill_null(""), store.n_buckets)
    return kept.with_columns(bucket.alias("bucket"))


def _staged(
    frames: list[pl.LazyFrame],
    files: list[tuple[Found, Path]],
    scratch: Path,
    nothing: Rows,
) -> Rows:
    """Write the frames by bucket. Raises InputError that names a damaged file."""
    n_buckets = len(nothing.buckets)
    try:
        file_rows = HELD_ROWS // n_buckets
        return staged.write(pl.concat(frames), nothing.place, n_buckets, file_rows)
    except sources.UNREADABLE:
        for frame, (found, path) in zip(frames, files, strict=True):
            _check_readable(frame, found, path, scratch / "again.parquet")
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
