"""Files of which no row can be kept: they stop an ingest, which names them all.

Such a file is not what it seems, for example an error page under an export's name, or
is written in a form that no reader knows. If it counted as read, its events would be
missing for good.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from churn.errors import InputError
from churn.events import privacy
from churn.events.sources import formats, postbacks
from churn.events.sources.faults import ADVICE, OF_FORM, ON_PURPOSE
from churn.events.staged import Staged, file_id
from churn.settings import Settings

FEW_ROWS = 20
"""A file with fewer rows may by chance hold only odd ones, such as wrong clocks."""

N_NAMED = 10
"""Number of files that the error names."""

WAY_OUT = "nothing was stored; a file without any event can be listed under ignore"
"""What the person can do about a file that is right as it is."""

SHOWN_LETTERS = 40
"""Number of letters that are shown of a cell."""


def check(
    files: Sequence[Staged],
    faults: pl.DataFrame,
    known: Mapping[str, Mapping[str, Any]],
) -> None:
    """Raise InputError that names each staged file of which no row can be read.

    ``faults``: the faults of these files' rows, see ``faults``. Files without rows are
    fine, and so are files with a row that was read well, although it is a duplicate or
    may not be kept. A file that the store took as it is, ``known`` by its address, is
    not refused when it is read again.
    """
    by_file = faults.partition_by("file_id", as_dict=True)
    refused = []
    for found, digest in files:
        reasons = by_file.get((file_id(found.extract.path, found.address),))
        if reasons is None:
            continue
        is_whole = formats.of_name(found.address) != postbacks.FORM
        if _is_unreadable(reasons, is_whole) and not _was_taken(
            known.get(found.address), digest
        ):
            refused.append(f"{found.address}: {_sentence(reasons)}")
    if not refused:
        return
    if len(refused) == 1:
        raise InputError(f"{refused[0]}; {WAY_OUT}")
    named = refused[:N_NAMED]
    n_more = len(refused) - len(named)
    if n_more:
        named.append(f"and {n_more} more such files")
    raise InputError("\n".join([*named, WAY_OUT]))


def _was_taken(row: Mapping[str, Any] | None, digest: str) -> bool:
    """Whether the same content was stored before, with all its rows quarantined."""
    if row is None or row["digest"] != digest:
        return False
    return bool(row["quarantined"] == row["rows"])


def faults(rows: pl.LazyFrame, settings: Settings) -> pl.DataFrame:
    """Rows by file and fault, each file's commonest first: file_id, fault, n, seen.

    The fault is null for rows that can be kept; ``seen`` is an example.
    """
    counted = rows.group_by("file_id", "fault").agg(
        pl.col("seen", "event_time").min(),
        n=pl.len(),
    )
    is_about_time = pl.col("fault").is_in(["in_the_future", "before_1990"])
    time = pl.when(is_about_time).then(pl.col("event_time").cast(pl.String))
    seen = pl.coalesce("seen", time)
    shown = privacy.scrubbed(seen, settings).alias("seen")
    ordered = counted.with_columns(shown).sort(
        ["n", "fault"],
        descending=[True, False],
    )
    return ordered.collect(engine="streaming")


def _is_unreadable(reasons: pl.DataFrame, is_whole: bool) -> bool:
    """Whether no row of a file can be read.

    ``is_whole``: whether the file was written as a whole, so that a row of another form
    says something about the others. Each postback came by itself.
    """
    found = set(reasons["fault"])
    if None in found or found & ON_PURPOSE:
        return False
    is_of_form = is_whole and bool(found & OF_FORM)
    return is_of_form or int(reasons["n"].sum()) >= FEW_ROWS


def _sentence(reasons: pl.DataFrame) -> str:
    commonest: dict[str, Any] = reasons.row(0, named=True)
    reason = commonest["fault"]
    seen = (commonest["seen"] or "").strip()
    example = f", such as {seen[:SHOWN_LETTERS]!r}" if seen else ""
    advice = ADVICE.get(reason, "data/README.md explains the reason")
    n_rows = reasons["n"].sum()
    return (
        f"none of its {n_rows:,} row(s) can be kept ({reason}: {commonest['n']:,}"
        f"{example}); {advice}"
    )
