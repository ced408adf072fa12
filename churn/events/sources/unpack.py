"""Unpacking: converts extract files into files that polars can scan.

A file's real format is recognised by its first bytes. Snappy and Zstandard are
unpacked, other encodings become UTF-8, and ZIP archives become their members. Gzip is
left as it is, since every reader takes it.
"""

import gzip
import hashlib
import io
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cramjam
import polars as pl

from churn.errors import InputError
from churn.events.sources import formats
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

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
SNAPPY = b"\xff\x06\x00\x00sNaPpY"
BOMS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Encodings by their byte order mark, with which a file begins."""

CONTENTS = {
    b"PAR1": "Parquet",
    b"Obj\x01": "Avro",
    ZIP: "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "a document of an old Office, such as .xls",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    SNAPPY: "snappy",
    GZIP: "gzip inside gzip",
}
"""What a file holds, by its first bytes."""

START_BYTES = 512
COPY_BYTES = 2**20

WORKBOOK = "xl/workbook.xml"
"""Name of the member that makes a ZIP archive an Excel workbook."""


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def parts(
    path: Path,
    extract: Extract,
    scratch: Path,
    forms: Sequence[str],
) -> list[Path]:
    """The file in UTF-8 and unpacked: the original or a copy below ``scratch``.

    A ZIP archive gives a file for each member whose name may be of one of the formats
    ``forms``.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip" and zipfile.is_zipfile(path):
        members = _members(path, scratch, forms)
        found = [parts(member, extract, scratch, forms) for member in members]
        return [part for several in found for part in several]
    if suffix == ".snappy":
        path = _without_snappy(path, scratch)
    elif suffix == ".zst":
        path = _without_zstandard(path, scratch)
    elif suffix == ".gz" and form(path) == "parquet":
        path = _without_gzip(path, scratch)
    return [_in_utf8(path, extract, scratch)]


def _in_utf8(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> Path:
    """The file itself, or a copy in UTF-8 if it is text of another encoding."""
    start = beginning(path)
    encoding = extract.encoding
    if encoding == "utf-8":
        encoding = _encoding_by_mark(start)
    is_binary = not is_text(path) or start.startswith(tuple(CONTENTS))
    if encoding == "utf-8" or is_binary:
        return path
    out = _copy_path(path, scratch)
    text = io.TextIOWrapper(opened(path), encoding, newline="")
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


def _encoding_by_mark(start: bytes) -> str:
    for mark, encoding in BOMS.items():
        if start.startswith(mark):
            return encoding
    return "utf-8"


def is_text(path: Path) -> bool:
    """Whether the file's name allows for text."""
    return formats.of_name(path.name) not in {"avro", "parquet"}


def beginning(path: Path) -> bytes:
    """The file's first bytes, unpacked if they are gzip."""
    with opened(path) as stream:
        return stream.read(START_BYTES)


def form(path: Path) -> str:
    """The file's format: by its name or, if that states none, by its first bytes."""
    stated = formats.of_name(path.name)
    if stated in {"", formats.UNSTATED}:
        return formats.of_start(beginning(path))
    return stated


def opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """The file's bytes, unpacked if they are gzip, whatever the file's name."""
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == GZIP
    return gzip.open(path) if is_gzip else path.open("rb")


def check_text(path: Path) -> None:
    """Raise InputError for a file whose first bytes cannot be those of UTF-8 data."""
    start = beginning(path)
    contents = _contents(start)
    if formats.is_page(start):
        raise InputError(
            f"{path} holds an HTML or XML page, not data: the download has failed; "
            "fetch it again"
        )
    if contents == CONTENTS[ZIP] and _is_workbook(path):
        raise InputError(f"{path} holds an Excel workbook; save it as CSV")
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


def _is_workbook(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return WORKBOOK in archive.namelist()


def _members(
    path: Path,
    scratch: Path,
    forms: Sequence[str],
) -> list[Path]:
    """The members of a ZIP archive, unpacked to ``scratch``.

    Left out are empty members, hidden ones, and those of other formats. Raises
    InputError if nothing remains, or if the archive has a password.
    """
    found: list[Path] = []
    with zipfile.ZipFile(path) as archive:
        wanted = [item for item in archive.infolist() if _is_wanted(item, forms)]
        for member in sorted(wanted, key=lambda item: item.filename):
            name = PurePosixPath(member.filename).name
            out = _copy_path(path, scratch) / f"{len(found):06d}" / name
            out.parent.mkdir(parents=True)
            found.append(out)
            _extract(archive, member, out, path)
    if not found:
        raise InputError(
            f"{path} holds no file with anything in it that can be read; remove it or "
            "fetch it again"
        )
    return found


def _is_wanted(member: zipfile.ZipInfo, forms: Sequence[str]) -> bool:
    """Whether a member of a ZIP archive is to be read.

    A Mac adds a hidden twin to every file that it packs.
    """
    path = PurePosixPath(member.filename)
    is_hidden = any(part.startswith((".", "__")) for part in path.parts)
    is_empty = member.is_dir() or member.file_size == 0
    is_usual = not path.suffix or formats.is_readable(path.name, forms)
    return is_usual and not is_hidden and not is_empty


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


def _without_gzip(path: Path, scratch: Path) -> Path:
    out = _copy_path(path, scratch)
    with opened(path) as stream, out.open("wb") as unpacked:
        shutil.copyfileobj(stream, unpacked, COPY_BYTES)
    return out


def _without_zstandard(path: Path, scratch: Path) -> Path:
    out = _copy_path(path, scratch)
    out.touch()
    packed = cramjam.File(str(path))
    unpacked = cramjam.File(str(out))
    cramjam.zstd.decompress_into(packed, unpacked)
    return out


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
    below = scratch / path.as_posix().lstrip("/")
    out = below.with_suffix("") if path.suffix.lower() in formats.PACKINGS else below
    out.parent.mkdir(parents=True, exist_ok=True)
    return out
