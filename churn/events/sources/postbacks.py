"""Postbacks as `churn receive` has written them, the same for every vendor.

A line holds one postback with the moment of its receipt, or what couldn't be read with
its fault:

    {"received_at": "2026-03-08T02:14:05.123456+00:00", "postback": {"adid": …}}
    {"received_at": "2026-03-08T02:14:05.123456+00:00", "fault": "not_json", "raw": …}

A vendor fills placeholders in an address and leaves out what it doesn't know, or leaves
the placeholder as it is; both are null here.
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn.errors import InputError
from churn.events.sources import cells, unpack
from churn.events.sources.canonical import column_names
from churn.settings import Extract

FORM = "postbacks"
"""The format's name in ``formats``."""

SUFFIX = ".postbacks.ndjson.gz"

N_LINES = 50_000
"""Lines that are in memory at a time."""

STEP = r"\.([^.\[\]'\"]+)|\['([^']+)'\]"
"""One step of a JSONPath such as $.user.id or $['user']['id']."""

LIST = r"^\["
"""The values of a parameter that was given several times, and contradicts itself."""

LOST_PLUS = r"^(\d{4}-\d\d-\d\d[T ][\d:.]+) (\d\d:?\d\d)$"
"""A time whose offset lost its plus sign, which stands for a blank in an address."""

in_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Keys = tuple[str, ...]
"""The keys that lead to a value, from the outermost object inward."""


def are_in(path: Path) -> bool:
    """Whether a file holds postbacks."""
    return unpack.form(path) == FORM


def source_of(path: Path) -> str | None:
    """The source that the receiver's folders name, SOURCE/t=…/dt=…/h=…; null if none."""
    found = re.search(r"([^/]+)/t=[^/]+/dt=[^/]+/h=[^/]+/[^/]+$", path.as_posix())
    return found[1] if found else None


def read(
    path: Path,
    fields: Mapping[str, str],
    extract: Extract,
    scratch: Path,
    elsewhere: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """source_row, damage, received_at (UTC), and a text column per field.

    ``fields`` maps our fields to parameters, or to keys of a JSON body. ``elsewhere``
    maps some of them to JSONPaths at which they may stand as well. A field that no
    postback has is null: unlike the columns of a file, parameters are left out where
    they are empty.
    """
    names = column_names(fields, extract)
    keys = {field: [_keys(name)] for field, name in names.items()}
    for field, name in (elsewhere or {}).items():
        keys[field].append(_keys(name))
    raw = _unpacked(path, keys, scratch)
    values = raw.with_columns(_value(field) for field in fields)
    is_repeated = pl.any_horizontal(
        pl.col(field).str.contains(LIST) for field in fields if field != "properties"
    )
    repeated = pl.when(is_repeated).then(pl.lit("repeated_parameter"))
    return values.select(
        "source_row",
        pl.coalesce("fault", repeated).alias("damage"),
        cells.time("received_at", "UTC").alias("received_at"),
        *fields,
    )


def _keys(name: str) -> Keys:
    """The keys of a JSONPath, or the one key that a name is.

    >>> _keys("adid"), _keys("$.user['id']")
    (('adid',), ('user', 'id'))
    """
    if not name.startswith("$"):
        return (name,)
    if not re.fullmatch(f"(?:{STEP})+", name[1:]):
        raise InputError(
            f"extracts.columns: {name} is neither a parameter nor a path like $.user.id"
        )
    return tuple(plain or quoted for plain, quoted in re.findall(STEP, name))


def _unpacked(
    path: Path,
    keys: Mapping[str, Sequence[Keys]],
    scratch: Path,
) -> pl.LazyFrame:
    """The file as a table: source_row, received_at, fault and a text column per field.

    Each line is parsed once, which JSONPaths in polars would do for every field.
    """
    unpack.check_text(path)
    parts: list[Path] = []
    n_rows = 0
    with unpack.opened(path) as stream:
        filled = (line for line in stream if line.strip())
        while lines := list(itertools.islice(filled, N_LINES)):
            part = _table(lines, keys).with_row_index("source_row", offset=n_rows + 1)
            parts.append(scratch / f"{path.name}.{len(parts)}.parquet")
            part.write_parquet(parts[-1], compression="uncompressed")
            n_rows += len(lines)
    if parts:
        return pl.scan_parquet(parts, glob=False)
    return _table([], keys).with_row_index("source_row", offset=1).lazy()


def _table(lines: Iterable[bytes], keys: Mapping[str, Sequence[Keys]]) -> pl.DataFrame:
    rows = [_row(_record(line), keys.values()) for line in lines]
    names = ["received_at", "fault", *keys]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pl.DataFrame(
        {
            name: pl.Series(cells, dtype=pl.String)
            for name, cells in zip(names, columns, strict=True)
        }
    )


def _row(
    record: dict[str, Any],
    keys: Iterable[Sequence[Keys]],
) -> list[str | None]:
    """The time of receipt, the fault, and the first filled value of each field."""
    postback = record.get("postback")
    fault = None if isinstance(postback, dict) else "not_an_object"
    row = [_text(record.get("received_at")), _text(record.get("fault")) or fault]
    for paths in keys:
        value = None
        for path in paths:
            value = _found(postback, path) if value is None else value
        row.append(_text(value))
    return row


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    return record if isinstance(record, dict) else {"fault": "not_json"}


def _found(value: Any, keys: Keys) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _text(value: Any) -> str | None:
    """A value of JSON as text; lists and objects as JSON without blanks."""
    if value is None:
        return None
    text = value if isinstance(value, str) else in_json(value)
    if text.isascii():
        return text
    # Half of a pair of UTF-16 is no text that could be stored.
    return text.encode("utf-8", "replace").decode()


def _value(field: str) -> pl.Expr:
    found = cells.unless_null(cells.unless_placeholder(field))
    if field == "time":
        found = found.str.replace(LOST_PLUS, "${1}+${2}")
    return found.alias(field)
