"""JSON lines as text columns: each field is looked up by a JSONPath.

Unknown keys and changing types therefore never break a file.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import cells, unpack
from churn.events.sources.canonical import STUDY_NAMES, column_names
from churn.settings import Extract

LINE = "line"
BOM = b"\xef\xbb\xbf"

MAX_DOCUMENT = 256 * 2**20
"""Largest file, in bytes, that may be one JSON document; others have to be lines."""


def read(
    paths: Sequence[Path],
    scratch: Path,
) -> pl.LazyFrame:
    """Every non-empty line of JSON-lines files, gzipped or not: source_row, line.

    A file that is one JSON document, a list or an object over many lines, is read as
    one line per object. Raises InputError if it is too large for that.
    """
    scans = [
        pl.scan_lines(
            _as_lines(path, scratch),
            name=LINE,
            glob=False,
        )
        for path in paths
    ]
    is_filled = pl.col(LINE).str.strip_chars() != ""
    return pl.concat(scans).filter(is_filled).with_row_index("source_row", offset=1)


def _as_lines(path: Path, scratch: Path) -> Path:
    """The file itself, or a copy with one object per line if it is one document.

    An incomplete document is left as it is; its lines are then faulty rows.
    """
    unpack.check_text(path)
    with unpack.opened(path) as stream:
        start = stream.readline(2**16).lstrip(BOM).strip()
        if start not in {b"{", b"["} and not start.startswith((b"[{", b"[ ")):
            return path
        stream.seek(0)
        document = stream.read(MAX_DOCUMENT + 1)
    if len(document) > MAX_DOCUMENT:
        raise InputError(
            f"{path} is one JSON document of over {MAX_DOCUMENT:,} bytes; "
            "write it as one object a line"
        )
    try:
        content = json.loads(document.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return path
    objects = content if isinstance(content, list) else [content]
    lines = [json.dumps(item) + "\n" for item in objects]
    out = scratch / f"{path.name}.lines"
    out.write_text("".join(lines), "ascii")
    return out


def fields(
    lines: pl.LazyFrame,
    paths: Mapping[str, str],
    extract: Extract,
    absent: Sequence[str] = (),
) -> pl.LazyFrame:
    """source_row, damage, and a text column per field; null where the key is missing.

    ``paths`` maps our fields to JSONPaths or top-level keys. Looking one up is a pass
    over the text of each line, so fields known to be ``absent`` are not looked up.
    """
    names = column_names(paths, extract)
    json_paths = {field: _json_path(name) for field, name in names.items()}
    _check_paths(json_paths.values())
    line = pl.col(LINE).str.strip_prefix("\ufeff")
    is_object = line.str.strip_chars().str.starts_with("{")
    is_json = line.str.json_path_match("$").is_not_null() & is_object
    values = []
    for field, path in json_paths.items():
        value = pl.lit(None, pl.String)
        if field not in absent:
            value = cells.unless_null(line.str.json_path_match(path))
        values.append(value.alias(field))
    damage = pl.when(~is_json).then(pl.lit("not_json")).alias("damage")
    return lines.select("source_row", damage, *values)


def _json_path(name: str) -> str:
    """A JSONPath as it is, or that of a top-level key."""
    if name.startswith("$"):
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"$['{escaped}']"


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            pl.select(pl.lit("{}").str.json_path_match(path))
        except pl.exceptions.PolarsError:
            raise InputError(
                f"extracts.columns: {path} is neither a key nor a JSONPath "
                "like $.user.id"
            ) from None


def absent(lines: pl.LazyFrame, names: Mapping[str, str]) -> list[str]:
    """Fields whose key occurs in no line at any depth; none if there are no lines.

    ``names`` maps our fields to keys. Those that are JSONPaths are never absent.
    """
    keys = {
        field: name
        for field, name in names.items()
        if not name.startswith(("$.", "$["))
    }
    occurs = [
        pl.col(LINE).str.contains(f'"{re.escape(key)}"\\s*:').any().alias(field)
        for field, key in keys.items()
    ]
    counted = lines.select(pl.len(), *occurs).collect(engine="streaming")
    n_lines, *seen = counted.row(0)
    if not n_lines:
        return []
    return [field for field, is_seen in zip(keys, seen, strict=True) if not is_seen]


def unused(
    lines: pl.LazyFrame,
    keys: Mapping[str, str],
    extract: Extract,
) -> list[str]:
    """Fields whose key occurs in no line, but for those that the study has renamed.

    ``keys`` maps fields that many files lack to the last key of their JSONPaths. To
    search for a key costs much less than to look a field up.
    """
    own = {
        field: key
        for field, key in keys.items()
        if STUDY_NAMES.get(field, field) not in extract.columns
    }
    return absent(lines, own)


def compact(name: str) -> pl.Expr:
    """JSON without blanks, which is the same in every file; other text as it is.

    >>> cell = pl.DataFrame({"a": ['{"x": [1, 2]}', "level 3"]})
    >>> cell.select(compact("a")).to_series().to_list()
    ['{"x":[1,2]}', 'level 3']
    """
    cell = pl.col(name)
    return pl.coalesce(cell.str.json_path_match("$"), cell)
