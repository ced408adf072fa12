"""JSON lines as text: a field is looked up by JSONPath, so unknown keys and changing types never break a file."""

import json
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.sources import parse
from churn.study import Extract

LINE = "line"
MAX_DOCUMENT = 256 * 2**20  # bytes of a file that is one JSON document; a larger one has to come as lines


def read(paths: list[Path], scratch: Path) -> pl.LazyFrame:
    """Every non-empty line of JSON-lines files, gzipped or not: source_row, line.

    A file that is one JSON document (an array, or one object over many lines) is read as one line an object.
    """
    lines = pl.concat([pl.scan_lines(_as_lines(path, scratch), name=LINE) for path in paths])
    return lines.filter(pl.col(LINE).str.strip_chars() != "").with_row_index("source_row", offset=1)


def _as_lines(path: Path, scratch: Path) -> Path:
    with path.open("rb") as stream:
        start = stream.readline(2**16).lstrip(b"\xef\xbb\xbf").strip()
    if start not in {b"{", b"["} and not start.startswith((b"[{", b"[ ")):
        return path
    if path.stat().st_size > MAX_DOCUMENT:
        raise InputError(f"{path} is one JSON document of {path.stat().st_size:,} bytes; write it as one object a line")
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except ValueError:  # not whole, so each of its lines will be counted as no JSON
        return path
    out = scratch / f"{path.name}.lines"
    objects = content if isinstance(content, list) else [content]
    out.write_text("".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects), "utf-8")
    return out


def fields(lines: pl.LazyFrame, paths: dict[str, str], extract: Extract) -> pl.LazyFrame:
    """A text column per JSONPath beside the lines; null where the path, or the JSON, isn't there."""
    ours = {name: extract.columns.get(parse.STUDY_NAMES.get(name, name), path) for name, path in paths.items()}
    line = pl.col(LINE).str.strip_prefix("\ufeff")
    return lines.with_columns(line).with_columns(
        _filled(pl.col(LINE).str.json_path_match(path)).alias(name) for name, path in ours.items()
    )


def _filled(value: pl.Expr) -> pl.Expr:
    return pl.when(~value.is_in(["", "null"])).then(value)


def is_not_json() -> pl.Expr:
    """True for lines that are no JSON object."""
    return pl.col(LINE).str.json_path_match("$").is_null() | ~pl.col(LINE).str.strip_chars().str.starts_with("{")
