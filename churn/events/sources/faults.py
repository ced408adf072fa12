"""Faults of rows: which of them mean that a file can't be read, and what was seen."""

import polars as pl

ON_PURPOSE = frozenset(
    {
        "by_machine",
        "consent_refused",
        "forgotten",
        "not_primary",
        "repeated_header",
        "test_environment",
        "tracking_limited",
    }
)
"""Faults of rows that were read well, but are not wanted."""

OF_FORM = frozenset({"extra_cells", "not_json", "unreadable_time"})
"""Faults that even a single row of a healthy file does not have."""

ADVICE = {
    "unreadable_time": (
        "times are read as ISO 8601 or as numbers since 1970: map another column to "
        "time, or state date_format in [extracts.csv]"
    ),
    "not_json": "expected one JSON object a line; fetch it again",
    "extra_cells": "its rows have more cells than its header; quote cells as RFC 4180",
    "no_event_name": "map the column of the event's name to event",
    "unreadable_revenue": "map another column to revenue",
    "inexact_id": "export ids as text",
    "in_the_future": "check the clock of this machine and the unit of the times",
    "before_1990": "check the unit of the times",
}
"""What to do about a file all of whose rows have a fault."""

TIMES = ("time", "at")
"""Our field names of the cell from which the time of an event is read."""


def seen(schema: pl.Schema) -> pl.Expr:
    """The text of the cell at fault: a time, an amount or a kind.

    Null for cells that may name a person. ``schema`` is that of the format's fields.
    """
    fault = pl.col("fault")
    # Instants beyond the calendar have no text, but a number of ticks.
    times = [
        pl.col(name).to_physical().cast(pl.String) for name in TIMES if name in schema
    ]
    return (
        pl.when(fault == "unreadable_time")
        .then(pl.coalesce(*times, pl.lit(None, pl.String)))
        .when(fault == "unreadable_revenue")
        .then(pl.coalesce("amount", "usd"))
        .when(fault == "unknown_kind")
        .then(pl.col("event_kind"))
    )
