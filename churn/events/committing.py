"""The end of an ingest: what follows from all tables, and the commit that shows them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl

from churn.events import adoption, coverage
from churn.store import Store, cleaning, compaction
from churn.store.inputs import all_inputs


def committed(
    store: Store,
    visible: Mapping[str, int],
    present: date,
    cleans: bool,
) -> Store:
    """Compute coverage and adopted rows, compact what is due, make all of it visible.

    ``visible`` are the versions that readers see until then. With ``cleans``, replaced
    rows are removed from the disk at once, since a setting may forbid to keep them.
    """
    settings = store.settings
    volume = store.scan("volume").collect()
    tally = store.scan("tally").collect()
    adopted = adoption.adopt(store, visible)
    done = replace(
        compaction.compacted(adopted, visible),
        covered_until=coverage.covered_until(volume, settings, tally, present),
        first_date=coverage.first_day(volume, settings),
        inputs=_inputs(store),
        cleaning=cleans,
    ).commit()
    if not cleans:
        return done
    cleaning.vacuum(done)
    return replace(done, cleaning=False).commit()


def _inputs(store: Store) -> dict[str, dict[str, Any]]:
    """The settings under which the files of every extract with rows were read.

    An extract that the study no longer has stands for its rows, which stay.
    """
    with_rows = store.scan("files").filter(pl.col("rows") > 0).collect()
    extracts = set(with_rows["extract"])
    before = {path: v for path, v in store.inputs.items() if path in extracts}
    return {**before, **all_inputs(store.settings)}
