"""First day and last whole day of a log with stray rows and days that are cut short."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from churn.events import coverage
from churn.events.live_days import live_days, near_days
from churn.settings import Settings, parse

DAY0 = date(2026, 1, 1)
LAST = date(2026, 2, 11)
SIX_WEEKS = {DAY0 + timedelta(days=k): 24 for k in range(42)}
KEY = {"extract": "e", "platform": "", "known_date": None, "kind": "in_app"}


def study(**gates: str) -> Settings:
    """A study over one table."""
    extracts = [{"source": "table", "path": "e"}]
    return parse({"extracts": extracts, "gates": gates}, Path())


def volume(daily: dict[date, int]) -> pl.DataFrame:
    """The volume of an extract with these numbers of events."""
    rows = [
        {**KEY, "date": day, "event": "open", "n": n, "n_without_user": 0}
        for day, n in daily.items()
    ]
    return pl.DataFrame(rows, schema_overrides={"known_date": pl.Date})


def covered(daily: dict[date, int]) -> date | None:
    """The last whole day, judged by numbers of events alone."""
    return coverage.covered_until(volume(daily), study())


def by_hours(last_hour: int, n: int = 5) -> date | None:
    """The last whole day of 29 days with n events an hour, whose last day ends early."""
    instants = [
        datetime(2026, 1, 1, hour, minute, tzinfo=UTC) + timedelta(days=day)
        for day in range(29)
        for hour in range(24 if day < 28 else last_hour)
        for minute in range(n)
    ]
    log = pl.DataFrame({"event_time": instants}).with_columns(
        pl.lit("e").alias("extract"),
        *(pl.lit(None, pl.String).alias(name) for name in coverage.TALLIED),
        event_id=pl.int_range(pl.len()).cast(pl.String),
    )
    tally = coverage.tally(log, study())
    days = log.group_by(pl.col("event_time").dt.date()).len().rows()
    return coverage.covered_until(volume(dict(days)), study(), tally)


@given(
    st.lists(st.integers(-6000, -60) | st.integers(60, 4000), max_size=3, unique=True),
    st.integers(1, 3),
)
def test_stray_rows_move_nothing(days: list[int], n: int) -> None:
    """A few rows of years ago or ahead move neither the first day nor the last."""
    strays = {DAY0 + timedelta(days=day): n for day in days}
    daily = {**SIX_WEEKS, **strays}
    assert coverage.first_day(volume(daily), study()) == DAY0
    assert covered(daily) == LAST


def test_a_row_of_tomorrow_does_not_complete_today() -> None:
    """With 3 of 24 events today and one row of tomorrow, yesterday is the last day."""
    today = LAST + timedelta(days=1)
    assert covered({**SIX_WEEKS, today: 3, today + timedelta(days=1): 1}) == LAST


def test_the_present_day_is_not_over() -> None:
    """A day with all its usual events isn't whole before it is over."""
    rows = volume(SIX_WEEKS)
    assert coverage.covered_until(rows, study(), present=LAST) < LAST
    after = LAST + timedelta(days=1)
    assert coverage.covered_until(rows, study(), present=after) == LAST


def test_an_export_of_the_afternoon_is_no_whole_day() -> None:
    """A last day that ends at three o'clock has over half of its events and isn't whole;
    one that ends an hour before midnight is.
    """
    assert by_hours(15) == date(2026, 1, 28)
    assert by_hours(23) == date(2026, 1, 29)


def test_the_first_days_of_an_app_are_no_strays() -> None:
    """An app that begins with one event a day has its first day then."""
    launch = {DAY0 - timedelta(days=k): 1 for k in range(1, 10)}
    assert min(live_days({**launch, **SIX_WEEKS})) == DAY0 - timedelta(days=9)


def test_a_tiny_app_is_covered_to_its_last_day() -> None:
    """Five events a day, some days three, are whole days."""
    daily = {day: 5 - k % 3 for k, day in enumerate(SIX_WEEKS)}
    assert covered(daily) == LAST


def test_days_after_a_long_silence_count() -> None:
    """A full day after six silent weeks is no stray day."""
    assert covered({**SIX_WEEKS, date(2026, 3, 25): 24}) == date(2026, 3, 25)


def test_a_lower_level_is_accepted_within_a_week() -> None:
    """After five days with a third of the usual events the last of them is whole."""
    after = {LAST + timedelta(days=k): 8 for k in range(1, 6)}
    assert covered({**SIX_WEEKS, **after}) == LAST + timedelta(days=5)


def test_a_shop_closed_on_sundays_is_covered_to_saturday() -> None:
    """Days without events before the last day say nothing against it."""
    open_days = {day: n for day, n in SIX_WEEKS.items() if day.weekday() != 6}
    saturday = date(2026, 2, 7)
    until_then = {day: n for day, n in open_days.items() if day <= saturday}
    assert covered(until_then) == saturday


def test_the_few_users_before_a_launch_are_no_strays() -> None:
    """A log begins with its first day, though ten days with one event come before days
    with five hundred, and not with a row of years before.
    """
    launch = {date(2026, 1, 1) + timedelta(days=k): 1 for k in range(10)}
    grown = {date(2026, 1, 11) + timedelta(days=k): 500 for k in range(50)}
    daily = {date(2009, 1, 1): 1, **launch, **grown}
    assert min(near_days(daily)) == date(2026, 1, 1)
    assert min(live_days(daily)) == date(2026, 1, 11)
