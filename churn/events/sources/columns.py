"""Tabular files (CSV, Parquet, JSON lines) as text columns named by our fields.

All readers except those of Avro and pure JSON formats start here. A column that the
file lacks is null; ``source_row`` counts rows from 1; ``damage`` says how a row is
malformed, and is null if it isn't.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import (
    cells,
    csvtext,
    dialects,
    jsonlines,
    raw_bytes,
    unpack,
)
from churn.events.sources.canonical import STUDY_NAMES, column_names
from churn.events.sources.csvtext import EXTRA, ROW, SEPARATOR
from churn.events.sources.index_columns import index_columns
from churn.settings import Extract

TYPED = ("time", "received_time")
"""Fields whose columns keep their type, because text would lose part of an instant."""

NOT_TEXT = (pl.Binary, pl.Duration)
"""Types that cannot be written as text."""

SHOWN_COLUMNS = 40
SHOWN_LETTERS = 60


def read(
    path: Path,
    fields: Mapping[str, str],
    needed: Sequence[str],
    extract: Extract,
    scratch: Path,
    normalise: Callable[[str], str] = str,
    rest: str = "",
) -> pl.LazyFrame:
    """The file's columns by our field names, with source_row and damage.

    ``fields`` maps our fields to the format's columns, and ``needed`` lists the fields
    that a file must have. Column names are compared after ``normalise``; JSON keys are
    compared as they are. ``rest``: see ``named``. Raises InputError for missing
    columns.
    """
    form = unpack.form(path)
    if form == "json":
        return _read_json(path, fields, needed, extract, scratch)
    if form == "parquet":
        raw = pl.scan_parquet(
            path,
            hive_partitioning=False,
            glob=False,
            row_index_name=ROW,
            row_index_offset=1,
        )
    else:
        raw = _scan_csv(path, fields, needed, extract, normalise)
    return named(raw, fields, needed, extract, path, normalise, rest)


def _scan_csv(
    path: Path,
    fields: Mapping[str, str],
    needed: Sequence[str],
    extract: Extract,
    normalise: Callable[[str], str],
) -> pl.LazyFrame:
    """The file's columns by their names, with times and amounts in one form."""
    names = column_names(fields, extract)

    def fits(header: Sequence[str]) -> bool:
        present = {normalise(name) for name in header}
        return all(normalise(names[field]) in present for field in needed)

    csvtext.check(path)
    layout = csvtext.layout(path, extract.csv, fits)
    found = [normalise(name) for name in layout.header]
    numbers = {
        field: found.index(normalise(name))
        for field, name in names.items()
        if normalise(name) in found
    }
    rows = csvtext.scan(path, layout)
    return dialects.in_one_form(
        rows,
        layout,
        numbers,
        stated=extract.csv,
        path=path,
    )


