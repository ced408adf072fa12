"""Readers that turn extracts into canonical events, one per export format.

A reader is a function ``read(path, extract, scratch) -> pl.LazyFrame`` that returns one
row per source row, with the columns of ``canonical.COLUMNS``. The column ``fault`` says
why a row cannot be kept; it is null if the row can be kept. Readers select columns by
name, tolerate unknown and missing optional ones, and read every text cell as text
first. ``scratch`` is a folder for what has to be unpacked. Rows are not read before the
frame is collected.

The README beside this file says what to export from each vendor, and how to add one.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import (
    adjust,
    amplitude,
    appsflyer,
    branch,
    canonical,
    currents,
    ga4,
    kochava,
    mixpanel,
    segment,
    singular,
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
    "kochava": kochava,
    "mixpanel": mixpanel,
    "segment": segment,
    "singular": singular,
    "table": table,
}
READERS: dict[str, Reader] = {name: module.read for name, module in _FORMATS.items()}
SUFFIXES: dict[str, tuple[str, ...]] = {
    name: module.SUFFIXES for name, module in _FORMATS.items()
}
FORMS: dict[str, tuple[str, ...]] = {
    name: module.FORMS for name, module in _FORMATS.items()
}
SETTLING_DAYS: dict[str, int] = {
    name: module.SETTLING_DAYS for name, module in _FORMATS.items()
}

QUOTES = "a quote in a cell isn't closed or isn't doubled; quote cells as RFC 4180 says"
CUT_OFF = "it is cut off or damaged; fetch it again"
ADVICE = {
    "could not parse": QUOTES,
    "CSV malformed": QUOTES,
    "unexpected end": CUT_OFF,
    "end-of-stream": CUT_OFF,
    "gzip": CUT_OFF,
    "incomplete frame": CUT_OFF,
    "File out of specification": CUT_OFF,
}
"""Explanations for the user, by words in a library's error message."""

MAX_REASON = 200

__all__ = ["READERS", "UNREADABLE", "read", "settling_days", "unreadable"]


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one file, with the faults of its rows marked.

    Raises InputError for a file that cannot be read at all. Some damage shows only when
    the rows are collected, as one of the exceptions in ``UNREADABLE``; ``unreadable``
    turns it into an InputError.
    """
    # Files of one name in two folders must not overwrite each other's copies.
    own_scratch = Path(tempfile.mkdtemp(dir=scratch))
    forms = FORMS[extract.source]
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); remove it or fetch it again")
        parts = unpack.parts(path, extract, own_scratch, forms)
        return _read_parts(parts, extract, own_scratch)
    except UNREADABLE as error:
        raise unreadable(path, extract, error) from error
    except InputError as error:
        raise _about_original(error, path, own_scratch) from error


def _read_parts(
    parts: Sequence[Path],
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of the parts of one file, its rows numbered throughout."""
    reader = READERS[extract.source]
    frames = []
    for part in parts:
        own_scratch = Path(tempfile.mkdtemp(dir=scratch))
        frames.append(reader(part, extract, own_scratch))
    if len(frames) == 1:
        return frames[0]
    together = pl.concat(frames).drop("source_row")
    number = pl.col("source_row").cast(pl.Int64)
    numbered = together.with_row_index("source_row", offset=1)
    return numbered.with_columns(number).select(list(canonical.COLUMNS))


def _about_original(
    error: InputError,
    path: Path,
    scratch: Path,
) -> InputError:
    """The error with the file's own path instead of that of an unpacked copy."""
    root = "/" if path.is_absolute() else ""
    message = str(error)
    while f"{scratch}/" in message:
        message = message.replace(f"{scratch}/", root)
    if str(path) not in message:
        message = f"{path}: {message.lstrip('/')}"
    return InputError(message)


def unreadable(
    path: Path,
    extract: Extract,
    error: BaseException,
) -> InputError:
    """The error for a file that is damaged, or of another format than its name says.

    Nothing of the file's content is quoted.
    """
    message = str(error).strip() or type(error).__name__
    first_line = message.splitlines()[0]
    reason = re.sub(r"`[^`]*`?", "…", first_line)[:MAX_REASON]
    for words, advice in ADVICE.items():
        if words in reason:
            reason = advice
            break
    is_encoding = re.search("utf-?8|codec", reason, re.IGNORECASE)
    if is_encoding and unpack.is_text(path):
        reason = (
            f"it is not {extract.encoding}; set the right encoding in the extract, "
            'for example encoding = "latin-1"'
        )
    return InputError(f"{path} can't be read as {extract.source} extract: {reason}")


def settling_days(extract: Extract) -> int:
    """Days until a day is final: the study's setting, else the source's default."""
    if extract.settling_days is None:
        return SETTLING_DAYS[extract.source]
    return extract.settling_days
