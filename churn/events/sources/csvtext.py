"""CSV files read as text columns, without inferred types, and checked for damage."""

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
"""Separator of a column's name and its number, which is added as names may repeat."""

ROW = "\x1frow"
"""Name of the column that holds the row's number."""

EXTRA = "\x1fextra"
"""Name of the column that holds a row's first cell beyond the header."""

TAIL_BYTES = 2**16
"""Number of bytes at a file's end that are searched for its last row."""


def scan(path: Path, extract: Extract) -> pl.LazyFrame:
    """A CSV file as String columns; empty cells are null, rows are numbered from 1.

    A column's name is its name in the header, ``SEPARATOR`` and its number. If a row
    has more cells than the header, its first surplus cell is in ``EXTRA``, a sign that
    cells may have shifted. If a row has fewer cells, the missing ones are null. Raises
    InputError if the file has no header or its last row is cut off.
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
    """The header, which is the first non-blank row, and the number of rows up to it."""
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


def ends_within_row(path: Path) -> bool:
    """Whether a file that is not packed ends in its header, in a quote or in a row.

    A last row without line end is complete if it has as many cells as the header.
    """
    header, _ = _header(path)
    n_cells = _last_row_cells(path)
    if n_cells is not None and n_cells < len(header):
        return True
    n_quotes = 0
    n_lines = 0
    with path.open("rb") as stream:
        while part := stream.read(TAIL_BYTES):
            n_quotes += part.count(b'"')
            n_lines += part.count(b"\n")
    return n_lines == 0 or n_quotes % 2 == 1


def _check_end(path: Path, n_columns: int) -> None:
    """Raise InputError if the file ends within a row; gzip detects that by itself."""
    n_cells = _last_row_cells(path)
    if n_cells is not None and n_cells < n_columns:
        raise InputError(
            f"{path} is cut off: its last row has {n_cells} of {n_columns} cells and "
            "no line end; fetch it again"
        )


def _last_row_cells(path: Path) -> int | None:
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
    return 1 + re.sub(rb'"[^"]*"', b"", last).count(b",")
