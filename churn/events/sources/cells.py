"""Expressions that read one cell: text, times, ids, names, numbers and truth values.

Each takes the name of a column and gives null where the cell holds nothing that can be
read. Nothing here knows a vendor.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from churn.store.schemas import UTC_TIME

NULL_LIKE = (
    "",
    "null",
    "none",
    "nil",
    "nan",
    "n/a",
    "na",
    "undefined",
    "unknown",
    "(not set)",
    "anonymous",
    "guest",
)
"""Texts that stand for a missing id; as ids they would merge many people into one."""

ZERO_ID = r"^[0-]+$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

MACRO = r"^(\$?\{.*\}|\[.*\])$"
"""A placeholder that the vendor did not fill in."""

FLOAT_EXACT = 2**53
"""Smallest whole number from which floats can't represent every whole number."""

YES = ("1", "true", "yes", "t", "y")

UNITS = {
    "ms": 1e3,
    "us": 1e6,
    "ns": 1e9,
}
"""Ticks per second of polars' time units."""

YEAR_9999 = 2.5e11
"""Seconds from 1970; calendars break on times beyond."""

MAX_EPOCH_SECONDS = 1e11
MAX_EPOCH_MILLISECONDS = 1e14
MAX_EPOCH_MICROSECONDS = 1e17


def text(name: str, dtype: pl.DataType | type[pl.DataType] = pl.String) -> pl.Expr:
    """A cell of type ``dtype`` as text; null for nothing and for the word null.

    Nested values become JSON. Whole numbers that are stored as floats lose their
    ``.0``, unless they are too large for a float to represent exactly.
    """
    column = pl.col(name)
    cell = column.cast(pl.String)
    if isinstance(dtype, pl.Struct):
        cell = column.struct.json_encode()
    elif dtype.is_nested():
        cell = pl.struct(column).struct.json_encode()
    elif dtype.is_float():
        is_whole = column.is_finite() & (column == column.round())
        is_exact = column.abs() < FLOAT_EXACT
        digits = column.cast(pl.Int64, strict=False).cast(pl.String)
        cell = pl.when(is_whole & is_exact).then(digits).otherwise(cell)
    return pl.when(~cell.str.strip_chars().is_in(["", "null", "NULL"])).then(cell)


def time(
    name: str,
    zone: str,
    dtype: pl.DataType | None = None,
) -> pl.Expr:
    """A time in any common form, as UTC.

    Text is ISO 8601 with ``T`` or a space, with seconds or without; if it has no offset
    it is read in ``zone``. Numbers, also as text, are seconds, milliseconds or
    microseconds since 1970, told apart by magnitude. Null if the cell cannot be read or
    falls into the gap when clocks go forward; a time in the hour that is repeated in
    autumn is taken for its first occurrence. ``dtype`` is the column's type; by default
    it is text.
    """
    column = pl.col(name)
    if isinstance(dtype, pl.Date | pl.Datetime):
        return _typed_time(column, zone, dtype)
    if dtype is not None and dtype.is_numeric():
        return _epoch(column)
    return _text_time(column.cast(pl.String), zone)


def _typed_time(
    column: pl.Expr,
    zone: str,
    dtype: pl.Date | pl.Datetime,
) -> pl.Expr:
    ticks_per_second = 1 / 86400
    if isinstance(dtype, pl.Datetime):
        ticks_per_second = UNITS[dtype.time_unit]
    limit = YEAR_9999 * ticks_per_second
    usable = pl.when(column.to_physical().is_between(-limit, limit)).then(column)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return usable.dt.convert_time_zone("UTC").cast(UTC_TIME)
    return _localise(usable.cast(pl.Datetime("us")), zone)


def _text_time(column: pl.Expr, zone: str) -> pl.Expr:
    with_t = column.str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d) +", "${1}T")
    with_zone = with_t.str.replace(r"\s*(Z|UTC)$", "+00:00")
    cell = with_zone.str.replace(r"T(\d\d:\d\d)($|[+-])", "T${1}:00${2}")
    with_offset = cell.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
    )
    local = cell.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f",
        time_unit="us",
        strict=False,
    )
    day = cell.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return pl.coalesce(
        with_offset,
        _localise(pl.coalesce(local, day), zone),
        _epoch(cell.cast(pl.Float64, strict=False)),
    )


