"""Data files of a table, which are written first and become part of it in one commit.

Any process may write them, each under a name of its own: work that is done twice writes
other files, and those that nothing refers to never become part of the table. The next
cleaning removes them.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn.store import delta
from churn.store.parts import Part, valid
from churn.store.schemas import BY_TABLE
from churn.store.tables import Store

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable


@dataclass(frozen=True)
class DataFile:
    """A Parquet file in the folder of a table that it is not yet part of.

    Attributes
    ----------
    path: relative to the table's folder.
    size: bytes.
    partition: the value of each column by which the table is divided.
    stats: number of rows and extremes of dates and instants, as Delta's log has them.
    """

    path: str
    size: int
    partition: dict[str, str]
    stats: str


def written(store: Store, table: str, rows: pl.DataFrame) -> list[DataFile]:
    """Write rows of a bucketed table, which carry a column ``bucket``, as data files.

    Raises dataframely's ValidationError if they break the table's schema, and
    StoreError if they can't be written.
    """
    divided = valid(table, rows)
    columns = [name for name in delta.PARTITIONS if name in divided.columns]
    parts = divided.partition_by(columns, as_dict=True, include_key=False)
    name = f"part-{secrets.token_hex(8)}.parquet"
    files = []
    for values, part in parts.items():
        partition = dict(zip(columns, map(str, values), strict=True))
        folders = [f"{column}={value}" for column, value in partition.items()]
        path = "/".join([*folders, name])
        content = _encoded(part)
        store.place.create(f"{table}/{path}", content)
        files.append(DataFile(path, len(content), partition, _stats(part)))
    return files


def _encoded(rows: pl.DataFrame) -> bytes:
    """The rows as Parquet, whose readers pass over row groups by dates and instants."""
    buffer = io.BytesIO()
    rows.write_parquet(
        buffer,
        compression="zstd",
        compression_level=1,
        row_group_size=delta.ROW_GROUP_ROWS,
    )
    return buffer.getvalue()


def _stats(rows: pl.DataFrame) -> str:
    timed = [name for name, dtype in rows.schema.items() if dtype.is_temporal()]
    stats: dict[str, Any] = {
        "numRecords": rows.height,
        "nullCount": {name: rows[name].null_count() for name in timed},
    }
    for key, of in (("minValues", "min"), ("maxValues", "max")):
        extremes = {name: getattr(rows[name], of)() for name in timed}
        stats[key] = {n: _text(v) for n, v in extremes.items() if v is not None}
    return json.dumps(stats)


def _text(value: Any) -> str:
    """A date or an instant in UTC as Delta's log writes it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


def published(
    store: Store,
    table: str,
    files: Sequence[DataFile],
    replaces: Part | None = None,
) -> Store:
    """The store with written data files in a table, in one commit to it.

    With ``replaces``, the files that this part of the table had are no longer in it.
    Raises StoreError if another process has written to the table meanwhile.
    """
    if not files and (replaces is None or table not in store.versions):
        return store
    store, opened = _prepared(store, table)
    delta.publish(opened, files, replaces)
    address, options = store.place.below(table), store.place.delta_options
    newer = delta.opened(address, opened.version() + 1, options)
    return store.pinned(table, newer)


def _prepared(store: Store, table: str) -> tuple[Store, DeltaTable]:
    """The store whose table exists and has all columns of its schema, and the table."""
    import polars as pl

    empty = BY_TABLE[table].create_empty()
    rows = valid(table, empty.with_columns(bucket=pl.lit(0, pl.Int32)))
    opened = store.opened(table)
    if opened is None or not delta.has_columns(opened, rows.columns):
        store = store.write(table, rows)
        opened = delta.opened(
            store.place.below(table),
            store.versions[table],
            store.place.delta_options,
        )
    return store, opened
