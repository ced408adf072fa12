"""Repeated records that a tool wrapped, layer by layer, as Parquet stores lists.

BigQuery's Parquet export writes ``{"list": [{"element": {…}}]}`` where its JSON export
writes ``[{…}]``, and so does whatever was made of such a file. Hive calls the layers
``bag`` and ``array_element``, and Avro readers ``array`` and ``item``. Avro written as
JSON also tags a value by its type: ``{"string": "USD"}``.
"""

import re
from pathlib import Path

import polars as pl

from churn.events.sources import unpack

LAYERS = "list|bag|array"
ITEMS = "element|array_element|item"
TAGS = "string|boolean|int|long|float|double"

PEEKED_BYTES = 2**20
"""Bytes at a file's start that show in which form it writes repeated records."""

# Text in quotes, what is neither text nor structure, and objects of one and of two
# levels.
TEXT = r'"(?:[^"\\]|\\.)*"'
PLAIN = r'[^{}\[\]"]'
SCALAR = r'[^{}\[\]",]'
FLAT = rf"\{{(?:{PLAIN}|{TEXT})*\}}"
OBJECT = rf"\{{(?:{PLAIN}|{TEXT}|{FLAT})*\}}"

TAGGED = rf'\{{"(?:{TAGS})":({TEXT}|{SCALAR}+)\}}'
ITEM = rf'\{{"(?:{ITEMS})":({OBJECT}|{TEXT}|{SCALAR}+)\}}'
LAYER = rf'\{{"(?:{LAYERS})":(\[(?:{PLAIN}|{TEXT}|{OBJECT})*\]|null)\}}'


def in_type(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds repeated records that are wrapped."""
    if isinstance(dtype, pl.Struct):
        return True
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return False
    return len(dtype.inner.fields) == 1


def in_json(path: Path, key: str) -> bool:
    """Whether a JSON file wraps the repeated records of a key, judged by its start."""
    layers = rf'\{{|\[\s*\{{\s*"(?:{ITEMS})"\s*:'
    pattern = rf'"{key}"\s*:\s*(?:{layers})|"\w+_value"\s*:\s*\{{'
    with unpack.opened(path) as stream:
        start = stream.read(PEEKED_BYTES)
    return re.search(pattern.encode(), start) is not None


def unwrapped(lines: pl.Expr) -> pl.Expr:
    """JSON lines without the layers around repeated records of up to two levels."""
    compact = lines.str.strip_prefix("\ufeff").str.json_path_match("$")
    untagged = compact.str.replace_all(TAGGED, "${1}")
    without_items = untagged.str.replace_all(ITEM, "${1}")
    plain = without_items.str.replace_all(LAYER, "${1}")
    return plain.fill_null(lines)
