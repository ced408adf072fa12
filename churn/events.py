"""Extracts → event log: validate, quarantine, de-duplicate, store, count everything.

Files are read one at a time into a staging folder, then merged bucket by bucket, so memory is bounded by the larger of
one file and one bucket. A file whose digest is known is passed over; a row whose event_id is known is a duplicate.
"""

import logging
import secrets
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from churn import activity, sources, store
from churn.coverage import covered_until
from churn.errors import InputError, StoreError
from churn.sources.parse import file_digest
from churn.store import Store
from churn.study import Extract, Study
from churn.tables import Events, Quarantine, Volume, bucket_of

log = logging.getLogger(__name__)
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # an older event time is a clock that was never set
FUTURE_TOLERANCE = timedelta(days=1)  # device clocks and zones


@dataclass(frozen=True)
class Ingest:
    """What one ingest did: ``files`` has a row per extract file, ``reasons`` counts quarantined rows by reason."""

    files: pl.DataFrame
    reasons: pl.DataFrame
    covered_until: date | None

    @property
    def n_added(self) -> int:
        """Events added to the log."""
        return int(self.files["kept"].sum())


def ingest(study: Study, now: datetime | None = None, progress: bool = True) -> Ingest:
    """Add every new extract file to the store.

    ``now`` (default: the clock) only says what lies in the future. All or nothing: a file that can't be read raises
    InputError before anything becomes visible.
    """
    target = store.create_or_open(study)
    target.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(target.path(".ingest.lock"), timeout=0):
            return _ingest(store.create_or_open(study), study, now or datetime.now(UTC), progress)
    except Timeout:
        raise StoreError(f"another ingest into {target.root} is running; wait for it to end") from None


def _ingest(target: Store, study: Study, now: datetime, progress: bool) -> Ingest:
    store.sweep(target)
    new, known = _new_files(study, target)
    batch_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    staging = target.path(f"{store.STAGING}{batch_id}")
    try:
        staged = [
            _stage(staging / f"{i:06d}.parquet", file, target, now)
            for i, file in enumerate(_bar(new, "reading", progress))
        ]
        counts = _merge(staging, target, study, batch_id, progress) if new else _no_counts()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    files = _file_table(staged + known, counts)
    if new:
        target = _commit(target, study, batch_id, files.filter("new"))
    log.info("ingest: %d rows read, %d kept from %d new files", files["rows"].sum(), files["kept"].sum(), len(new))
    return Ingest(files, _reasons(target, batch_id), target.covered_until)


def _bar(items: Any, doing: str, progress: bool) -> Any:
    return tqdm(items, desc=doing, disable=not progress, leave=False)


def _new_files(study: Study, target: Store) -> tuple[list[tuple[Extract, Path, str]], list[dict[str, Any]]]:
    digests = set(target.digests)
    new, known = [], []
    for extract in study.extracts:
        for path in sources.files(extract, study):
            digest = file_digest(path)
            if digest in digests:
                known.append(_file_row(extract, path, digest, rows=0, new=False))
            else:
                new.append((extract, path, digest))
                digests.add(digest)
    return new, known


def _file_row(extract: Extract, path: Path, digest: str, rows: int, new: bool) -> dict[str, Any]:
    return {"extract": extract.path, "file": path.name, "digest": digest, "rows": rows, "new": new}


def _stage(staged: Path, file: tuple[Extract, Path, str], target: Store, now: datetime) -> dict[str, Any]:
    extract, path, digest = file
    frame = sources.read(path, extract).with_columns(
        source=pl.lit(extract.source), source_file=pl.lit(path.name), extract=pl.lit(extract.path)
    )
    frame = frame.with_columns(fault=pl.coalesce("fault", _time_fault(now)))
    device = frame.select(pl.coalesce("anonymous_id", "user_id", "event_id")).to_series()
    frame = frame.with_columns(bucket_of(device, target.n_buckets).fill_null(0).alias("bucket"))
    staged.parent.mkdir(parents=True, exist_ok=True)
    frame.with_columns(digest=pl.lit(digest)).write_parquet(staged)
    return _file_row(extract, path, digest, frame.height, new=True)


def _time_fault(now: datetime) -> pl.Expr:
    return (
        pl.when(pl.col("event_time") > now + FUTURE_TOLERANCE)
        .then(pl.lit("in_the_future"))
        .when(pl.col("event_time") < EARLIEST)
        .then(pl.lit("before_1990"))
    )


