"""Unpacking: converts extract files into files that polars can scan.

A file's real format is recognised by its first bytes. Snappy is unpacked, other
encodings become UTF-8, and ZIP archives become their members. Gzip is left as it is,
since every reader takes it.
"""

import gzip
import hashlib
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
    # Polars raises this for a few types inside Parquet.
    pl.exceptions.PanicException,
)
"""Exceptions of libraries for files that are damaged or of an unexpected format."""

PACKED = (".gz", ".snappy")

BINARY = (".parquet", ".avro", ".zip")
"""Formats that have no text encoding."""

GZIP = b"\x1f\x8b"
SNAPPY = b"\xff\x06\x00\x00sNaPpY"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
CONTENTS = {
    b"PAR1": "Parquet",
    b"Obj\x01": "Avro",
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF",
    SNAPPY: "snappy",
    GZIP: "gzip inside gzip",
}
"""What a file holds, by its first bytes."""

COPY_BYTES = 2**20


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plain(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> Path:
    """The file in UTF-8, without snappy: the original or a copy below ``scratch``."""
    if path.suffix.lower() == ".snappy":
        path = _without_snappy(path, scratch)
    if extract.encoding == "utf-8" or kind(path) in BINARY:
        return path
    out = _copy_path(path, scratch)
    text = io.TextIOWrapper(opened(path), extract.encoding, newline="")
    with (
        text,
        out.open(
            "w",
            encoding="utf-8",
            newline="",
        ) as utf8,
    ):
        shutil.copyfileobj(text, utf8, COPY_BYTES)
    return out


def opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """The file's bytes, unpacked if they are gzip, whatever the file's name."""
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == GZIP
    return gzip.open(path) if is_gzip else path.open("rb")


def kind(path: Path) -> str:
    """The suffix of the format in lower case: the one before .gz or .snappy, if any."""
    return _without_packing(path).suffix.lower()


def _without_packing(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in PACKED else path


def check_text(path: Path, extract: Extract) -> None:
    """Raise InputError for a file whose first bytes cannot be those of UTF-8 text."""
    with opened(path) as stream:
        start = stream.read(512)
    if start.startswith(UTF_16):
        raise InputError(
            f'{path} is UTF-16; set encoding = "utf-16" for extract {extract.path}'
        )
    contents = _contents(start)
    if contents:
        raise InputError(
            f"{path} holds {contents}, not text; correct its suffix or fetch it again"
        )


def _contents(start: bytes) -> str:
    """What a file that begins like this holds; the empty text for text."""
    for first_bytes, contents in CONTENTS.items():
        if start.startswith(first_bytes):
            return contents
    return "binary data" if b"\x00" in start else ""


def members(path: Path, scratch: Path) -> list[Path]:
    """The file itself or, if it is a ZIP archive, its members, unpacked to ``scratch``.

    Empty members are left out. Raises InputError if nothing remains, or if the archive
    has a password.
    """
    if not zipfile.is_zipfile(path):
        return [path]
    parts: list[Path] = []
    with zipfile.ZipFile(path) as archive:
        files = [member for member in archive.infolist() if not member.is_dir()]
        for member in sorted(files, key=lambda file: file.filename):
            out = scratch / f"{len(parts):06d}.json"
            parts.append(out)
            _extract(archive, member, out, path)
    filled = [part for part in parts if part.stat().st_size]
    if not filled:
        raise InputError(
            f"{path} holds no file with anything in it; remove it or fetch it again"
        )
    return filled


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, out: Path, path: Path
) -> None:
    try:
        with archive.open(member) as packed, out.open("wb") as stream:
            shutil.copyfileobj(packed, stream)
    except RuntimeError as error:
        # A password, or a compression that Python does not know.
        raise InputError(
            f"{path} can't be unpacked ({error}); unpack it yourself"
        ) from error


def _without_snappy(path: Path, scratch: Path) -> Path:
    """A copy without snappy, be it framed or in Hadoop's blocks."""
    packed = path.read_bytes()
    if packed.startswith(SNAPPY):
        content = bytes(cramjam.snappy.decompress(packed))
    else:
        content = _from_hadoop_blocks(packed)
    out = _copy_path(path, scratch)
    out.write_bytes(content)
    return out


def _from_hadoop_blocks(packed: bytes) -> bytes:
    """Unpack Hadoop's snappy blocks.

    A block is the length of its plain text and then pieces, each of them its packed
    length and raw snappy; lengths are 4 bytes, big-endian.
    """
    content = bytearray()
    at = 0
    while at < len(packed):
        end = len(content) + int.from_bytes(packed[at : at + 4], "big")
        at += 4
        while len(content) < end:
            size = int.from_bytes(packed[at : at + 4], "big")
            at += 4
            if not 0 < size <= len(packed) - at:
                raise EOFError("a snappy block is cut off")
            content += bytes(cramjam.snappy.decompress_raw(packed[at : at + size]))
            at += size
    return bytes(content)


def _copy_path(path: Path, scratch: Path) -> Path:
    """Where a copy goes: under the same folders, since readers look at them."""
    out = _without_packing(scratch / path.as_posix().lstrip("/"))
    out.parent.mkdir(parents=True, exist_ok=True)
    return out
