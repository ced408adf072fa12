"""Extracts → event log: validate, quarantine, de-duplicate, store, count everything.

Staged rows are merged bucket by bucket, so memory follows neither a file's size nor the
log's. A file whose stamp or digest is known is passed over; a row whose event_id is
known is a duplicate, and so is a second copy in one ingest, of which the one received
first is kept.
"""

import logging
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from tqdm.auto import tqdm

from churn.errors import InputError
from churn.events import activity, coverage, identity, privacy, properties, staging
from churn.events.sources.find import Found
from churn.events.staging import Staged
from churn.events.writing import exclusively
from churn.hashing import bucket_of
from churn.settings import Settings
from churn.store import Store
from churn.store.batches import STAGING
from churn.store.schemas import Events, Tally, Volume

log = logging.getLogger(__name__)
TIMED = (
    "adjust",
    "appsflyer",
    "ga4",
)  # sources whose event ids are made of the event's time, among others


@dataclass(frozen=True)
class Ingest:
    """What one ingest did.

    ``files`` has a row per extract file (see tables.Files) and ``new``; ``reasons``
    counts quarantined rows by reason; ``waiting`` names files whose hour is still being
    written; ``people`` counts users and unidentified people; ``n_requests`` counts new
    rows by which somebody asked a vendor for erasure.
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
    def totals(self) -> dict[str, int]:
        """Rows read, kept, duplicate and quarantined in this ingest."""
        new = self.files.filter("new")
        return {
            name: int(new[name].sum())
            for name in ("rows", "kept", "duplicate", "quarantined")
        }


def ingest(
    settings: Settings, now: datetime | None = None, progress: bool = True
) -> Ingest:
    """Add every new extract file to the store.

    ``now`` (default: the clock) only says what lies in the future. All or nothing: a
    file that can't be read raises InputError before anything becomes visible.
    """
    with exclusively(settings) as store:
        return _ingest(store.under(settings), now or datetime.now(UTC), progress)


def parse_now(text: str) -> datetime | None:
    """The present to pretend, from a notebook parameter; empty is null. Raises
    InputError for what is no time.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError:
        raise InputError(f"{text!r} is no time; write a date like 2026-03-01") from None


