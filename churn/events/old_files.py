"""The files of a store that an earlier version wrote, and which rows came from which.

That version named in each event the source and the file's path below its extract's
path, and kept one row for every content it had read of a file. Now an event names the
file's row in the table of files, of which there is one per address.
"""

import glob
import itertools
from pathlib import PurePosixPath

import polars as pl

from churn.errors import StoreError
from churn.events import content_ids, sources
from churn.events.staged import file_id
from churn.settings import Settings
from churn.store.schemas import Files

ROW_ID = r"^[0-9a-f]{16}:\d+$"
"""Id of a row that stated none: start of the file's digest, and the row's number."""

DIGEST_DIGITS = 16
NAME = ("source", "source_file")
COUNTS = ("rows", "kept", "duplicate", "copies", "quarantined")
INGEST_ANEW = "move the store away and run `churn ingest` on the extracts"


class OldFiles:
    """The old table of files, each file with its id.

    Parameters
    ----------
    rows: the old table: one row per content that was read, of any number per address.
    settings: the study's settings, which say what source an extract has.
    """

    def __init__(self, rows: pl.DataFrame, settings: Settings) -> None:
        self._versions = _identified(rows, settings)
        read = self._versions.filter(pl.col("rows") > 0)
        self._by_digest = read.select(
            pl.col("digest").str.head(DIGEST_DIGITS).alias("start"),
            pl.col("file_id").alias("of_digest"),
        ).unique("start")

    def with_file_id(self, rows: pl.DataFrame, count: str) -> pl.DataFrame:
        """Rows of the log or the quarantine, with the id of the file of each.

        ``count`` is the column of the files' table that counts such rows. Raises
        StoreError if a row could be of two files, or of none.
        """
        named = rows.join(
            self._by_name(count),
            on=NAME,
            how="left",
            maintain_order="left",
        )
        if "event_id" in rows.columns:
            named = self._with_made_ids(named)
        _check(named)
        return named.drop("addresses")

    def _by_name(self, count: str) -> pl.DataFrame:
        """Id of the file of each name, and the addresses of all files of that name."""
        counted = self._versions.filter(pl.col(count) > 0).explode("source")
        return counted.group_by("source", pl.col("name").alias("source_file")).agg(
            pl.col("file_id").first(),
            addresses=pl.col("latest").unique().sort(),
        )

    def _with_made_ids(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events of which those without an id of their own have one of the new form.

        It has the form of an id made from the row's content, but equals none, so a
        later version of the file replaces the row.
        """
        is_made = pl.col("event_id").str.contains(ROW_ID) & (
            pl.col("source") == "table"
        )
        start = pl.when(is_made).then(pl.col("event_id").str.head(DIGEST_DIGITS))
        known = events.with_columns(start=start).join(
            self._by_digest,
            on="start",
            how="left",
            maintain_order="left",
        )
        of_digest = pl.col("of_digest")
        content = content_ids.of_content(pl.col("event_id"))
        made_id = pl.format("{}:0@{}", content, of_digest)
        one = pl.concat_list(of_digest)
        return known.with_columns(
            event_id=pl.when(of_digest.is_null()).then("event_id").otherwise(made_id),
            file_id=pl.coalesce("of_digest", "file_id"),
            addresses=pl.when(of_digest.is_null()).then("addresses").otherwise(one),
        ).drop("start", "of_digest")

    def table(self, spans: pl.DataFrame) -> pl.DataFrame:
        """The new table of files (schemas.Files).

        ``spans`` holds for each file id the number ``n`` of its events in the log, and
        the times ``first_at`` and ``last_at``. A file that brought duplicates of other
        files' events has these times of its whole source, because the times of the
        duplicates are not known.
        """
        was_read = pl.col("rows") > 0
        files = self._versions.group_by("file_id").agg(
            pl.col("source", "stamp", "digest", "ingested_at").last(),
            pl.col("latest_extract").last().alias("extract"),
            pl.col("latest").last().alias("address"),
            pl.col(COUNTS).filter(was_read).last().fill_null(0),
            n_contents=was_read.sum(),
        )
        known = files.join(spans, on="file_id", how="left")
        is_several = pl.col("n_contents") > 1
        in_log = pl.col("n").fill_null(0).cast(pl.Int64)
        counted = known.with_columns(
            kept=pl.when(is_several).then(in_log).otherwise("kept")
        )
        sources_of = pl.col("source").list.join(" ")
        is_wide = pl.col("duplicate") > pl.col("copies")
        first = pl.col("first_at").min().over(sources_of)
        last = pl.col("last_at").max().over(sources_of)
        return counted.with_columns(
            first_at=pl.when(is_wide).then(first).otherwise("first_at"),
            last_at=pl.when(is_wide).then(last).otherwise("last_at"),
        ).select(Files.column_names())


def _identified(rows: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The old rows by age, with source, name, and address and id of the file now.

    A file keeps its row when the study's folder or its extract's path has changed. An
    extract that the study no longer has could be of any source.
    """
    of_extract = {extract.path: [extract.source] for extract in settings.extracts}
    any_source = sorted(sources.SUFFIXES)
    pairs = list(rows.select("extract", "address").iter_rows())
    kinds = [of_extract.get(extract, any_source) for extract, _ in pairs]
    names = [_name(extract, address, settings) for extract, address in pairs]
    ordered = rows.with_columns(
        source=pl.Series(kinds, dtype=pl.List(pl.String)),
        name=pl.Series(names, dtype=pl.String),
    ).sort("ingested_at")
    moved = ordered.with_columns(
        latest_extract=pl.col("extract").last().over("address"),
        latest_name=pl.col("name").last().over("address"),
    )
    file = ("latest_extract", "latest_name")
    located = moved.with_columns(latest=pl.col("address").last().over(file))
    places = located.select("latest_extract", "latest").iter_rows()
    ids = [file_id(extract, address) for extract, address in places]
    return located.with_columns(file_id=pl.Series(ids, dtype=pl.String))


def _name(
    extract: str,
    address: str,
    settings: Settings,
) -> str:
    """The name that events state for a file: its path below that of its extract."""
    is_remote = "://" in extract
    whole = extract.rstrip("/") if is_remote else str(settings.path(extract))
    fixed_path = _fixed(extract)
    fixed = fixed_path if is_remote else str(settings.path(".") / fixed_path)
    last_part = PurePosixPath(address).name
    if address == whole:
        return last_part
    for root in (whole, fixed):
        if address.startswith(f"{root}/"):
            return address.removeprefix(f"{root}/")
    # The study's folder has been moved since.
    for root in (extract, fixed_path):
        _, found, rest = address.partition(f"/{root}/")
        if found:
            return rest
    return last_part


def _fixed(extract: str) -> str:
    """The folders of a path before the first one with a wildcard."""
    folders = extract.split("/")[:-1]
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), folders)
    return "/".join(fixed)


def _check(named: pl.DataFrame) -> None:
    """Raise StoreError if a row could be of two files, or of none."""
    unknown = named.filter(pl.col("file_id").is_null())
    if unknown.height:
        name = unknown["source_file"].item(0)
        raise StoreError(
            f"the store can't be converted, because its table of files lacks {name}, "
            f"of which it has rows: {INGEST_ANEW}"
        )
    several = named.filter(pl.col("addresses").list.len() > 1)
    if several.height:
        addresses = " and ".join(several["addresses"].item(0)[:2])
        raise StoreError(
            f"the store can't be converted, because its rows don't say which of "
            f"{addresses} they came from: {INGEST_ANEW}"
        )
