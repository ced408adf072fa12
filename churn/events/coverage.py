"""Counts of events per day, and from them the last day that is complete."""

from datetime import date, timedelta

import polars as pl

from churn import clocks
from churn.events import content_ids, sources
from churn.kinds import is_by_people
from churn.settings import Extract, Settings
from churn.store.schemas import Tally, Volume

MIN_DAY_SHARE = 0.01
"""A day with a smaller share of the median day's events holds only stray rows."""

MIN_DAYS_BY_PEOPLE = 0.5
"""Share of an extract's days on which people do something, if that is what it is about."""

MIN_LAST_DAY_SHARE = 0.5
"""A last day with a smaller share of its weekday's usual events is incomplete."""

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
"""Columns of the event log whose filled cells are counted per day."""


def volume(events: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Events per extract, platform, day, day known, event and kind (schemas.Volume)."""
    key = [
        "extract",
        pl.col("platform").fill_null(""),
        clocks.local_date("event_time", settings.timezone).alias("date"),
        clocks.local_date("received_time", settings.timezone).alias("known_date"),
        "event",
        pl.col("event_kind").alias("kind"),
    ]
    n_without_user = pl.col("user_id").is_null().sum().cast(pl.Int64)
    counts = events.group_by(key).agg(
        n=pl.len().cast(pl.Int64), n_without_user=n_without_user
    )
    return counts.select(Volume.column_names())


def tally(events: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Events per extract and day by hour, filled column, currency and copies (Tally)."""
    local_time = pl.col("event_time").dt.convert_time_zone(settings.timezone)
    dated = events.select(
        "extract",
        clocks.local_date("event_time", settings.timezone).alias("date"),
        local_time.dt.hour().cast(pl.String).alias("hour"),
        pl.when(content_ids.is_copy()).then(pl.lit("equal row")).alias("copy"),
        *TALLIED,
    )
    with_currency = dated.filter(
        pl.col("revenue").is_not_null() & pl.col("currency").is_not_null()
    )
    return pl.concat(
        [
            _counted(dated, "hour"),
            _filled(dated),
            _counted(with_currency, "currency"),
            _counted(dated.drop_nulls("copy"), "copy"),
        ]
    )


def _counted(rows: pl.DataFrame, measure: str) -> pl.DataFrame:
    """Rows per value of the column ``measure``."""
    counts = rows.group_by(*DAY, pl.col(measure).alias("value")).agg(
        n=pl.len().cast(pl.Int64)
    )
    named = counts.with_columns(measure=pl.lit(measure))
    return named.select(Tally.column_names())


def _filled(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows per column that is not null in them."""
    counts = rows.group_by(DAY).agg(pl.col(TALLIED).count().cast(pl.Int64))
    long = counts.unpivot(
        index=DAY,
        variable_name="value",
        value_name="n",
    )
    named = long.with_columns(measure=pl.lit("column"))
    return named.select(Tally.column_names())


def covered_until(volume: pl.DataFrame, settings: Settings) -> date | None:
    """The last day on which labels can be trusted; None without any events.

    It is the earliest such day over all extracts. Days with under 1 % of the median
    day's events are ignored, so that stray rows have no effect. The last day counts as
    complete if it has at least half of what its weekday had in the four weeks before.
    The source's settling days are subtracted, and ``covered_until`` of an extract in
    the study overrides all of this.
    """
    days = [covered_by(extract, volume) for extract in settings.extracts]
    known = [day for day in days if day]
    return min(known) if known else None


def covered_by(extract: Extract, volume: pl.DataFrame) -> date | None:
    """The last day on which one extract's data is complete; None without events.

    What people do decides, since messages come in waves: after a campaign the next week
    would look incomplete. An extract that has passive kinds on most days, and what people
    do only now and then, is judged by all of it.
    """
    if extract.covered_until:
        return extract.covered_until
    rows = volume.filter(pl.col("extract") == extract.path)
    done = rows.filter(is_by_people())
    if done["date"].n_unique() >= MIN_DAYS_BY_PEOPLE * rows["date"].n_unique():
        rows = done
    daily = rows.group_by("date").agg(pl.col("n").sum()).sort("date")
    if daily.is_empty():
        return None
    with_data = daily.filter(pl.col("n") >= MIN_DAY_SHARE * pl.col("n").median())
    settling = timedelta(days=sources.settling_days(extract))
    return _last_complete_day(with_data) - settling


def _last_complete_day(daily: pl.DataFrame) -> date:
    last: date
    last, n = daily.row(-1)
    same_weekday = [last - timedelta(weeks=k) for k in range(1, 5)]
    expected = daily.filter(pl.col("date").is_in(same_weekday))["n"].median()
    if isinstance(expected, float) and n < MIN_LAST_DAY_SHARE * expected:
        return last - timedelta(days=1)
    return last
