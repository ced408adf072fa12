"""The days of one user: what they did on each."""

from datetime import timedelta

import polars as pl

from churn.errors import ParameterError
from churn.features import by_group
from churn.features.cutoffs import Calendar
from churn.kinds import is_active
from churn.store import Store

DAYS = 90
"""Number of newest days that are shown."""

MAX_EVENTS = 12
"""Most events that are told apart."""


def user_days(store: Store, user_id: str = "") -> pl.DataFrame:
    """Events of a user on each of the newest 90 complete days: user_id, date, event, n.

    ``n`` is 0 on days without. Beyond the user's twelve commonest events the rest
    count together as "other events". Without a ``user_id`` it is a typical user: one
    with the median number of active days, of the users who were active at all. Empty if
    nobody was. Raises ParameterError for a user without any event in that time.
    """
    end = Calendar.of(store).end
    first = end - timedelta(days=DAYS)
    is_recent = (pl.col("date") >= first) & (pl.col("date") < end)
    rows = by_group.tables(store)[0].filter(is_recent)
    chosen = user_id or _typical(rows, store)
    own = rows.filter(pl.col("user_id") == chosen).select(
        "user_id", "date", "event", "n"
    )
    events = own.with_columns(event=_common("event")).collect()
    if user_id and events.is_empty():
        raise ParameterError(f"that user has no event in the {DAYS} days before {end}")
    days = pl.date_range(first, end, closed="left", eager=True).alias("date").to_frame()
    key = ["user_id", "date", "event"]
    counts = events.group_by(key).agg(pl.col("n").sum())
    grid = events.select("user_id", "event").unique().join(days, how="cross")
    joined = grid.select(key).join(counts, on=key, how="left")
    return joined.with_columns(pl.col("n").fill_null(0)).sort("date", "event")


def _common(event: str) -> pl.Expr:
    """The event's name if it is one of the commonest of the frame."""
    total = pl.col("n").sum().over(event)
    place = pl.struct(-total, pl.col(event)).rank("dense")
    return pl.when(place <= MAX_EVENTS).then(event).otherwise(pl.lit("other events"))


def _typical(rows: pl.LazyFrame, store: Store) -> str | None:
    active = rows.filter(is_active(store.settings.activity.counts_as_active))
    days = active.group_by("user_id").agg(n_days=pl.col("date").n_unique())
    users = days.sort("n_days", "user_id").collect()
    return users["user_id"][users.height // 2] if users.height else None
