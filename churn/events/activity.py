"""Event log → daily activity and users table: what snapshots are built from."""

from collections.abc import Sequence

import polars as pl

from churn.clocks import local_date, usable
from churn.events.properties import NUMBERS_OF
from churn.store.schemas import ActivityTable, Anonymous, Users

BY_NAME = (
    "in_app",
    "other",
    "message_sent",
    "message_engaged",
)  # kinds whose events differ by name


def from_events(
    events: pl.LazyFrame,
    timezone: str,
    currency: str,
    names: pl.DataFrame | None = None,
) -> pl.LazyFrame:
    """Daily activity of one or more rows of the event log that have a user; see
    ``_daily``.
    """
    known = events.filter(pl.col("user_id").is_not_null())
    return _daily(known, ["user_id"], timezone, currency, names).select(
        ActivityTable.column_names()
    )


def anonymous_from_events(
    events: pl.LazyFrame,
    timezone: str,
    currency: str,
    names: pl.DataFrame | None = None,
) -> pl.LazyFrame:
    """Daily activity of rows without a user that carry an id which may find one; see
    ``_daily``.
    """
    unknown = events.filter(
        pl.col("user_id").is_null() & (pl.col("ids").list.len() > 0)
    )
    return _daily(unknown, ["ids", "platform"], timezone, currency, names).select(
        Anonymous.column_names()
    )


def _daily(
    events: pl.LazyFrame,
    whose: list[str],
    timezone: str,
    currency: str,
    names: pl.DataFrame | None,
) -> pl.LazyFrame:
    """Rows summed by whose, source, day, event, kind and the day on which they became
    known.

    Properties are summed where the rows have a column ``numbers``, of each event those
    in ``names``, if it is given. Days are those of ``timezone``. Rows with an estimated
    time are left out: they may be dated before anybody could know them. Revenue without
    a currency is taken to be in the study's; in another it counts as the vendor
    converted it, if the study's is the dollar, and is else counted, not summed.
    """
    ours = pl.col("currency").fill_null(currency) == currency
    converted = pl.col("revenue_usd") if currency == "USD" else pl.lit(None, pl.Float64)
    amount = pl.when(ours).then(pl.col("revenue")).otherwise(converted)
    days = [
        local_date("event_time", timezone).alias("date"),
        local_date("received_time", timezone).alias("known_date"),
    ]
    daily = (
        usable(events)
        .with_columns(NUMBERS_OF)
        .group_by(*whose, "source", *days, "event", pl.col("event_kind").alias("kind"))
        .agg(
            n=pl.len().cast(pl.Int64),
            revenue=amount.sum(),
            n_other_currency=(pl.col("revenue").is_not_null() & amount.is_null())
            .sum()
            .cast(pl.Int64),
            first_at=pl.col("event_time").min(),
            last_at=pl.col("event_time").max(),
            numbers=pl.col("numbers").explode(empty_as_null=False),
        )
    )
    return _summed(daily.with_row_index("row").collect(), names).lazy()


def _summed(daily: pl.DataFrame, names: pl.DataFrame | None) -> pl.DataFrame:
    """The rows with ``sums``, each name once and in order, instead of ``numbers``."""
    each = (
        daily.select("row", "event", "numbers")
        .explode("numbers", empty_as_null=False)
        .unnest("numbers")
    )
    kept = each if names is None else each.join(names, on=["event", "name"], how="semi")
    totals = (
        kept.group_by("row", "name")
        .agg(total=pl.col("value").sum())
        .sort("row", "name")
    )
    sums = totals.group_by("row").agg(sums=pl.struct("name", "total"))
    return (
        daily.drop("numbers")
        .join(sums, on="row", how="left")
        .with_columns(pl.col("sums").fill_null([]))
    )


def total(name: str) -> pl.Expr:
    """The sum of one numeric property in each activity row; 0 where no event had it,
    null where it wasn't kept yet.
    """
    mine = pl.element().filter(pl.element().struct.field("name") == name)
    return pl.col("sums").list.eval(mine.struct.field("total")).list.sum() + 0.0


def users_from_events(events: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """First- and last-seen instants by source, platform and the day on which they
    became known.
    """
    known = local_date("received_time", timezone).alias("known_date")
    rows = usable(events.filter(pl.col("user_id").is_not_null()))
    seen = {
        "first_at": pl.col("event_time").min(),
        "last_at": pl.col("event_time").max(),
    }
    return (
        rows.group_by("user_id", "source", "platform", known)
        .agg(**seen)
        .select(Users.column_names())
    )


def counted_once(activity: pl.LazyFrame, sources: Sequence[str]) -> pl.LazyFrame:
    """Where several sources report the same of a user's day, only the rows of the first
    of them.

    The same is: sessions, purchases and other kinds as such, other events by their
    name. ``sources`` says who comes first. Ask only for rows known by the cutoff: a
    source that reports late must not silence one that had reported.
    """
    if len(sources) < 2:
        return activity
    ranks = {source: rank for rank, source in enumerate(sources)}
    rank = pl.col("source").replace_strict(
        ranks, default=len(sources), return_dtype=pl.Int32
    )
    named = (
        pl.when(pl.col("kind").is_in(BY_NAME))
        .then(pl.col("event"))
        .otherwise(pl.lit(""))
    )
    ranked = activity.with_columns(rank.alias("rank"), named.alias("named"))
    return ranked.filter(
        pl.col("rank") == pl.col("rank").min().over("user_id", "date", "kind", "named")
    ).drop("rank", "named")
