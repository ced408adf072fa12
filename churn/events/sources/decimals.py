"""Amounts in CSV with a decimal comma, or with separators between thousands.

What 1.234 or 1,234 means is stated by the study or decided by the file's other
amounts, never guessed.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError

AROUND = r"[\s$€£¥]*"
"""What may stand around an amount."""

GROUP = r"[1-9]\d{0,2}"
"""The digits before the first separator of thousands."""

COMMA = rf"^{AROUND}[-+]?{AROUND}(?:\d+|{GROUP}(?:[.\s'’]\d{{3}})+)(?:,\d+)?{AROUND}$"
DOT = rf"^{AROUND}[-+]?{AROUND}(?:\d+|{GROUP}(?:[,\s'’]\d{{3}})+)(?:\.\d+)?{AROUND}$"
"""Amounts whose decimals follow a comma, or a dot."""

THOUSANDS = {",": r"[.\s'’]", ".": r"[,\s'’]"}
"""What may separate thousands, by what precedes the decimals."""

GROUPED = r"\d[,\s'’]\d"
"""Part of an amount with a decimal comma, or with separators of thousands."""

PROPERTY = r"^([-+]?\d+),(\d+)$"


def is_unusual(cells: Sequence[str], separator: str) -> bool:
    """Whether amounts may be written otherwise than as 1234.5.

    Semicolons between cells are written where commas precede decimals.
    """
    return separator == ";" or any(re.search(GROUPED, cell) for cell in cells)


def found_out(
    rows: pl.LazyFrame,
    columns: Sequence[str],
    separator: str,
    path: Path,
) -> str:
    """What precedes the decimals of these columns: a comma or a dot.

    Reads the columns once. Raises InputError that names the setting if the amounts do
    not decide. If some decide one way and some the other, it is the dot, so that the
    others are faults of their rows.
    """
    cells = pl.concat([rows.select(pl.col(name).alias("cell")) for name in columns])
    cell = pl.col("cell")
    by_comma = cell.str.contains(COMMA)
    by_dot = cell.str.contains(DOT)
    is_open = by_comma & by_dot & cell.str.contains("[.,]")
    if separator != ";":
        is_open &= cell.str.contains(",")
    seen = cells.select(
        comma=(by_comma & ~by_dot).any(),
        dot=(by_dot & ~by_comma).any(),
        undecided=cell.filter(is_open).first(),
    ).collect(engine="streaming")
    has_comma, has_dot, undecided = seen.row(0)
    if undecided is not None and not has_comma and not has_dot:
        raise InputError(
            f"{path} has amounts such as {undecided!r}, and none of them says whether "
            'that is over a thousand; state decimal = "," or decimal = "." in '
            "[extracts.csv]"
        )
    return "," if has_comma and not has_dot else "."


def plain(column: str, decimal: str) -> pl.Expr:
    """A column of amounts as 1234.5; cells of another form stay as they are."""
    cell = pl.col(column)
    without = cell.str.replace_all(THOUSANDS[decimal], "").str.replace(",", ".")
    is_amount = cell.str.contains(COMMA if decimal == "," else DOT)
    return pl.when(is_amount).then(without).otherwise(cell).alias(column)


def plain_property(column: str) -> pl.Expr:
    """A column with numbers such as 3,5 as 3.5, where a comma precedes decimals."""
    return pl.col(column).str.replace(PROPERTY, "${1}.${2}")
