"""What readers share: text cells, times, ids, names, numbers and the canonical column set."""

import hashlib
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.tables import EVENT_KINDS, UTC_TIME

CANONICAL: dict[str, pl.DataType | type[pl.DataType]] = {
    "source_row": pl.Int64,
    "event_id": pl.String,
    "event_time": UTC_TIME,
    "event_time_basis": pl.String,
    "received_time": UTC_TIME,
    "event_kind": pl.String,
    "event": pl.String,
    "user_id": pl.String,
    "anonymous_id": pl.String,
    "platform": pl.String,
    "country": pl.String,
    "app_version": pl.String,
    "revenue": pl.Float64,
    "currency": pl.String,
    "media_source": pl.String,
    "properties": pl.String,
    "fault": pl.String,
}

# Stand-ins for "no id": joined on, they would make one person of thousands.
NULL_LIKE = ("", "null", "none", "nil", "nan", "n/a", "na", "undefined", "unknown", "(not set)")
ZERO_ID = r"^[0-]+$"


def text_csv(path: Path) -> pl.DataFrame:
    """A CSV file as text: every column String, an empty cell null, nothing inferred."""
    return pl.read_csv(path, infer_schema=False)


def require(frame: pl.DataFrame, needed: list[str], path: Path) -> None:
    """Raise InputError naming every needed column that the file lacks."""
    missing = [c for c in needed if c not in frame.columns]
    if missing:
        raise InputError(f"{path} lacks column(s) {', '.join(missing)}; it has {', '.join(frame.columns[:40])}")


def canonical(frame: pl.DataFrame) -> pl.DataFrame:
    """Every canonical column in order and type; those the reader has not made are null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in CANONICAL.items()
    )


def time(name: str, dtype: pl.DataType, zone: str) -> pl.Expr:
    """A time column of any usual form as UTC.

    Text: ISO 8601 with ``T`` or a space; without an offset it is read in ``zone``. Numbers, also as text: epoch
    seconds, milliseconds or microseconds by magnitude. Null where it can't be read or falls into a DST gap; the
    repeated autumn hour is read as its first pass.
    """
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return column.dt.convert_time_zone("UTC").cast(UTC_TIME)
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _localise(column.cast(pl.Datetime("us")), zone)
    if dtype.is_numeric():
        return _epoch(column)
    text = column.cast(pl.String).str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d) +", "${1}T")
    text = text.str.replace(r"\s*(Z|UTC)$", "+00:00")
    with_offset = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
    without = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return pl.coalesce(
        with_offset, _localise(pl.coalesce(without, day), zone), _epoch(text.cast(pl.Float64, strict=False))
    )


def _localise(naive: pl.Expr, zone: str) -> pl.Expr:
    local = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(UTC_TIME)


def _epoch(number: pl.Expr) -> pl.Expr:
    size = number.abs()
    micros = pl.when(size < 1e11).then(number * 1e6).when(size < 1e14).then(number * 1e3).otherwise(number)
    usable = pl.when(micros.is_finite() & (micros.abs() < 1e17)).then(micros)
    return usable.cast(pl.Int64, strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def identifier(name: str) -> pl.Expr:
    """An id as text, stripped; null where it only stands for a missing one. Case and leading zeros are kept."""
    text = pl.col(name).cast(pl.String).str.strip_chars()
    stand_in = text.str.to_lowercase().is_in(NULL_LIKE) | text.str.contains(ZERO_ID)
    return pl.when(~stand_in).then(text)


def event_name(name: str) -> pl.Expr:
    """Normalised event name: stripped, lower case, runs of blanks to one underscore; null when empty."""
    text = pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase().str.replace_all(r"\s+", "_")
    return pl.when(text != "").then(text)


def number(name: str) -> pl.Expr:
    """A finite number from number or text; null where there is none."""
    value = pl.col(name).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def is_blank(name: str) -> pl.Expr:
    """True where a cell holds nothing: null, only blanks, or the NaN that other tools write for missing."""
    return pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("").is_in(["", "nan"])


def kind(event: pl.Expr, revenue: pl.Expr, kinds: dict[str, str]) -> pl.Expr:
    """Event kind: the study's word, else a name that is itself a kind, else by the sign of revenue, else in_app."""
    named = event.replace_strict(kinds, default=None, return_dtype=pl.String) if kinds else pl.lit(None, pl.String)
    itself = pl.when(event.is_in(EVENT_KINDS)).then(event)
    by_money = pl.when(revenue > 0).then(pl.lit("purchase")).when(revenue < 0).then(pl.lit("refund"))
    return pl.coalesce(named, itself, by_money, pl.lit("in_app"))


def first_fault(faults: dict[str, pl.Expr]) -> pl.Expr:
    """Name of the first condition that holds; null where none does."""
    return pl.coalesce(*[pl.when(found).then(pl.lit(reason)) for reason, found in faults.items()], pl.lit(None))


def optional(raw: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """Columns by other names: theirs → ours; null where the file hasn't got one."""
    return raw.with_columns(
        (pl.col(theirs) if theirs in raw.columns else pl.lit(None, pl.String)).alias(ours)
        for theirs, ours in names.items()
    )


def currency_of(name: str) -> pl.Expr:
    """The currency where there is revenue, upper case."""
    return pl.when(pl.col("revenue").is_not_null()).then(pl.col(name).str.strip_chars().str.to_uppercase())


def usual_faults(amount: str | None = None) -> pl.Expr:
    """What keeps a row of any source out: no readable time, name or id, or an ``amount`` that is no number."""
    faults = {
        "unreadable_time": pl.col("event_time").is_null(),
        "no_event_name": pl.col("event").is_null(),
    }
    if amount:
        faults["unreadable_revenue"] = pl.col("revenue").is_null() & ~is_blank(amount)
    return first_fault(faults)


def who_and_what(amount: pl.Expr | None = None) -> dict[str, pl.Expr]:
    """What most formats share once their columns are called name, user, device, amount and platform."""
    return {
        "event": event_name("name"),
        "user_id": identifier("user"),
        "anonymous_id": identifier("device"),
        "revenue": number("amount") if amount is None else amount,
        "platform": pl.col("platform").str.to_lowercase(),
    }


def finish(
    events: pl.DataFrame, kinds: dict[str, str], faults: dict[str, pl.Expr] | None = None, amount: str | None = "amount"
) -> pl.DataFrame:
    """Add kind, currency (from the column ``money``) and fault, a format's own ``faults`` first; then canonical."""
    return canonical(
        events.with_columns(
            event_kind=kind(pl.col("event"), pl.col("revenue"), kinds),
            currency=currency_of("money"),
            fault=pl.coalesce(first_fault(faults or {}), usual_faults(amount)),
        )
    )


def digests(values: pl.Series) -> pl.Series:
    """128-bit blake2b of each text as 32 hex digits: event ids from the parts that make an event itself."""
    hexes = [hashlib.blake2b(v.encode(), digest_size=16).hexdigest() for v in values.fill_null("").to_list()]
    return pl.Series(values.name, hexes, dtype=pl.String)


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
