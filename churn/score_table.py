"""Scores for other programs: a table whose layout stays, as CSV, NDJSON or Parquet.

The layout is ``score_schemas.ScoreTable``, whatever version stored the scores. People
who were erased, or whose erasure a vendor has reported, are not in it.
"""

import io
import logging
from datetime import date
from pathlib import Path

import polars as pl

from churn import forget
from churn.events import erasure
from churn.scoring import scores
from churn.store import Place, Store, objects
from churn.store.score_schemas import ScoreTable

log = logging.getLogger(__name__)


def read(store: Store, cutoff: date | None = None) -> pl.DataFrame:
    """The table of a cutoff, by default of the newest one that was scored.

    Raises CutoffError if that cutoff was not scored.
    """
    stored = scores.stored(store, cutoff)
    # An erasure that was interrupted has not cleaned every file yet.
    kept = erasure.without_forgotten(stored, store)
    leaving = pl.Series(sorted(forget.opted_out_users(store)), dtype=pl.String)
    kept = kept.filter(~pl.col("user_id").is_in(leaving.implode()))
    log.info("score table: %d of %d users", kept.height, stored.height)
    return ScoreTable.validate(kept.select(ScoreTable.column_names()))


def content(table: pl.DataFrame, form: str) -> bytes:
    """The table as a file's content; ``form`` is csv, ndjson or parquet.

    Null is an empty cell in CSV and null in NDJSON; dates are such as 2026-03-01.
    """
    buffer = io.BytesIO()
    if form == "parquet":
        table.write_parquet(buffer)
    elif form == "ndjson":
        table.write_ndjson(buffer)
    else:
        table.write_csv(buffer)
    return buffer.getvalue()


def save(address: str, written: bytes) -> None:
    """Replace a file, or an object at an address such as s3://bucket/scores.csv.

    Readers see the old content or the new one, never half of it. Raises StoreError if
    the place can't be written.
    """
    if objects.is_url(address):
        root, key = objects.split(address)
        Place(root).write(key, written)
    else:
        file = Path(address).absolute()
        Place(str(file.parent)).write(file.name, written)
