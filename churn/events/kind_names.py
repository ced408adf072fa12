"""Names under ``kinds`` in the study that no event has, such as misspelt ones."""

import polars as pl

from churn.events.sources import cells
from churn.settings import Extract, Settings

N_NAMED = 20
"""Number of the commonest names that a warning lists."""


def unused_kinds(volume: pl.DataFrame, settings: Settings) -> list[str]:
    """A warning for each extract whose ``kinds`` names events that it does not have.

    ``volume`` has the rows of all events in the log (schemas.Volume). An extract
    without any event gets no warning.
    """
    warnings = []
    for extract in settings.extracts:
        of_extract = volume.filter(pl.col("extract") == extract.path)
        if extract.kinds and not of_extract.is_empty():
            warnings += _warning(of_extract, extract)
    return warnings


def _warning(volume: pl.DataFrame, extract: Extract) -> list[str]:
    counts = volume.group_by("event").agg(pl.col("n").sum())
    commonest = counts.sort("n", "event", descending=[True, False])["event"]
    known = set(commonest)
    written = list(extract.kinds)
    normalised = cells.event_names(written)
    unused = [
        name
        for name, event in zip(written, normalised, strict=True)
        if event not in known
    ]
    if not unused:
        return []
    listed = ", ".join(commonest.head(N_NAMED))
    return [
        f"extract {extract.path}: kinds names {', '.join(unused)}, but no event has "
        f"such a name; the commonest are {listed}"
    ]