def _ingest(store: Store, now: datetime, progress: bool) -> Ingest:
    found, waiting = staging.discover(store.settings)
    known = store.scan("files").collect()
    before = set(known.select("address", "stamp").iter_rows())
    new = [file for file in found if (file.address, file.stamp) not in before]
    batch_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    folder = store.path(f"{STAGING}{batch_id}")
    try:
        staged = staging.read(new, set(known["digest"]), folder, store, now, progress)
        if staged:
            store = _merge(staged, folder, store, batch_id, progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    mine = replace(store, batches=(batch_id,))
    again = known.join(_keys(found), on=["address", "stamp"], how="semi")
    files = pl.concat(
        [
            mine.scan("files").collect().with_columns(new=True),
            again.with_columns(new=False),
        ]
    )
    reasons = (
        mine.scan("quarantine")
        .group_by("reason")
        .agg(n=pl.len())
        .sort("reason")
        .collect()
    )
    asked = (
        mine.scan("volume")
        .filter(pl.col("kind") == "erasure")
        .select(pl.col("n").sum())
        .collect()
        .item()
    )
    addresses = [file.address for file in waiting]
    done = Ingest(
        files,
        reasons,
        addresses,
        store.covered_until,
        identity.people(store),
        int(asked),
    )
    log.info(
        "ingest: %d rows read, %d kept from %d new files",
        done.totals["rows"],
        done.n_added,
        len(staged),
    )
    return done


def _keys(found: Iterable[Found]) -> pl.DataFrame:
    return pl.DataFrame(
        [(f.address, f.stamp) for f in found],
        schema={"address": pl.String, "stamp": pl.String},
        orient="row",
    )


def _merge(
    staged: Sequence[Staged],
    folder: Path,
    store: Store,
    batch_id: str,
    progress: bool,
) -> Store:
    """Store the staged rows as one batch and make it visible."""
    n_rows = (
        staging.rows(folder, range(store.n_buckets)).select(pl.len()).collect().item()
    )
    passes = store.passes(int(n_rows))
    dead = privacy.dead(store)
    counts, volumes, tallies, faulty = [], [], [], []
    for number, buckets in enumerate(
        tqdm(passes, "storing", disable=not progress, leave=False)
    ):
        rows = staging.rows(folder, buckets)
        damaged = rows.filter(pl.col("fault").is_not_null()).with_columns(
            privacy.subjects(store.salt)
        )
        faulty.append(
            damaged.select(
                "source", "source_file", "source_row", "file", "fault", "subjects"
            ).collect()
        )
        good = rows.filter(pl.col("fault").is_null()).collect()
        unique = _unique(good)
        fresh = _fresh(unique, store, buckets)
        if dead.len():
            fresh = privacy.without_mentions(fresh, store.salt, dead)
        counts += _counts(good=good, unique=unique, kept=fresh, quarantined=faulty[-1])
        store.write_batch(
            "events", batch_id, fresh.select("bucket", *Events.column_names())
        )
        volumes.append(coverage.volume(fresh, store.settings))
        tallies.append(coverage.tally(fresh, store.settings))
        _by_user(fresh, store).sink_parquet(
            pl.PartitionBy(folder / f"user-{number:06d}", key="bucket"), mkdir=True
        )
    store.write_batch("quarantine", batch_id, _quarantine(pl.concat(faulty)))
    store.write_batch(
        "volume", batch_id, coverage.summed(volumes, Volume.column_names())
    )
    store.write_batch("tally", batch_id, coverage.summed(tallies, Tally.column_names()))
    store.write_batch(
        "files", batch_id, _file_rows(staged, pl.concat(counts, how="diagonal"))
    )
    _store_people(folder, passes, store, batch_id)
    return _commit(store, batch_id)


def _unique(good: pl.DataFrame) -> pl.DataFrame:
    """One row per event, the copy that was received first; the order of files decides
    between equals.
    """
    key = ["source", "event_id"]
    repeated = good.select(pl.struct(key).is_duplicated()).to_series()
    first = good.filter(repeated).sort(
        "received_time", "source_file", "source_row", nulls_last=True
    )
    return pl.concat(
        [good.filter(~repeated), first.unique(key, keep="first", maintain_order=True)]
    )


def _fresh(unique: pl.DataFrame, store: Store, buckets: Sequence[int]) -> pl.DataFrame:
    """Rows that the log doesn't hold yet.

    Where a source's id is made of the event's own time, a stored copy has that time:
    older files needn't be read.
    """
    if unique.is_empty():
        return unique
    key = ["source", "event_id"]
    span = unique.select(
        pl.col("event_time").min().alias("first"),
        pl.col("event_time").max().alias("last"),
    ).row(0)
    may_hold = ~pl.col("source").is_in(TIMED) | pl.col("event_time").is_between(*span)
    stored = store.scan("events", buckets).filter(may_hold).select(key)
    known = stored.join(unique.lazy().select(key), on=key, how="semi").collect()
    return unique.join(known, on=key, how="anti", maintain_order="left")


def _counts(**frames: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        frame.group_by("file").agg(pl.len().cast(pl.Int64).alias(name))
        for name, frame in frames.items()
    ]


def _file_rows(staged: Sequence[Staged], counts: pl.DataFrame) -> pl.DataFrame:
    """A row per file; one whose content was known already has no rows of its own."""
    columns = {
        "extract": [f.extract.path for f, _ in staged],
        "address": [f.address for f, _ in staged],
    }
    columns |= {
        "stamp": [f.stamp for f, _ in staged],
        "digest": [digest for _, digest in staged],
    }
    names = ("good", "unique", "kept", "quarantined")
    files = (
        pl.DataFrame(columns)
        .with_row_index("file")
        .with_columns(pl.col("file").cast(pl.Int64))
    )
    counted = files.join(
        counts.group_by("file").agg(pl.col(names).sum()),
        on="file",
        how="left",
        maintain_order="left",
    )
    return counted.with_columns(pl.col(names).fill_null(0)).with_columns(
        ingested_at=pl.lit(datetime.now(UTC)).dt.cast_time_unit("us"),
        rows=pl.col("good") + pl.col("quarantined"),
        duplicate=pl.col("good") - pl.col("kept"),
        copies=pl.col("good") - pl.col("unique"),
    )


def _quarantine(faulty: pl.DataFrame) -> pl.DataFrame:
    """Listed with reason; of the forgotten not even a hash is kept."""
    forgotten = pl.col("fault") == "forgotten"
    listed = (
        pl.when(forgotten)
        .then(pl.lit([], pl.List(pl.String)))
        .otherwise("subjects")
        .alias("subjects")
    )
    return faulty.with_columns(listed).rename({"fault": "reason"})


def _by_user(fresh: pl.DataFrame, store: Store) -> pl.LazyFrame:
    """Rows in the bucket of their user or, without one, of their ids: there one
    person's rows meet.
    """
    whose = pl.coalesce("user_id", identity.KEY)
    slim = [
        "event_time",
        "event_time_basis",
        "received_time",
        "event_kind",
        "event",
        "user_id",
        "ids",
        "source",
    ]
    columns = [*slim, "platform", "revenue", "currency", "revenue_usd"]
    numbers, bucket = (
        properties.numbers(pl.col("properties")),
        bucket_of(whose, store.n_buckets).alias("bucket"),
    )
    return fresh.lazy().select(*columns, numbers, bucket)


def _store_people(
    folder: Path,
    passes: list[Sequence[int]],
    store: Store,
    batch_id: str,
) -> None:
    """Activity, users, anonymous rows, edges and merges of the staged rows, by bucket
    of user or ids.
    """
    edges, merges = [], []
    zone, currency = store.settings.timezone, store.settings.activity.currency
    names = properties.commonest_numbers(
        staging.rows(folder, range(store.n_buckets), "user")
    )
    for buckets in passes:
        rows = staging.rows(folder, buckets, "user")
        tables = {
            "activity": (
                activity.from_events(rows, zone, currency, names),
                pl.col("user_id"),
            ),
            "users": (activity.users_from_events(rows, zone), pl.col("user_id")),
            "anonymous": (
                activity.anonymous_from_events(rows, zone, currency, names),
                identity.KEY,
            ),
        }
        for table, (frame, whose) in tables.items():
            bucketed = frame.with_columns(
                bucket_of(whose, store.n_buckets).alias("bucket")
            )
            store.write_batch(table, batch_id, bucketed.collect())
        edges.append(identity.edges_from_events(rows).collect())
        merges.append(identity.merges_from_events(rows).collect())
    store.write_batch("edges", batch_id, identity.news(pl.concat(edges), store))
    store.write_batch("merges", batch_id, pl.concat(merges).unique())


def _commit(store: Store, batch_id: str) -> Store:
    # Coverage and identity are judged on everything, this batch included, before the
    # batch becomes visible.
    seen = replace(store, batches=(*store.batches, batch_id))
    volume = seen.scan("volume").collect()
    covered, first = (
        coverage.covered_until(volume, store.settings),
        min(volume["date"], default=None),
    )
    done = replace(
        seen,
        covered_until=covered,
        first_date=first,
        adopted=identity.adopt(seen, batch_id),
    )
    done.commit()  # what it replaces stays until the next ingest: somebody may be reading it
    return done
