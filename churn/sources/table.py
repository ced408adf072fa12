"""A generic table (CSV, Parquet, NDJSON) with a column map: ours = theirs.

Needs user_id, event and time. Without an event_id column a file has no duplicates inside: the id is the file's digest
and the row number, so the same file read again adds nothing.
"""

from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.sources import parse
from churn.study import Extract

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".ndjson", ".jsonl")
SETTLING_DAYS = 0
NEEDED = ("user_id", "event", "time")
OPTIONAL = (
    "event_id",
    "kind",
    "received_time",
    "anonymous_id",
    "idfa",
    "idfv",
    "gaid",
    "android_id",
    "email",
    "phone",
    "platform",
    "country",
    "app_version",
    "revenue",
    "currency",
    "revenue_usd",
    "media_source",
    "consent",
    "limited",
    "properties",
)


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one table; columns not mapped are looked up under our own names."""
    raw = _ours(_open(path, extract), extract, path)
    schema = raw.collect_schema()
    times = {name: parse.time(name, extract.timezone, schema[name]) for name in ("time", "received_time")}
    identity = pl.lit(f"{parse.file_digest(path)[:16]}:") + pl.col("source_row").cast(pl.String)
    texts = {ours: pl.col(n).cast(pl.String) for ours, n in _FIELDS.items()}
    prepared = raw.with_columns(
        **texts,
        event_time=times["time"],
        event_time_basis=pl.lit(_basis(schema["time"])),
        received_time=times["received_time"],
        id=pl.col("event_id").cast(pl.String) if schema["event_id"] != pl.Null else identity,
        refused=pl.when(pl.col("consent").cast(pl.String).str.to_lowercase().is_in(["0", "false", "no"])).then(
            pl.lit("1")
        ),
        **{name: pl.col(name).cast(pl.String) for name in ("gaid", "idfa", "idfv", "android_id", "email", "phone")},
        **{name: pl.col(name).cast(pl.String) for name in ("platform", "country", "limited")},
    )
    stated = pl.col("kind").cast(pl.String)
    return parse.events(prepared, extract, kinds={}, device="device", own_id=["id"], stated_kind=stated)


_FIELDS = {"name": "event", "user": "user_id", "device": "anonymous_id", "amount": "revenue", "money": "currency"}
_FIELDS |= {"usd": "revenue_usd"}


def _open(path: Path, extract: Extract) -> pl.LazyFrame:
    if path.suffix == ".parquet":
        return pl.scan_parquet(path, hive_partitioning=False).with_row_index("source_row", offset=1)
    if path.suffix in {".ndjson", ".jsonl"}:
        return pl.scan_ndjson(path, infer_schema_length=None).with_row_index("source_row", offset=1)
    return parse.text_csv(path, extract)


def _ours(raw: pl.LazyFrame, extract: Extract, path: Path) -> pl.LazyFrame:
    """The mapped columns under our names, null where there is none; a CSV's repeated header line is marked."""
    theirs = {ours: extract.columns.get(ours, ours) for ours in [*NEEDED, *OPTIONAL]}
    there = raw.collect_schema().names()
    missing = sorted({theirs[c] for c in {*NEEDED, *extract.columns} if theirs.get(c) not in there})
    if missing:
        shown = ", ".join(c for c in there[:40] if c != "source_row")
        raise InputError(f"{path} lacks column(s) {', '.join(missing)}; it has {shown}")
    cells = [(pl.col(t) if t in there else pl.lit(None)).alias(ours) for ours, t in theirs.items()]
    header = pl.all_horizontal([pl.col(theirs[c]).cast(pl.String) == theirs[c] for c in NEEDED])
    return raw.select(pl.col("source_row").cast(pl.Int64), *cells, header.alias("is_header"))


def _basis(dtype: pl.DataType) -> str:
    has_zone = dtype.is_numeric() or (isinstance(dtype, pl.Datetime) and dtype.time_zone)
    return "exact" if has_zone else "tz_assumed"


def check_columns(columns: dict[str, str]) -> None:
    """Raise InputError for a name on our side that doesn't exist."""
    unknown = sorted(set(columns) - {*NEEDED, *OPTIONAL})
    if unknown:
        raise InputError(f"extracts.columns: {', '.join(unknown)} unknown; there are {', '.join([*NEEDED, *OPTIONAL])}")
