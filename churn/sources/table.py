"""A generic table (CSV, Parquet, NDJSON) with a column map: ours = theirs.

Needs user_id, event and time. Without an event_id column a file has no duplicates inside: the id is the file's digest
and the row number, so the same file read again adds nothing.
"""

from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.sources import parse
from churn.study import Extract
from churn.tables import EVENT_KINDS

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".ndjson", ".jsonl")
SETTLING_DAYS = 0
NEEDED = ["user_id", "event", "time"]
OPTIONAL = [
    "event_id",
    "kind",
    "received_time",
    "anonymous_id",
    "platform",
    "country",
    "app_version",
    "revenue",
    "currency",
    "media_source",
    "properties",
]


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events of one table; columns not mapped are looked up under our own names."""
    raw = _ours(_open(path), extract, path).with_row_index("source_row", offset=1)
    given = set(raw.columns)
    events = raw.with_columns(
        event_time=parse.time("time", raw.schema["time"], extract.timezone),
        event_time_basis=pl.lit(_basis(raw.schema["time"])),
        event=parse.event_name("event"),
        user_id=parse.identifier("user_id"),
        revenue=parse.number("revenue") if "revenue" in given else pl.lit(None, pl.Float64),
    )
    if "received_time" in given:
        received = parse.time("received_time", raw.schema["received_time"], extract.timezone)
        events = events.with_columns(received_time=received)
    if "anonymous_id" in given:
        events = events.with_columns(anonymous_id=parse.identifier("anonymous_id"))
    events = events.with_columns(_event_id(path, given), _kind(extract, given))
    return parse.canonical(events.with_columns(_fault(raw)))


def _open(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    if path.suffix in {".ndjson", ".jsonl"}:
        return pl.read_ndjson(path, infer_schema_length=None)
    return parse.text_csv(path)


def _ours(raw: pl.DataFrame, extract: Extract, path: Path) -> pl.DataFrame:
    unknown = sorted(set(extract.columns) - {*NEEDED, *OPTIONAL})
    if unknown:
        raise InputError(f"extracts.columns: {', '.join(unknown)} unknown; there are {', '.join(NEEDED + OPTIONAL)}")
    theirs = {ours: extract.columns.get(ours, ours) for ours in [*NEEDED, *OPTIONAL]}
    parse.require(raw, [theirs[c] for c in {*NEEDED, *extract.columns}], path)
    return raw.select(pl.col(their).alias(ours) for ours, their in theirs.items() if their in raw.columns)


def _basis(dtype: pl.DataType) -> str:
    has_zone = dtype.is_numeric() or (isinstance(dtype, pl.Datetime) and dtype.time_zone)
    return "exact" if has_zone else "tz_assumed"


def _event_id(path: Path, given: set[str]) -> pl.Expr:
    if "event_id" in given:
        return pl.col("event_id").cast(pl.String)
    return pl.concat_str(pl.lit(parse.file_digest(path)[:16] + ":"), pl.col("source_row")).alias("event_id")


def _kind(extract: Extract, given: set[str]) -> pl.Expr:
    derived = parse.kind(pl.col("event"), pl.col("revenue"), extract.kinds)
    stated = pl.col("kind").cast(pl.String) if "kind" in given else pl.lit(None, pl.String)
    return pl.coalesce(stated, derived).alias("event_kind")


def _fault(raw: pl.DataFrame) -> pl.Expr:
    faults = {
        "unreadable_time": pl.col("event_time").is_null(),
        "no_event_name": pl.col("event").is_null(),
        "unknown_kind": ~pl.col("event_kind").is_in(EVENT_KINDS),
    }
    if "revenue" in raw.columns:
        # fault columns are judged on the parsed frame; the original revenue is gone there, so compare with raw
        blank = raw.select(parse.is_blank("revenue")).to_series()
        faults["unreadable_revenue"] = pl.col("revenue").is_null() & ~pl.lit(blank)
    if "event_id" in raw.columns:
        faults["no_event_id"] = parse.is_blank("event_id")
    return parse.first_fault(faults).alias("fault")
