"""The tables that follow from the event log: activity, users, identity, volume, tally.

New events add to them. Where events were removed, the tables are made anew from the
whole log, bucket by bucket. Either way rows are first grouped by person in the staging
folder, because a person's events lie in many buckets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from churn.events import activity, coverage, identity, properties, seen, staging
from churn.events.erasure import is_forgotten
from churn.events.seen import Seen
from churn.hashing import bucket_of
from churn.store import Store
from churn.store.compaction import sums

PERSON_COLUMNS = (
    "event_time",
    "event_time_basis",
    "received_time",
    "event_kind",
    "event",
    "user_id",
    "ids",
    "source",
    "platform",
    "revenue",
    "currency",
    "revenue_usd",
)
"""Columns of an event that activity, users and identity edges are made from."""

Put = Callable[[Store, str, pl.DataFrame, Sequence[int] | None], Store]
"""Writes rows to a table, or to some buckets of it; returns the store with them."""


class Counts:
    """Volume and tally of the events seen so far."""

    def __init__(self, store: Store) -> None:
        self._settings = store.settings
        self._volumes: list[pl.DataFrame] = []
        self._tallies: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        """Count events, which have a column ``extract``."""
        self._volumes.append(coverage.volume(events, self._settings))
        self._tallies.append(coverage.tally(events, self._settings))

    @property
    def volume(self) -> pl.DataFrame:
        """Events by extract, platform, day, day known, event and kind."""
        return sums(pl.concat(self._volumes).lazy()).collect()

    @property
    def tally(self) -> pl.DataFrame:
        """Events by extract, day and measure."""
        return sums(pl.concat(self._tallies).lazy()).collect()


def stage_by_person(
    events: pl.DataFrame,
    store: Store,
    folder: Path,
) -> None:
    """Stage events once more, by the bucket of their user or, without one, of their ids.

    All rows of one person are then in one bucket.
    """
    # Many events have the same properties, and to read them is slow.
    read = events.lazy().select(pl.col("properties").unique())
    numbers = read.with_columns(properties.numbers(pl.col("properties")))
    with_numbers = events.lazy().join(
        numbers,
        on="properties",
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    person = pl.coalesce("user_id", identity.KEY)
    staged = with_numbers.select(
        *PERSON_COLUMNS,
        "numbers",
        bucket_of(person, store.n_buckets).alias("bucket"),
    )
    partitions = pl.PartitionBy(folder, key="bucket")
    staged.sink_parquet(partitions, **staging.STAGED)


def add(
    store: Store,
    folder: Path,
    counts: Counts,
) -> tuple[Store, Seen]:
    """The store with what new events, staged by person in ``folder``, add.

    Also returns what was seen of these events.
    """
    volume = counts.volume
    store = store.append("volume", volume)
    store = store.append("tally", counts.tally)
    people = _people(store, folder, _appended)
    edges = identity.new_edges(people.edges, people.store)
    store = people.store.append("edges", edges).append("merges", people.merges)
    return store, seen.together(people.groups, volume, is_whole=False)


def rebuild(store: Store, folder: Path) -> tuple[Store, Seen]:
    """The store with every derived table made anew from its event log.

    Also returns what was seen of the whole log.
    """
    counts = Counts(store)
    extracts = store.scan("files").select("file_id", "extract").collect()
    passes = store.passes(store.n_rows("events"))
    for number, buckets in enumerate(passes):
        events = store.scan("events", buckets).collect()
        counts.add(events.join(extracts, on="file_id"))
        stage_by_person(events, store, folder / f"user-{number:06d}")
    volume = counts.volume
    store = store.overwrite("volume", volume)
    store = store.overwrite("tally", counts.tally)
    people = _people(store, folder, _overwritten)
    store = people.store
    # The log no longer has an erased user's edges, which show that an id was shared.
    forgotten = store.scan("edges").filter(is_forgotten()).collect()
    store = store.overwrite("edges", pl.concat([people.edges, forgotten]))
    store = store.overwrite("merges", people.merges)
    return store, seen.together(people.groups, volume, is_whole=True)


def _appended(
    store: Store,
    table: str,
    rows: pl.DataFrame,
    _buckets: Sequence[int] | None,
) -> Store:
    return store.append(table, rows)


def _overwritten(
    store: Store,
    table: str,
    rows: pl.DataFrame,
    buckets: Sequence[int] | None,
) -> Store:
    return store.overwrite(table, rows, buckets)


@dataclass(frozen=True)
class _People:
    """What follows from events by person.

    Attributes
    ----------
    store: the store with activity, users and anonymous activity.
    edges, merges: rows for the tables of identity.
    groups: what each group of people did.
    """

    store: Store
    edges: pl.DataFrame
    merges: pl.DataFrame
    groups: list[seen.Group]


def _people(
    store: Store,
    folder: Path,
    put: Put,
) -> _People:
    timezone = store.settings.timezone
    currency = store.settings.activity.currency
    everything = staging.rows(folder, range(store.n_buckets), "user")
    names = properties.commonest_numbers(everything)
    n_rows = int(everything.select(pl.len()).collect().item())
    edges, merges, groups = [], [], []
    for buckets in store.passes(n_rows):
        rows = staging.rows(folder, buckets, "user").collect().rechunk().lazy()
        tables = {
            "activity": activity.from_events(rows, timezone, currency, names),
            "users": activity.users_from_events(rows, timezone),
            "anonymous": activity.anonymous_from_events(
                rows, timezone, currency, names
            ),
        }
        for table, frame in tables.items():
            store = put(store, table, _bucketed(frame, table, store), buckets)
        edges.append(identity.edges_from_events(rows).collect())
        merges.append(identity.merges_from_events(rows).collect())
        groups.append(seen.group(rows))
    return _People(
        store=store,
        edges=pl.concat(edges),
        merges=pl.concat(merges).unique(),
        groups=groups,
    )


def _bucketed(
    rows: pl.LazyFrame,
    table: str,
    store: Store,
) -> pl.DataFrame:
    person = identity.KEY if table == "anonymous" else pl.col("user_id")
    bucket = bucket_of(person, store.n_buckets).alias("bucket")
    return rows.with_columns(bucket).collect()
