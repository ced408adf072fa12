"""One Delta table: opened at a version, written, rolled back and cleaned.

Everything that deltalake does for the store is here. Its errors become StoreErrors
without their text, because that may quote rows.

The log of a table must not hold an id of a person, which an erasure could not remove:
statistics are kept of dates and instants only, and predicates name buckets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from churn.errors import StoreError
from churn.store.parts import WHOLE, Part

if TYPE_CHECKING:
    import polars as pl
    from deltalake import (
        CommitProperties,
        DeltaTable,
        PostCommitHookProperties,
        WriterProperties,
    )

    from churn.store.data_files import DataFile

ROW_GROUP_ROWS = 100_000
"""Rows of a row group, so that a reader of some days can pass over the others."""

UNIQUE = ("event_id", "source_row", "digest", "stamp")
"""Columns whose values hardly repeat."""

PARTITIONS = ("period", "bucket")
"""Columns by whose values a table that has them is divided into folders."""

Options = dict[str, str]


@contextmanager
def _one_sentence(address: str, doing: str) -> Iterator[None]:
    """Turn deltalake's errors into a StoreError about the table at ``address``."""
    from deltalake.exceptions import CommitFailedError, DeltaError

    try:
        yield
    except CommitFailedError:
        raise StoreError(
            f"another process has written to {address} meanwhile; nothing of this run "
            "is visible: run it again"
        ) from None
    except (DeltaError, OSError) as error:
        raise StoreError(
            f"{address} can't be {doing} ({type(error).__name__}{_number(error)}): its "
            "log or a file is damaged or missing, the disk is full, or access is "
            "refused. Correct that and run the command again; what was visible before "
            "is unchanged"
        ) from None


def _number(error: Exception) -> str:
    """The operating system's text for the error's number; empty without a number."""
    number = getattr(error, "errno", None)
    return f", {os.strerror(number)}" if number else ""


def opened(
    address: str,
    version: int | None,
    options: Options,
) -> DeltaTable:
    """The table at a version, by default the newest."""
    from deltalake import DeltaTable

    _check_log(address)
    with _one_sentence(address, "read"):
        return DeltaTable(address, version=version, storage_options=options)


def _check_log(address: str) -> None:
    """Raise StoreError for an empty log entry, which deltalake would pass over.

    Only on this machine's disk can an entry lose its content.
    """
    folder = os.path.join(address, "_delta_log")
    if not os.path.isdir(folder):
        return
    for name in os.listdir(folder):
        file = os.path.join(folder, name)
        if name.endswith(".json") and not os.path.getsize(file):
            raise StoreError(f"{file} is empty: restore it from a backup")


def files(table: DeltaTable, part: Part = WHOLE) -> pl.DataFrame:
    """The data files of a part of a table: path, size_bytes, n_rows, period.

    The period is the empty text in tables that have none. Paths are relative to the
    table's folder. deltalake's own ``file_uris`` quotes blanks and other characters in
    the folder's path, so that the files it names don't exist.
    """
    import polars as pl

    with _one_sentence(table.table_uri, "read"):
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
    chosen = actions.filter(part.has())
    period = chosen.get_column("partition.period", default=pl.lit("")).alias("period")
    n_rows = pl.col("num_records").alias("n_rows")
    return chosen.select("path", "size_bytes", n_rows, period)


def no_files() -> pl.DataFrame:
    """The files of a table that has never been written."""
    import polars as pl

    text, number = pl.String(), pl.Int64()
    return pl.DataFrame(
        schema={"path": text, "size_bytes": number, "n_rows": number, "period": text}
    )


def check_present(address: str, files: pl.DataFrame) -> None:
    """Raise StoreError for a data file that is missing or has lost its end.

    ``address`` is a folder on this machine, ``files`` the result of ``files``.
    """
    for path, size in files.select("path", "size_bytes").iter_rows():
        file = os.path.join(address, path)
        try:
            found = os.stat(file).st_size
        except OSError:
            found = -1
        if found != size:
            state = "missing" if found < 0 else f"{found} bytes long, not {size}"
            raise StoreError(
                f"{file} is {state}: restore it, or move the store away and run "
                "`churn ingest` again"
            )


