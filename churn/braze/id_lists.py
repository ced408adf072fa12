"""Files of identifiers, one per segment, for a dashboard import or an ad network."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from churn.braze import payload
from churn.settings import Braze, Settings

PREFIX = "churn_"
"""Beginning of the file names; no other files are replaced or deleted."""


def write(
    scores: pl.DataFrame,
    settings: Settings,
    opted_out: Sequence[str] = (),
) -> None:
    """Write one CSV of identifiers per segment, replacing older ones.

    Nothing is written unless the study names a folder as ``id_lists``.
    """
    braze = settings.braze
    if braze.id_lists is None:
        return
    folder = settings.path(braze.id_lists)
    folder.mkdir(parents=True, exist_ok=True)
    delete(settings)
    may_be_sent = ~pl.col("identifier").is_in(list(opted_out))
    users = scores.filter(payload.is_deliverable(braze.kind), may_be_sent)
    by_segment = users.sort("identifier").partition_by("segment", as_dict=True)
    for (segment,), members in by_segment.items():
        _write_atomically(_columns(members, braze), folder / f"{PREFIX}{segment}")


def delete(settings: Settings) -> None:
    """Delete the files, in which people who are to be forgotten may stand."""
    if settings.braze.id_lists is None:
        return
    for file in settings.path(settings.braze.id_lists).glob(f"{PREFIX}*"):
        file.unlink()


def _columns(users: pl.DataFrame, braze: Braze) -> pl.DataFrame:
    if braze.alias_label:
        name = pl.col("identifier").alias("user_alias_name")
        return users.select(name, user_alias_label=pl.lit(braze.alias_label))
    return users.select(pl.col("identifier").alias(braze.identifier))


def _write_atomically(frame: pl.DataFrame, stem: Path) -> None:
    unfinished = stem.parent / f"{stem.name}.unfinished"
    frame.write_csv(unfinished)
    unfinished.replace(stem.parent / f"{stem.name}.csv")
