"""Parts of a table, and rows with the columns by which they are divided into parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn.store.layout import BUCKETED, ORDER, PERIODS

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Part:
    """Some partitions of a table. A null attribute stands for all of its values.

    Attributes
    ----------
    buckets: numbers of buckets.
    since: first period.
    period: the only period.
    """

    buckets: Sequence[int] | None = None
    since: str | None = None
    period: str | None = None

    def has(self) -> pl.Expr:
        """Whether a file of a table's log belongs to the part."""
        import polars as pl

        conditions = [pl.lit(True)]
        if self.buckets is not None:
            conditions.append(pl.col("partition.bucket").is_in(list(self.buckets)))
        if self.since is not None:
            conditions.append(pl.col("partition.period") >= self.since)
        if self.period is not None:
            conditions.append(pl.col("partition.period") == self.period)
        return pl.all_horizontal(conditions)

    def predicate(self) -> str | None:
        """The part as an SQL condition; null for the whole table."""
        conditions = []
        if self.buckets is not None:
            conditions.append(f"bucket IN ({', '.join(map(str, self.buckets))})")
        if self.period is not None:
            conditions.append(f"period = '{self.period}'")
        return " AND ".join(conditions) or None


WHOLE = Part()


def bucket_in(path: str) -> int:
    """The bucket of a data file, which its path names.

    >>> bucket_in("events/period=2026Q1/bucket=12/part-0a.parquet")
    12
    """
    folder = path.rpartition("/")[0]
    return int(folder.rpartition("bucket=")[2])


def period_of(column: str) -> pl.Expr:
    """The quarter of a date or instant, as ``layout.period`` writes it."""
    import polars as pl

    when = pl.col(column).dt
    return pl.format("{}Q{}", when.year(), when.quarter())


def valid(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the columns of the schema and of their partitions.

    Within each bucket they are sorted in the order of reading. Raises dataframely's
    ValidationError if they break the schema.
    """
    import polars as pl

    from churn.store.schemas import BY_TABLE

    schema = BY_TABLE[table]
    # Rows of one bucket are together, so that the writer need not pick them out.
    ordered = rows.sort("bucket", *ORDER[table]) if table in ORDER else rows
    columns = ordered.select(schema.column_names())
    valid: pl.DataFrame = schema.validate(columns)
    if table in PERIODS:
        valid = valid.with_columns(period=period_of(PERIODS[table]))
    if table in BUCKETED:
        valid = valid.with_columns(ordered["bucket"].cast(pl.Int32))
    return valid
