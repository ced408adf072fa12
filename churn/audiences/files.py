"""The files of an audience: names, content, and which of them are out of date.

    NAME.csv                                 the full list
    NAME.20260301T041500123456.added.csv     changes since the files before
    NAME.20260301T041500123456.removed.csv

Each file is replaced in one step; readers never see half of one.
"""

import io
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from churn.errors import StoreError
from churn.store import Place

STAMP = "%Y%m%dT%H%M%S%f"
ADDED = "added"
REMOVED = "removed"


def full_name(name: str) -> str:
    """Name of the file with an audience's full list."""
    return f"{name}.csv"


def change_name(
    name: str,
    change: str,
    now: datetime,
) -> str:
    """Name of a file of changes, ``ADDED`` or ``REMOVED``."""
    return f"{name}.{now.astimezone(UTC):{STAMP}}.{change}.csv"


def content(
    rows: pl.DataFrame,
    headers: Sequence[str],
    has_bucket: bool,
) -> bytes:
    """A CSV file of ids (``state.LISTED``), as far as possible one person a line.

    ``headers`` come first, in their order, whether or not they are filled; columns that
    only older lists had follow. The order of lines says nothing about the people.
    """
    older = sorted(set(rows["column"]) - set(headers))
    line = pl.int_range(pl.len()).over("subject", "column")
    numbered = rows.sort("subject", "column", "value").with_columns(line=line)
    index = ["subject", "line", *(["bucket"] if has_bucket else [])]
    wide = numbered.pivot("column", index=index, values="value")
    absent = [
        pl.lit(None, pl.String).alias(name)
        for name in (*headers, *older)
        if name not in wide.columns
    ]
    names = [*headers, *older, *(["bucket"] if has_bucket else [])]
    lines = wide.with_columns(absent).sort("subject", "line").select(names)
    buffer = io.BytesIO()
    lines.write_csv(buffer)
    return buffer.getvalue()


def outdated(
    place: Place,
    name: str,
    is_full: bool,
    oldest: datetime,
) -> list[str]:
    """Files of an audience that should no longer be there.

    These are change files from before ``oldest``, and all files of the other content.
    """
    found = of_audience(place, name)
    if is_full:
        return [file for file in found if file != full_name(name)]
    return [file for file in found if _written_at(file) < oldest]


def of_audience(place: Place, name: str) -> list[str]:
    """Names of all files of an audience at a place."""
    pattern = rf"{re.escape(name)}\.(\d{{8}}T\d{{12}}\.({ADDED}|{REMOVED})\.)?csv"
    return [file for file in place.names() if re.fullmatch(pattern, file)]


def is_removals(file: str) -> bool:
    """Whether a file lists ids that were removed."""
    return file.endswith(f".{REMOVED}.csv")


def without(
    place: Place,
    file: str,
    values: Collection[str],
) -> int:
    """Remove every line with one of these ids from a file; the number of lines.

    Raises StoreError if somebody else's file is in its place.
    """
    stored = place.read(file)
    if stored is None:
        return 0
    try:
        rows = pl.read_csv(stored, infer_schema=False)
    except pl.exceptions.NoDataError:
        return 0
    except pl.exceptions.PolarsError:
        raise StoreError(
            f"{place.below(file)} can't be read as a CSV file, so people can't be "
            "removed from it: delete it, and run the command again"
        ) from None
    is_theirs = pl.any_horizontal(pl.all().exclude("bucket").is_in(list(values)))
    kept = rows.filter(~is_theirs.fill_null(False))
    if kept.height < rows.height:
        place.write(file, kept.write_csv().encode())
    return rows.height - kept.height


def _written_at(file: str) -> datetime:
    """When a file of changes was written; long ago for a full list."""
    stamp = file.split(".")[1]
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def oldest_kept(now: datetime, keep_days: int) -> datetime:
    """The moment before which change files are out of date."""
    return now - timedelta(days=keep_days)
