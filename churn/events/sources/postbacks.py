"""Postbacks as `churn receive` has written them, the same for every vendor.

A line holds one postback with the moment of its receipt, or what couldn't be read with
its fault:

    {"received_at": "2026-03-08T02:14:05.123456+00:00", "postback": {"adid": …}}
    {"received_at": "2026-03-08T02:14:05.123456+00:00", "fault": "not_json", "raw": …}

A vendor fills placeholders in an address and leaves out what it doesn't know, or leaves
the placeholder as it is; both are null here.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from churn.events.sources import cells, jsonlines, unpack
from churn.events.sources.canonical import column_names
from churn.settings import Extract

FORM = "postbacks"
"""The format's name in ``formats``."""

SUFFIX = ".postbacks.ndjson.gz"

LIST = r"^\["
"""The values of a parameter that was given several times, and contradicts itself."""

LOST_PLUS = r"^(\d{4}-\d\d-\d\d[T ][\d:.]+) (\d\d:?\d\d)$"
"""A time whose offset lost its plus sign, which stands for a blank in an address."""


def are_in(path: Path) -> bool:
    """Whether a file holds postbacks."""
    return unpack.form(path) == FORM


def read(
    path: Path,
    fields: Mapping[str, str],
    extract: Extract,
    scratch: Path,
    elsewhere: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """source_row, damage, received_at (UTC), and a text column per field.

    ``fields`` maps our fields to parameters, or to keys of a JSON body. ``elsewhere``
    maps some of them to JSONPaths, below the postback, at which they may stand as well.
    A field that no postback has is null: unlike the columns of a file, parameters are
    left out where they are empty.
    """
    lines = jsonlines.read([path], scratch)
    names = column_names(fields, extract)
    absent = jsonlines.absent(lines, names)
    paths = {field: _below(name) for field, name in names.items()}
    others = {
        f"other {field}": _below(name) for field, name in (elsewhere or {}).items()
    }
    line = {"received_at": "$.received_at", "fault": "$.fault"}
    raw = jsonlines.looked_up(lines, {**paths, **others, **line}, absent)
    values = [_value(field, f"other {field}" in others) for field in fields]
    filled = raw.with_columns(values)
    is_repeated = pl.any_horizontal(
        pl.col(field).str.contains(LIST) for field in fields if field != "properties"
    )
    repeated = pl.when(is_repeated).then(pl.lit("repeated_parameter"))
    return filled.select(
        "source_row",
        pl.coalesce("fault", "damage", repeated).alias("damage"),
        cells.time("received_at", "UTC").alias("received_at"),
        *fields,
    )


def _below(name: str) -> str:
    """The JSONPath, from the whole line, of a key or JSONPath of the postback."""
    return f"$.postback{jsonlines.json_path(name).removeprefix('$')}"


def _value(field: str, has_other: bool) -> pl.Expr:
    names = [field, f"other {field}"] if has_other else [field]
    found = pl.coalesce([cells.unless_placeholder(name) for name in names])
    if field == "time":
        found = found.str.replace(LOST_PLUS, "${1}+${2}")
    return found.alias(field)