def _merge(staging: Path, target: Store, study: Study, batch_id: str, progress: bool) -> pl.DataFrame:
    rows = pl.scan_parquet(staging / "*.parquet")
    faulty = rows.filter(pl.col("fault").is_not_null())
    store.write_batch(target, "quarantine", batch_id, _quarantine(faulty))
    counts = [faulty.group_by("digest").agg(quarantined=pl.len()).collect()]
    volumes = []
    for bucket in _bar(range(target.n_buckets), "storing", progress):
        good = rows.filter(pl.col("fault").is_null() & (pl.col("bucket") == bucket)).collect()
        fresh = _fresh(good, target, bucket)
        counts.append(fresh.group_by("digest").agg(kept=pl.len()))
        volumes.append(_volume(fresh, study))
        store.write_batch(target, "events", batch_id, Events.validate(fresh.select(Events.column_names())), bucket)
        fresh.write_parquet(staging / f"fresh-{bucket:02d}.pq")
    store.write_batch(target, "volume", batch_id, Volume.validate(_sum_volume(pl.concat(volumes))))
    _write_by_user(pl.scan_parquet(staging / "fresh-*.pq"), target, study, batch_id)
    return pl.concat(counts, how="diagonal").group_by("digest").agg(pl.col("kept", "quarantined").sum())


def _quarantine(faulty: pl.LazyFrame) -> pl.DataFrame:
    return Quarantine.validate(faulty.rename({"fault": "reason"}).select(Quarantine.column_names()).collect())


def _fresh(good: pl.DataFrame, target: Store, bucket: int) -> pl.DataFrame:
    known = store.scan(target, "events", [bucket]).select("event_id").collect()
    return good.unique("event_id", keep="first", maintain_order=True).join(known, on="event_id", how="anti")


def _volume(fresh: pl.DataFrame, study: Study) -> pl.DataFrame:
    day = pl.col("event_time").dt.convert_time_zone(study.timezone).dt.date().alias("date")
    counted = fresh.group_by("extract", day, "event", pl.col("event_kind").alias("kind")).agg(
        n=pl.len().cast(pl.Int64), n_without_user=pl.col("user_id").is_null().sum().cast(pl.Int64)
    )
    return counted.select(Volume.column_names())


def _sum_volume(volume: pl.DataFrame) -> pl.DataFrame:
    return volume.group_by("extract", "date", "event", "kind").agg(pl.col("n", "n_without_user").sum())


def _write_by_user(fresh: pl.LazyFrame, target: Store, study: Study, batch_id: str) -> None:
    """Events are bucketed by device, activity by user: one person's devices meet here."""
    daily = activity.from_events(fresh, study.timezone, study.activity.currency).collect()
    seen = activity.users_from_events(fresh, study.timezone).collect()
    for table, frame in (("activity", daily), ("users", seen)):
        bucketed = frame.with_columns(bucket_of(frame["user_id"], target.n_buckets).alias("bucket"))
        for (bucket,), part in bucketed.group_by("bucket"):
            rows = store.BUCKETED[table].validate(part.drop("bucket"))
            store.write_batch(target, table, batch_id, rows, int(str(bucket)))


def _no_counts() -> pl.DataFrame:
    return pl.DataFrame(schema={"digest": pl.String, "kept": pl.UInt32, "quarantined": pl.UInt32})


def _file_table(rows: list[dict[str, Any]], counts: pl.DataFrame) -> pl.DataFrame:
    if not rows:
        raise InputError("the study's extracts name no file")
    table = pl.DataFrame(rows).join(counts, on="digest", how="left", maintain_order="left")
    table = table.with_columns(pl.col("kept", "quarantined").cast(pl.Int64).fill_null(0))
    return table.with_columns(duplicate=pl.col("rows") - pl.col("kept") - pl.col("quarantined"))


def _commit(target: Store, study: Study, batch_id: str, files: pl.DataFrame) -> Store:
    batch = {"id": batch_id, "ingested_at": datetime.now(UTC).isoformat(), "files": files.drop("new").to_dicts()}
    # Coverage is judged on everything, this batch included, before the batch becomes visible.
    seen = replace(target, batches=(*target.batches, batch))
    volume = store.scan(seen, "volume").collect()
    return store.commit(target, batch, covered_until(volume, study), min(volume["date"], default=None))


def _reasons(target: Store, batch_id: str) -> pl.DataFrame:
    mine = [b for b in target.batches if b["id"] == batch_id]
    quarantine = store.scan(replace(target, batches=tuple(mine)), "quarantine")
    return quarantine.group_by("reason").agg(n=pl.len()).sort("reason").collect()