def local_time(name: str, zone: str) -> pl.Expr:
    """A time written as ``yyyy-mm-dd hh:mm:ss[.fff]`` in ``zone``, as UTC.

    Faster than ``time``, for columns of this one form.
    """
    local = pl.col(name).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    return _localise(local, zone)


def _localise(naive: pl.Expr, zone: str) -> pl.Expr:
    local = naive.dt.replace_time_zone(
        zone,
        ambiguous="earliest",
        non_existent="null",
    )
    return local.dt.convert_time_zone("UTC").cast(UTC_TIME)


def _epoch(number: pl.Expr) -> pl.Expr:
    size = number.abs()
    micros = (
        pl.when(size < MAX_EPOCH_SECONDS)
        .then(number * 1e6)
        .when(size < MAX_EPOCH_MILLISECONDS)
        .then(number * 1e3)
        .otherwise(number)
    )
    is_usable = micros.is_finite() & (micros.abs() < MAX_EPOCH_MICROSECONDS)
    whole = pl.when(is_usable).then(micros).cast(pl.Int64, strict=False)
    return whole.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def moment(value: datetime | None) -> pl.Expr:
    """One instant for every row; null if it is not known."""
    return pl.lit(value, UTC_TIME)


def period_end(
    text: str, pattern: str, form: str, length: timedelta
) -> datetime | None:
    """The end of the hour or day that a path names, by which its rows had arrived.

    ``pattern`` captures the parts of the period's start, which are joined by ``-`` and
    read as ``form`` (strptime) in UTC. None if the path names no such period.
    """
    match = re.search(pattern, text)
    if match is None:
        return None
    start = "-".join(part for part in match.groups() if part)
    try:
        return datetime.strptime(start, form).replace(tzinfo=UTC) + length
    except (ValueError, OverflowError):
        return None


def identifier(name: str) -> pl.Expr:
    """An id as text, stripped; null for texts that stand for a missing id.

    Case and leading zeros are kept.
    """
    cell = pl.col(name).cast(pl.String).str.strip_chars()
    is_missing = (
        cell.str.to_lowercase().is_in(NULL_LIKE)
        | cell.str.contains(ZERO_ID)
        | cell.str.contains(MACRO)
    )
    return pl.when(~is_missing).then(cell)


def uuid(name: str) -> pl.Expr:
    """An advertising or vendor id in lower case; null if it is hashed or all zeros."""
    cell = pl.col(name).str.strip_chars().str.to_lowercase()
    return pl.when(cell.str.contains(UUID) & ~cell.str.contains(ZERO_ID)).then(cell)


def event_name(name: str) -> pl.Expr:
    """An event name in lower case, blanks as one underscore; null if it is empty."""
    cell = pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase()
    joined = cell.str.replace_all(r"\s+", "_")
    return pl.when(joined != "").then(joined)


def event_names(names: Sequence[str]) -> list[str]:
    """Event names as ``event_name`` writes them in the log; an empty one stays so."""
    frame = pl.DataFrame({"name": names}, schema={"name": pl.String})
    normalised = frame.select(event_name("name").fill_null(""))
    return normalised.to_series().to_list()


def number(name: str) -> pl.Expr:
    """A finite number, also from text with currency signs around it; null otherwise."""
    cell = pl.col(name).cast(pl.String).str.strip_chars(" \t\r\n$€£¥")
    value = cell.cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def is_blank(name: str) -> pl.Expr:
    """Whether a cell is null, blank, or the NaN that some tools write for missing."""
    cell = pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase()
    return cell.fill_null("").is_in(["", "nan"])


def truth(name: str) -> pl.Expr:
    """Whether a cell says yes, in any spelling; null for null."""
    return pl.col(name).str.strip_chars().str.to_lowercase().is_in(YES)
