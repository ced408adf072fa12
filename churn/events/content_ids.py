"""Event ids of rows that have none of their own: a hash of the row's content.

A reader writes ``#<hash>``, staging salts the hash, and merging numbers equal rows of
one file: ``#<hash>:<number>@<file id>``. Equal rows of one file are thus different
events, and a file that is read again, with rows added or not, gives its rows the same
ids.
"""

import operator
from collections.abc import Sequence
from functools import reduce

import polars as pl

from churn.hashing import digest

MARK = "#"

PATTERN = r"^#[0-9a-f]{32}(?::|$)"
"""Regular expression that recognises these ids among those of an app's own."""

COPY = r"^#[0-9a-f]{32}:[1-9]"
"""Regular expression that recognises the ids of all but the first of equal rows."""

IN_FILE = ["file_id", "event_id"]


def of_content(content: pl.Expr) -> pl.Expr:
    """The id of a row whose content is ``content``, as one text that is never null."""
    return pl.lit(MARK) + digest(content)


def is_content_id() -> pl.Expr:
    """Whether ``event_id`` is a hash of the row's content."""
    return pl.col("event_id").str.contains(PATTERN)


def is_copy() -> pl.Expr:
    """Whether an event of the log is equal to an earlier row of its file.

    Only events without an id of their own can be.
    """
    return pl.col("event_id").str.contains(COPY)


def salted(salt: str) -> pl.Expr:
    """``event_id``, salted if it is a hash of content.

    Without the salt, the id would confirm a guess at data that is not kept, such as an
    e-mail address.
    """
    # Polars computes both branches of a condition for all rows, but hashes no nulls.
    of_rows = pl.when(is_content_id()).then("event_id")
    return pl.coalesce(of_content(pl.lit(salt) + of_rows), "event_id")


def may_repeat(rows: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    """Whether another row may have the same values in some columns.

    It is true of all that have, and by chance of a few more: hashes are compared, which
    takes a fraction of the time of comparing the values.
    """
    hashes = [pl.col(name).hash() for name in key]
    return rows.select(reduce(operator.xor, hashes).is_duplicated()).to_series()


def numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose content ids are unique: the number and the file are appended.

    ``rows`` are staged rows, with all equal rows of a file among them. Equal rows are
    numbered from 0 by ``source_row``. The order of rows is not kept.
    """
    is_content = rows.select(is_content_id().fill_null(False)).to_series()
    if not is_content.any():
        return rows
    by_content = rows.filter(is_content)
    is_repeated = may_repeat(by_content, IN_FILE)
    place = pl.col("source_row").rank("ordinal").over(IN_FILE).cast(pl.Int64)
    once = by_content.filter(~is_repeated).with_columns(number=pl.lit(0, pl.Int64))
    repeated = by_content.filter(is_repeated).with_columns(number=place - 1)
    whole_id = pl.format("{}:{}@{}", "event_id", "number", "file_id")
    ids = pl.concat([once, repeated]).with_columns(event_id=whole_id).drop("number")
    return pl.concat([rows.filter(~is_content), ids])
