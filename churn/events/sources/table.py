"""A generic table (CSV, Parquet, JSON lines) with a map of columns in the study.

The columns user_id, event and time are needed. A row without an event_id gets one from
the file's digest and the row's number: it is never a duplicate of another row of its
file, and reading the same file again adds nothing. In CSV and Parquet, columns that
belong to no field become the event's properties, unless there is a column
``properties``. All columns are taken to have been known at the time of the event, so
leave out columns known only on the day of the export, such as totals or a churn flag.
"""

from pathlib import Path

import polars as pl

from churn.events.sources import canonical, cells, columns, unpack
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
    file_id = unpack.file_digest(path)[:16]
    row_id = pl.lit(f"{file_id}:") + pl.col("source_row").cast(pl.String)
    is_refused = pl.col("consent").str.to_lowercase().is_in(NO)
    prepared = raw.with_columns(
        event_time=cells.time("time", zone, schema["time"]),
        event_time_basis=pl.lit(_basis(schema["time"])),
        received_time=cells.time("received_time", zone, schema["received_time"]),
        id=pl.coalesce("event_id", row_id),
        refused=pl.when(is_refused).then(pl.lit("1")),
    )
    return canonical.events(
        prepared,
        extract,
        kinds={},
        device_type="device",
        id_columns=["id"],
        stated_kind=pl.col("kind"),
    )


def _basis(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "exact"
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return "exact"
    return "tz_assumed"