def _read_json(
    path: Path,
    fields: Mapping[str, str],
    needed: Sequence[str],
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    lines = jsonlines.read([path], scratch)
    names = column_names(fields, extract)
    absent = jsonlines.absent(lines, names)
    missing = [field for field in absent if _is_required(field, names, fields, needed)]
    _check_present(path, [names[field] for field in missing], [])
    return jsonlines.fields(lines, fields, extract, absent)


def named(
    raw: pl.LazyFrame,
    fields: Mapping[str, str],
    needed: Sequence[str],
    extract: Extract,
    path: Path,
    normalise: Callable[[str], str] = str,
    rest: str = "",
) -> pl.LazyFrame:
    """The columns of a scanned file by our field names, with source_row and damage.

    If ``rest`` names a field and the file has no column for it, it holds all columns
    that belong to no field, as JSON, but for columns that number the rows. Raises
    InputError that names all needed columns which the file lacks or has twice.
    """
    names = column_names(fields, extract)
    schema = raw.collect_schema()
    present: dict[str, list[str]] = {}
    for column in schema:
        present.setdefault(normalise(_name(column)), []).append(column)
    found = {field: present.get(normalise(name), []) for field, name in names.items()}
    missing = [
        names[field]
        for field in fields
        if not found[field] and _is_required(field, names, fields, needed)
    ]
    _check_present(path, missing, [_name(column) for column in schema])
    _check_single(path, [names[field] for field in fields if len(found[field]) > 1])
    values = {field: _cell(field, found[field], schema) for field in fields}
    if rest and not found[rest]:
        used = {column for columns in found.values() for column in columns}
        names_in_file = {column: _name(column) for column in schema}
        used |= index_columns(raw, names_in_file)
        values[rest] = _others(schema, used)
    return raw.select(
        pl.col(ROW).cast(pl.Int64).alias("source_row"),
        _damage(found, needed, schema).alias("damage"),
        *[value.alias(field) for field, value in values.items()],
    )


def _is_required(
    field: str,
    names: Mapping[str, str],
    fields: Mapping[str, str],
    needed: Sequence[str],
) -> bool:
    """Whether a file must have a field: needed by the format, or named by the study."""
    return field in needed or names[field] != fields[field]


def _name(column: str) -> str:
    """The name of a column as the file writes it, which may be the empty text."""
    if column in {ROW, EXTRA} or SEPARATOR not in column:
        return column
    return column.rpartition(SEPARATOR)[0]


def _cell(
    field: str,
    columns: Sequence[str],
    schema: pl.Schema,
) -> pl.Expr:
    if not columns:
        return pl.lit(None, pl.String)
    dtype = schema[columns[0]]
    if field in TYPED and (dtype.is_numeric() or dtype.is_temporal()):
        return pl.col(columns[0])
    return cells.text(columns[0], dtype)


def _others(schema: pl.Schema, used: set[str]) -> pl.Expr:
    """The columns that belong to no field, as one JSON object; null if there are none.

    Of columns with the same name the last one is taken.
    """
    others = {
        _name(column): column
        for column, dtype in schema.items()
        if column not in used | {ROW, EXTRA} and dtype not in NOT_TEXT
    }
    if not others:
        return pl.lit(None, pl.String)
    texts = [
        cells.text(column, schema[column]).alias(name)
        for name, column in others.items()
    ]
    return pl.struct(texts).struct.json_encode()


def _damage(
    found: Mapping[str, Sequence[str]], needed: Sequence[str], schema: pl.Schema
) -> pl.Expr:
    damages = [pl.lit(None, pl.String)]
    if EXTRA in schema:
        damages += _shifted(found, needed)
    for field, names in found.items():
        if names and schema[names[0]] == pl.Binary:
            is_unreadable = raw_bytes.is_unreadable(pl.col(names[0]))
            reason = f"unreadable_{STUDY_NAMES.get(field, field)}"
            damages.append(pl.when(is_unreadable).then(pl.lit(reason)))
    return pl.coalesce(damages)


def _shifted(
    found: Mapping[str, Sequence[str]],
    needed: Sequence[str],
) -> list[pl.Expr]:
    """The damage of rows of CSV that are a header, or have too many cells."""
    repeats_header = pl.all_horizontal(
        [pl.col(found[field][0]) == _name(found[field][0]) for field in needed]
    )
    has_extra_cells = pl.col(EXTRA).is_not_null()
    return [
        pl.when(repeats_header).then(pl.lit("repeated_header")),
        pl.when(has_extra_cells).then(pl.lit("extra_cells")),
    ]


def _check_present(
    path: Path,
    missing: Sequence[str],
    present: Iterable[str],
) -> None:
    if not missing:
        return
    names = [column for column in present if column not in {ROW, EXTRA}]
    shown = [name[:SHOWN_LETTERS].split("\n")[0] for name in names[:SHOWN_COLUMNS]]
    there = f"; it has {', '.join(shown)}" if shown else ""
    if len(shown) == 1:
        there += (
            " as its only column; state separator in [extracts.csv] if its cells are "
            "separated by something else than a comma, semicolon, tab or |"
        )
    raise InputError(f"{path} lacks column(s) {', '.join(missing)}{there}")


def _check_single(path: Path, doubled: Sequence[str]) -> None:
    if doubled:
        raise InputError(
            f"{path} has two columns called {', '.join(doubled)}; rename or remove one "
            "of them"
        )
