"""Damaged data files: how polars reports them, and which file is damaged.

A file that is missing or has lost its end is noticed when a table is opened. Other
damage shows only when the rows are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from churn.errors import StoreError
from churn.store.layout import TABLES

if TYPE_CHECKING:
    from churn.store.tables import Store


@contextmanager
def explained(store: Store) -> Iterator[None]:
    """Turn polars' error about a damaged file into a StoreError that names the file.

    Its own text is left out, because it may quote a row. Other errors stay as they are.
    """
    try:
        yield
    except BaseException as error:
        file = _damaged_file(store) if is_damage(error) else None
        if file is None:
            raise
        raise StoreError(
            f"{file} is damaged: restore it, or move the store away and run `churn "
            "ingest` again; what was visible before is unchanged"
        ) from None


def is_damage(error: BaseException) -> bool:
    """Whether polars raised this error because it can't decode a Parquet file."""
    if type(error).__name__ == "PanicException":
        return True
    if not type(error).__module__.startswith("polars."):
        return False
    return str(error).startswith(("parquet", "unable to decode the encoded schema"))


def _damaged_file(store: Store) -> str | None:
    """The first data file of a store that can't be read."""
    import polars as pl

    for table in TABLES:
        for path in store.files(table)["path"]:
            file = store.place.below(table, path)
            options = store.place.polars_options
            try:
                pl.scan_parquet(file, glob=False, storage_options=options).collect()
            except BaseException as error:
                if not is_damage(error):
                    raise
                return file
    return None