def write(
    address: str,
    rows: pl.DataFrame,
    version: int | None,
    options: Options,
    *,
    is_new: bool = False,
    replaces: Part | None = None,
) -> DeltaTable:
    """Append the rows to the table at ``version``; returns the table as it is then.

    With ``is_new`` the table is made. With ``replaces`` the rows replace those of that
    part. A null version stands for the newest one of a table that was never made
    visible; the rows replace what it holds. Raises StoreError if another process has
    written to the table since that version.
    """
    from deltalake import write_deltalake

    table = None if is_new else opened(address, version, options)
    overwrites = replaces is not None or version is None
    predicate = None
    if replaces is not None and version is not None:
        predicate = replaces.predicate()
    # One signature takes the mode "overwrite", another one the others.
    write_any: Any = write_deltalake
    with _one_sentence(address, "written"):
        write_any(
            address if table is None else table,
            rows,
            mode="overwrite" if overwrites else "append",
            predicate=predicate,
            # A column that is new in this version is null in older rows.
            schema_mode=None if table is None else "merge",
            partition_by=[n for n in PARTITIONS if n in rows.columns] or None,
            configuration=_configuration(rows) if is_new else None,
            storage_options=options,
            writer_properties=_encoding(rows),
            commit_properties=_no_retry(),
            post_commithook_properties=_no_hook(),
        )
    return opened(address, None, options) if table is None else table


def publish(
    table: DeltaTable,
    new: Sequence[DataFile],
    replaces: Part | None,
) -> None:
    """Add written data files to an opened table in one commit, which it doesn't show.

    The files of the part that they replace are no longer in it then. Raises StoreError
    as ``write`` does.
    """
    from deltalake.transaction import AddAction, RemoveAction

    now = int(time.time() * 1000)
    actions: list[Any] = [
        AddAction(file.path, file.size, file.partition, now, True, file.stats)
        for file in new
    ]
    if replaces is not None:
        old = files(table, replaces)
        actions += [RemoveAction(path, True, now) for path in old["path"]]
    with _one_sentence(table.table_uri, "written"):
        table.create_write_transaction(
            actions,
            "append",
            table.schema(),
            partition_by=table.metadata().partition_columns,
            commit_properties=_no_retry(),
            post_commithook_properties=_no_hook(),
        )


def has_columns(table: DeltaTable, names: Iterable[str]) -> bool:
    """Whether the table has all these columns."""
    return {field.name for field in table.schema().fields}.issuperset(names)


def restored(
    address: str,
    version: int,
    options: Options,
) -> DeltaTable:
    """The table with the content of ``version`` again, if its newest one is another."""
    table = opened(address, None, options)
    if table.version() != version:
        with _one_sentence(address, "rolled back"):
            table.restore(
                version,
                commit_properties=_no_retry(),
                post_commithook_properties=_no_hook(),
            )
    return table


def sum_up(address: str, version: int, options: Options) -> None:
    """Sum up the log of a table, up to a version, in a checkpoint."""
    table = opened(address, version, options)
    with _one_sentence(address, "summed up"):
        table.create_checkpoint()


def _configuration(rows: pl.DataFrame) -> dict[str, str]:
    timed = [name for name, dtype in rows.schema.items() if dtype.is_temporal()]
    if timed:
        return {"delta.dataSkippingStatsColumns": ",".join(timed)}
    return {"delta.dataSkippingNumIndexedCols": "0"}


def _encoding(rows: pl.DataFrame) -> WriterProperties:
    """How Parquet files are written: what no reader uses costs no time.

    Readers pass over row groups by dates and instants alone, so no other column gets
    statistics. A dictionary is of no use to columns whose values hardly repeat.
    """
    from deltalake import ColumnProperties, WriterProperties

    timed = [name for name, dtype in rows.schema.items() if dtype.is_temporal()]
    skipping = ColumnProperties(dictionary_enabled=False, statistics_enabled="CHUNK")
    plain = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    unique = [name for name in UNIQUE if name in rows.columns]
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        max_row_group_size=ROW_GROUP_ROWS,
        default_column_properties=ColumnProperties(
            dictionary_enabled=True,
            statistics_enabled="NONE",
        ),
        column_properties={
            **dict.fromkeys(timed, skipping),
            **dict.fromkeys(unique, plain),
        },
    )


def _no_retry() -> CommitProperties:
    """A commit onto the version that was read, or none at all."""
    from deltalake import CommitProperties

    return CommitProperties(max_commit_retries=0)


def _no_hook() -> PostCommitHookProperties:
    """No checkpoint and no cleaning of the log after a commit."""
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
