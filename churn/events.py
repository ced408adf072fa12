"""Extracts → event log: validate, quarantine, de-duplicate, store, count everything.

New files are read lazily, some at a time, into a staging folder by event bucket; buckets are then merged one by one, so
memory follows neither a file's size nor the log's. A file whose stamp or digest is known is passed over; a
row whose event_id is known is a duplicate, and so is a second copy, of which the one received first is kept.
"""

import logging
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from churn import activity, coverage, identity, privacy, sources, store
from churn.errors import InputError, StoreError
from churn.sources import find
from churn.sources.find import Found
from churn.sources.parse import file_digest
from churn.store import Store
from churn.study import Study
from churn.tables import Events, Tally, Volume, bucket_of

log = logging.getLogger(__name__)
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # an older event time is a clock that was never set
FUTURE_TOLERANCE = timedelta(days=1)  # device clocks and zones
GROUP_BYTES, GROUP_FILES = 512 * 2**20, 256  # read together
LINEAGE = {"source": pl.String, "extract": pl.String, "source_file": pl.String, "file": pl.Int64}
TALLIED = (
    "user_id",
    "anonymous_id",
    "platform",
    "country",
    "app_version",
    "revenue",
    "currency",
    "media_source",
    "properties",
)
Staged = tuple[Found, str]  # a new file and its digest


@dataclass(frozen=True)
class Ingest:
    """What one ingest did.

    ``files`` has a row per extract file (see tables.Files) and ``new``; ``reasons`` counts quarantined rows by reason;
    ``waiting`` names files whose hour is still being written; ``people`` counts users and unidentified people;
    ``n_requests`` counts rows by which somebody asked a vendor for erasure, ever.
    """

    files: pl.DataFrame
    reasons: pl.DataFrame
    waiting: list[str]
    covered_until: date | None
    people: dict[str, int]
    n_requests: int

    @property
    def n_added(self) -> int:
        """Events added to the log."""
        return int(self.files.filter("new")["kept"].sum())

    @property
    def n_new_files(self) -> int:
        """Files read for the first time."""
        return int(self.files["new"].sum())

    @property
    def sentences(self) -> list[str]:
        """What happened, a line each."""
        lines = [f"{self.n_new_files} new file(s), {self.files.height - self.n_new_files} already known"]
        lines.append("  ".join(f"{name} {n:,}" for name, n in self.totals.items()))
        lines += [f"  quarantined {reason}: {n:,}" for reason, n in self.reasons.iter_rows()]
        if self.waiting:
            lines.append(f"{len(self.waiting)} file(s) wait: their hour has no {find.MARKER} marker yet")
        lines.append(f"{self.people['users']:,} users, {self.people['anonymous']:,} people without a user id")
        if self.n_requests:
            lines.append(f"{self.n_requests} row(s) ask for a person's erasure: churn forget --requested")
        return [*lines, f"complete until {self.covered_until or '(no events yet)'}"]

    @property
    def totals(self) -> dict[str, int]:
        """Rows read, kept, duplicate and quarantined in this ingest."""
        new = self.files.filter("new")
        return {name: int(new[name].sum()) for name in ("rows", "kept", "duplicate", "quarantined")}


def ingest(study: Study, now: datetime | None = None, progress: bool = True) -> Ingest:
    """Add every new extract file to the store.

    ``now`` (default: the clock) only says what lies in the future. All or nothing: a file that can't be read raises
    InputError before anything becomes visible.
    """
    with exclusively(study) as target:
        return _ingest(target, study, now or datetime.now(UTC), progress)


def parse_now(text: str) -> datetime | None:
    """The present to pretend, from a notebook parameter; empty is null. Raises InputError for what is no time."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError:
        raise InputError(f"{text!r} is no time; write a date like 2026-03-01") from None


class exclusively:  # noqa: N801 - reads as a verb where it is used
    """The study's store while nobody else changes it. Raises StoreError if somebody does."""

    def __init__(self, study: Study) -> None:
        root = store.create_or_open(study).root
        root.mkdir(parents=True, exist_ok=True)
        self.study, self.lock = study, FileLock(root / ".ingest.lock", timeout=0)

    def __enter__(self) -> Store:
        try:
            self.lock.acquire()
        except Timeout:
            raise StoreError(f"another ingest into {self.study.store_path} is running; wait for it to end") from None
        target = store.create_or_open(self.study)
        store.sweep(target)
        if target.erasing:
            privacy.erase(target)
        return store.create_or_open(self.study)

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def _ingest(target: Store, study: Study, now: datetime, progress: bool) -> Ingest:
    found, waiting = _find(study)
    known = store.scan(target, "files").collect()
    new, old = _split(found, known)
    batch_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    staging = target.path(f"{store.STAGING}{batch_id}")
    try:
        staged = _stage(new, set(known["digest"]), staging, target, study, now, progress)
        if staged:
            target = _merge(staged, staging, target, study, batch_id, progress)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    files = store.scan(target, "files").collect()
    table = pl.concat(
        [
            files.filter(pl.col("ingested_at") > known["ingested_at"].max() if known.height else True).with_columns(
                new=True
            ),
            known.join(_keys(old), on=["address", "stamp"], how="semi").with_columns(new=False),
        ]
    )
    mine = store.scan(replace(target, batches=(batch_id,)), "quarantine")
    reasons = mine.group_by("reason").agg(n=pl.len()).sort("reason").collect()
    asked = store.scan(target, "volume").filter(pl.col("kind") == "erasure").select(pl.col("n").sum()).collect().item()
    done = Ingest(
        table, reasons, [f.address for f in waiting], target.covered_until, identity.people(target), int(asked)
    )
    log.info("ingest: %d rows read, %d kept from %d new files", done.totals["rows"], done.n_added, len(staged))
    return done


