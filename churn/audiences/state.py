"""What each audience's files have listed so far, kept in the store.

A list at a network is known only by what was written for it. Before files are written,
everything that they will add or remove is marked as uncertain; once all of them are
there, the new list is certain. After a crash in between, the next export writes all
uncertain ids again, as added or as removed, which does no harm.
"""

import io
import re
from dataclasses import dataclass

import polars as pl

from churn.errors import StoreError
from churn.store import Place

FOLDER = "audiences"

LISTED = {
    "subject": pl.String,
    "column": pl.String,
    "value": pl.String,
    "bucket": pl.Int64,
}
"""An id in a list: a salted hash of its user, header, the id as written, and the user's
decile, which only CSV files have.
"""

SCHEMA = {
    **LISTED,
    "is_certain": pl.Boolean,
    "target": pl.String,
}

KEY = ["column", "value"]


@dataclass(frozen=True)
class Changes:
    """How a new list differs from the certain and uncertain ids of before.

    Attributes
    ----------
    new: the whole new list.
    added: ids that are new, have another decile, or were uncertain.
    removed: ids that the list no longer has.
    """

    new: pl.DataFrame
    added: pl.DataFrame
    removed: pl.DataFrame


def compared(new: pl.DataFrame, old: pl.DataFrame) -> Changes:
    """The changes from ``old``, a stored state, to ``new`` with columns as ``LISTED``."""
    certain = old.filter("is_certain")
    added = new.join(
        certain,
        on=[*KEY, "bucket"],
        how="anti",
        nulls_equal=True,
        maintain_order="left",
    )
    removed = old.join(new, on=KEY, how="anti", maintain_order="left")
    return Changes(new, added, removed.select(list(LISTED)).unique(KEY))


def uncertain(changes: Changes, target: str) -> pl.DataFrame:
    """The state while files are being written."""
    unchanged = changes.new.join(changes.added, on=KEY, how="anti")
    marked = [
        unchanged.with_columns(is_certain=pl.lit(True)),
        changes.added.with_columns(is_certain=pl.lit(False)),
        changes.removed.with_columns(is_certain=pl.lit(False)),
    ]
    return _with_target(pl.concat(marked), target)


def certain(changes: Changes, target: str) -> pl.DataFrame:
    """The state once all files are written."""
    return _with_target(changes.new.with_columns(is_certain=pl.lit(True)), target)


def _with_target(rows: pl.DataFrame, target: str) -> pl.DataFrame:
    return rows.with_columns(target=pl.lit(target)).select(list(SCHEMA))


def read(place: Place, name: str) -> pl.DataFrame:
    """The state of an audience, empty if nothing was written for it yet.

    Raises StoreError if its file is damaged.
    """
    content = place.read(_file(name))
    if content is None:
        return pl.DataFrame(schema=SCHEMA)
    try:
        return pl.read_parquet(io.BytesIO(content)).select(list(SCHEMA))
    except pl.exceptions.PolarsError:
        raise StoreError(
            f"{place.below(_file(name))} is damaged: restore it, or remove it; then "
            "the next files list everybody as added, and removals since are lost"
        ) from None


def write(
    place: Place,
    name: str,
    rows: pl.DataFrame,
) -> None:
    """Replace the state of an audience."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    place.write(_file(name), buffer.getvalue())


def remove(place: Place, name: str) -> None:
    """Forget what was written for an audience."""
    place.remove(_file(name))


def names(place: Place) -> list[str]:
    """Audiences that have a state."""
    files = [name.removeprefix(f"{FOLDER}/") for name in place.names(FOLDER)]
    found = [re.fullmatch(r"(.+)\.parquet", file) for file in files]
    return [match[1] for match in found if match]


def _file(name: str) -> str:
    return f"{FOLDER}/{name}.parquet"
