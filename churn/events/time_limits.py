"""The moments between which an event may lie, and by which it may be received."""

from datetime import UTC, datetime, timedelta

import polars as pl

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Earlier events come from devices whose clock was never set."""

FUTURE_TOLERANCE = timedelta(days=1)
"""How far ahead of the present an event may lie, for device clocks and time zones."""

RECEIPT_TOLERANCE = timedelta(days=3)
"""How far ahead of the present a time of receipt may lie.

Where only the day of a file is known, its end stands for the receipt. GA4's table of
today counts as received at the end of tomorrow, in whatever zone its day begins.
"""


def fault(now: datetime) -> pl.Expr:
    """Why a row's times make it useless, seen from the present ``now``; else null.

    A row that is received in years would count for nothing until then.
    """
    in_the_future = pl.col("event_time") > now + FUTURE_TOLERANCE
    received_in_the_future = pl.col("received_time") > now + RECEIPT_TOLERANCE
    return (
        pl.when(in_the_future)
        .then(pl.lit("in_the_future"))
        .when(pl.col("event_time") < EARLIEST)
        .then(pl.lit("before_1990"))
        .when(received_in_the_future)
        .then(pl.lit("received_in_the_future"))
    )
