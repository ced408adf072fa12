"""Files as they arrive → files that can be scanned: what they really hold, snappy,
encodings, ZIP members.
"""

import gzip
import io
import shutil
import zipfile
import zlib
from pathlib import Path

import cramjam
import polars as pl

from churn.errors import InputError
from churn.settings import Extract

UNREADABLE = (
    OSError,
    EOFError,
    UnicodeError,
    zlib.error,
    zipfile.BadZipFile,
    cramjam.DecompressionError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,  # polars gives up so on a few types inside Parquet
)
PACKED = (".gz", ".snappy")
BINARY = (".parquet", ".avro", ".zip")  # have no encoding
GZIP, SNAPPY, UTF_16 = (
    b"\x1f\x8b",
    b"\xff\x06\x00\x00sNaPpY",
    (b"\xff\xfe", b"\xfe\xff"),
)
HOLDS = {
    b"PAR1": "Parquet",
    b"Obj\x01": "Avro",
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF",
    SNAPPY: "snappy",
    GZIP: "gzip inside gzip",
}


def plain(path: Path, extract: Extract, scratch: Path) -> Path:
    """The file as the readers take it: snappy unpacked, other encodings turned into
    UTF-8; gzip they read as it is.
    """
    if path.suffix.lower() == ".snappy":
        path = _unsnapped(path, scratch)
    if extract.encoding == "utf-8" or kind(path) in BINARY:
        return path
    out = _copy(path, scratch)
    text = io.TextIOWrapper(opened(path), extract.encoding, newline="")
    with text, out.open("w", encoding="utf-8", newline="") as utf8:
        shutil.copyfileobj(text, utf8, 2**20)
    return out


def opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """The file's bytes, gunzipped where they are gzip whatever the name says."""
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
    return gzip.open(path) if packed else path.open("rb")


def kind(path: Path) -> str:
    """The suffix that tells the format: the one before .gz or .snappy, in lower
    case.
    """
    return _bare(path).suffix.lower()


def _bare(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in PACKED else path


def check_text(path: Path, extract: Extract) -> None:
    """Raise InputError for a file that can't be UTF-8 text, judged by its first
    bytes.
    """
    with opened(path) as stream:
        start = stream.read(512)
    if start.startswith(UTF_16):
        raise InputError(
            f'{path} is UTF-16; set encoding = "utf-16" for extract {extract.path}'
        )
    held = next(
        (what for magic, what in HOLDS.items() if start.startswith(magic)), None
    )
    if held or b"\x00" in start:
        raise InputError(
            f"{path} holds {held or 'binary data'}, no text; name it as what it is or fetch it again"
        )


def members(path: Path, scratch: Path) -> list[Path]:
    """The file itself, or the members of a ZIP, unpacked into ``scratch``."""
    if not zipfile.is_zipfile(path):
        return [path]
    parts: list[Path] = []
    with zipfile.ZipFile(path) as archive:
        for member in sorted(
            (m for m in archive.infolist() if not m.is_dir()), key=lambda m: m.filename
        ):
            parts.append(scratch / f"{len(parts):06d}.json")
            try:
                with archive.open(member) as packed, parts[-1].open("wb") as out:
                    shutil.copyfileobj(packed, out)
            except (
                RuntimeError
            ) as error:  # a password, or a compression that Python doesn't know
                raise InputError(f"{path} can't be unpacked: {error}") from error
    filled = [part for part in parts if part.stat().st_size]
    if not filled:
        raise InputError(
            f"{path} holds no file with anything in it; remove it or fetch it again"
        )
    return filled


def _unsnapped(path: Path, scratch: Path) -> Path:
    """Framed snappy or Hadoop's blocks, unpacked."""
    packed = path.read_bytes()
    out = _copy(path, scratch)
    out.write_bytes(
        cramjam.snappy.decompress(packed)
        if packed.startswith(SNAPPY)
        else _hadoop_blocks(packed)
    )
    return out


def _hadoop_blocks(packed: bytes) -> bytes:
    """Blocks: length of the plain text, then pieces of packed length and raw snappy
    (lengths big-endian, 4 bytes).
    """
    plain, at = bytearray(), 0
    while at < len(packed):
        end = len(plain) + int.from_bytes(packed[at : at + 4], "big")
        at += 4
        while len(plain) < end:
            size = int.from_bytes(packed[at : at + 4], "big")
            if not 0 < size <= len(packed) - at - 4:
                raise EOFError("a snappy block is cut off")
            plain += bytes(
                cramjam.snappy.decompress_raw(packed[at + 4 : at + 4 + size])
            )
            at += 4 + size
    return bytes(plain)


def _copy(path: Path, scratch: Path) -> Path:
    """Where an unpacked copy goes: the same folders below ``scratch``, since readers
    look at them.
    """
    out = _bare(scratch / path.as_posix().lstrip("/"))
    out.parent.mkdir(parents=True, exist_ok=True)
    return out
