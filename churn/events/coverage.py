"""Counts of events per day, and from them the first day and the last whole one."""

from datetime import date, timedelta

import polars as pl

from churn import clocks
from churn.events import content_ids, sources
from churn.events.days_off import days_off
from churn.events.holes import holes
from churn.events.live_days import live_days, near_days
from churn.events.whole_days import last_whole_day
from churn.kinds import is_active, is_by_people
from churn.settings import Extract, Settings
from churn.store.schemas import Tally, Volume

MIN_DAYS_BY_PEOPLE = 0.5
"""Share of an extract's days on which people do something, if that is what it is about."""

HOURS_BEFORE = timedelta(weeks=12)
"""How long before the last day with data the hours of the days are looked at."""

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


def covered_until(
    volume: pl.DataFrame,
    settings: Settings,
    tally: pl.DataFrame | None = None,
    present: date | None = None,
) -> date | None:
    """The last day on which labels can be trusted; None without any events.

    It is the earliest such day over all extracts, see ``covered_by``.
    """
    days = [
        covered_by(extract, volume, settings, tally, present)
        for extract in settings.extracts
    ]
    known = [day for day in days if day]
    return min(known) if known else None


def covered_by(
    extract: Extract,
    volume: pl.DataFrame,
    settings: Settings,
    tally: pl.DataFrame | None = None,
    present: date | None = None,
) -> date | None:
    """The last day on which one extract's data is whole; None without events.

    It is the last whole day (see ``whole_days``) of what people do, less the source's
    settling days; ``covered_until`` of an extract in the study overrides this. Without
    a ``tally`` days are judged by their number of events alone, not by their hours. A
    day from ``present`` on, the present date, is never whole.
    """
    if extract.covered_until:
        return extract.covered_until
    live = live_days(daily_counts(extract, volume))
    if not live:
        return None
    off = days_off(settings.gates, min(live), max(live))
    hours = {} if tally is None else _hours(extract, tally, max(live))
    settling = timedelta(days=sources.settling_days(extract))
    return last_whole_day(live, hours, off, present) - settling


def first_day(volume: pl.DataFrame, settings: Settings) -> date | None:
    """The first day with more than stray rows, over all extracts; None without events.

    Extracts that the study no longer has count as well, since their rows stay.
    """
    first = [
        min(near_days(dict(rows.group_by("date").agg(pl.col("n").sum()).iter_rows())))
        for rows in volume.partition_by("extract")
    ]
    return min(first, default=None)


def missing_days(volume: pl.DataFrame, settings: Settings) -> frozenset[date]:
    """Days on which events of at least one extract are missing, see ``holes``."""
    return frozenset(day for _, day in missing_by_extract(volume, settings))


def missing_by_extract(
    volume: pl.DataFrame,
    settings: Settings,
) -> dict[tuple[str, date], int]:
    """The few events, or none, on days that are missing, by path of extract and day.

    Extracts with some of the events that count as active are looked at. Days off in the
    study's country, and days that ``gates.closed`` names, are not missing.
    """
    active = volume.filter(is_active(settings.activity.counts_as_active))
    with_activity = set(active["extract"])
    missing: dict[tuple[str, date], int] = {}
    for extract in settings.extracts:
        if extract.path in with_activity:
            counts = daily_counts(extract, volume)
            days = holes(live_days(counts))
            missing |= {(extract.path, day): counts.get(day, 0) for day in days}
    if not missing:
        return {}
    days = [day for _, day in missing]
    off = days_off(settings.gates, min(days), max(days))
    return {key: n for key, n in missing.items() if key[1] not in off}


def daily_counts(extract: Extract, volume: pl.DataFrame) -> dict[date, int]:
    """Events per day of one extract, as far as they show whether a day is whole.

    What people do counts, since messages come in waves: after a campaign the next week
    would look incomplete. In an extract that has passive kinds on most days, and what
    people do only now and then, all of it counts.
    """
    rows = volume.filter(pl.col("extract") == extract.path)
    done = rows.filter(is_by_people())
    if done["date"].n_unique() >= MIN_DAYS_BY_PEOPLE * rows["date"].n_unique():
        rows = done
    return dict(rows.group_by("date").agg(pl.col("n").sum()).sort("date").iter_rows())


def _hours(extract: Extract, tally: pl.DataFrame, last: date) -> dict[date, list[int]]:
    """Events in each hour of an extract's days, from some weeks before ``last`` on."""
    rows = tally.filter(
        pl.col("extract") == extract.path,
        pl.col("measure") == "hour",
        pl.col("date") > last - HOURS_BEFORE,
    )
    hours: dict[date, list[int]] = {}
    for day, hour, n in rows.select("date", "value", "n").iter_rows():
        hours.setdefault(day, [0] * 24)[int(hour)] += n
    return hours
