"""How processor seconds and memory grow between logs of several sizes.

An exponent of 1 means that twice as many events take twice as long.
"""

import math
from collections.abc import Iterator

from . import speed_ingest, speed_scoring, speed_store
from .speed_features import observed
from .speed_measure import Cost, Options, Row, alternately, cost

Growing = dict[str, Cost]
"""The cost of each kind of work on one log."""


def rows(given: Options) -> Iterator[Row]:
    """What each size costs, and the exponents from one size to the next larger one."""
    before: tuple[int, Growing] | None = None
    for n_events in given.sizes:
        costs = measured(given, n_events)
        for name, done in costs.items():
            what = f"growth: {name}, {n_events:,} events"
            yield Row(what, "s", done.seconds, megabytes=done.megabytes)
            if before is not None:
                fewer, cheaper = before
                what = f"growth: {name}, {fewer:,} to {n_events:,} events"
                ratio = done.seconds / cheaper[name].seconds
                yield Row(what, "exponent", math.log(ratio, n_events / fewer))
        before = (n_events, costs)


def measured(given: Options, n_events: int) -> Growing:
    """The cost of an ingest of a table, of features and of scoring at one size."""
    store = given.folder / f"store-{n_events}"
    table = given.folder / f"table-{n_events}"
    cost(speed_store.made, store, n_events)
    cost(speed_scoring.model_stored, given.folder, store)
    cost(speed_ingest.written, "table", table, n_events)
    ingest, features, scoring = alternately(
        given.repeat,
        (speed_ingest.ingested, "table", table),
        (observed, store, 1),
        (speed_scoring.scored, store),
    )
    return {
        "ingest of a table": ingest,
        "features at 1 cutoff": features,
        "scoring": scoring,
    }
