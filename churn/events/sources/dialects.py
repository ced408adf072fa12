"""CSV as countries and spreadsheets write it, brought into one form.

Times become ISO 8601 and amounts have a dot before their decimals, before any reader
sees them. The study's ``[extracts.csv]`` states how they are written; what it leaves
open is found out, where the file is certain.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from churn.events.sources import dates, decimals
from churn.events.sources.csvtext import EXTRA, ROW, SEPARATOR, Layout
from churn.settings import Csv

TIMES = ("time", "received_time")
AMOUNTS = ("amount", "usd", "cents")
ENOUGH = 20
"""Number of amounts among the first rows that show how a file writes them."""


def in_one_form(
    rows: pl.LazyFrame,
    layout: Layout,
    numbers: Mapping[str, int],
    stated: Csv,
    path: Path,
) -> pl.LazyFrame:
    """The scanned CSV file with times and amounts in one form.

    ``numbers`` says which column holds a field of ours. Only a file whose first rows
    hold something unusual is read for this. Raises InputError if it doesn't say how its
    dates or amounts are meant.
    """
    times = _columns(TIMES, numbers, layout)
    amounts = _columns(AMOUNTS, numbers, layout)
    expressions = []
    if stated.date_format:
        expressions += [dates.stated(name, stated.date_format) for name in times]
    elif dates.is_unusual(_sampled(times, layout)):
        expressions += dates.found_out(rows, list(times), path)
    decimal: str | None = stated.decimal
    is_open = bool(amounts) and decimal is None
    if is_open and _is_unusual(rows, amounts, layout):
        decimal = decimals.found_out(rows, list(amounts), layout.separator, path)
    if decimal:
        expressions += [decimals.plain(name, decimal) for name in amounts]
    if decimal == ",":
        fields = {*times, *amounts, *_columns(tuple(numbers), numbers, layout)}
        others = set(rows.collect_schema()) - fields - {ROW, EXTRA}
        expressions += [decimals.plain_property(name) for name in sorted(others)]
    return rows.with_columns(expressions)


def _is_unusual(
    rows: pl.LazyFrame,
    amounts: Mapping[str, int],
    layout: Layout,
) -> bool:
    """Whether amounts may be written with a decimal comma.

    Amounts are rare in many logs. Where the first rows hold few of them, the whole
    columns are looked at.
    """
    sampled = [cell for cell in _sampled(amounts, layout) if cell.strip()]
    if decimals.is_unusual(sampled, layout.separator):
        return True
    if len(sampled) >= ENOUGH:
        return False
    is_grouped = [pl.col(name).str.contains(decimals.GROUPED).any() for name in amounts]
    return any(rows.select(is_grouped).collect(engine="streaming").row(0))


def _columns(
    fields: tuple[str, ...],
    numbers: Mapping[str, int],
    layout: Layout,
) -> dict[str, int]:
    """Number of the column of each field by its name in the scanned file."""
    found = [numbers[field] for field in fields if field in numbers]
    return {f"{layout.header[number]}{SEPARATOR}{number}": number for number in found}


def _sampled(columns: Mapping[str, int], layout: Layout) -> list[str]:
    """The cells of some columns in the file's first rows."""
    return [
        row[number]
        for row in layout.sample
        for number in columns.values()
        if number < len(row)
    ]
