"""A generic table (CSV, Parquet, JSON lines) with a map of columns in the study.

The columns user_id, event and time are needed. A row without an event_id gets one from
its content, that is from all fields; ``content_ids`` makes ids of equal rows different.
In CSV and Parquet, columns that
belong to no field become the event's properties, unless there is a column
``properties``. All columns are taken to have been known at the time of the event, so
leave out columns known only on the day of the export, such as totals or a churn flag.
"""

from pathlib import Path

import polars as pl

from churn.events import content_ids
from churn.events.sources import canonical, cells, columns
from churn.settings import Extract

SUFFIXES = (
    ".parquet",
    ".csv",
    ".csv.gz",
    ".ndjson",
    ".jsonl",
    ".ndjson.gz",
    ".jsonl.gz",
)
FORMS = ("parquet", "csv", "json")
SETTLING_DAYS = 0
NEEDED = ("user", "name", "time")
FIELDS = {
    "user": "user_id",
    "name": "event",
    "device": "anonymous_id",
    "amount": "revenue",
    "money": "currency",
    "usd": "revenue_usd",
    "time": "time",
    "event_id": "event_id",
    "kind": "kind",
    "received_time": "received_time",
    "idfa": "idfa",
    "idfv": "idfv",
    "gaid": "gaid",
    "android_id": "android_id",
    "email": "email",
    "phone": "phone",
    "platform": "platform",
    "country": "country",
    "app_version": "app_version",
    "media_source": "media_source",
    "consent": "consent",
    "limited": "limited",
    "properties": "properties",
}
CONTENT = (
    "event_time",
    *[field for field in FIELDS if field not in {"event_id", "time"}],
)
"""Columns that make up a row's content, times as instants."""

NO = ("0", "false", "no", "f", "n")


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one file; fields the study does not map keep our names."""
    raw = columns.read(path, FIELDS, NEEDED, extract, scratch, rest="properties")
    schema = raw.collect_schema()
    zone = extract.timezone
    is_refused = pl.col("consent").str.to_lowercase().is_in(NO)
    prepared = raw.with_columns(
        event_time=cells.time("time", zone, schema["time"]),
        event_time_basis=pl.lit(_basis(schema["time"])),
        received_time=cells.time("received_time", zone, schema["received_time"]),
        has_receipt=~cells.is_blank("received_time"),
        refused=pl.when(is_refused).then(pl.lit("1")),
    )
    is_unreadable = pl.col("received_time").is_null() & pl.col("has_receipt")
    content_id = content_ids.of_content(canonical.joined(CONTENT))
    return canonical.events(
        prepared.with_columns(id=pl.coalesce(cells.event_id("event_id"), content_id)),
        extract,
        device_type="device",
        id_columns=["id"],
        faults={"unreadable_received_time": is_unreadable},
        stated_kind=pl.col("kind"),
    )


def _basis(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "exact"
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return "exact"
    return "tz_assumed"
