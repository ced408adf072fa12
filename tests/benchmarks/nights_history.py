"""Stores of many nights, made by script, and what one night more then costs.

All but the last of the nights arrive as one file, which an ingest divides into the same
quarters as if they had come one by one.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from churn.settings import load
from churn.study import Study

from . import nights_log, nights_operations, nights_steps, nights_store
from .nights_steps import Row
from .usage import processor_seconds

APPENDS = 16
"""Number of nights that are appended one by one: two rounds of compaction."""


def compare(folder: Path, lengths: Sequence[int], log: Iterator[pl.DataFrame]) -> None:
    """Print what a night costs after histories of several lengths."""
    study_file = nights_log.write_study(folder)
    n_nights = 0
    rows: list[Row] = []
    for length in sorted(lengths):
        history = islice(log, length - n_nights - APPENDS)
        nights_log.write_night(pl.concat(history), folder)
        nights_steps.ingest_here(study_file)
        appends = _fill(islice(log, APPENDS), study_file)
        if not rows:
            Study(study_file, load(study_file)).train().save()
        row: Row = {"nights": length, "append": sum(appends) / APPENDS}
        row |= {"dearest": max(appends)}
        rows.append(row | _one_night_more(study_file, next(log), next(log)))
        print(rows[-1], flush=True)
        n_nights = length + 2
    table = pl.DataFrame(rows)
    print(table, "the last against the first:", table.tail(1) / table.head(1), sep="\n")


def _fill(nights: Iterator[pl.DataFrame], study_file: Path) -> list[float]:
    """Append nights to the store; returns the processor seconds of each append."""
    settings = load(study_file)
    return nights_store.fill(settings, _tables(nights, study_file))


def _tables(
    nights: Iterator[pl.DataFrame], study_file: Path
) -> Iterator[dict[str, pl.DataFrame]]:
    """The tables of every night, whose file is the only one in the extract meanwhile."""
    folder = study_file.parent
    raw, aside, alone = folder / "raw", folder / "aside", folder / "alone"
    raw.rename(aside)
    for night in nights:
        raw.mkdir()
        file = nights_log.write_night(night, folder)
        tables = nights_store.night_tables(load(study_file), alone)
        file.rename(aside / file.name)
        raw.rmdir()
        shutil.rmtree(alone)
        yield tables
    aside.rename(raw)


def _one_night_more(
    study_file: Path, night: pl.DataFrame, next_night: pl.DataFrame
) -> Row:
    """Processor seconds of `churn nightly`, and of the steps of the night after it."""
    folder = study_file.parent
    nights_log.write_night(night, folder)
    nightly = processor_seconds(nights_steps.nightly_command, study_file)
    nights_log.write_night(next_night, folder)
    row: Row = {"nightly": nightly} | nights_steps.steps(study_file)
    row |= nights_steps.questions(study_file, warm_up=True)
    return row | nights_steps.size(folder / "store")


def operations(folder: Path, length: int, log: Iterator[pl.DataFrame]) -> None:
    """Print what single operations cost on a store of so many nights.

    A store that the folder holds already is measured as it is.
    """
    study_file = folder / "churn.toml"
    history = islice(log, length)
    if study_file.exists():
        for _ in history:
            pass
    else:
        nights_log.write_study(folder)
        _fill(history, study_file)
    (tables,) = _tables(islice(log, 1), study_file)
    night = folder / "night"
    night.mkdir(exist_ok=True)
    for name, rows in tables.items():
        rows.write_parquet(night / f"{name}.parquet")
    print(nights_operations.compare(study_file, night))
