"""When an event happened and when it was known: the two clocks that every cutoff obeys."""

import polars as pl


def usable(events: pl.LazyFrame) -> pl.LazyFrame:
    """Rows whose time can be believed."""
    return events.filter(pl.col("event_time_basis") != "estimated")


def local_date(name: str, timezone: str) -> pl.Expr:
    """The day of an instant in the study's time zone."""
    return pl.col(name).dt.convert_time_zone(timezone).dt.date()


def known_by(day: pl.Expr) -> pl.Expr:
    """Whether a row had become known before that day, or never says when it did."""
    return pl.col("known_date").is_null() | (pl.col("known_date") < day)


def known_before(cutoff: pl.Expr) -> pl.Expr:
    """Both clocks: the day lies before the cutoff, and so does the one on which it
    became known, if stated.
    """
    return (pl.col("date") < cutoff) & known_by(cutoff)
