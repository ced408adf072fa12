"""What readers share: cells, times, ids, names, numbers, and the road from named fields
to canonical events.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.hashing import digest
from churn.kinds import EVENT_KINDS
from churn.settings import Extract
from churn.store.schemas import UTC_TIME

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
    "ids": pl.List(pl.String),
    "platform": pl.String,
    "country": pl.String,
    "app_version": pl.String,
    "revenue": pl.Float64,
    "currency": pl.String,
    "revenue_usd": pl.Float64,
    "media_source": pl.String,
    "properties": pl.String,
    "consent": pl.Boolean,  # of analytics; null: not stated
    "limited": pl.Boolean,  # ad tracking; null: not stated
    "fault": pl.String,  # why the row can't be kept; null: it can
}

# Fields by our names. A reader says which column of its format each one is; the study
# may say otherwise.
WHO = ("user", "device", "idfa", "idfv", "gaid", "android_id", "email", "phone")
WHAT = (
    "name",
    "amount",
    "money",
    "usd",
    "platform",
    "country",
    "app_version",
    "media_source",
    "properties",
)
SAID = ("refused", "limited")
STUDY_NAMES = {
    "user": "user_id",
    "device": "anonymous_id",
    "name": "event",
    "at": "time",
}
STUDY_NAMES |= {"amount": "revenue", "money": "currency", "usd": "revenue_usd"}

# Stand-ins for "no id": joined on, they would make one person of thousands.
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
ZERO_ID = r"^[0-]+$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
NAMED_KINDS = [
    k for k in EVENT_KINDS if k not in {"merge", "erasure", "other"}
]  # an app may call its own events so
MACRO = r"^(\$?\{.*\}|\[.*\])$"  # a placeholder that the vendor didn't fill in
UNITS = {"ms": 1e3, "us": 1e6, "ns": 1e9}
YEAR_9999 = 2.5e11  # seconds; what lies beyond breaks calendars
FLOAT_EXACT = 2**53  # from here on, floats skip whole numbers
# a number that lost its last digits
INEXACT_ID = r"^-?(?:\d\.\d+[eE]\+?\d+|\d[eE]\+\d+|\d{16,}\.0)$"
YES = ("1", "true", "yes", "t", "y")


def theirs(fields: Mapping[str, str], extract: Extract) -> dict[str, str]:
    """Ours → theirs, the study's word first. Raises InputError for a name on our side
    that doesn't exist.
    """
    known = {STUDY_NAMES.get(ours, ours): ours for ours in fields}
    unknown = sorted(set(extract.columns) - set(known))
    if unknown:
        raise InputError(
            f"extracts.columns: {', '.join(unknown)} unknown; there are {', '.join(known)}"
        )
    return dict(fields) | {
        known[name]: column for name, column in extract.columns.items()
    }


def text(name: str, dtype: pl.DataType | type[pl.DataType] = pl.String) -> pl.Expr:
    """A cell as text; null where it holds nothing or the word null.

    Nested values become JSON. Whole numbers kept as floats lose their ``.0``, as long
    as a float can tell them apart.
    """
    column = pl.col(name)
    cell = column.cast(pl.String)
    if isinstance(dtype, pl.Struct):
        cell = column.struct.json_encode()
    elif dtype.is_nested():
        cell = pl.struct(column).struct.json_encode()
    elif dtype.is_float():
        whole = (
            column.is_finite()
            & (column == column.round())
            & (column.abs() < FLOAT_EXACT)
        )
        cell = (
            pl.when(whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(cell)
        )
    return pl.when(~cell.str.strip_chars().is_in(["", "null", "NULL"])).then(cell)


def time(name: str, zone: str, dtype: pl.DataType | None = None) -> pl.Expr:
    """A time column of any usual form as UTC.

    Text: ISO 8601 with ``T`` or a space, seconds or not; without an offset it is read
    in ``zone``. Numbers, also as text: epoch seconds, milliseconds or microseconds by
    magnitude. Null where it can't be read or falls into a DST gap; the repeated autumn
    hour is read as its first pass.
    """
    column = pl.col(name)
    if isinstance(dtype, pl.Date | pl.Datetime):
        limit = YEAR_9999 * (
            UNITS[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1 / 86400
        )
        column = pl.when(column.to_physical().is_between(-limit, limit)).then(column)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            return column.dt.convert_time_zone("UTC").cast(UTC_TIME)
        return _localise(column.cast(pl.Datetime("us")), zone)
    if dtype is not None and dtype.is_numeric():
        return _epoch(column)
    cell = (
        column.cast(pl.String)
        .str.strip_chars()
        .str.replace(r"^(\d{4}-\d\d-\d\d) +", "${1}T")
    )
    cell = cell.str.replace(r"\s*(Z|UTC)$", "+00:00").str.replace(
        r"T(\d\d:\d\d)($|[+-])", "T${1}:00${2}"
    )
    with_offset = cell.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
    )
    without = cell.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    day = cell.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return pl.coalesce(
        with_offset,
        _localise(pl.coalesce(without, day), zone),
        _epoch(cell.cast(pl.Float64, strict=False)),
    )


def local_time(name: str, zone: str) -> pl.Expr:
    """A time written as ``yyyy-mm-dd hh:mm:ss[.fff]`` in ``zone``, as UTC: ``time`` for
    a column of one known form.
    """
    return _localise(
        pl.col(name).str.to_datetime(
            "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
        ),
        zone,
    )


def _localise(naive: pl.Expr, zone: str) -> pl.Expr:
    local = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(UTC_TIME)


def _epoch(number: pl.Expr) -> pl.Expr:
    size = number.abs()
    micros = (
        pl.when(size < 1e11)
        .then(number * 1e6)
        .when(size < 1e14)
        .then(number * 1e3)
        .otherwise(number)
    )
    usable = pl.when(micros.is_finite() & (micros.abs() < 1e17)).then(micros)
    return (
        usable.cast(pl.Int64, strict=False)
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
    )


def identifier(name: str) -> pl.Expr:
    """An id as text, stripped; null where it only stands for a missing one. Case and
    leading zeros are kept.
    """
    cell = pl.col(name).cast(pl.String).str.strip_chars()
    stand_in = (
        cell.str.to_lowercase().is_in(NULL_LIKE)
        | cell.str.contains(ZERO_ID)
        | cell.str.contains(MACRO)
    )
    return pl.when(~stand_in).then(cell)


def uuid(name: str) -> pl.Expr:
    """An advertising or vendor id, lower case; null unless it is one: blanked with
    zeros and hashed ones are not.
    """
    cell = pl.col(name).str.strip_chars().str.to_lowercase()
    return pl.when(cell.str.contains(UUID) & ~cell.str.contains(ZERO_ID)).then(cell)


def event_name(name: str) -> pl.Expr:
    """Normalised event name: stripped, lower case, runs of blanks to one underscore;
    null when empty.
    """
    cell = (
        pl.col(name)
        .cast(pl.String)
        .str.strip_chars()
        .str.to_lowercase()
        .str.replace_all(r"\s+", "_")
    )
    return pl.when(cell != "").then(cell)


def number(name: str) -> pl.Expr:
    """A finite number from text, currency signs around it allowed; null where there is
    none.
    """
    value = (
        pl.col(name)
        .cast(pl.String)
        .str.strip_chars(" \t\r\n$€£¥")
        .cast(pl.Float64, strict=False)
    )
    return pl.when(value.is_finite()).then(value)


def is_blank(name: str) -> pl.Expr:
    """True where a cell holds nothing: null, only blanks, or the NaN that other tools
    write for missing.
    """
    return (
        pl.col(name)
        .cast(pl.String)
        .str.strip_chars()
        .str.to_lowercase()
        .fill_null("")
        .is_in(["", "nan"])
    )


def truth(name: str) -> pl.Expr:
    """A yes or no in any spelling; null where nothing is said."""
    return pl.col(name).str.strip_chars().str.to_lowercase().is_in(YES)


def kind(event: pl.Expr, revenue: pl.Expr, kinds: Mapping[str, str]) -> pl.Expr:
    """Event kind: the vendor's or the study's word, else a name that is itself a kind,
    else by revenue, else in_app.
    """
    itself = pl.when(event.is_in(NAMED_KINDS)).then(event)
    by_money = (
        pl.when(revenue > 0)
        .then(pl.lit("purchase"))
        .when(revenue < 0)
        .then(pl.lit("refund"))
    )
    return pl.coalesce(*looked_up(event, kinds), itself, by_money, pl.lit("in_app"))


def looked_up(name: pl.Expr, words: Mapping[str, str]) -> list[pl.Expr]:
    """Words by name, to be coalesced; null elsewhere."""
    # replace_strict leaves the streaming engine, and all other columns then wait for it
    # in memory.
    meanings = dict.fromkeys(words.values())
    return [
        pl.when(name.is_in([n for n, w in words.items() if w == m])).then(pl.lit(m))
        for m in meanings
    ]


def events(
    raw: pl.LazyFrame,
    extract: Extract,
    *,
    kinds: dict[str, str],
    device: str,
    own_id: Sequence[str] = (),
    faults: Mapping[str, pl.Expr] | None = None,
    ids: Sequence[pl.Expr] = (),
    stated_kind: pl.Expr | None = None,
    revenue: pl.Expr | None = None,
) -> pl.LazyFrame:
    """Canonical events from fields by our names, with event_time, event_time_basis and
    received_time already made.

    ``device`` is the id type of the device column, ``ids`` further ids as type:value;
    ``own_id`` names the columns that tell events apart: one is the source's own id,
    several are digested. ``damage``, if there, is what made the row unfit to be read;
    then come the faults of the format, then ours.
    """
    there = raw.collect_schema().names()
    blank = [
        pl.lit(None, pl.String).alias(f)
        for f in (*WHO, *WHAT, *SAID, "damage")
        if f not in there
    ]
    parsed = raw.with_columns(blank).with_columns(
        event=event_name("name"),
        user_id=identifier("user"),
        anonymous_id=identifier("device"),
        revenue=number("amount") if revenue is None else revenue,
        revenue_usd=number("usd"),
        platform=pl.col("platform").str.to_lowercase(),
        country=pl.col("country").str.to_uppercase(),
        consent=~truth("refused"),
        limited=truth("limited"),
        ids=_ids(device, ids),
    )
    return canonical(
        parsed.with_columns(
            event_id=pl.col(own_id[0]) if len(own_id) == 1 else digest(joined(own_id)),
            event_kind=pl.coalesce(
                *([] if stated_kind is None else [stated_kind]),
                kind(pl.col("event"), pl.col("revenue"), {**kinds, **extract.kinds}),
            ),
            currency=pl.when(pl.col("revenue").is_not_null()).then(
                pl.col("money").str.strip_chars().str.to_uppercase()
            ),
        ).with_columns(fault=_fault(faults or {}))
    )


def _ids(device: str, further: Sequence[pl.Expr]) -> pl.Expr:
    """The row's ids as type:value; joined and split again, which is several times
    faster than a list of columns.
    """
    own = {
        device: identifier("device"),
        **{name: uuid(name) for name in ("idfa", "idfv", "gaid")},
    }
    own |= {
        name: identifier(name).str.to_lowercase() for name in ("android_id", "email")
    } | {"phone": identifier("phone")}
    tags = [pl.lit(f"{name}:") + value for name, value in own.items()]
    together = pl.concat_str(*tags, *further, separator="\x1f", ignore_nulls=True)
    return (
        pl.when(together != "")
        .then(together.str.split("\x1f"))
        .otherwise(pl.lit([], pl.List(pl.String)))
    )


def joined(names: Sequence[str]) -> pl.Expr:
    """Columns as one text, an instant in microseconds; U+001F keeps different tuples
    apart.
    """
    parts = [
        pl.col(n).dt.epoch("us").cast(pl.String)
        if n == "event_time"
        else pl.col(n).cast(pl.String)
        for n in names
    ]
    return pl.concat_str([p.fill_null("") for p in parts], separator="\x1f")


def _fault(faults: Mapping[str, pl.Expr]) -> pl.Expr:
    usual = {
        **faults,
        "unreadable_time": pl.col("event_time").is_null(),
        "no_event_name": pl.col("event").is_null(),
        "unreadable_revenue": _unread("revenue", "amount")
        | _unread("revenue_usd", "usd"),
        "inexact_id": pl.any_horizontal(
            pl.col("user_id", "anonymous_id").str.contains(INEXACT_ID)
        ),
        "no_event_id": pl.col("event_id").is_null(),
        "unknown_kind": ~pl.col("event_kind").is_in(EVENT_KINDS),
    }
    return pl.coalesce(
        "damage",
        *[pl.when(found).then(pl.lit(reason)) for reason, found in usual.items()],
    )


def _unread(number: str, text: str) -> pl.Expr:
    return pl.col(number).is_null() & ~is_blank(text)


def canonical(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Every canonical column in order and type."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in CANONICAL.items())


def moment(value: datetime | None) -> pl.Expr:
    """One instant for every row; null where it isn't known."""
    return pl.lit(value, UTC_TIME)


def period_end(
    text: str, pattern: str, form: str, length: timedelta
) -> datetime | None:
    """The end of the hour or day that a path states, when its rows had arrived; null
    where it states none.

    ``pattern`` finds the parts of the period's start, which ``form`` reads joined by
    ``-``.
    """
    found = re.search(pattern, text)
    try:
        return (
            datetime.strptime("-".join(filter(None, found.groups())), form).replace(
                tzinfo=UTC
            )
            + length
            if found
            else None
        )
    except (ValueError, OverflowError):
        return None


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
