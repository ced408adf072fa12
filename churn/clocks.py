"""The two clocks of every cutoff: when an event happened, and when it was known.

An event counts at a cutoff only if it happened before the cutoff and was known before
it. Vendors deliver some rows days late, so the first condition alone would let features
see the future.
"""

import polars as pl


def usable(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events whose time was observed rather than estimated by the vendor."""
    return events.filter(pl.col("event_time_basis") != "estimated")


def local_date(name: str, timezone: str) -> pl.Expr:
    """The day of an instant in the study's time zone; null stays null."""
    return pl.col(name).dt.convert_time_zone(timezone).dt.date()


def known_by(day: pl.Expr) -> pl.Expr:
    """Whether a row was known before that day; true if its source does not say."""
    return pl.col("known_date").is_null() | (pl.col("known_date") < day)


def known_before(cutoff: pl.Expr) -> pl.Expr:
    """Both clocks: whether a row's day and the day it was known lie before the cutoff.

    For frames with the columns ``date`` and ``known_date``. A null ``known_date``, from
    a source that states no time of receipt, passes.
    """
    return (pl.col("date") < cutoff) & known_by(cutoff)