def _find(study: Study) -> tuple[list[Found], list[Found]]:
    pairs = [find.find(extract, study) for extract in study.extracts]
    found = [file for ready, _ in pairs for file in ready]
    return list({(f.address, f.stamp): f for f in found}.values()), [file for _, waiting in pairs for file in waiting]


def _keys(found: Iterable[Found]) -> pl.DataFrame:
    return pl.DataFrame(
        [(f.address, f.stamp) for f in found], schema={"address": pl.String, "stamp": pl.String}, orient="row"
    )


def _split(found: list[Found], known: pl.DataFrame) -> tuple[list[Found], list[Found]]:
    before = set(known.select("address", "stamp").iter_rows())
    return [f for f in found if (f.address, f.stamp) not in before], [
        f for f in found if (f.address, f.stamp) in before
    ]


def _stage(
    new: list[Found], digests: set[str], staging: Path, target: Store, study: Study, now: datetime, progress: bool
) -> list[Staged]:
    """Read every new file into ``staging``; returns the files with their digests, copies of known ones among them."""
    staged: list[Staged] = []
    dead = store.scan(target, "tombstones").collect()["subject"]
    size = sum(f.size for f in new)
    with tqdm(total=size, desc="reading", unit="B", unit_scale=True, disable=not progress, leave=False) as bar:
        for group in _groups(new):
            scratch, first = staging / f"scratch-{len(staged):06d}", len(staged)
            scratch.mkdir(parents=True)
            local = [find.fetch(found, scratch) for found in group]
            frames, files = [], []
            for found, path in zip(group, local, strict=True):
                digest = file_digest(path)
                if digest not in digests:
                    frames.append(_prepared(len(staged), found, path, scratch, target, study, now, dead))
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
        if group and (len(group) >= GROUP_FILES or sum(f.size for f in group) + file.size > GROUP_BYTES):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _prepared(
    number: int, found: Found, path: Path, scratch: Path, target: Store, study: Study, now: datetime, dead: pl.Series
) -> pl.LazyFrame:
    """Canonical rows with their lineage, what may not be kept marked or taken out, and their bucket."""
    extract = found.extract
    lineage = dict(zip(LINEAGE, (extract.source, extract.path, found.name or path.name, number), strict=True))
    rows = sources.read(path, extract, scratch).with_columns(
        pl.lit(value, LINEAGE[name]).alias(name) for name, value in lineage.items()
    )
    rows = rows.with_columns(fault=pl.coalesce("fault", _time_fault(now)))
    kept = privacy.apply(rows, study, target.salt, dead)
    return kept.with_columns(bucket_of(pl.col("event_id").fill_null(""), target.n_buckets).alias("bucket"))


def _time_fault(now: datetime) -> pl.Expr:
    return (
        pl.when(pl.col("event_time") > now + FUTURE_TOLERANCE)
        .then(pl.lit("in_the_future"))
        .when(pl.col("event_time") < EARLIEST)
        .then(pl.lit("before_1990"))
    )


def _sink(frames: list[pl.LazyFrame], files: list[tuple[Found, Path]], folder: Path) -> None:
    """Write the frames by bucket; a damaged file among them is found and named."""
    folder.mkdir()
    try:
        pl.concat(frames).sink_parquet(pl.PartitionBy(folder, key="bucket"), mkdir=True)
    except sources.UNREADABLE:
        for frame, (found, path) in zip(frames, files, strict=True):
            try:
                frame.sink_parquet(folder / "again.parquet")
            except sources.UNREADABLE as error:
                raise sources.unreadable(path, found.extract, error) from error
        raise


