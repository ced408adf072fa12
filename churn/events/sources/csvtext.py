"""CSV files as text columns: no types are inferred, and damage is noticed."""

import csv
import io
import os
import re
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import unpack
from churn.settings import Extract

SEPARATOR = "\x1f"
"""Stands between a column's name and its number, since names may repeat."""

ROW = "\x1frow"
"""Column of the row's number."""

EXTRA = "\x1fextra"
"""Column of the first cell that a row has beyond the header."""

TAIL_BYTES = 2**16
"""Bytes at a file's end in which its last row is looked for."""


def scan(path: Path, extract: Extract) -> pl.LazyFrame:
    """A CSV file as text: every column String, empty cells null, rows counted from 1.

    Columns are called name, SEPARATOR, number. If a row has more cells than the header,
    the first of them is in ``EXTRA``: its cells may have shifted. If it has fewer, the
    rest is null, as scanners read it. Raises InputError for a file without a header, or
    whose last row is cut off.
    """
    unpack.check_text(path, extract)
    header, n_rows = _header(path)
    _check_end(path, len(header))
    names = [f"{name}{SEPARATOR}{i}" for i, name in enumerate(header)]
    return pl.scan_csv(
        path,
        has_header=False,
        skip_rows=n_rows,
        schema=dict.fromkeys([*names, EXTRA], pl.String),
        missing_columns="insert",
        extra_columns="ignore",
        truncate_ragged_lines=True,
        row_index_name=ROW,
        row_index_offset=1,
        glob=False,
    )


def _header(path: Path) -> tuple[list[str], int]:
    """The first row that is not blank, and the number of rows up to its end."""
    try:
        with io.TextIOWrapper(unpack.opened(path), "utf-8-sig", newline="\n") as text:
            for n_rows, row in enumerate(csv.reader(text), 1):
                if row:
                    return row, n_rows
    except csv.Error as error:
        raise InputError(
            f"{path} has no header line that ends in LF or CRLF; convert its line ends"
        ) from error
    raise InputError(f"{path} holds no header line; remove it or fetch it again")


def _check_end(path: Path, n_columns: int) -> None:
    """Raise InputError if the file ends within a row; gzip has its own check."""
    with path.open("rb") as stream:
        if stream.read(2) == unpack.GZIP:
            return
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - TAIL_BYTES))
        before, _, last = stream.read().rpartition(b"\n")
    # An uneven number of quotes is the end of a cell that holds line breaks.
    is_whole_row = before and last.strip() and last.count(b'"') % 2 == 0
    if not is_whole_row:
        return
    n_cells = 1 + re.sub(rb'"[^"]*"', b"", last).count(b",")
    if n_cells < n_columns:
        raise InputError(
            f"{path} is cut off: its last row has {n_cells} of {n_columns} cells and "
            "no line end; fetch it again"
        )
