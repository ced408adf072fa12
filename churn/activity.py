"""Event log → daily activity and users table: what snapshots are built from."""

from collections.abc import Sequence

import polars as pl

from churn.tables import ACTIVE_KINDS, ActivityTable, Users

ACTIVITY_KEY = ["user_id", "date", "event", "kind", "known_date"]


def from_events(events: pl.LazyFrame, timezone: str, currency: str) -> pl.LazyFrame:
    """Daily activity of one or more rows of the event log.

    Days are those of ``timezone``. Rows without a user and rows with an estimated time are left out: the first can't
    be anybody's, the second may be dated before anybody could know them. Revenue without a currency is taken to be in
    the study's; revenue in another is counted, not summed.
    """
    ours = pl.col("currency").fill_null(currency) == currency
    return (
        _usable(events)
        .group_by(*_day_columns(timezone))
        .agg(
            n=pl.len().cast(pl.Int64),
            revenue=pl.col("revenue").filter(ours).sum(),
            n_other_currency=(pl.col("revenue").is_not_null() & ~ours).sum().cast(pl.Int64),
            first_at=pl.col("event_time").min(),
            last_at=pl.col("event_time").max(),
        )
        .select(ActivityTable.column_names())
    )


def users_from_events(events: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """First-seen instants: one row per user and day on which it became known."""
    known = _local_date("received_time", timezone).alias("known_date")
    first = _usable(events).group_by("user_id", known).agg(first_at=pl.col("event_time").min())
    return first.select(Users.column_names())


def _usable(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.filter(pl.col("user_id").is_not_null() & (pl.col("event_time_basis") != "estimated"))


def _day_columns(timezone: str) -> list[pl.Expr]:
    return [
        pl.col("user_id"),
        _local_date("event_time", timezone).alias("date"),
        pl.col("event"),
        pl.col("event_kind").alias("kind"),
        _local_date("received_time", timezone).alias("known_date"),
    ]


def _local_date(name: str, timezone: str) -> pl.Expr:
    return pl.col(name).dt.convert_time_zone(timezone).dt.date()


def is_active(counts_as_active: Sequence[str]) -> pl.Expr:
    """True for activity rows that count as active: named events or kinds, else every kind a person caused.

    Works on any frame with the columns ``event`` and ``kind``.
    """
    kinds = [name.removeprefix("kind:") for name in counts_as_active if name.startswith("kind:")]
    names = [name for name in counts_as_active if not name.startswith("kind:")]
    if not counts_as_active:
        return pl.col("kind").is_in(ACTIVE_KINDS)
    return pl.col("kind").is_in(kinds) | pl.col("event").is_in(names)


def known_before(cutoff: pl.Expr) -> pl.Expr:
    """Both clocks: the day lies before the cutoff, and so does the one on which it became known, if stated."""
    return (pl.col("date") < cutoff) & (pl.col("known_date").is_null() | (pl.col("known_date") < cutoff))
