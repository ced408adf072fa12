"""Dates in CSV that are not ISO 8601: their form is stated or found out, never guessed.

Spreadsheets write dates as their country does: 13/02/2026, 2/13/2026 8:15 PM,
13.02.2026. If the study states no ``date_format``, the dates of the whole file must
decide whether the day or the month comes first.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError

SPREADSHEET = r"^\s*(\d{1,2})[./-](\d{1,2})[./-](\d{4})(?:\D|$)"
SHORT_YEAR = r"^\s*\d{1,2}[./-]\d{1,2}[./-]\d{2}(?:\D|$)"
YEAR_FIRST = r"^\s*(\d{4})[./-](\d{1,2})[./-](\d{1,2})(?:\D|$)"
DOTTED = r"^\s*\d{1,2}\.\d{1,2}\.\d{4}"
ISO = r"^\s*\d{4}-\d\d-\d\d(?:\D|$)"
HALF_DAY = r"(?i)\s[ap]\.?m\.?\s*$"

TIMES_OF_DAY = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p")
"""What may follow a date, unless the study states that too."""

TIME_PARTS = ("%H", "%I", "%M")

ISO_TEXT = "%Y-%m-%d %H:%M:%S%.6f"

N_MONTHS = 12


def is_unusual(cells: Sequence[str]) -> bool:
    """Whether one of the cells looks like a date that is not ISO 8601."""
    others = [cell for cell in cells if not re.match(ISO, cell)]
    forms = (SPREADSHEET, SHORT_YEAR, YEAR_FIRST)
    return any(re.match(form, cell) for cell in others for form in forms)


def stated(column: str, date_format: str) -> pl.Expr:
    """A column of times as ISO 8601, read by the format that the study states.

    A format without the time of day allows any. Other cells stay as they are.
    """
    cell = pl.col(column).str.strip_chars()
    form = date_format.replace(".%f", "%.f")
    has_time = any(part in form for part in TIME_PARTS)
    forms = [form] if has_time else [form + time for time in TIMES_OF_DAY]
    zone = "UTC" if "%z" in form else None
    moments = [
        cell.str.to_datetime(
            one,
            time_unit="us",
            time_zone=zone,
            strict=False,
        )
        for one in forms
    ]
    written = pl.coalesce(moments).dt.strftime(ISO_TEXT + ("Z" if zone else ""))
    return pl.coalesce(written, pl.col(column)).alias(column)


def found_out(
    rows: pl.LazyFrame,
    columns: Sequence[str],
    path: Path,
) -> list[pl.Expr]:
    """Columns of times as ISO 8601, if the file's dates decide on their order.

    Reads the columns once. Raises InputError that names the setting if they do not.
    """
    facts = [_facts(column) for column in columns]
    seen = rows.select(facts).collect(engine="streaming")
    expressions = []
    for column in columns:
        order = _order(seen[column].item(), path)
        expressions.append(_iso(column, order))
    return expressions


def _facts(column: str) -> pl.Expr:
    """An example of each sort of date in a column, as a struct of texts."""
    cell = pl.col(column).str.strip_chars()
    first = cell.str.extract(SPREADSHEET, 1).cast(pl.Int64)
    second = cell.str.extract(SPREADSHEET, 2).cast(pl.Int64)
    is_date = first.is_not_null()
    day_first = (first > N_MONTHS) & (second <= N_MONTHS)
    month_first = (second > N_MONTHS) & (first <= N_MONTHS)
    sorts = {
        "any": is_date,
        "day_first": day_first | (is_date & cell.str.contains(DOTTED) & ~month_first),
        "month_first": month_first,
        "short": cell.str.contains(SHORT_YEAR),
    }
    examples = [
        cell.filter(condition).first().alias(name) for name, condition in sorts.items()
    ]
    return pl.struct(examples).alias(column)


def _order(seen: dict[str, str | None], path: Path) -> str:
    """The replacement that turns the parts of a date into year, month and day."""
    day_first = seen["day_first"]
    month_first = seen["month_first"]
    if seen["short"]:
        raise InputError(
            f"{path} has dates with a year of two digits, such as {seen['short']!r}; "
            f"{_setting('%d/%m/%y', '%m/%d/%y')}"
        )
    if day_first and month_first:
        raise InputError(
            f"{path} has dates of two orders, such as {day_first!r} and "
            f"{month_first!r}; correct it, or {_setting('%d/%m/%Y', '%m/%d/%Y')}"
        )
    if seen["any"] and not (day_first or month_first):
        raise InputError(
            f"{path} has dates such as {seen['any']!r}, and none of them says whether "
            f"the day or the month comes first; {_setting('%d/%m/%Y', '%m/%d/%Y')}"
        )
    return "${3}-${1}-${2}" if month_first else "${3}-${2}-${1}"


def _setting(one: str, other: str) -> str:
    return (
        f'state date_format = "{one}" or "{other}", as they are written, in '
        "[extracts.csv]"
    )


def _iso(column: str, order: str) -> pl.Expr:
    """Dates with their parts in ISO's order and two digits each, times of 24 hours."""
    cell = pl.col(column).str.strip_chars()
    ordered = cell.str.replace(
        r"^(\d{1,2})[./-](\d{1,2})[./-](\d{4})(\D|$)", order + "${4}"
    ).str.replace(r"^(\d{4})[./-](\d{1,2})[./-](\d{1,2})(\D|$)", "${1}-${2}-${3}${4}")
    padded = ordered.str.replace_all(r"([-: T])(\d)\b", "${1}0${2}")
    whole = padded.str.replace(r"^(\S{10}[ T]\d\d:\d\d)$", "${1}:00")
    halves = padded.str.replace_all(r"(?i)([ap])\.?(m)\.?$", "${1}${2}")
    of_half_days = [
        halves.str.to_datetime(
            form,
            time_unit="us",
            strict=False,
        )
        for form in ("%Y-%m-%d %I:%M %p", "%Y-%m-%d %I:%M:%S %p")
    ]
    is_half_day = cell.str.contains(HALF_DAY)
    hours = pl.coalesce(of_half_days).dt.strftime(ISO_TEXT)
    return pl.when(is_half_day).then(hours).otherwise(whole).alias(column)
