"""How many events each day has, by what, and which days are whole."""

from datetime import date, timedelta

import polars as pl

from churn import clocks
from churn.events import sources
from churn.settings import Extract, Settings
from churn.store.schemas import Tally, Volume

LIVE_SHARE = 0.01  # of the median day: below it a day holds strays, not data
WHOLE_SHARE = (
    0.5  # of the same weekday before: below it the last day was cut off half-way
)
DAY = ["extract", "date"]
TALLIED = (
    "user_id",
    "anonymous_id",
    "platform",
    "country",
    "app_version",
    "revenue",
    "currency",
    "media_source",
    "properties",
)


def volume(fresh: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Rows per extract, platform, day, day known, event and kind."""
    days = [
        clocks.local_date(t, settings.timezone).alias(d)
        for t, d in (("event_time", "date"), ("received_time", "known_date"))
    ]
    key = [
        "extract",
        pl.col("platform").fill_null(""),
        *days,
        "event",
        pl.col("event_kind").alias("kind"),
    ]
    counted = fresh.group_by(key).agg(
        n=pl.len().cast(pl.Int64),
        n_without_user=pl.col("user_id").is_null().sum().cast(pl.Int64),
    )
    return counted.select(Volume.column_names())


def tally(fresh: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Rows per extract and day: by local hour, by filled column, by currency of
    revenue.
    """
    hour = (
        pl.col("event_time")
        .dt.convert_time_zone(settings.timezone)
        .dt.hour()
        .cast(pl.String)
    )
    dated = fresh.select(
        "extract",
        clocks.local_date("event_time", settings.timezone).alias("date"),
        hour.alias("hour"),
        *TALLIED,
    )
    filled = (
        dated.group_by(DAY)
        .agg(pl.col(TALLIED).count())
        .unpivot(index=DAY, variable_name="value", value_name="n")
    )
    money = dated.filter(
        pl.col("revenue").is_not_null() & pl.col("currency").is_not_null()
    )
    columns = filled.with_columns(
        measure=pl.lit("column"), n=pl.col("n").cast(pl.Int64)
    ).select(Tally.column_names())
    return pl.concat([_counted(dated, "hour"), columns, _counted(money, "currency")])


def _counted(rows: pl.DataFrame, measure: str) -> pl.DataFrame:
    counts = rows.group_by(*DAY, pl.col(measure).alias("value")).agg(
        n=pl.len().cast(pl.Int64)
    )
    return counts.with_columns(measure=pl.lit(measure)).select(Tally.column_names())


def summed(parts: list[pl.DataFrame], columns: list[str]) -> pl.DataFrame:
    """One table of several of equal columns: their counts added up."""
    counts = [c for c in columns if c.startswith("n")]
    return (
        pl.concat(parts)
        .group_by([c for c in columns if c not in counts])
        .agg(pl.col(counts).sum())
    )


def covered_until(volume: pl.DataFrame, settings: Settings) -> date | None:
    """The last day on which labels can be trusted; null without any events.

    A stray row far from the others moves nothing: days with under 1 % of the median
    day's events are not data. The last day counts as complete if it has at least half
    of what the same weekday had in the four weeks before.
    """
    days = [_one_extract(volume, extract) for extract in settings.extracts]
    known = [day for day in days if day]
    return min(known) if known else None


def _one_extract(volume: pl.DataFrame, extract: Extract) -> date | None:
    if extract.covered_until:
        return extract.covered_until
    daily = (
        volume.filter(pl.col("extract") == extract.path)
        .group_by("date")
        .agg(pl.col("n").sum())
        .sort("date")
    )
    if daily.is_empty():
        return None
    live = daily.filter(pl.col("n") >= LIVE_SHARE * pl.col("n").median())
    return _last_whole_day(live) - timedelta(days=sources.settling_days(extract))


def _last_whole_day(live: pl.DataFrame) -> date:
    last: date
    last, n = live.row(-1)
    weeks = [last - timedelta(days=7 * k) for k in range(1, 5)]
    usual = live.filter(pl.col("date").is_in(weeks))["n"].median()
    cut_off = isinstance(usual, float) and n < WHOLE_SHARE * usual
    return last - timedelta(days=1) if cut_off else last
