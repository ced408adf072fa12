"""Columns that only number the rows of a table, and are no property of any event.

``DataFrame.to_csv`` and R's ``write.csv`` write the row's number as a first column
without a name. Read and written once more, it has a name made up by the library.
"""

import re
from collections.abc import Mapping

import polars as pl

from churn.events.sources.csvtext import EXTRA, ROW

MADE_UP = re.compile(r"(?:Unnamed: \d+\S*|__index_level_\d+__|\.\.\.\d+)?")
"""Names of columns without a name, in pandas and R; the empty one is that of a file."""

AMBIGUOUS = ("index", "level_0", "X")
"""Names that libraries give to a row's number, but that an app may use as well."""

ROWS_LOOKED_AT = 1000


def index_columns(raw: pl.LazyFrame, names: Mapping[str, str]) -> set[str]:
    """Columns of a table that number its rows.

    These are columns without a name of their own, and the first column if it has one
    of the ``AMBIGUOUS`` names and a number that rises from row to row, as far as the
    first thousand rows tell. ``names`` gives the name of each column in the file.
    """
    own = {column: name for column, name in names.items() if column not in {ROW, EXTRA}}
    found = {column for column, name in own.items() if MADE_UP.fullmatch(name)}
    first = next(iter(own), "")
    if own.get(first) in AMBIGUOUS and _rises(raw, first):
        found.add(first)
    return found


def _rises(raw: pl.LazyFrame, column: str) -> bool:
    """Whether each of at least two rows has a whole number above that of the last."""
    number = pl.col(column).cast(pl.Float64, strict=False)
    numbers = raw.select(number).head(ROWS_LOOKED_AT).collect().to_series()
    if len(numbers) < 2 or numbers.has_nulls():
        return False
    is_whole = (numbers == numbers.round()).all()
    return is_whole and bool((numbers.diff().drop_nulls() > 0).all())
