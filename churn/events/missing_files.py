"""Files that the extracts no longer have, although the log holds their rows."""

from collections.abc import Collection

import polars as pl

from churn.events.sources import ga4_tables


def gone(files: pl.DataFrame, present: Collection[str]) -> list[str]:
    """Addresses of files that were read and that no extract has any more, sorted.

    ``files`` are all files known to the store (schemas.Files), ``present`` the
    addresses of those that the extracts have. Left out are files without a kept row,
    files whose content is there under another address, and GA4's provisional tables,
    which the day's own table replaces.
    """
    is_present = pl.col("address").is_in(list(present))
    contents = files.filter(is_present)["digest"]
    missing = files.filter(
        ~is_present,
        pl.col("kept") > 0,
        ~pl.col("digest").is_in(contents.implode()),
    )
    addresses = missing["address"].unique().sort().to_list()
    return [a for a in addresses if not ga4_tables.is_provisional(a)]
