"""Extracts → canonical events: one small reader per export format.

A reader is a function ``read(path, extract, scratch) -> pl.LazyFrame`` that gives one row per source row with the
columns of ``parse.CANONICAL``; ``fault`` says why a row can't be kept (null: it can). Readers select columns by name,
tolerate unknown and missing optional ones, and read every text cell as text first. ``scratch`` is a folder for what has
to be unpacked; nothing is read before the frame is collected.
"""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cramjam
import polars as pl

from churn.errors import InputError
from churn.sources import adjust, amplitude, appsflyer, branch, currents, ga4, parse, table
from churn.study import Extract

Reader = Callable[[Path, Extract, Path], pl.LazyFrame]

_FORMATS = {
    "adjust": adjust,
    "amplitude": amplitude,
    "appsflyer": appsflyer,
    "branch": branch,
    "currents": currents,
    "ga4": ga4,
    "table": table,
}
READERS: dict[str, Reader] = {name: module.read for name, module in _FORMATS.items()}
SUFFIXES: dict[str, tuple[str, ...]] = {name: module.SUFFIXES for name, module in _FORMATS.items()}
SETTLING_DAYS: dict[str, int] = {name: module.SETTLING_DAYS for name, module in _FORMATS.items()}
UNREADABLE = (OSError, EOFError, UnicodeError, zlib.error, zipfile.BadZipFile, pl.exceptions.PolarsError)
SNAPPY = b"\xff\x06\x00\x00sNaPpY"
TEXT = (".csv", ".txt", ".json", ".ndjson", ".jsonl", ".gz", ".snappy")

__all__ = ["READERS", "parse", "read", "settling_days", "unreadable"]


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one file, faults marked. Raises InputError for a file that can't be read at all.

    What only shows while the rows are read comes as one of ``UNREADABLE`` on collecting: see ``unreadable``.
    """
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); remove it or fetch it again")
        return READERS[extract.source](_plain(path, extract, scratch), extract, scratch)
    except UNREADABLE as error:
        raise unreadable(path, extract, error) from error


def unreadable(path: Path, extract: Extract, error: BaseException) -> InputError:
    """The sentence for a file that turned out damaged or other than its name says."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "utf-8" in reason.lower() or "utf8" in reason.lower():
        reason += f' (not {extract.encoding}? say encoding = "latin-1", or what it is, in the extract)'
    return InputError(f"{path} can't be read as {extract.source} extract: {reason}")


def _plain(path: Path, extract: Extract, scratch: Path) -> Path:
    """The file as the readers take it: snappy unpacked, other encodings turned into UTF-8; gzip they read as it is."""
    if path.suffix == ".snappy":
        path = _unsnapped(path, scratch)
    if extract.encoding == "utf-8" or not path.name.endswith(TEXT):
        return path
    out = _copy(path, scratch, ".csv" if path.suffix == ".gz" else path.suffix)
    opened = _gzip_text(path, extract.encoding)
    with opened as text, out.open("w", encoding="utf-8", newline="") as plain:
        while part := text.read(2**20):
            plain.write(part)
    return out


def _gzip_text(path: Path, encoding: str):  # type: ignore[no-untyped-def]
    import gzip

    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding=encoding, newline="")


def _unsnapped(path: Path, scratch: Path) -> Path:
    """Framed snappy or Hadoop's blocks, as plain CSV."""
    packed = path.read_bytes()
    out = _copy(path, scratch, ".csv")
    try:
        plain = bytes(cramjam.snappy.decompress(packed)) if packed.startswith(SNAPPY) else _hadoop_blocks(packed)
    except cramjam.DecompressionError as error:
        raise unreadable(path, Extract(source="appsflyer", path=str(path)), error) from error
    out.write_bytes(plain)
    return out


def _hadoop_blocks(packed: bytes) -> bytes:
    """Blocks: length of the plain text, then pieces of packed length and raw snappy (lengths big-endian, 4 bytes)."""
    plain, at = bytearray(), 0
    while at < len(packed):
        end = len(plain) + int.from_bytes(packed[at : at + 4], "big")
        at += 4
        while len(plain) < end:
            size = int.from_bytes(packed[at : at + 4], "big")
            if not 0 < size <= len(packed) - at - 4:
                raise EOFError("a snappy block is cut off")
            plain += bytes(cramjam.snappy.decompress_raw(packed[at + 4 : at + 4 + size]))
            at += 4 + size
    return bytes(plain)


def _copy(path: Path, scratch: Path, suffix: str) -> Path:
    """Where an unpacked copy goes: the same folders below ``scratch``, since readers look at them."""
    out = scratch / path.as_posix().lstrip("/").removesuffix("".join(path.suffixes[-1:]))
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.with_name(out.name + suffix)


def settling_days(extract: Extract) -> int:
    """Days until the source's last day is final: the study's word, else the source's usual one."""
    return SETTLING_DAYS[extract.source] if extract.settling_days is None else extract.settling_days
