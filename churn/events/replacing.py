"""What new rows change in the event log: rows added, and rows of replaced files removed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from churn.events.content_ids import is_content_id
from churn.store import Store, data_files
from churn.store.data_files import DataFile
from churn.store.parts import Part
from churn.store.schemas import Events

EVENT_KEY = ["source", "event_id"]

TIMED_IDS = ("adjust", "appsflyer", "ga4")
"""Sources whose event ids are derived from the event's time and other columns."""

LINEAGE = ("source_row", "source_file")
"""Columns that may differ between two deliveries of the same event."""


@dataclass(frozen=True)
class Difference:
    """What some buckets of the event log gain and lose.

    Attributes
    ----------
    kept: rows of the new files that are in the log afterwards.
    added: those of them that were not in it before, or had other content.
    removed: source and event_id of rows that leave it, or whose content changes.
    """

    kept: pl.DataFrame
    added: pl.DataFrame
    removed: pl.DataFrame

    @property
    def n_replaced(self) -> int:
        """Number of events that stay in the log with other content."""
        both = self.added.join(self.removed, on=EVENT_KEY, how="semi")
        return both.height


def difference(
    unique: pl.DataFrame,
    store: Store,
    buckets: Sequence[int],
    replaced: Collection[str],
) -> Difference:
    """What the rows of new files, one per event, change in some buckets.

    ``replaced`` are the ids of files whose stored rows they replace. A row that another
    file brought before is a duplicate.
    """
    kept = _without_known(unique, store, buckets, replaced)
    if not replaced:
        return Difference(kept, kept, kept.select(EVENT_KEY).clear())
    own = pl.col("file_id").is_in(sorted(replaced))
    stored = store.scan("events", buckets).filter(own).collect()
    same = [*EVENT_KEY, "content"]
    old, new = _with_content(stored), _with_content(kept)
    added = new.join(old, on=same, how="anti", maintain_order="left")
    removed = old.join(new, on=same, how="anti")
    return Difference(kept, added.drop("content"), removed.select(EVENT_KEY))


def _without_known(
    unique: pl.DataFrame,
    store: Store,
    buckets: Sequence[int],
    replaced: Collection[str],
) -> pl.DataFrame:
    """Rows of events that the log doesn't hold from another file.

    If ids are made from the event's time, a stored copy has the same time, so only
    stored events of these rows' time span are read.
    """
    if not store.n_rows("events", Part(buckets)):
        return unique
    is_timed = pl.col("source").is_in(TIMED_IDS) | is_content_id()
    is_other = ~pl.col("file_id").is_in(sorted(replaced))
    timed, others = unique.filter(is_timed), unique.filter(~is_timed)
    known = [timed.select(EVENT_KEY).clear()]
    if timed.height:
        first, last = span(timed)
        in_span = pl.col("event_time").is_between(pl.lit(first), pl.lit(last))
        stored = store.scan("events", buckets, since=first.date())
        known.append(_present(timed, stored.filter(in_span & is_other)))
    if others.height:
        stored = store.scan("events", buckets)
        known.append(_present(others, stored.filter(is_other)))
    return unique.join(
        pl.concat(known),
        on=EVENT_KEY,
        how="anti",
        maintain_order="left",
    )


def _present(rows: pl.DataFrame, stored: pl.LazyFrame) -> pl.DataFrame:
    """Source and event_id of the stored events that are also among the rows."""
    same = stored.select(EVENT_KEY).join(
        rows.lazy().select(EVENT_KEY),
        on=EVENT_KEY,
        how="semi",
    )
    return same.collect()


def span(events: pl.DataFrame) -> tuple[datetime, datetime]:
    """The times of the first and the last of some events."""
    first, last = events.select(
        pl.col("event_time").min().alias("first"),
        pl.col("event_time").max().alias("last"),
    ).row(0)
    return first, last


def _with_content(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a hash of their content, which is comparable within one process."""
    names = [name for name in Events.column_names() if name not in LINEAGE]
    return rows.with_columns(content=pl.struct(names).hash())


def written(
    store: Store,
    buckets: Sequence[int],
    change: Difference,
) -> tuple[list[DataFile], bool]:
    """Data files with the rows added, which have a column ``bucket``.

    If rows were removed, the files hold all rows of these buckets, whose files of
    before they replace; whether they do is returned with them.
    """
    columns = ["bucket", *Events.column_names()]
    added = change.added.select(columns)
    if change.removed.is_empty():
        return data_files.written(store, "events", added), False
    stored = store.rows_of("events", buckets).join(
        change.removed.lazy(),
        on=EVENT_KEY,
        how="anti",
    )
    new = added.lazy().with_columns(pl.col("bucket").cast(pl.Int32))
    rows = pl.concat([stored.select(columns), new]).collect()
    return data_files.written(store, "events", rows), True
