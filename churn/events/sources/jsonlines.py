"""JSON lines as text: a field is looked up by JSONPath, so unknown keys and changing
types never break a file.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import parse, unpack
from churn.settings import Extract

LINE = "line"
MAX_DOCUMENT = (
    256 * 2**20
)  # bytes of a file that is one JSON document; a larger one has to come as lines


def read(paths: Sequence[Path], extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Every non-empty line of JSON-lines files, gzipped or not: source_row, line.

    A file that is one JSON document (an array, or one object over many lines) is read
    as one line an object.
    """
    lines = pl.concat(
        [
            pl.scan_lines(_as_lines(path, extract, scratch), name=LINE, glob=False)
            for path in paths
        ]
    )
    return lines.filter(pl.col(LINE).str.strip_chars() != "").with_row_index(
        "source_row", offset=1
    )


def _as_lines(path: Path, extract: Extract, scratch: Path) -> Path:
    unpack.check_text(path, extract)
    with unpack.opened(path) as stream:
        start = stream.readline(2**16).lstrip(b"\xef\xbb\xbf").strip()
        if start not in {b"{", b"["} and not start.startswith((b"[{", b"[ ")):
            return path
        stream.seek(0)
        document = stream.read(MAX_DOCUMENT + 1)
    if len(document) > MAX_DOCUMENT:
        raise InputError(
            f"{path} is one JSON document of over {MAX_DOCUMENT:,} bytes; write it as one object a line"
        )
    try:
        content = json.loads(document.decode("utf-8-sig"))
    except (
        ValueError,
        RecursionError,
    ):  # not whole, so each of its lines will be counted as no JSON
        return path
    out = scratch / f"{path.name}.lines"
    objects = content if isinstance(content, list) else [content]
    out.write_text("".join(json.dumps(o) + "\n" for o in objects), "ascii")
    return out


def key(name: str) -> str:
    """The JSONPath of a top-level key."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"$['{escaped}']"


def fields(
    lines: pl.LazyFrame,
    paths: Mapping[str, str],
    extract: Extract,
    absent: Sequence[str] = (),
) -> pl.LazyFrame:
    """source_row, damage and a text column per path (JSONPath or top-level key); null
    where it isn't there.

    Each path is a pass over the text of a line, so those known to be ``absent`` are not
    looked for.
    """
    ours = {
        name: p if p.startswith("$") else key(p)
        for name, p in parse.theirs(paths, extract).items()
    }
    _check_paths(ours.values())
    line = pl.col(LINE).str.strip_prefix("\ufeff")
    is_json = line.str.json_path_match(
        "$"
    ).is_not_null() & line.str.strip_chars().str.starts_with("{")
    cells = [
        (
            pl.lit(None, pl.String)
            if name in absent
            else _filled(line.str.json_path_match(path))
        ).alias(name)
        for name, path in ours.items()
    ]
    return lines.select(
        "source_row", pl.when(~is_json).then(pl.lit("not_json")).alias("damage"), *cells
    )


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            pl.select(pl.lit("{}").str.json_path_match(path))
        except pl.exceptions.PolarsError:
            raise InputError(
                f"extracts.columns: {path} is neither a key nor a JSONPath like $.user.id"
            ) from None


def _filled(value: pl.Expr) -> pl.Expr:
    return pl.when(~value.is_in(["", "null"])).then(value)


def absent(lines: pl.LazyFrame, keys: Mapping[str, str]) -> list[str]:
    """Names (ours → key) whose key is in no line, however deep, if there are lines at
    all; of JSONPaths none.
    """
    plain = {name: key for name, key in keys.items() if not key.startswith("$")}
    has = [
        pl.col(LINE).str.contains(f'"{re.escape(key)}"\\s*:').any().alias(name)
        for name, key in plain.items()
    ]
    n_lines, *seen = lines.select(pl.len(), *has).collect(engine="streaming").row(0)
    return [
        name for name, there in zip(plain, seen, strict=True) if n_lines and not there
    ]
