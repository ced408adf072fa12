"""Expressions that read one cell: text, times, ids, names, numbers and truth values.

Each takes the name of a column and gives null where the cell holds nothing that can be
read. Nothing here knows a vendor.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from churn.events.sources import raw_bytes, times
from churn.store.schemas import UTC_TIME

WRITTEN_NULLS = ("", "null", "NULL", "\\N", "<NA>", "NaT", "None", "nan", "NaN")
"""Texts by which tools write a missing value of any column, in their spelling.

``NA`` is not among them, since it is also the country Namibia.
"""

NULL_MARKS = (
    "",
    "null",
    "<null>",
    "(null)",
    "none",
    "nil",
    "nan",
    "nat",
    "na",
    "<na>",
    "n/a",
    "#n/a",
    "\\n",
    "-",
    "--",
    "undefined",
    "unknown",
    "(not set)",
    "0000-00-00",
    "0000-00-00 00:00:00",
)
"""Texts, in lower case, that stand for a missing id, amount or time."""

STAND_INS = ("anonymous", "guest")
"""Texts that name nobody in particular; as ids they would merge many people into one."""

ZERO_ID = r"^[0-]+(?:\.0+)?$"
ZERO_UUID = "00000000-0000-0000-0000-000000000000"
UUID = r"^\s*[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\s*$"

MACRO = r"^(\$?\{.*\}|\[.*\])$"
"""A placeholder that the vendor did not fill in."""

PLACEHOLDER = r"^\s*(?:\$?\{+[^{}\"]+\}+|\[[A-Za-z_][\w .-]*\]|%[A-Za-z_]\w*%)\s*$"
"""A placeholder that was not filled in, and that is no JSON either."""

NO_ID = "|".join(
    [
        ZERO_ID,
        MACRO,
        f"(?i)^(?:{'|'.join(map(re.escape, (*NULL_MARKS, *STAND_INS)))})$",
    ]
)
"""A text that stands for a missing id: one search costs less than several."""

WHOLE_FLOAT = r"(-?(?:0|[1-9]\d{0,14}|[1-8]\d{15}|900[0-6]\d{12}))\.0"
"""A whole number as a column of floats writes it, if floats hold it exactly."""

WHOLE_DECIMAL = r"(-?(?:0|[1-9]\d*))\.00+"
"""A whole number as a column of decimals writes it."""

WHOLE_NUMBER = f"^(?:{WHOLE_FLOAT}|{WHOLE_DECIMAL})$"
"""A whole number with a point and zeros; one of two groups captures its digits."""

ROUNDED = r"^\d[.,]?\d*[eE]\+\d+$"
"""A number that a spreadsheet has rounded."""

FLOAT_EXACT = 2**53
"""Smallest whole number from which floats can't represent every whole number."""

YES = ("1", "true", "yes", "t", "y")

CURRENCY_SIGNS = " \t\r\n$€£¥"


def text(name: str, dtype: pl.DataType | type[pl.DataType] = pl.String) -> pl.Expr:
    """A cell of type ``dtype`` as text; null for nothing and for ``WRITTEN_NULLS``.

    Nested values become JSON. Whole numbers that are stored as floats lose their
    ``.0``, unless they are too large for a float to represent exactly. Bytes are text
    or a UUID, and otherwise null.
    """
    column = pl.col(name)
    cell = column.cast(pl.String)
    if dtype == pl.Binary:
        cell = raw_bytes.text(column)
    elif isinstance(dtype, pl.Struct):
        cell = column.struct.json_encode()
    elif dtype.is_nested():
        cell = pl.struct(column).struct.json_encode()
    elif dtype.is_float():
        is_whole = column.is_finite() & (column == column.round())
        is_exact = column.abs() < FLOAT_EXACT
        digits = column.cast(pl.Int64, strict=False).cast(pl.String)
        cell = pl.when(is_whole & is_exact).then(digits).otherwise(cell)
    return unless_null(cell)


def unless_null(cell: pl.Expr) -> pl.Expr:
    """Text, or null where it is one of ``WRITTEN_NULLS``."""
    return pl.when(~cell.str.strip_chars().is_in(WRITTEN_NULLS)).then(cell)


def unless_placeholder(name: str) -> pl.Expr:
    """A cell as it is; null where the vendor left its placeholder, such as {adid}.

    >>> cell = pl.DataFrame({"a": ["{adid}", "${(id)!}", "[user]", "%d%", "[1]", "{}"]})
    >>> cell.select(unless_placeholder("a")).to_series().to_list()
    [None, None, None, None, '[1]', '{}']
    """
    return pl.when(~pl.col(name).str.contains(PLACEHOLDER)).then(pl.col(name))


