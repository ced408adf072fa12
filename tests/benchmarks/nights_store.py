"""All that the benchmark of nights knows about the inside of a store."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from churn.events import adoption, coverage, ingest
from churn.events.identity import KEY
from churn.hashing import bucket_of
from churn.settings import Settings
from churn.store import Store, compaction, create_or_open
from churn.store.inputs import all_inputs
from churn.store.layout import BUCKETED, PERIODS, TABLES
from churn.store.parts import WHOLE, Part

from .usage import processor_seconds

SECONDS_PER_DAY = 86_400

PERSON = {
    "events": pl.col("event_id"),
    "activity": pl.col("user_id"),
    "users": pl.col("user_id"),
    "anonymous": KEY,
}
"""The text whose hash gives the bucket of a row, by table."""

INGESTED = (*PERSON, "edges", "merges", "files", "quarantine", "volume", "tally")
"""Tables that an ingest writes, without those of adopted history."""


@dataclass(frozen=True)
class Size:
    """Number of data files and of log files of a store's tables, and their bytes."""

    n_data: int
    n_log: int
    n_bytes: int

    @classmethod
    def of(cls, folder: Path) -> "Size":
        """The size of a store in a folder."""
        files = [
            file
            for table in TABLES
            for file in (folder / table).rglob("*")
            if file.is_file()
        ]
        n_log = sum("_delta_log" in file.parts for file in files)
        n_bytes = sum(file.stat().st_size for file in files)
        return cls(len(files) - n_log, n_log, n_bytes)


def pass_a_day(folder: Path) -> None:
    """Make the files of the tables' logs a day older, as they are by the next night.

    The store removes those that were summed up and are old enough.
    """
    for table in TABLES:
        for file in (folder / table / "_delta_log").glob("*"):
            status = file.stat()
            os.utime(file, (status.st_atime, status.st_mtime - SECONDS_PER_DAY))


def night_tables(settings: Settings, folder: Path) -> dict[str, pl.DataFrame]:
    """The rows of every table that an ingest of the extract makes.

    The ingest runs into a store of its own in ``folder``.
    """
    alone = settings.model_copy(update={"store": str(folder)})
    ingest.ingest(alone, progress=False)
    store = create_or_open(alone)
    return {table: store.scan(table, adopted=False).collect() for table in INGESTED}


def append(store: Store, tables: dict[str, pl.DataFrame]) -> Store:
    """Commit the rows of one night as an ingest would, compaction included."""
    visible = store.versions
    for table, rows in tables.items():
        bucketed = rows
        if table in BUCKETED:
            bucket = bucket_of(PERSON[table], store.n_buckets).alias("bucket")
            bucketed = rows.with_columns(bucket)
        store = store.append(table, bucketed)
    volume = store.scan("volume").collect()
    adopted = adoption.adopt(store, visible)
    done = replace(
        compaction.compacted(adopted, visible),
        covered_until=coverage.covered_until(volume, store.settings),
        first_date=volume["date"].min(),
        inputs=all_inputs(store.settings),
    )
    return done.commit()


def compact(store: Store) -> Store:
    """Compact every table, due or not, and make that visible."""
    done = store
    for table in store.versions:
        parts = [WHOLE]
        if table in PERIODS:
            periods = store.files(table)["period"].unique().sort()
            parts = [Part(period=period) for period in periods]
        for part in parts:
            done = compaction.rewritten(done, table, part)
    return done.commit()


def fill(settings: Settings, nights: Iterator[dict[str, pl.DataFrame]]) -> list[float]:
    """Append night after night to the store; returns the processor seconds of each.

    Edges are appended only where they are new, as an ingest does.
    """
    key = ["source", "id", "user_id"]
    known = create_or_open(settings).scan("edges").select(key).collect()
    seconds = []
    for tables in nights:
        edges = tables["edges"].join(known, on=key, how="anti")
        known = pl.concat([known, edges.select(key)])
        new = tables | {"edges": edges}
        seconds.append(processor_seconds(append, create_or_open(settings), new))
        pass_a_day(settings.store_path)
    return seconds
