"""The tables that follow from the event log: activity, users, identity, volume, tally.

New events add to them. Where events were removed, the tables are made anew from the
whole log, bucket by bucket. Either way rows are first grouped by person in the staging
folder, because a person's events lie in many buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from churn.events import activity, coverage, identity, properties, seen, staged
from churn.events.erasure import is_forgotten
from churn.events.seen import Seen
from churn.events.staged import Rows
from churn.hashing import bucket_of
from churn.settings import Settings
from churn.store import Place, Store, data_files, grouped
from churn.store.compaction import sums
from churn.store.data_files import DataFile
from churn.store.parts import WHOLE, Part

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

BY_PERSON = ("activity", "users", "anonymous")
"""Tables whose rows of one person follow from that person's events."""


@dataclass(frozen=True)
class Counts:
    """What is counted of events, as ``coverage`` does: their volume and tally."""

    volume: pl.DataFrame
    tally: pl.DataFrame


def counts(events: pl.DataFrame, settings: Settings) -> Counts:
    """Count events, which have a column ``extract``."""
    volume = coverage.volume(events, settings)
    return Counts(volume, coverage.tally(events, settings))


def summed(parts: Sequence[Counts]) -> Counts:
    """The counts of several groups of events in one."""
    volume = pl.concat([part.volume for part in parts]).lazy()
    tally = pl.concat([part.tally for part in parts]).lazy()
    return Counts(sums(volume).collect(), sums(tally).collect())


def stage_by_person(
    events: pl.DataFrame,
    store: Store,
    place: Place,
) -> Rows:
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
    rows = with_numbers.select(
        *PERSON_COLUMNS,
        "numbers",
        bucket_of(person, store.n_buckets).alias("bucket"),
    )
    by_person = staged.write(rows, place, store.n_buckets)
    return replace(by_person, n_rows=events.height)


def add(
    store: Store,
    by_person: Rows,
    counted: Counts,
) -> tuple[Store, Seen]:
    """The store with what new events, staged by person, add.

    Also returns what was seen of these events.
    """
    store = store.append("volume", counted.volume)
    store = store.append("tally", counted.tally)
    people = _people(store, by_person, None)
    edges = identity.new_edges(people.edges, people.store)
    store = people.store.append("edges", edges).append("merges", people.merges)
    return store, seen.together(people.groups, counted.volume, is_whole=False)


def rebuild(store: Store, place: Place) -> tuple[Store, Seen]:
    """The store with every derived table made anew from its event log.

    Rows by person are staged at ``place``. Also returns what was seen of the whole log.
    """
    groups = grouped.groups(store, store.n_rows("events"))
    work = partial(_staged_again, place=place)
    parts = grouped.values(store, work, groups, "events by person")
    counted = summed([counts for counts, _ in parts])
    store = store.overwrite("volume", counted.volume)
    store = store.overwrite("tally", counted.tally)
    by_person = staged.together([rows for _, rows in parts])
    people = _people(store, by_person, WHOLE)
    store = people.store
    # The log no longer has an erased user's edges, which show that an id was shared.
    forgotten = store.scan("edges").filter(is_forgotten()).collect()
    store = store.overwrite("edges", pl.concat([people.edges, forgotten]))
    store = store.overwrite("merges", people.merges)
    return store, seen.together(people.groups, counted.volume, is_whole=True)


def _staged_again(
    store: Store,
    buckets: Sequence[int],
    place: Place,
) -> tuple[Counts, Rows]:
    """Count the log's events of some buckets, and stage them by person."""
    extracts = store.scan("files").select("file_id", "extract").collect()
    events = store.scan("events", buckets).collect()
    counted = counts(events.join(extracts, on="file_id"), store.settings)
    return counted, stage_by_person(events, store, place)


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


@dataclass(frozen=True)
class _Group:
    """What follows from the events of one group of people.

    Attributes
    ----------
    files: data files by table.
    edges, merges: rows for the tables of identity.
    seen: what they did.
    """

    files: dict[str, list[DataFile]]
    edges: pl.DataFrame
    merges: pl.DataFrame
    seen: seen.Group


def _people(
    store: Store,
    by_person: Rows,
    replaces: Part | None,
) -> _People:
    """The store with the tables by person, beside their rows or instead of them."""
    names = properties.commonest_numbers(by_person.scan())
    work = partial(_of_group, names=names)
    groups = by_person.divided(grouped.groups(store, by_person.n_rows))
    parts = grouped.values(store, work, groups, "users")
    for table in BY_PERSON:
        files = [file for part in parts for file in part.files[table]]
        store = data_files.published(store, table, files, replaces)
    return _People(
        store=store,
        edges=pl.concat([part.edges for part in parts]),
        merges=pl.concat([part.merges for part in parts]).unique(),
        groups=[part.seen for part in parts],
    )


def _of_group(
    store: Store,
    by_person: Rows,
    names: pl.DataFrame,
) -> _Group:
    timezone = store.settings.timezone
    currency = store.settings.activity.currency
    rows = by_person.scan().collect().rechunk().lazy()
    tables = {
        "activity": activity.from_events(rows, timezone, currency, names),
        "users": activity.users_from_events(rows, timezone),
        "anonymous": activity.anonymous_from_events(rows, timezone, currency, names),
    }
    return _Group(
        files={
            table: data_files.written(store, table, _bucketed(frame, table, store))
            for table, frame in tables.items()
        },
        edges=identity.edges_from_events(rows).collect(),
        merges=identity.merges_from_events(rows).collect(),
        seen=seen.group(rows),
    )


def _bucketed(
    rows: pl.LazyFrame,
    table: str,
    store: Store,
) -> pl.DataFrame:
    person = identity.KEY if table == "anonymous" else pl.col("user_id")
    bucket = bucket_of(person, store.n_buckets).alias("bucket")
    return rows.with_columns(bucket).collect()
