"""A generic table (CSV, Parquet, JSON lines) with a column map: ours = theirs.

Needs user_id, event and time. Rows without an event_id have no duplicates inside a
file: their id is the file's digest and the row number, so the same file read again adds
nothing. In CSV and Parquet, columns that are none of ours are the properties, unless
there is a column of that name. They are taken to be known when the event was: leave out
what is known only on the day of the export, such as totals so far or a flag of who has
left.
"""

from pathlib import Path

import polars as pl

from churn.events.sources import columns, parse
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
SAME = "time event_id kind received_time idfa idfv gaid android_id email phone platform country app_version".split()
SAME += ["media_source", "consent", "limited", "properties"]
FIELDS = {
    "user": "user_id",
    "name": "event",
    "device": "anonymous_id",
    "amount": "revenue",
    "money": "currency",
}
FIELDS |= {"usd": "revenue_usd"} | {name: name for name in SAME}
NO = ("0", "false", "no", "f", "n")


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one table; columns not mapped are looked up under our own
    names.
    """
    raw = columns.read(path, FIELDS, NEEDED, extract, scratch, rest="properties")
    schema = raw.collect_schema()
    received = parse.time("received_time", extract.timezone, schema["received_time"])
    identity = pl.lit(f"{parse.file_digest(path)[:16]}:") + pl.col("source_row").cast(
        pl.String
    )
    prepared = raw.with_columns(
        event_time=parse.time("time", extract.timezone, schema["time"]),
        event_time_basis=pl.lit(_basis(schema["time"])),
        received_time=received,
        id=pl.coalesce("event_id", identity),
        refused=pl.when(pl.col("consent").str.to_lowercase().is_in(NO)).then(
            pl.lit("1")
        ),
    )
    return parse.events(
        prepared,
        extract,
        kinds={},
        device="device",
        own_id=["id"],
        stated_kind=pl.col("kind"),
    )


def _basis(dtype: pl.DataType) -> str:
    has_zone = dtype.is_numeric() or (
        isinstance(dtype, pl.Datetime) and dtype.time_zone
    )
    return "exact" if has_zone else "tz_assumed"
