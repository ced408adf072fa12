"""Extracts → canonical events: one small reader per export format.

A reader is a function ``read(path, extract) -> pl.DataFrame`` that returns one row per source row with the columns of
``parse.CANONICAL``; ``fault`` says why a row can't be kept (null: it can). Readers select columns by name, tolerate
unknown and missing optional ones, and read every text cell as text first.
"""

import glob
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.sources import adjust, amplitude, appsflyer, branch, currents, ga4, table
from churn.study import Extract, Study

Reader = Callable[[Path, Extract], pl.DataFrame]

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


def files(extract: Extract, study: Study) -> list[Path]:
    """The extract's files, sorted by name; hidden files, markers and foreign suffixes inside a folder are passed over.

    Raises InputError where the path names nothing.
    """
    path = study.path(extract.path)
    if path.is_file():
        return [path]
    found = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    usable = sorted(f for f in found if f.is_file() and _readable(f, SUFFIXES[extract.source]))
    if not usable:
        raise InputError(
            f"extract {extract.path}: no file {'in folder ' if path.is_dir() else 'at '}{path}; "
            f"expected {', '.join(SUFFIXES[extract.source])}"
        )
    return usable


def _readable(file: Path, suffixes: tuple[str, ...]) -> bool:
    return not file.name.startswith((".", "_")) and file.name.lower().endswith(suffixes)


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events of one file, faults marked. Raises InputError for a file that can't be read at all."""
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); remove it or fetch it again")
        return READERS[extract.source](path, extract)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, zipfile.BadZipFile, pl.exceptions.PolarsError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"{path} can't be read as {extract.source} extract: {first_line}") from error


def settling_days(extract: Extract) -> int:
    """Days until the source's last day is final: the study's word, else the source's usual one."""
    return SETTLING_DAYS[extract.source] if extract.settling_days is None else extract.settling_days
