"""Daily activity and the users table, which all snapshots are built from.

Input are rows of the event log, output are frames of the schemas ActivityTable,
Anonymous and Users. Rows with an estimated time are left out: the vendor may have dated
them before anybody could know of them.
"""

from collections.abc import Sequence

import polars as pl

from churn.clocks import local_date, usable
from churn.events.properties import NUMBERS_COLUMN
from churn.store.compaction import firsts
from churn.store.schemas import ActivityTable, Anonymous, Users

KINDS_BY_NAME = ("in_app", "other", "message_sent", "message_engaged")
"""Kinds whose events are told apart by name; for others the kind alone is enough."""


def from_events(
    events: pl.LazyFrame,
    timezone: str,
    currency: str,
    names: pl.DataFrame | None = None,
) -> pl.LazyFrame:
    """Daily activity of the events that have a user (schemas.ActivityTable).

    ``timezone`` determines when days begin. Revenue without a currency is taken to be
    in ``currency``. Revenue in another one counts as the vendor converted it if
    ``currency`` is the US dollar; otherwise it is not summed but counted in
    ``n_other_currency``. Numeric properties are summed if the events have a column
    ``numbers`` (see ``properties.numbers``), and of these only the pairs of event and
    name in ``names``, if that is given.
    """
    identified = events.filter(pl.col("user_id").is_not_null())
    daily = _daily(identified, ["user_id"], timezone, currency, names)
    return daily.select(ActivityTable.column_names())


def anonymous_from_events(
    events: pl.LazyFrame,
    timezone: str,
    currency: str,
    names: pl.DataFrame | None = None,
) -> pl.LazyFrame:
    """Daily activity of events that have ids but no user (schemas.Anonymous).

    The parameters are those of ``from_events``.
    """
    has_ids = pl.col("ids").list.len() > 0
    unidentified = events.filter(pl.col("user_id").is_null() & has_ids)
    daily = _daily(unidentified, ["ids", "platform"], timezone, currency, names)
    return daily.select(Anonymous.column_names())


def _daily(
    events: pl.LazyFrame,
    person: list[str],
    timezone: str,
    currency: str,
    names: pl.DataFrame | None,
) -> pl.LazyFrame:
    """Events summed by person, source, day, event, kind and the day they were known."""
    amount = _amount(currency)
    has_other_currency = pl.col("revenue").is_not_null() & amount.is_null()
    key = [
        *person,
        "source",
        local_date("event_time", timezone).alias("date"),
        local_date("received_time", timezone).alias("known_date"),
        "event",
        pl.col("event_kind").alias("kind"),
    ]
    with_numbers = usable(events).with_columns(NUMBERS_COLUMN)
    daily = with_numbers.group_by(key).agg(
        n=pl.len().cast(pl.Int64),
        revenue=amount.sum(),
        n_other_currency=has_other_currency.sum().cast(pl.Int64),
        first_at=pl.col("event_time").min(),
        last_at=pl.col("event_time").max(),
        numbers=pl.col("numbers").explode(empty_as_null=False),
    )
    return _with_sums(daily.with_row_index("row").collect(), names).lazy()


def _amount(currency: str) -> pl.Expr:
    """Revenue in the study's currency; null if it is in another one."""
    is_own_currency = pl.col("currency").fill_null(currency) == currency
    converted = pl.lit(None, pl.Float64)
    if currency == "USD":
        converted = pl.col("revenue_usd")
    return pl.when(is_own_currency).then(pl.col("revenue")).otherwise(converted)


def _with_sums(daily: pl.DataFrame, names: pl.DataFrame | None) -> pl.DataFrame:
    """The rows with ``sums``, one sum per name, sorted by name, instead of numbers."""
    each = daily.select("row", "event", "numbers")
    values = each.explode("numbers", empty_as_null=False).unnest("numbers")
    if names is not None:
        values = values.join(
            names,
            on=["event", "name"],
            how="semi",
        )
    totals = values.group_by("row", "name").agg(total=pl.col("value").sum())
    lists = (
        totals.sort("row", "name").group_by("row").agg(sums=pl.struct("name", "total"))
    )
    joined = daily.drop("numbers").join(
        lists,
        on="row",
        how="left",
    )
    return joined.with_columns(pl.col("sums").fill_null([]))


def users_from_events(events: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """First event of each user by source and platform, as known by day (Users)."""
    identified = usable(events.filter(pl.col("user_id").is_not_null()))
    known_date = local_date("received_time", timezone).alias("known_date")
    key = ("user_id", "source", "platform", known_date)
    seen = identified.group_by(key).agg(first_at=pl.col("event_time").min())
    return firsts(seen.select(Users.column_names()))


def counted_once(
    activity: pl.LazyFrame, sources: Sequence[str], person: str = "user_id"
) -> pl.LazyFrame:
    """Activity in which events that several sources report are counted once.

    Within a user's day, events of the same kind count as the same events; those of
    KINDS_BY_NAME must have the same name as well. If several sources report the same
    events, the rows of the first one in ``sources`` are kept. ``person`` is the column
    that tells users apart.

    Pass only rows known by the cutoff: a source that reports late must not displace one
    that had reported in time.
    """
    if len(sources) < 2:
        return activity
    ranks = {source: rank for rank, source in enumerate(sources)}
    rank = pl.col("source").replace_strict(
        ranks, default=len(sources), return_dtype=pl.Int32
    )
    counts_by_name = pl.col("kind").is_in(KINDS_BY_NAME)
    name = pl.when(counts_by_name).then(pl.col("event")).otherwise(pl.lit(""))
    ranked = activity.with_columns(rank.alias("rank"), name.alias("name"))
    first = pl.col("rank").min().over(person, "date", "kind", "name")
    return ranked.filter(pl.col("rank") == first).drop("rank", "name")
