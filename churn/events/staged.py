"""Staged files and rows: what an ingest has read, on its way into the store.

Rows stand in Parquet files by bucket. Each piece of work writes into a folder of its
own, so work that is done twice leaves files that nothing refers to.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import polars as pl

from churn.events.sources import canonical
from churn.events.sources.find import Found
from churn.hashing import digest
from churn.store import Place

FILE: dict[str, Any] = {"compression": "lz4", "statistics": False, "mkdir": True}
"""How staged files are written, which are read once or twice and then removed."""

LINEAGE = ("source", "extract", "source_file", "file_id")
"""Columns, all of them text, that say where a row comes from."""

FILE_ID_DIGITS = 12

Staged = tuple[Found, str]
"""A new file and the digest of its content."""


def file_id(extract_path: str, address: str) -> str:
    """Twelve hexadecimal digits that stand for a file, whatever its content.

    ``extract_path`` is the path of its extract as the study writes it.
    """
    place = pl.lit(f"{extract_path}\x1f{address}")
    return str(pl.select(digest(place)).item())[:FILE_ID_DIGITS]


@dataclass(frozen=True)
class Rows:
    """Staged rows of some buckets, as plain values that any process can read by.

    Attributes
    ----------
    place: where their files are.
    buckets: the buckets, also those that have no rows.
    names: names of the files by bucket.
    n_rows: number of rows.
    left_out: ids of the extract files whose rows are not read.
    """

    place: Place
    buckets: Sequence[int]
    names: Mapping[int, Sequence[str]]
    n_rows: int
    left_out: frozenset[str] = frozenset()

    def scan(self) -> pl.LazyFrame:
        """The rows, or an empty frame of the same columns."""
        paths = [
            self.place.below(name)
            for bucket in self.buckets
            for name in self.names.get(bucket, ())
        ]
        if not paths:
            lineage = dict.fromkeys(LINEAGE, pl.String())
            return pl.LazyFrame(
                schema={**canonical.COLUMNS, **lineage, "bucket": pl.Int64}
            )
        rows = pl.scan_parquet(
            paths,
            glob=False,
            hive_partitioning=False,
            storage_options=self.place.polars_options,
        )
        if not self.left_out:
            return rows
        return rows.filter(~pl.col("file_id").is_in(sorted(self.left_out)))

    def divided(self, groups: Iterable[Sequence[int]]) -> list[Self]:
        """The rows of each group of buckets; ``n_rows`` stays that of all."""
        return [
            replace(
                self,
                buckets=group,
                names={b: self.names[b] for b in group if b in self.names},
            )
            for group in groups
        ]


def together(parts: Sequence[Rows]) -> Rows:
    """Several pieces' rows of the same buckets."""
    names: dict[int, list[str]] = {}
    for part in parts:
        for bucket, some in part.names.items():
            names.setdefault(bucket, []).extend(some)
    return replace(
        parts[0],
        names=names,
        n_rows=sum(part.n_rows for part in parts),
    )


def write(
    rows: pl.LazyFrame,
    place: Place,
    n_buckets: int,
    file_rows: int | None = None,
) -> Rows:
    """Stage rows by their column ``bucket``, in files of at most ``file_rows`` rows."""
    folder = secrets.token_hex(8)
    partitions = pl.PartitionBy(
        place.below(folder),
        key="bucket",
        max_rows_per_file=file_rows,
    )
    rows.sink_parquet(partitions, storage_options=place.polars_options, **FILE)
    names: dict[int, list[str]] = {}
    for name in place.names(folder):
        _, _, bucket = name.split("/")[1].partition("=")
        names.setdefault(int(bucket), []).append(name)
    return Rows(place, range(n_buckets), names, 0)