def time(
    name: str,
    zone: str,
    dtype: pl.DataType | None = None,
) -> pl.Expr:
    """A time in any common form, as UTC.

    Text is ISO 8601 with ``T`` or a space, with seconds or without; if it has no offset
    it is read in ``zone``. Numbers, also as text, are seconds, milliseconds,
    microseconds or nanoseconds since 1970, told apart by magnitude. Null if the cell
    cannot be read or falls into the gap when clocks go forward; a time in the hour that
    is repeated in autumn is taken for its first occurrence. ``dtype`` is the column's
    type; by default it is text.
    """
    return times.parsed(pl.col(name), zone, dtype)


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
    """A person's or device's id as text; null for texts that stand for a missing one.

    Case and leading zeros are kept.
    """
    # Polars computes an expression anew wherever it stands, so the checks look at the
    # cell itself.
    cell = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(~cell.str.contains(NO_ID)).then(_without_zeros(cell))


def _without_zeros(cell: pl.Expr) -> pl.Expr:
    """A cell without the point and zeros of a whole number."""
    # Regular expressions are much faster in searching than in replacing.
    digits = cell.str.strip_chars_end("0").str.strip_suffix(".")
    return pl.when(cell.str.contains(WHOLE_NUMBER)).then(digits).otherwise(cell)


def filled(name: str) -> pl.Expr:
    """A cell as text, stripped; null for ``NULL_MARKS``."""
    cell = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(~cell.str.to_lowercase().is_in(NULL_MARKS)).then(cell)


def event_id(name: str) -> pl.Expr:
    """An id as text, stripped; null for ``NULL_MARKS``.

    A whole number written with a point and zeros loses them: a column of numbers with
    a gap is one of floats in pandas and others, which write ``1.0`` for the id ``1``.
    Every cell is judged by itself, so that all files give the same ids. Others stay:
    ``1.5``, ``007.0`` or ``v1.0``.
    """
    return _without_zeros(filled(name))


def whole_number(text: str) -> str:
    """A whole number with a point and zeros without them, as ids are stored.

    >>> whole_number("1.0"), whole_number("1.5")
    ('1', '1.5')
    """
    found = re.match(WHOLE_NUMBER, text)
    return (found[1] or found[2]) if found else text


def phone(name: str) -> pl.Expr:
    """A telephone number in the form in which Braze compares them; null without digits.

    Braze drops everything but digits and a leading plus sign, and takes a number of ten
    digits without country code for one of the USA.

    A number that a spreadsheet has rounded is null, since others have the same.

    >>> numbers = pl.DataFrame({"n": ["+1 (724) 123-4567", "724 123 4567", "4.9E+11"]})
    >>> numbers.select(phone("n")).to_series().to_list()
    ['+17241234567', '+17241234567', None]
    """
    plain = identifier(name).str.replace_all(r"[^\d+]|(.)\+", "${1}")
    american = plain.str.replace(r"^1?(\d{10})$", "+1${1}")
    is_rounded = filled(name).str.contains(ROUNDED)
    return pl.when(american.str.contains(r"\d") & ~is_rounded).then(american)


def phone_number(text: str) -> str:
    """One telephone number in the form of ``phone``; as it is if it has no digits."""
    frame = pl.DataFrame({"number": [text]})
    return str(frame.select(phone("number").fill_null(text)).item())


def uuid(name: str) -> pl.Expr:
    """An advertising or vendor id in lower case; null if it is hashed or all zeros."""
    # The checks look at the cell as it is, because polars computes an expression anew
    # wherever it stands.
    cell = pl.col(name)
    is_zero = cell.str.strip_chars() == ZERO_UUID
    value = cell.str.strip_chars().str.to_lowercase()
    return pl.when(cell.str.contains(UUID) & ~is_zero).then(value)


def event_name(name: str) -> pl.Expr:
    """An event name in lower case, blanks as one underscore; null if it is empty.

    A log has millions of rows but few names, so each of these is read once per batch of
    rows.
    """
    return (
        pl.col(name)
        .cast(pl.String)
        .map_batches(
            _normalised_names,
            return_dtype=pl.String,
            is_elementwise=True,
        )
    )


def _normalised_names(names: pl.Series) -> pl.Series:
    distinct = pl.DataFrame({"name": names.unique()})
    cell = pl.col("name").str.strip_chars().str.to_lowercase()
    joined = cell.str.replace_all(r"\s+", "_")
    found = distinct.with_columns(event=pl.when(joined != "").then(joined))
    return names.replace_strict(
        found["name"],
        found["event"],
        default=None,
        return_dtype=pl.String,
    )


def event_names(names: Sequence[str]) -> list[str]:
    """Event names as ``event_name`` writes them in the log; an empty one stays so."""
    frame = pl.DataFrame({"name": names}, schema={"name": pl.String})
    normalised = frame.select(event_name("name").fill_null(""))
    return normalised.to_series().to_list()


def number(name: str) -> pl.Expr:
    """A finite number, also from text with currency signs around it; null otherwise."""
    value = _without_signs(name).cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def is_blank(name: str) -> pl.Expr:
    """Whether a cell is null or one of ``NULL_MARKS``, be it with a currency sign."""
    cell = _without_signs(name).str.to_lowercase()
    return cell.fill_null("").is_in(NULL_MARKS)


def _without_signs(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).str.strip_chars(CURRENCY_SIGNS)


def truth(name: str) -> pl.Expr:
    """Whether a cell says yes, in any spelling; null for null."""
    return pl.col(name).str.strip_chars().str.to_lowercase().is_in(YES)
