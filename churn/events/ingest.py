"""Ingest: new extract files become batches of the event log and its derived tables.

Every row of a file is kept, dropped as a duplicate, or quarantined with a reason, and
all three are counted. A file is skipped if its address and stamp, or its content, are
already known. The work has two steps: ``staging`` reads files into a folder of
canonical rows by bucket, and ``merging`` makes one batch of them, bucket by bucket.
Memory use therefore depends neither on the size of a file nor on that of the log.
"""

import logging
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import polars as pl

from churn.events import identity, kind_names, merging, missing_files, staging
from churn.events.sources.find import Found
from churn.events.writing import exclusively
from churn.settings import Settings
from churn.store import Store
from churn.store.batches import STAGING

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingest:
    """What one ingest did.

    Attributes
    ----------
    files: one row per extract file (schemas.Files), with ``new``: whether it was new.
    reasons: rows quarantined now, by reason: reason, n.
    waiting: address of each file that a later ingest will read, with the reason.
    gone: addresses of files that the extracts no longer have; their rows stay.
    covered_until: last complete day of the store; None without events.
    people: number of ``users`` and of ``anonymous`` people without a user id.
    n_requests: number of new rows that report a request for erasure.
    warnings: a sentence for each setting that matches no event.
    """

    files: pl.DataFrame
    reasons: pl.DataFrame
    waiting: dict[str, str]
    gone: list[str]
    covered_until: date | None
    people: dict[str, int]
    n_requests: int
    warnings: list[str]

    @property
    def n_added(self) -> int:
        """Events added to the log."""
        return self.totals["kept"]

    @property
    def n_new_files(self) -> int:
        """Files that were read for the first time."""
        return int(self.files["new"].sum())

    @property
    def totals(self) -> dict[str, int]:
        """Rows read, kept, duplicate and quarantined in this ingest."""
        new = self.files.filter("new")
        names = ("rows", "kept", "duplicate", "quarantined")
        return {name: int(new[name].sum()) for name in names}


def ingest(
    settings: Settings, now: datetime | None = None, progress: bool = True
) -> Ingest:
    """Add every new extract file to the store: all of them, or none.

    ``now`` (default: the clock) is only used to recognise events from the future.
    Raises InputError for a file that cannot be read and StoreError if another process
    writes to the store; in both cases nothing has changed.
    """
    present = now or datetime.now(UTC)
    with exclusively(settings) as store:
        return _ingest(store.under(settings), present, progress)


def _ingest(
    store: Store,
    now: datetime,
    progress: bool,
) -> Ingest:
    found, of_open_hours = staging.discover(store.settings)
    known_files = store.scan("files").collect()
    new = _unknown(found, known_files)
    batch_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    folder = store.path(f"{STAGING}{batch_id}")
    digests = set(known_files["digest"])
    try:
        staged, unfinished = staging.read(new, digests, folder, store, now, progress)
        if staged:
            store = merging.merge(staged, folder, store, batch_id, progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    waiting = {file.address: staging.OPEN_HOUR for file in of_open_hours}
    waiting |= {file.address: staging.BEING_WRITTEN for file in unfinished}
    present = [file.address for file in (*found, *of_open_hours)]
    still_there = _still_there(found, known_files)
    done = _summary(store, batch_id, still_there, waiting, present)
    log.info(
        "ingest: %d rows read, %d kept from %d new files",
        done.totals["rows"],
        done.n_added,
        len(staged),
    )
    return done


def _unknown(found: Sequence[Found], known_files: pl.DataFrame) -> list[Found]:
    known = set(known_files.select("address", "stamp").iter_rows())
    return [file for file in found if (file.address, file.stamp) not in known]


def _still_there(found: Sequence[Found], known_files: pl.DataFrame) -> pl.DataFrame:
    """Rows of known files that the extracts still have, unchanged."""
    present = pl.DataFrame(
        [(file.address, file.stamp) for file in found],
        schema={"address": pl.String, "stamp": pl.String},
        orient="row",
    )
    return known_files.join(
        present,
        on=["address", "stamp"],
        how="semi",
    )


def _summary(
    store: Store,
    batch_id: str,
    known_files: pl.DataFrame,
    waiting: dict[str, str],
    present: Sequence[str],
) -> Ingest:
    """``present``: addresses of all files that the extracts have."""
    batch = replace(store, batches=(batch_id,))
    new_files = batch.scan("files").collect()
    files = [
        new_files.with_columns(new=True),
        known_files.with_columns(new=False),
    ]
    reasons = batch.scan("quarantine").group_by("reason").agg(n=pl.len())
    erasures = batch.scan("volume").filter(pl.col("kind") == "erasure")
    return Ingest(
        files=pl.concat(files),
        reasons=reasons.sort("reason").collect(),
        waiting=waiting,
        gone=missing_files.gone(store.scan("files").collect(), present),
        covered_until=store.covered_until,
        people=identity.people(store),
        n_requests=int(erasures.select(pl.col("n").sum()).collect().item()),
        warnings=kind_names.unused_kinds(
            store.scan("volume").collect(), store.settings
        ),
    )
