"""New extract files → canonical rows by event bucket in a staging folder.

Files are read lazily, some at a time, so memory doesn't follow their size. A file that
can't be read stops everything and is named; a row that can't be kept only gets its
fault.
"""

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from tqdm.auto import tqdm

from churn.errors import InputError
from churn.events import privacy, sources
from churn.events.sources import find
from churn.events.sources.find import Found
from churn.events.sources.parse import CANONICAL, file_digest
from churn.hashing import bucket_of
from churn.settings import Settings
from churn.store import Store

EARLIEST = datetime(
    1990, 1, 1, tzinfo=UTC
)  # an older event time is a clock that was never set
FUTURE_TOLERANCE = timedelta(days=1)  # device clocks and zones
GROUP_BYTES, GROUP_FILES = 512 * 2**20, 256  # read together
FILE_ROWS = 30_000
LINEAGE = {
    "source": pl.String,
    "extract": pl.String,
    "source_file": pl.String,
    "file": pl.Int64,
}

Staged = tuple[Found, str]  # a new file and its digest


def discover(settings: Settings) -> tuple[list[Found], list[Found]]:
    """Files of all extracts that are ready, each once, and those that wait."""
    pairs = [find.find(extract, settings) for extract in settings.extracts]
    found = [file for ready, _ in pairs for file in ready]
    return list({(f.address, f.stamp): f for f in found}.values()), [
        file for _, waiting in pairs for file in waiting
    ]


def read(
    new: list[Found],
    digests: set[str],
    staging: Path,
    store: Store,
    now: datetime,
    progress: bool,
) -> list[Staged]:
    """Read every new file into ``staging``; returns the files with their digests,
    copies of known ones among them.
    """
    staged: list[Staged] = []
    dead = privacy.dead(store)
    size = sum(f.size for f in new)
    with tqdm(
        total=size,
        desc="reading",
        unit="B",
        unit_scale=True,
        disable=not progress,
        leave=False,
    ) as bar:
        for group in _groups(new):
            scratch, first = staging / f"scratch-{len(staged):06d}", len(staged)
            scratch.mkdir(parents=True)
            local = [find.fetch(found, scratch) for found in group]
            frames, files = [], []
            for found, path in zip(group, local, strict=True):
                digest = file_digest(path)
                if digest not in digests:
                    frames.append(
                        _prepared(len(staged), found, path, scratch, store, now, dead)
                    )
                    files.append((found, path))
                digests.add(digest)
                staged.append((found, digest))
            if frames:
                _sink(frames, files, staging / f"group-{first:06d}")
            shutil.rmtree(scratch)
            bar.update(sum(f.size for f in group))
    return staged


def _groups(new: list[Found]) -> Iterator[list[Found]]:
    group: list[Found] = []
    for file in new:
        if group and (
            len(group) >= GROUP_FILES
            or sum(f.size for f in group) + file.size > GROUP_BYTES
        ):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _prepared(
    number: int,
    found: Found,
    path: Path,
    scratch: Path,
    store: Store,
    now: datetime,
    dead: pl.Series,
) -> pl.LazyFrame:
    """Canonical rows with their lineage, what may not be kept marked or taken out, and
    their bucket.
    """
    extract = found.extract
    lineage = dict(
        zip(
            LINEAGE,
            (extract.source, extract.path, found.name or path.name, number),
            strict=True,
        )
    )
    try:
        raw = sources.read(path, extract, scratch)
    except InputError as error:
        raise _named(error, path, found) from error
    frame = raw.with_columns(
        pl.lit(value, LINEAGE[name]).alias(name) for name, value in lineage.items()
    )
    frame = frame.with_columns(fault=pl.coalesce("fault", _time_fault(now)))
    kept = privacy.apply(frame, store.settings, store.salt, dead)
    return kept.with_columns(
        bucket_of(pl.col("event_id").fill_null(""), store.n_buckets).alias("bucket")
    )


def _time_fault(now: datetime) -> pl.Expr:
    return (
        pl.when(pl.col("event_time") > now + FUTURE_TOLERANCE)
        .then(pl.lit("in_the_future"))
        .when(pl.col("event_time") < EARLIEST)
        .then(pl.lit("before_1990"))
    )


def _sink(
    frames: list[pl.LazyFrame], files: list[tuple[Found, Path]], folder: Path
) -> None:
    """Write the frames by bucket; a damaged file among them is found and named."""
    folder.mkdir()
    try:
        # Many small files, since what a partition has yet to write waits in memory.
        pl.concat(frames).sink_parquet(
            pl.PartitionBy(folder, key="bucket", max_rows_per_file=FILE_ROWS),
            mkdir=True,
        )
    except sources.UNREADABLE:
        for frame, (found, path) in zip(frames, files, strict=True):
            try:
                frame.sink_parquet(folder / "again.parquet")
            except sources.UNREADABLE as error:
                raise _named(
                    sources.unreadable(path, found.extract, error), path, found
                ) from error
        raise


def _named(error: InputError, path: Path, found: Found) -> InputError:
    """The error with the object's own address in it, where the file is a copy."""
    return InputError(str(error).replace(str(path), found.address))


def rows(staging: Path, buckets: Sequence[int], kind: str = "group") -> pl.LazyFrame:
    """Staged rows of some buckets; without any, an empty frame of the right shape."""
    folders = [f for b in buckets for f in sorted(staging.glob(f"{kind}-*/bucket={b}"))]
    if not folders:
        return pl.LazyFrame(schema={**CANONICAL, **LINEAGE, "bucket": pl.Int64})
    return pl.scan_parquet(folders, hive_partitioning=False)
