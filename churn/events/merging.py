"""Merging: brings the staged rows into the store, and makes the result visible.

Rows are merged bucket by bucket: faulty ones go to the quarantine, of equal events one
copy is kept, and events that the log holds already are dropped. If files were read
again, what the log holds of them is replaced. The other tables follow from the log (see
``deriving``).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from tqdm.auto import tqdm

from churn.events import (
    adoption,
    content_ids,
    coverage,
    deriving,
    erasure,
    outdated,
    records,
    repeats,
    replacing,
    staging,
)
from churn.events.arrivals import Arrivals
from churn.events.repeats import Repeats
from churn.events.replacing import EVENT_KEY
from churn.events.seen import NOTHING, Seen
from churn.events.staging import Staged
from churn.store import Store, cleaning, compaction
from churn.store.inputs import READERS, all_inputs


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes
    ----------
    store: the store as committed.
    files: one row per file that was read (schemas.Files).
    reasons: rows quarantined now, by reason: reason, n.
    examples: some of these rows (see ``records.examples``).
    seen: events by name, and users with very many of them.
    n_added: events that were added to the log, or whose content changed.
    n_removed: events that left the log, or whose content changed.
    n_replaced: events that stay in the log with other content.
    n_requests: number of added rows that report a request for erasure.
    """

    store: Store
    files: pl.DataFrame
    reasons: pl.DataFrame
    examples: pl.DataFrame
    seen: Seen
    n_added: int
    n_removed: int
    n_replaced: int
    n_requests: int


def merge(
    staged: Sequence[Staged],
    arrived: Arrivals,
    folder: Path,
    store: Store,
    progress: bool,
    present: date,
) -> Merged:
    """Store the rows staged in ``folder`` and make them visible.

    ``present`` is the date in the study's time zone, whose day isn't over.
    Raises InputError if a file repeats another one and the study doesn't say which of
    their rows count.
    """
    if not staged and not arrived.outdated:
        return _nothing(store)
    replaced = arrived.replaced(staged)
    copies = arrived.copies(staged, replaced)
    repeated = repeats.repeats(
        staged,
        folder,
        store,
        copies=copies,
        replaced=replaced,
    )
    merging = _Merging(store, folder, replaced, copies, repeated, arrived.outdated)
    passes = store.passes(_n_rows(store, folder, merging.replaces))
    for buckets in tqdm(
        passes,
        "storing",
        disable=not progress,
        leave=False,
    ):
        merging.merge(buckets)
    return merging.finish(staged, arrived, present)


def _nothing(store: Store) -> Merged:
    """The result without any file to read."""
    return Merged(
        store=store,
        files=store.scan("files").collect().clear(),
        reasons=pl.DataFrame(schema={"reason": pl.String, "n": pl.UInt32}),
        examples=pl.DataFrame(schema=records.EXAMPLE),
        seen=NOTHING,
        n_added=0,
        n_removed=0,
        n_replaced=0,
        n_requests=0,
    )


def _n_rows(
    store: Store,
    folder: Path,
    replaces: bool,
) -> int:
    """Number of rows to divide into passes: staged rows and, when replacing, the log."""
    staged = staging.rows(folder, range(store.n_buckets))
    n_staged = int(staged.select(pl.len()).collect().item())
    return n_staged + (store.n_rows("events") if replaces else 0)


