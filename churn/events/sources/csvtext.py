"""CSV files read as text columns, without inferred types, and checked for damage."""

import csv
import io
import itertools
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import formats, unpack
from churn.settings import Csv

SEPARATOR = "\x1f"
"""Separator of a column's name and its number, which is added as names may repeat."""

ROW = "\x1frow"
"""Name of the column that holds the row's number."""

EXTRA = "\x1fextra"
"""Name of the column that holds a row's first cell beyond the header."""

START_BYTES = 64

TAIL_BYTES = 2**16
"""Number of bytes at a file's end that are searched for its last row."""


SEPARATORS = (",", ";", "\t", "|")
"""What may separate cells unless the study says it; the usual one comes first."""

EXCEL_LINE = re.compile(r'"?sep=(.)"?')
"""The line before the header in which Excel states the separator."""

SAMPLE_ROWS = 200


@dataclass(frozen=True)
class Layout:
    """How a CSV file is laid out.

    Attributes
    ----------
    header: the names of its columns.
    n_rows: number of rows up to the header, and with it.
    separator: the character between its cells.
    sample: the first rows after the header.
    """

    header: list[str]
    n_rows: int
    separator: str
    sample: list[list[str]]


def layout(
    path: Path,
    csv_settings: Csv,
    fits: Callable[[list[str]], bool] = lambda header: True,
) -> Layout:
    """The layout of a CSV file, with the separator that the study or the file states.

    If none is stated, it is the one with which the header ``fits``. Raises InputError
    if the file has no header.
    """
    stated = csv_settings.separator or _stated_by_excel(path)
    options = [_layout(path, character) for character in stated or SEPARATORS]
    fitting = [option for option in options if fits(option.header)]
    return max(fitting or options, key=lambda option: len(option.header))


def scan(path: Path, found: Layout) -> pl.LazyFrame:
    """A CSV file as String columns; empty cells are null, rows are numbered from 1.

    A column's name is its name in the header, ``SEPARATOR`` and its number. If a row
    has more cells than the header, its first surplus cell is in ``EXTRA``, a sign that
    cells may have shifted. If a row has fewer cells, the missing ones are null. Raises
    InputError if the file's last row is cut off.
    """
    _check_end(path, found)
    names = [f"{name}{SEPARATOR}{i}" for i, name in enumerate(found.header)]
    return pl.scan_csv(
        path,
        has_header=False,
        skip_rows=found.n_rows,
        separator=found.separator,
        schema=dict.fromkeys([*names, EXTRA], pl.String),
        missing_columns="insert",
        extra_columns="ignore",
        truncate_ragged_lines=True,
        row_index_name=ROW,
        row_index_offset=1,
        glob=False,
    )


def check(path: Path) -> None:
    """Raise InputError for a file that cannot be CSV in UTF-8."""
    unpack.check_text(path)
    if formats.is_json(unpack.beginning(path)):
        raise InputError(
            f"{path} holds JSON, not CSV; correct its suffix if it is right"
        )


def _stated_by_excel(path: Path) -> str:
    with unpack.opened(path) as stream:
        start = stream.readline(START_BYTES).removeprefix(formats.BOM)
    stated = EXCEL_LINE.fullmatch(start.decode("utf-8", "replace").strip("\r\n"))
    return stated.group(1) if stated else ""


def _layout(path: Path, separator: str) -> Layout:
    """The layout with one separator; the header is the first non-blank row."""
    try:
        with io.TextIOWrapper(unpack.opened(path), "utf-8-sig", newline="\n") as text:
            rows = csv.reader(text, delimiter=separator)
            for n_rows, row in enumerate(rows, 1):
                if row and not EXCEL_LINE.fullmatch(separator.join(row)):
                    return Layout(row, n_rows, separator, _sample(rows))
    except csv.Error as error:
        raise InputError(
            f"{path} has no header line that ends in LF or CRLF; convert its line ends"
        ) from error
    raise InputError(f"{path} holds no header line; remove it or fetch it again")


def _sample(rows: Iterator[list[str]]) -> list[list[str]]:
    """The first rows; fewer if one of them can't be read, as the scan will tell."""
    try:
        return list(itertools.islice(rows, SAMPLE_ROWS))
    except (csv.Error, UnicodeError, EOFError, OSError, zlib.error):
        return []


def ends_within_row(path: Path, csv_settings: Csv) -> bool:
    """Whether a file that is not packed ends in its header, in a quote or in a row.

    A last row without line end is complete if it has as many cells as the header.
    """
    found = layout(path, csv_settings)
    n_cells = _last_row_cells(path, found.separator)
    if n_cells is not None and n_cells < len(found.header):
        return True
    n_quotes = 0
    n_lines = 0
    with path.open("rb") as stream:
        while part := stream.read(TAIL_BYTES):
            n_quotes += part.count(b'"')
            n_lines += part.count(b"\n")
    return n_lines == 0 or n_quotes % 2 == 1


def _check_end(path: Path, found: Layout) -> None:
    """Raise InputError if the file ends within a row; gzip detects that by itself."""
    n_cells = _last_row_cells(path, found.separator)
    n_columns = len(found.header)
    if n_cells is not None and n_cells < n_columns:
        raise InputError(
            f"{path} is cut off: its last row has {n_cells} of {n_columns} cells and "
            "no line end; fetch it again"
        )


def _last_row_cells(path: Path, separator: str) -> int | None:
    """Number of cells of a last row without line end.

    None if the last row has a line end or cannot be recognised, or if the file is gzip.
    """
    with path.open("rb") as stream:
        if stream.read(2) == unpack.GZIP:
            return None
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - TAIL_BYTES))
        before, _, last = stream.read().rpartition(b"\n")
    # An odd number of quotes means that the line is the end of a cell with line breaks.
    is_whole_row = before and last.strip() and last.count(b'"') % 2 == 0
    if not is_whole_row:
        return None
    return 1 + re.sub(rb'"[^"]*"', b"", last).count(separator.encode())