def _merge(
    staged: Sequence[Staged], staging: Path, target: Store, study: Study, batch_id: str, progress: bool
) -> Store:
    """Store the staged rows as one batch and make it visible."""
    n_rows = _staged(staging, range(target.n_buckets)).select(pl.len()).collect().item()
    passes = identity.passes(target, int(n_rows))
    dead = store.scan(target, "tombstones").collect()["subject"]
    counts, volumes, tallies, faulty = [], [], [], []
    for number, buckets in enumerate(tqdm(passes, "storing", disable=not progress, leave=False)):
        rows = _staged(staging, buckets)
        faulty.append(rows.filter(pl.col("fault").is_not_null()).with_columns(privacy.subjects(target.salt)).collect())
        good = rows.filter(pl.col("fault").is_null()).collect()
        unique = _unique(good)
        fresh = _fresh(unique, target, buckets)
        if dead.len():
            fresh = privacy.without_mentions(fresh, target.salt, dead)
        counts += _counts(good=good, unique=unique, kept=fresh, quarantined=faulty[-1])
        store.write_batch(target, "events", batch_id, fresh.select("bucket", *Events.column_names()))
        volumes.append(_volume(fresh, study))
        tallies.append(_tally(fresh, study))
        _by_user(fresh, target).sink_parquet(pl.PartitionBy(staging / f"user-{number:06d}", key="bucket"), mkdir=True)
    store.write_batch(target, "quarantine", batch_id, _quarantine(pl.concat(faulty)))
    store.write_batch(target, "volume", batch_id, _summed(volumes, Volume.column_names()))
    store.write_batch(target, "tally", batch_id, _summed(tallies, Tally.column_names()))
    store.write_batch(target, "files", batch_id, _file_rows(staged, pl.concat(counts, how="diagonal")))
    _store_people(staging, passes, target, study, batch_id)
    return _commit(target, study, batch_id)


def _staged(staging: Path, buckets: Sequence[int], kind: str = "group") -> pl.LazyFrame:
    """Staged rows of some buckets; without any, an empty frame of the right shape."""
    folders = [f for b in buckets for f in sorted(staging.glob(f"{kind}-*/bucket={b}"))]
    if not folders:
        return pl.LazyFrame(schema={**sources.parse.CANONICAL, **LINEAGE, "bucket": pl.Int64})
    return pl.scan_parquet(folders, hive_partitioning=False)


def _unique(good: pl.DataFrame) -> pl.DataFrame:
    """One row per event, the copy that was received first; the order of files decides between equals."""
    key = ["source", "event_id"]
    repeated = good.select(pl.struct(key).is_duplicated()).to_series()
    first = good.filter(repeated).sort("received_time", "source_file", "source_row", nulls_last=True)
    return pl.concat([good.filter(~repeated), first.unique(key, keep="first", maintain_order=True)])


def _fresh(unique: pl.DataFrame, target: Store, buckets: Sequence[int]) -> pl.DataFrame:
    span = unique.select(pl.col("event_time").min().alias("first"), pl.col("event_time").max().alias("last")).row(0)
    stored = store.scan(target, "events", buckets)
    known = stored.filter(pl.col("event_time").is_between(*span)).select("source", "event_id") if all(span) else stored
    return unique.join(
        known.select("source", "event_id").collect(), on=["source", "event_id"], how="anti", maintain_order="left"
    )


def _counts(**frames: pl.DataFrame) -> list[pl.DataFrame]:
    return [frame.group_by("file").agg(pl.len().cast(pl.Int64).alias(name)) for name, frame in frames.items()]


def _file_rows(staged: Sequence[Staged], counts: pl.DataFrame) -> pl.DataFrame:
    """A row per file; one whose content was known already has no rows of its own."""
    columns = {"extract": [f.extract.path for f, _ in staged], "address": [f.address for f, _ in staged]}
    columns |= {"stamp": [f.stamp for f, _ in staged], "digest": [digest for _, digest in staged]}
    names = ("good", "unique", "kept", "quarantined")
    files = pl.DataFrame(columns).with_row_index("file").with_columns(pl.col("file").cast(pl.Int64))
    counted = files.join(counts.group_by("file").agg(pl.col(names).sum()), on="file", how="left", maintain_order="left")
    return counted.with_columns(pl.col(names).fill_null(0)).with_columns(
        ingested_at=pl.lit(datetime.now(UTC)).dt.cast_time_unit("us"),
        rows=pl.col("good") + pl.col("quarantined"),
        duplicate=pl.col("good") - pl.col("kept"),
        copies=pl.col("good") - pl.col("unique"),
    )


