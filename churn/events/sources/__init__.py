"""Extracts → canonical events: one small reader per export format.

A reader is a function ``read(path, extract, scratch) -> pl.LazyFrame`` that gives one
row per source row with the columns of ``parse.CANONICAL``; ``fault`` says why a row
can't be kept (null: it can). Readers select columns by name, tolerate unknown and
missing optional ones, and read every text cell as text first. ``scratch`` is a folder
for what has to be unpacked; nothing is read before the frame is collected.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import (
    adjust,
    amplitude,
    appsflyer,
    branch,
    currents,
    ga4,
    parse,
    table,
    unpack,
)
from churn.events.sources.unpack import UNREADABLE
from churn.settings import Extract

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
SUFFIXES: dict[str, tuple[str, ...]] = {
    name: module.SUFFIXES for name, module in _FORMATS.items()
}
SETTLING_DAYS: dict[str, int] = {
    name: module.SETTLING_DAYS for name, module in _FORMATS.items()
}
QUOTES = "a quote in a cell isn't closed or isn't doubled; quote cells as RFC 4180 says"
CUT = "it is cut off or damaged; fetch it again"
MEANINGS = {  # what a library says → what to do
    "could not parse": QUOTES,
    "CSV malformed": QUOTES,
    "unexpected end": CUT,
    "end-of-stream": CUT,
    "gzip": CUT,
    "File out of specification": CUT,
}

__all__ = ["READERS", "UNREADABLE", "parse", "read", "settling_days", "unreadable"]


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one file, faults marked. Raises InputError for a file that
    can't be read at all.

    What only shows while the rows are read comes as one of ``UNREADABLE`` on
    collecting: see ``unreadable``.
    """
    own = Path(
        tempfile.mkdtemp(dir=scratch)
    )  # files of one name in two folders must not meet
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); remove it or fetch it again")
        return READERS[extract.source](unpack.plain(path, extract, own), extract, own)
    except UNREADABLE as error:
        raise unreadable(path, extract, error) from error
    except InputError as error:
        said = str(error).replace(f"{own}/", "/" if path.is_absolute() else "")
        raise InputError(
            said if str(path) in said else f"{path}: {said.lstrip('/')}"
        ) from error


def unreadable(path: Path, extract: Extract, error: BaseException) -> InputError:
    """The sentence for a file that turned out damaged or other than its name says;
    quotes nothing of its content.
    """
    reason = re.sub(
        r"`[^`]*`?", "…", (str(error).strip() or type(error).__name__).splitlines()[0]
    )[:200]
    reason = next(
        (meaning for said, meaning in MEANINGS.items() if said in reason), reason
    )
    if (
        re.search("utf-?8|codec", reason, re.IGNORECASE)
        and unpack.kind(path) not in unpack.BINARY
    ):
        reason = f'it is not {extract.encoding}; say encoding = "latin-1", or what it is, in the extract'
    return InputError(f"{path} can't be read as {extract.source} extract: {reason}")


def settling_days(extract: Extract) -> int:
    """Days until the source's last day is final: the study's word, else the source's
    usual one.
    """
    return (
        SETTLING_DAYS[extract.source]
        if extract.settling_days is None
        else extract.settling_days
    )
