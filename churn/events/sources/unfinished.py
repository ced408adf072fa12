"""Files that are still being written: changed lately, and without their end."""

import csv
import gzip
import json
import zipfile
import zlib
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import csvtext, formats, jsonlines, unpack
from churn.events.sources.find import Found
from churn.settings import Extract
from churn.store import objects

RECENT_SECONDS = 600
"""A file without its end that is older than this is taken to be cut off for good."""

PARQUET = b"PAR1"
ZIP = b"PK\x03\x04"
ZSTANDARD = b"\x28\xb5\x2f\xfd"
WIDE_ENCODINGS = ("utf-16", "utf-32")
"""Encodings in which a line end is more than one byte."""

COPY_BYTES = 2**20

TAIL_BYTES = 2**20
"""Number of bytes at a file's end that are searched for its last JSON line."""


def is_unfinished(file: Found, now: float) -> bool:
    """Whether a local file was changed in the last ten minutes and lacks its end.

    False for an object, since object stores show objects once they are complete.
    ``now`` is the present in seconds since 1970. The end is missing from gzip without
    its last block, Parquet without footer, ZIP without directory, a JSON list that is
    not closed, a last JSON line that is no JSON, and a last CSV row with too few cells
    or an open quote. Whether another format is complete is not checked.
    """
    if objects.is_url(file.address):
        return False
    path = Path(file.address)
    try:
        if now - path.stat().st_mtime >= RECENT_SECONDS:
            return False
        return _lacks_end(path, file.extract)
    except (OSError, InputError, UnicodeError, csv.Error, zlib.error):
        # Reading the file explains what is wrong with it.
        return False


def _lacks_end(path: Path, extract: Extract) -> bool:
    with path.open("rb") as stream:
        start = stream.read(len(PARQUET))
    if start.startswith(unpack.GZIP):
        return _is_cut_off_gzip(path)
    if start == ZSTANDARD:
        return _is_cut_off_zstandard(path)
    if start == PARQUET:
        return not _tail(path, len(PARQUET)).endswith(PARQUET)
    if start == ZIP:
        return not zipfile.is_zipfile(path)
    if extract.encoding.startswith(WIDE_ENCODINGS):
        return False
    stated = formats.of_name(path.name)
    if stated == "json":
        return _ends_within_json(path)
    return stated == "csv" and csvtext.ends_within_row(path, extract.csv)


def _is_cut_off_gzip(path: Path) -> bool:
    with gzip.open(path) as stream:
        try:
            while stream.read(COPY_BYTES):
                pass
        except EOFError:
            return True
    return False


def _is_cut_off_zstandard(path: Path) -> bool:
    lines = pl.scan_lines(path, glob=False).select(pl.len())
    try:
        lines.collect(engine="streaming")
    except pl.exceptions.PolarsError:
        return True
    return False


def _tail(path: Path, n_bytes: int) -> bytes:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - n_bytes))
        return stream.read()


def _ends_within_json(path: Path) -> bool:
    """Whether a list is not closed, or a last line without line end is no JSON.

    The last line of a document over many lines is no JSON by itself.
    """
    last = _tail(path, TAIL_BYTES).rpartition(b"\n")[2].strip()
    if not _is_list(path) and (not last or _is_json(last)):
        return False
    if len(last) >= TAIL_BYTES or path.stat().st_size > jsonlines.MAX_DOCUMENT:
        return bool(last) and not last.endswith((b"}", b"]"))
    return not _is_json(path.read_bytes())


def _is_list(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(64).removeprefix(jsonlines.BOM).lstrip().startswith(b"[")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text.removeprefix(jsonlines.BOM))
    except (ValueError, RecursionError):
        return False
    return True