def _volume(fresh: pl.DataFrame, study: Study) -> pl.DataFrame:
    days = [
        activity.local_date(t, study.timezone).alias(d)
        for t, d in (("event_time", "date"), ("received_time", "known_date"))
    ]
    key = ["extract", pl.col("platform").fill_null(""), *days, "event", pl.col("event_kind").alias("kind")]
    counted = fresh.group_by(key).agg(
        n=pl.len().cast(pl.Int64), n_without_user=pl.col("user_id").is_null().sum().cast(pl.Int64)
    )
    return counted.select(Volume.column_names())


def _tally(fresh: pl.DataFrame, study: Study) -> pl.DataFrame:
    """Rows per extract and day: by local hour, by filled column, by currency of revenue."""
    hour = pl.col("event_time").dt.convert_time_zone(study.timezone).dt.hour().cast(pl.String)
    dated = fresh.select(
        "extract", activity.local_date("event_time", study.timezone).alias("date"), hour.alias("hour"), *TALLIED
    )
    day = ["extract", "date"]
    hours = dated.group_by(*day, pl.lit("hour").alias("measure"), pl.col("hour").alias("value")).agg(n=pl.len())
    filled = dated.group_by(day).agg(pl.col(TALLIED).count()).unpivot(index=day, variable_name="value", value_name="n")
    money = dated.filter(pl.col("revenue").is_not_null() & pl.col("currency").is_not_null())
    currencies = money.group_by(*day, pl.lit("currency").alias("measure"), pl.col("currency").alias("value")).agg(
        n=pl.len()
    )
    frames = [hours, filled.with_columns(measure=pl.lit("column")), currencies]
    return pl.concat([f.select(*day, "measure", "value", pl.col("n").cast(pl.Int64)) for f in frames])


def _summed(parts: list[pl.DataFrame], columns: list[str]) -> pl.DataFrame:
    counts = [c for c in columns if c.startswith("n")]
    return pl.concat(parts).group_by([c for c in columns if c not in counts]).agg(pl.col(counts).sum())


def _quarantine(faulty: pl.DataFrame) -> pl.DataFrame:
    """Listed with reason; of the forgotten not even a hash is kept."""
    forgotten = pl.col("fault") == "forgotten"
    listed = pl.when(forgotten).then(pl.lit([], pl.List(pl.String))).otherwise("subjects").alias("subjects")
    return faulty.with_columns(listed).rename({"fault": "reason"})


def _by_user(fresh: pl.DataFrame, target: Store) -> pl.LazyFrame:
    """Rows in the bucket of their user or, without one, of their ids: there one person's rows meet."""
    whose = pl.coalesce("user_id", pl.col("ids").list.join("\x1f"))
    slim = ["event_time", "event_time_basis", "received_time", "event_kind", "event", "user_id", "ids", "source"]
    columns = [*slim, "platform", "revenue", "currency", "revenue_usd"]
    return fresh.lazy().select(*columns, bucket_of(whose, target.n_buckets).alias("bucket"))


def _store_people(staging: Path, passes: list[Sequence[int]], target: Store, study: Study, batch_id: str) -> None:
    """Activity, users, anonymous rows, edges and merges of the staged rows, by bucket of user or ids."""
    edges, merges = [], []
    zone, currency = study.timezone, study.activity.currency
    for buckets in passes:
        rows = _staged(staging, buckets, "user")
        tables = {
            "activity": activity.from_events(rows, zone, currency).with_columns(
                bucket_of("user_id", target.n_buckets).alias("bucket")
            ),
            "users": activity.users_from_events(rows, zone).with_columns(
                bucket_of("user_id", target.n_buckets).alias("bucket")
            ),
            "anonymous": activity.anonymous_from_events(rows, zone, currency).with_columns(
                bucket_of(pl.col("ids").list.join("\x1f"), target.n_buckets).alias("bucket")
            ),
        }
        for table, frame in tables.items():
            store.write_batch(target, table, batch_id, frame.collect())
        edges.append(identity.edges_from_events(rows).collect())
        merges.append(identity.merges_from_events(rows).collect())
    store.write_batch(target, "edges", batch_id, identity.news(pl.concat(edges), target))
    store.write_batch(target, "merges", batch_id, pl.concat(merges).unique())


def _commit(target: Store, study: Study, batch_id: str) -> Store:
    # Coverage and identity are judged on everything, this batch included, before the batch becomes visible.
    seen = replace(target, batches=(*target.batches, batch_id))
    volume = store.scan(seen, "volume").collect()
    covered, first = coverage.covered_until(volume, study), min(volume["date"], default=None)
    done = replace(seen, covered_until=covered, first_date=first, adopted=identity.adopt(seen, study, batch_id))
    store.commit(done)
    store.sweep(done)
    return done
