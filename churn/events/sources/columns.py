"""Files of columns (CSV, Parquet, JSON lines) → text columns by our names, each row
with what is wrong with it.
"""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import jsonlines, parse, unpack
from churn.settings import Extract

JSON = (".json", ".ndjson", ".jsonl")
TIMES = (
    "time",
    "received_time",
)  # keep their type, since an instant is more than its text
TAIL = 2**16  # bytes of a file's end that are looked at
SEPARATOR = "\x1f"  # between a CSV column's name and its number: names may repeat
ROW, EXTRA = "\x1frow", "\x1fextra"
NO_TEXT = (pl.Binary, pl.Duration)  # types that can't be written as text


def read(
    path: Path,
    fields: Mapping[str, str],
    needed: Sequence[str],
    extract: Extract,
    scratch: Path,
    tidy: Callable[[str], str] = str,
    rest: str = "",
) -> pl.LazyFrame:
    """The file's columns by our names (ours → theirs), with source_row and damage; null
    where the file lacks one.

    ``tidy`` is how a column's name is compared; JSON keys are taken as they are.
    """
    if unpack.kind(path) in JSON:
        lines, names = (
            jsonlines.read([path], extract, scratch),
            parse.theirs(fields, extract),
        )
        absent = jsonlines.absent(lines, names)
        _check(
            path, [names[f] for f in absent if f in needed or names[f] != fields[f]], ()
        )
        return jsonlines.fields(lines, fields, extract, absent)
    if unpack.kind(path) == ".parquet":
        raw = pl.scan_parquet(
            path,
            hive_partitioning=False,
            glob=False,
            row_index_name=ROW,
            row_index_offset=1,
        )
    else:
        raw = text_csv(path, extract)
    return named(raw, fields, needed, extract, path, tidy, rest)


def text_csv(path: Path, extract: Extract) -> pl.LazyFrame:
    """A CSV file as text: every column String, an empty cell null, nothing inferred;
    rows are counted from 1.

    What a row has more than the header is in the column ``EXTRA``: its cells may have
    shifted. What it has less is null, as scanners read it; only a last row that is cut
    off can be told from empty cells, and refuses the file.
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
    """The first row that isn't blank, and how many rows it ends."""
    try:
        with io.TextIOWrapper(unpack.opened(path), "utf-8-sig", newline="\n") as text:
            for n_rows, cells in enumerate(csv.reader(text), 1):
                if cells:
                    return cells, n_rows
    except csv.Error as error:
        raise InputError(
            f"{path} has no header line that ends in LF or CRLF"
        ) from error
    raise InputError(f"{path} holds no header line; remove it or fetch it again")


def _check_end(path: Path, n_columns: int) -> None:
    with path.open("rb") as stream:
        if stream.read(2) == unpack.GZIP:
            return  # has its own check
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL))
        before, _, last = stream.read().rpartition(b"\n")
    # An odd number of quotes: the end of a cell with line breaks.
    if before and last.strip() and last.count(b'"') % 2 == 0:
        n_cells = 1 + re.sub(rb'"[^"]*"', b"", last).count(b",")
        if n_cells < n_columns:
            raise InputError(
                f"{path} is cut off: its last row has {n_cells} of {n_columns} cells and no line end; fetch it again"
            )


def named(
    raw: pl.LazyFrame,
    fields: Mapping[str, str],
    needed: Sequence[str],
    extract: Extract,
    path: Path,
    tidy: Callable[[str], str] = str,
    rest: str = "",
) -> pl.LazyFrame:
    """Columns by our names; ``rest``, if no column is it, is all others as JSON.

    Raises InputError naming every needed column that the file lacks or has twice.
    """
    names, schema = parse.theirs(fields, extract), raw.collect_schema()
    there: dict[str, list[str]] = {}
    for column in schema:
        there.setdefault(tidy(_name(column)), []).append(column)
    found = {ours: there.get(tidy(theirs), []) for ours, theirs in names.items()}
    lacking = [
        names[f]
        for f in fields
        if not found[f] and (f in needed or names[f] != fields[f])
    ]
    _check(
        path,
        lacking,
        map(_name, schema),
        [names[f] for f in fields if len(found[f]) > 1],
    )
    cells = [
        _cell(ours, columns, schema).alias(ours) for ours, columns in found.items()
    ]
    used = {column for columns in found.values() for column in columns} | {ROW, EXTRA}
    others = {
        _name(c): c
        for c, dtype in schema.items()
        if c not in used and dtype not in NO_TEXT
    }
    if rest and others and not found[rest]:
        texts = [
            parse.text(column, schema[column]).alias(name)
            for name, column in others.items()
        ]
        cells = [c for c in cells if c.meta.output_name() != rest] + [
            pl.struct(texts).struct.json_encode().alias(rest)
        ]
    return raw.select(
        pl.col(ROW).cast(pl.Int64).alias("source_row"),
        _damage(found, needed, schema),
        *cells,
    )


def _name(column: str) -> str:
    return column.rpartition(SEPARATOR)[0] or column


def _cell(ours: str, columns: Sequence[str], schema: pl.Schema) -> pl.Expr:
    if not columns:
        return pl.lit(None, pl.String)
    dtype = schema[columns[0]]
    typed = ours in TIMES and (dtype.is_numeric() or dtype.is_temporal())
    return pl.col(columns[0]) if typed else parse.text(columns[0], dtype)


def _damage(
    found: Mapping[str, Sequence[str]], needed: Sequence[str], schema: pl.Schema
) -> pl.Expr:
    if EXTRA not in schema:
        return pl.lit(None, pl.String).alias("damage")
    is_header = pl.all_horizontal(
        [pl.col(found[f][0]) == _name(found[f][0]) for f in needed]
    )
    repeated = pl.when(is_header).then(pl.lit("repeated_header"))
    return (
        repeated.when(pl.col(EXTRA).is_not_null())
        .then(pl.lit("extra_cells"))
        .alias("damage")
    )


def _check(
    path: Path,
    lacking: Sequence[str],
    there: Iterable[str],
    doubled: Sequence[str] = (),
) -> None:
    if lacking:
        shown = ", ".join(
            [c[:60].split("\n")[0] for c in there if c not in {ROW, EXTRA}][:40]
        )
        raise InputError(
            f"{path} lacks column(s) {', '.join(lacking)}"
            + (f"; it has {shown}" if shown else "")
        )
    if doubled:
        raise InputError(
            f"{path} has two columns called {', '.join(doubled)}; which one is meant can't be told"
        )
