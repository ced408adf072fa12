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
    """Different dates of each sort in a column, at most two of them, as a struct."""
    cell = pl.col(column).str.strip_chars()
    first = cell.str.extract(SPREADSHEET, 1).cast(pl.Int64)
    second = cell.str.extract(SPREADSHEET, 2).cast(pl.Int64)
    sorts = {
        "any": first.is_not_null(),
        "day_first": (first > N_MONTHS) & (second <= N_MONTHS),
        "month_first": (second > N_MONTHS) & (first <= N_MONTHS),
        "dotted": cell.str.contains(DOTTED),
        "short": cell.str.contains(SHORT_YEAR),
    }
    date = cell.str.extract(r"^(\S+)")
    examples = [
        date.filter(condition).unique().sort().head(2).implode().alias(name)
        for name, condition in sorts.items()
    ]
    return pl.struct(examples).alias(column)


def _order(seen: dict[str, list[str]], path: Path) -> str:
    """The replacement that turns the parts of a date into year, month and day.

    One date alone may be a slip of the pen, so two different ones must decide. Dates
    with dots have the day first everywhere.
    """
    day_first = seen["day_first"]
    month_first = seen["month_first"]
    if seen["short"]:
        example = seen["short"][0]
        reason = f"such as {example!r}: their year has two digits"
        raise _undecided(path, reason, "%y")
    if month_first and (day_first or seen["dotted"]):
        other = (day_first or seen["dotted"])[0]
        reason = f"of two orders, such as {other!r} and {month_first[0]!r}"
        raise _undecided(path, reason, "%Y")
    if seen["dotted"] or len(day_first) > 1:
        return "${3}-${2}-${1}"
    if len(month_first) > 1:
        return "${3}-${1}-${2}"
    if not seen["any"]:
        return "${0}"
    decisive = [*day_first, *month_first]
    reason = f"such as {seen['any'][0]!r}: no date says which number is the month"
    if decisive:
        reason = f"of which only {decisive[0]!r} says which number is the month"
    raise _undecided(path, reason, "%Y")


def _undecided(path: Path, reason: str, year: str) -> InputError:
    return InputError(
        f"{path} has unreadable times, {reason}; state date_format = "
        f'"%d/%m/{year}" or "%m/%d/{year}", as they are written, in [extracts.csv]'
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
