"""Times in every common form, as UTC: text, typed columns, and counts since 1970."""

import polars as pl

from churn.store.schemas import UTC_TIME

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
MAX_EPOCH_NANOSECONDS = 1e20


def parsed(
    column: pl.Expr,
    zone: str,
    dtype: pl.DataType | None,
) -> pl.Expr:
    """The column's times; ``dtype`` is its type, and None stands for text.

    ``cells.time`` says which forms are read.
    """
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
    return localised(usable.cast(pl.Datetime("us")), zone)


def _text_time(column: pl.Expr, zone: str) -> pl.Expr:
    """A time as text; cells of the commonest form are spared the work for the others.

    Most vendors write ``2026-03-08 02:14:05``. Where that form fits, the other steps
    see null, over which they pass quickly. Polars reads it many times as fast as the
    form with fractions of a second.
    """
    common = column.str.to_datetime(
        "%Y-%m-%d %H:%M:%S",
        time_unit="us",
        strict=False,
        cache=False,
    )
    other = pl.when(common.is_null()).then(column)
    return pl.coalesce(localised(common, zone), _uncommon_time(other, zone))


def _uncommon_time(column: pl.Expr, zone: str) -> pl.Expr:
    exact = column.str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f",
        time_unit="us",
        strict=False,
    )
    # Polars computes an expression anew wherever it stands, so what needs no rewriting
    # is read from the bare cell.
    bare = column.str.strip_chars()
    with_t = bare.str.replace(r"^(\d{4}-\d\d-\d\d) +", "${1}T")
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
    day = bare.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return pl.coalesce(
        localised(exact, zone),
        with_offset,
        localised(pl.coalesce(local, day), zone),
        _epoch(bare.cast(pl.Float64, strict=False)),
    )


def localised(naive: pl.Expr, zone: str) -> pl.Expr:
    """Readings of a clock in ``zone`` as UTC; null in the gap of spring."""
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
        .when(size < MAX_EPOCH_MICROSECONDS)
        .then(number)
        # Floats hold such numbers only to some 256 nanoseconds.
        .otherwise((number / 1e3).round())
    )
    is_usable = micros.is_finite() & (size < MAX_EPOCH_NANOSECONDS)
    whole = pl.when(is_usable).then(micros).cast(pl.Int64, strict=False)
    return whole.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
