"""The log of an invented product: a file of rows for every night, and its study.

50,000 people have habits that last: how often they come, an hour of the day, a
platform, a version of the app. Half of them are dormant at any time; a state lasts 60
days on average. One in ten of the present comes on a given day, the more frequent ones
first, so that every night brings as many rows from as many people. Rows carry an
event_id, as rows of a product's own log do, and every person has one device.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

FIRST_DAY = date(2024, 1, 1)
ROWS_PER_PERSON = 2
"""Rows of a person on a day on which they come, on average."""

PEOPLE_PER_VISITOR = 10
"""People altogether, for each one who comes on a day."""

STATE_DAYS = 60
"""Days for which a person stays present or dormant, on average."""

EVENTS = ("open", "search", "view", "add", "share", "rate", "level", "purchase")
EVENT_SHARES = (0.3, 0.2, 0.2, 0.1, 0.06, 0.05, 0.06, 0.03)

STUDY = """\
store = "{store}"

[[extracts]]
source = "table"
path = "raw"
columns = {{ anonymous_id = "device" }}
kinds = {{ purchase = "purchase" }}

[backtest]
n_train_cutoffs = 3
max_training_rows = 20_000

[gates]
max_model_age_days = 3650
"""
"""The study; its training is small, because no figure here depends on it, and done once,
because a night that trains can't be compared with one that doesn't.
"""


def write_study(folder: Path, store: str = "store") -> Path:
    """Write a study file whose extract is the folder ``raw`` beside it."""
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    study_file = folder / "churn.toml"
    study_file.write_text(STUDY.format(store=store), encoding="utf-8")
    return study_file


def write_night(rows: pl.DataFrame, folder: Path) -> Path:
    """Write the rows of a night, or of several, as one new file of the extract."""
    file = folder / "raw" / f"{rows['time'].max():%Y-%m-%d}.parquet"
    rows.write_parquet(file)
    return file


def nights(
    n_rows: int, anonymous: float = 0.0, seed: int = 0
) -> Iterator[pl.DataFrame]:
    """The rows of one night after the other, for ever.

    ``anonymous`` is the share of rows from before a log-in, which state only the device.
    """
    rng = np.random.default_rng(seed)
    n_visitors = n_rows // ROWS_PER_PERSON
    n_people = n_visitors * PEOPLE_PER_VISITOR
    frequency = rng.gamma(0.7, size=n_people) + 0.01
    hour = rng.normal(15, 4, n_people).clip(1, 22)
    is_present = rng.random(n_people) < 0.5
    day = FIRST_DAY
    while True:
        is_present ^= rng.random(n_people) < 1 / STATE_DAYS
        # The first arrivals of independent processes are a sample without replacement.
        arrival = rng.exponential(size=n_people) / frequency
        arrival[~is_present] = np.inf
        visitors = np.argpartition(arrival, n_visitors)[:n_visitors]
        further = rng.choice(visitors, n_rows - n_visitors)
        people = np.concatenate([visitors, further])
        yield _rows(people, hour[people], day, anonymous, rng)
        day += timedelta(days=1)


def _rows(
    people: np.ndarray,
    hour: np.ndarray,
    day: date,
    anonymous: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    n = people.size
    seconds = ((hour + rng.normal(0, 0.5, n)) * 3600).clip(0, 86_399)
    event = rng.choice(EVENTS, n, p=EVENT_SHARES)
    person = pl.col("person")
    is_known = pl.lit(rng.random(n) >= anonymous)
    is_purchase = pl.col("event") == "purchase"
    columns = {"person": people, "event": event, "amount": rng.gamma(2, 10, n).round(2)}
    return pl.DataFrame(columns).select(
        event_id=pl.format("{}-{}", pl.lit(f"{day:%Y%m%d}"), pl.int_range(n)),
        user_id=pl.when(is_known).then(pl.format("user-{}", person)),
        device=pl.format("device-{}", person),
        event="event",
        time=pl.lit(day).cast(pl.Datetime("us", "UTC"))
        + pl.duration(microseconds=pl.lit((seconds * 1e6).astype(np.int64))),
        platform=pl.when(person % 5 < 2)
        .then(pl.lit("ios"))
        .otherwise(pl.lit("android")),
        country=pl.when(person % 3 == 0).then(pl.lit("DE")).otherwise(pl.lit("FR")),
        app_version=pl.format("4.{}", person % 7),
        revenue=pl.when(is_purchase).then("amount"),
        currency=pl.when(is_purchase).then(pl.lit("USD")),
        items=pl.when(is_purchase).then(person % 4 + 1),
    )
