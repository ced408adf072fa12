"""Stores of an invented app for the measurement of speed, written without extracts."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from churn.hashing import bucket_of
from churn.settings import load
from churn.store import Store, create_or_open, open_filled
from churn.store.inputs import all_inputs

from . import speed_log
from .speed_measure import Work

PASS_EVENTS = 3_000_000
"""Events that are drawn and written at a time, which bounds the memory needed."""

N_DAYS = 365

STUDY = """\
store = "store"

[[extracts]]
source = "table"
path = "raw"

[backtest]
n_train_cutoffs = 3
max_training_rows = 20_000
"""
"""The study; its training is small, because no figure here depends on the model."""


def made(folder: Path, n_events: int, n_days: int = N_DAYS) -> Work:
    """Work that makes a store of about so many events, unless the folder has one."""

    def work() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        study_file = folder / "churn.toml"
        study_file.write_text(STUDY, encoding="utf-8")
        store = create_or_open(load(study_file))
        if store.first_date is None:
            _fill(store, n_events, n_days)

    return work


def opened(folder: Path) -> Store:
    """The store that was made in a folder."""
    return open_filled(load(folder / "churn.toml"))


def _fill(store: Store, n_events: int, n_days: int) -> Store:
    """The store with the tables that features, gates and scores read, committed."""
    people = speed_log.people(n_events, n_days)
    bucket = bucket_of("user_id", store.n_buckets).alias("bucket")
    people = people.with_columns(bucket)
    volumes, hours = [], []
    for number, buckets in enumerate(store.passes(n_events, PASS_EVENTS)):
        users = people.filter(pl.col("bucket").is_in(list(buckets)))
        events = speed_log.events(users, n_days, number)
        activity = speed_log.daily(users, events)
        store = store.append("activity", activity)
        store = store.append("users", speed_log.seen(users, activity))
        volumes.append(_volume(activity))
        hours.append(_hours(events))
    extract = pl.lit(store.settings.extracts[0].path).alias("extract")
    volume = _summed(volumes)
    tally = pl.concat([_summed(hours), _filled(volume)])
    everybody = pl.lit(0, pl.Int64).alias("n_without_user")
    store = store.append("volume", volume.with_columns(extract, everybody))
    store = store.append("tally", tally.with_columns(extract))
    return replace(
        store,
        covered_until=speed_log.FIRST_DAY + timedelta(days=n_days - 1),
        first_date=speed_log.FIRST_DAY,
        inputs=all_inputs(store.settings),
    ).commit()


def _volume(activity: pl.DataFrame) -> pl.DataFrame:
    """Events per platform, day, day known, event and kind."""
    key = ["platform", "date", "known_date", "event", "kind"]
    return activity.group_by(key).agg(pl.col("n").sum())


def _hours(events: pl.DataFrame) -> pl.DataFrame:
    """Events per day and hour of the day."""
    date = pl.lit(speed_log.FIRST_DAY) + pl.duration(days=pl.col("day"))
    hour = (pl.col("second") // 3600).cast(pl.String)
    counts = events.group_by(date.alias("date"), hour.alias("value")).len("n")
    return counts.select(
        "date",
        "value",
        pl.col("n").cast(pl.Int64),
        pl.lit("hour").alias("measure"),
    )


def _filled(volume: pl.DataFrame) -> pl.DataFrame:
    """Events per day that have a user id, which all of them have."""
    counts = volume.group_by("date").agg(pl.col("n").sum())
    return counts.select(
        "date",
        pl.lit("user_id").alias("value"),
        pl.lit("column").alias("measure"),
        "n",
    )


def _summed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by(pl.all().exclude("n")).agg(pl.col("n").sum())
