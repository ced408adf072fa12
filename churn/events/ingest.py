"""Ingest: brings new and changed extract files into the event log and its tables.

Every row of a file is kept, dropped as a duplicate, or quarantined with a reason, and
all three are counted. A file is skipped if its address and stamp, or its content, are
already known; ``arrivals`` says which are read. The work has two steps: ``staging``
reads files into a folder of canonical rows by bucket, and ``merging`` brings them into
the store, bucket by bucket. Memory use therefore depends neither on the size of a file
nor on that of the log.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl

from churn.errors import InputError, StoreError
from churn.events import (
    discovery,
    identity,
    kind_names,
    merging,
    missing_files,
    nothing_kept,
    sizing,
    staging,
    unstated_currency,
)
from churn.events.arrivals import Arrivals, arrivals
from churn.events.merging import Merged
from churn.events.seen import Seen
from churn.events.sources.find import Found
from churn.events.writing import exclusively
from churn.settings import Settings
from churn.store import Store, recovery

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingest:
    """What one ingest did.

    Attributes
    ----------
    files: one row per extract file (schemas.Files), with ``new``: whether it was read
        now.
    reasons: rows quarantined now, by reason: reason, n.
    examples: the first of these rows by reason (see ``records.examples``).
    seen: the new events that most people have, and users with very many events.
    waiting: address of each file that a later ingest will read, with the reason.
    gone: addresses of files that the extracts no longer have; their rows stay.
    covered_until: last complete day of the store; None without events.
    people: number of ``users`` and of ``anonymous`` people without a user id.
    n_requests: number of new rows that report a request for erasure.
    warnings: a sentence for each setting that matches no event, and for each extract
        whose amounts are in a currency that nobody states.
    n_added: events that the log did not hold before.
    n_replaced: events whose content a changed file or setting has changed.
    n_removed: events that the log no longer holds, for a file or setting changed.
    n_again: known files that were read again.
    n_changed: those of them that have other content, under the settings of before.
    n_reread: number of files read again because of the extract's settings, by extract.
    changed: by extract, names of the settings that have changed.
    passed_over: files that were not read for their names.
    """

    files: pl.DataFrame
    reasons: pl.DataFrame
    examples: pl.DataFrame
    seen: Seen
    waiting: dict[str, str]
    gone: list[str]
    covered_until: date | None
    people: dict[str, int]
    n_requests: int
    warnings: list[str]
    n_added: int
    n_replaced: int
    n_removed: int
    n_again: int
    n_changed: int
    n_reread: dict[str, int]
    changed: dict[str, list[str]]
    passed_over: list[Found] = field(default_factory=list)

    @property
    def n_new_files(self) -> int:
        """Files that were read for the first time."""
        return int(self.files["new"].sum()) - self.n_again

    @property
    def totals(self) -> dict[str, int]:
        """Rows read, kept, duplicate and quarantined in this ingest."""
        new = self.files.filter("new")
        names = ("rows", "kept", "duplicate", "quarantined")
        return {name: int(new[name].sum()) for name in names}


def ingest(
    settings: Settings, now: datetime | None = None, progress: bool = True
) -> Ingest:
    """Add every new extract file to the store, and replace changed ones: all, or none.

    ``now`` (default: the clock) is used to recognise events from the future, and the
    present day, which isn't over. Raises InputError for a file that cannot be read, or none of whose rows can, and
    StoreError if another process writes to the store; then nothing has changed.
    """
    present = now or datetime.now(UTC)
    with exclusively(settings) as store:
        return _ingest(store, present, progress)


def _ingest(
    store: Store,
    now: datetime,
    progress: bool,
) -> Ingest:
    listing = discovery.discover(store.settings)
    store = _sized(store, listing.ready)
    present = {file.address for file in [*listing.ready, *listing.waiting]}
    arrived = arrivals(listing.ready, present, store)
    known = _still_there(listing.ready, store)
    today = now.astimezone(ZoneInfo(store.settings.timezone)).date()
    with recovery.stage(store) as stage:
        read = staging.read(arrived.files, arrived.digests, stage, store, now, progress)
        _check_complete(read.waiting, arrived)
        nothing_kept.check(read.files, read.faults, arrived.known)
        merged = merging.merge(read, arrived, store, progress, today)
    waiting = {file.address: staging.OPEN_HOUR for file in listing.waiting}
    waiting |= {file.address: staging.BEING_WRITTEN for file in read.waiting}
    summary = _summary(merged, arrived, known, waiting, present)
    done = replace(summary, passed_over=listing.passed_over)
    log.info(
        "ingest: %d rows read, %d added from %d files",
        done.totals["rows"],
        done.n_added,
        len(read.files),
    )
    return done


def _sized(store: Store, files: Sequence[Found]) -> Store:
    """The store with a number of buckets that fits: a new one may still get another.

    Raises StoreError if the study asks for another number than the store has.
    """
    wanted = store.settings.store_buckets
    if store.versions:
        if faults := sizing.differing(store):
            raise StoreError(faults[0])
        return store
    number = wanted or sizing.buckets_for(sizing.estimated_events(files))
    if number == store.n_buckets:
        return store
    log.info("ingest: a store of %d buckets", number)
    return replace(store, n_buckets=number).commit()


def _check_complete(unfinished: Sequence[Found], arrived: Arrivals) -> None:
    """Raise InputError if a file that must be read again is still being written."""
    lacking = [
        file.address
        for file in unfinished
        if file.extract.path in arrived.changed and file.address in arrived.known
    ]
    if lacking:
        raise InputError(
            f"{lacking[0]} must be read again, but is still being written; run `churn "
            "ingest` again in some minutes"
        )


def _still_there(found: Sequence[Found], store: Store) -> pl.DataFrame:
    """Rows of known files that the extracts still have."""
    addresses = pl.DataFrame({"address": [file.address for file in found]})
    files = store.scan("files").collect()
    return files.join(
        addresses.cast(pl.String),
        on="address",
        how="semi",
    )


def _summary(
    merged: Merged,
    arrived: Arrivals,
    known: pl.DataFrame,
    waiting: dict[str, str],
    present: set[str],
) -> Ingest:
    """``present``: addresses of all files that the extracts have."""
    store = merged.store
    others = known.join(
        merged.files,
        on="address",
        how="anti",
    )
    files = [merged.files.with_columns(new=True), others.with_columns(new=False)]
    again = merged.files.filter(pl.col("address").is_in(list(arrived.known)))
    digests = {address: row["digest"] for address, row in arrived.known.items()}
    is_reread = pl.col("extract").is_in(list(arrived.changed))
    is_changed = pl.col("digest") != pl.col("address").replace_strict(
        digests, default=None, return_dtype=pl.String
    )
    reread = again.filter(is_reread).group_by("extract").len().sort("extract")
    return Ingest(
        files=pl.concat(files),
        reasons=merged.reasons,
        examples=merged.examples,
        seen=merged.seen,
        waiting=waiting,
        gone=missing_files.gone(store.scan("files").collect(), present),
        covered_until=store.covered_until,
        people=identity.people(store),
        n_requests=merged.n_requests,
        warnings=_warnings(store),
        n_added=merged.n_added - merged.n_replaced,
        n_replaced=merged.n_replaced,
        n_removed=merged.n_removed - merged.n_replaced,
        n_again=again.height,
        n_changed=again.filter(~is_reread & is_changed).height,
        n_reread=dict(reread.iter_rows()),
        changed=arrived.changed,
    )


def _warnings(store: Store) -> list[str]:
    volume = store.scan("volume").collect()
    tally = store.scan("tally").collect()
    return [
        *kind_names.unused_kinds(volume, store.settings),
        *unstated_currency.taken_for_own(tally, store.settings),
        *sizing.warnings(store),
    ]
