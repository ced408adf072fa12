"""The speed of an ingest beside polars, which reads and writes the same columns."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from . import ingest
from .speed_measure import Options, Row, Work, alternately, compared, cost


def rows(given: Options) -> Iterator[Row]:
    """An ingest of one file of each source."""
    for source in ingest.SOURCES:
        folder = given.folder / f"{source}-{given.events}"
        cost(written, source, folder, given.events)
        steps = ((ingested, source, folder), (scanned, source, folder))
        ours, peer = alternately(given.repeat, *steps)
        what = f"ingest of {given.events:,} rows of {source}, against polars"
        yield compared(what, ours, peer)


def written(source: str, folder: Path, n_rows: int) -> Work:
    """Work that writes the file to ingest, unless the folder has it."""

    def work() -> None:
        if not folder.exists():
            folder.mkdir(parents=True)
            ingest.write(source, folder, n_rows)

    return work


def ingested(source: str, folder: Path) -> Work:
    """Work that ingests the file into an empty store."""
    shutil.rmtree(folder / "data", ignore_errors=True)

    def work() -> None:
        ingest.ingest(source, folder)

    return work


def scanned(source: str, folder: Path) -> Work:
    """Work that reads the columns with polars and writes them as Parquet."""

    def work() -> None:
        ingest.scan(source, folder)

    return work
