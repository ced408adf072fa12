"""JSON lines as text: a field is looked up by JSONPath, so unknown keys and changing types never break a file."""

import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl

LINE = "line"


def read(path: Path) -> pl.DataFrame:
    """Every non-empty line of a JSON-lines file, also gzipped or in a ZIP of such files: source_row, line."""
    lines = [line for text in _texts(path) for line in text.splitlines() if line.strip()]
    return pl.DataFrame({LINE: lines}, schema={LINE: pl.String}).with_row_index("source_row", offset=1)


def _texts(path: Path) -> list[str]:
    content = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [archive.read(n) for n in sorted(archive.namelist()) if not n.endswith("/")]
    else:
        parts = [content]
    return [_unpacked(part).decode("utf-8-sig", errors="replace") for part in parts]


def _unpacked(part: bytes) -> bytes:
    return gzip.decompress(part) if part[:2] == b"\x1f\x8b" else part


def fields(lines: pl.DataFrame, paths: Mapping[str, str]) -> pl.DataFrame:
    """A text column per JSONPath beside the lines; null where the path, or the JSON, isn't there."""
    return lines.with_columns(pl.col(LINE).str.json_path_match(p).alias(name) for name, p in paths.items())


def is_not_json() -> pl.Expr:
    """True for lines that are no JSON object."""
    return pl.col(LINE).str.json_path_match("$").is_null() | ~pl.col(LINE).str.starts_with("{")
