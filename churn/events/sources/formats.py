"""The format of a file: by its name and, if that states none, by its first bytes.

A name states a format by its suffix, before which or after which a packing may stand:
``events.json.gz``, ``events.csv.zip``. A name such as ``part-00000.gz`` states the
packing alone.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

SUFFIXES = {
    "avro": (".avro",),
    "callbacks": (".txt",),
    "postbacks": (".postbacks.ndjson",),
    "csv": (".csv", ".tsv"),
    "json": (".json", ".ndjson", ".jsonl"),
    "parquet": (".parquet",),
}
"""Endings of names, without packing, by format."""

PACKINGS = (".gz", ".zst", ".snappy", ".zip")
"""Endings of the names of packed files."""

UNSTATED = "unstated"
"""Stands for the format of a packed file whose name states none."""

BOM = b"\xef\xbb\xbf"

# Adjust's CSV begins with names in braces or brackets, such as {adid} or [user_id].
JSON_START = rb'\s*(?:\{\s*(?:["}]|$)|\[\s*(?:[\[{"\]]|$))'
PAGE_START = rb"\s*<[!?a-zA-Z]"


def of_name(name: str) -> str:
    """The format that a file's name states: a key of SUFFIXES, or UNSTATED.

    The empty text if the name ends in something else.

    >>> of_name("2026-03-08.csv.zip"), of_name("part-00000.gz"), of_name("notes.docx")
    ('csv', 'unstated', '')
    """
    path = PurePosixPath(name.lower())
    is_packed = path.suffix in PACKINGS
    if is_packed:
        path = path.with_suffix("")
    for form, suffixes in SUFFIXES.items():
        if path.name.endswith(suffixes):
            return form
    return UNSTATED if is_packed else ""


def is_readable(name: str, forms: Sequence[str]) -> bool:
    """Whether a name states one of these formats, or is that of a packed file."""
    stated = of_name(name)
    return stated in forms or (stated == UNSTATED and "avro" not in forms)


def endings(forms: Sequence[str]) -> str:
    """The endings of names in words, for messages."""
    suffixes = [suffix for form in forms for suffix in SUFFIXES[form]]
    if "avro" in forms:
        return ", ".join(suffixes)
    return f"{', '.join(suffixes)}, also packed ({', '.join(PACKINGS)})"


def of_start(start: bytes) -> str:
    """The format of a file that begins like this; what is no other format is CSV."""
    if start.startswith(b"PAR1"):
        return "parquet"
    return "json" if is_json(start) else "csv"


def is_json(start: bytes) -> bool:
    """Whether a file that begins like this holds JSON, be it lines or a document."""
    return re.match(JSON_START, start.removeprefix(BOM)) is not None


def is_page(start: bytes) -> bool:
    """Whether a file that begins like this is an HTML page or an XML document.

    Servers answer with these in place of an export, with their error in it.
    """
    return re.match(PAGE_START, start.removeprefix(BOM)) is not None