class _Merging:
    """The state of one merge: the store so far, and its counts."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        replaced: set[str],
        copies: set[str],
        repeated: Repeats,
        outdated: frozenset[str],
    ) -> None:
        self.store = store
        self._visible = store.versions
        self._folder = folder
        self._replaced = replaced
        self._copies = copies
        self._repeated = repeated
        self._outdated = outdated
        self._tombstones = erasure.tombstones(store)
        self._volumes = deriving.Counts(store)
        self._counts: list[pl.DataFrame] = []
        self._faulty: list[pl.DataFrame] = []
        self._n_added = 0
        self._n_removed = 0
        self._n_replaced = 0

    @property
    def _old(self) -> set[str]:
        """Ids of the files whose stored events go, unless they are brought again."""
        return self._replaced | self._repeated.stored | self._outdated

    @property
    def replaces(self) -> bool:
        """Whether events of the log may go."""
        return bool(self._old)

    def merge(self, buckets: Sequence[int]) -> None:
        """Bring the staged rows of some buckets into the event log."""
        is_copy = pl.col("file_id").is_in(sorted(self._copies))
        staged = staging.rows(self._folder, buckets).filter(~is_copy)
        rows = staged.collect().rechunk()
        faulty = records.faulty(rows.lazy(), self.store)
        good = content_ids.numbered(rows.filter(pl.col("fault").is_null()))
        unique = self._unique(good)
        present = outdated.with_renewed(unique, self.store, buckets, self._outdated)
        change = replacing.difference(present, self.store, buckets, self._old)
        self._counts += records.counts(
            good=good,
            unique=unique,
            kept=change.kept,
            quarantined=faulty,
        )
        self._counts.append(records.spans(good))
        self._faulty.append(faulty)
        self._volumes.add(change.added)
        self._n_added += change.added.height
        self._n_removed += change.removed.height
        self._n_replaced += change.n_replaced
        self.store = replacing.applied(self.store, buckets, change)
        by_person = self._folder / f"user-{buckets[0]:06d}"
        deriving.stage_by_person(change.added, self.store, by_person)

    def _unique(self, good: pl.DataFrame) -> pl.DataFrame:
        """One row per event, without those of files that others replace."""
        counting = good.filter(~pl.col("file_id").is_in(sorted(self._repeated.staged)))
        unique = _unique(counting)
        if self._tombstones.len():
            salt = self.store.salt
            return erasure.without_mentions(unique, salt, self._tombstones)
        return unique

    def finish(
        self,
        staged: Sequence[Staged],
        arrived: Arrivals,
        present: date,
    ) -> Merged:
        """Bring the other tables up to date, and make everything visible."""
        counts = pl.concat(self._counts, how="diagonal")
        files = records.file_rows(staged, counts)
        is_new = [
            not arrived.is_touched(file, digest, self._copies)
            for file, digest in staged
        ]
        store = records.without_events_of(self._repeated.stored, self.store)
        store = records.with_files(store, files, is_new, self._replaced)
        quarantine = records.quarantine(pl.concat(self._faulty))
        store = records.with_quarantine(store, quarantine, self._replaced)
        volume = self._volumes.volume
        # Another version of the readers may count what the earlier one didn't.
        is_upgrade = any(READERS in names for names in arrived.changed.values())
        if self._n_removed or is_upgrade:
            shutil.rmtree(self._folder)
            store, seen = deriving.rebuild(store, self._folder)
        else:
            store, seen = deriving.add(store, self._folder, self._volumes)
        erasures = volume.filter(pl.col("kind") == "erasure")
        return Merged(
            store=_committed(store, self._visible, present, cleans=self.replaces),
            files=files.filter(is_new),
            reasons=quarantine.group_by("reason").agg(n=pl.len()).sort("reason"),
            examples=records.examples(quarantine),
            seen=seen,
            n_added=self._n_added,
            n_removed=self._n_removed,
            n_replaced=self._n_replaced,
            n_requests=int(erasures["n"].sum()),
        )


def _unique(good: pl.DataFrame) -> pl.DataFrame:
    """One row per event: the copy that was received first, then by order of files."""
    is_repeated = content_ids.may_repeat(good, EVENT_KEY)
    if not is_repeated.any():
        return good
    copies = good.filter(is_repeated).sort(
        "received_time", "source_file", "source_row", nulls_last=True
    )
    first = copies.unique(
        EVENT_KEY,
        keep="first",
        maintain_order=True,
    )
    return pl.concat([good.filter(~is_repeated), first])


def _committed(
    store: Store,
    visible: Mapping[str, int],
    present: date,
    cleans: bool,
) -> Store:
    """Compute coverage and adopted rows, compact what is due, make all of it visible.

    ``visible`` are the versions that readers see until then. With ``cleans``, replaced
    rows are removed from the disk at once, since a setting may forbid to keep them.
    """
    settings = store.settings
    volume = store.scan("volume").collect()
    tally = store.scan("tally").collect()
    adopted = adoption.adopt(store, visible)
    done = replace(
        compaction.compacted(adopted, visible),
        covered_until=coverage.covered_until(volume, settings, tally, present),
        first_date=coverage.first_day(volume, settings),
        inputs=_inputs(store),
        cleaning=cleans,
    ).commit()
    if not cleans:
        return done
    cleaning.vacuum(done)
    return replace(done, cleaning=False).commit()


def _inputs(store: Store) -> dict[str, dict[str, Any]]:
    """The settings under which the files of every extract with rows were read.

    An extract that the study no longer has stands for its rows, which stay.
    """
    with_rows = store.scan("files").filter(pl.col("rows") > 0).collect()
    extracts = set(with_rows["extract"])
    before = {path: v for path, v in store.inputs.items() if path in extracts}
    return {**before, **all_inputs(store.settings)}
