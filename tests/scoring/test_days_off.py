"""Public holidays and the days around them."""

from datetime import date
from pathlib import Path

import pytest

from churn.errors import StudyError
from churn.events.days_off import holidays_around
from churn.settings import parse


def off(country: str | None, first: str, last: str) -> list[str]:
    """The days off between two days, as texts."""
    found = holidays_around(
        country, date.fromisoformat(first), date.fromisoformat(last)
    )
    return [str(day) for day in found]


def test_without_a_country_no_day_is_off() -> None:
    """Not even Christmas, which isn't a holiday everywhere."""
    assert off(None, "2026-12-01", "2027-01-31") == []


def test_a_holiday_takes_the_weekend_that_touches_it() -> None:
    """May Day in Great Britain is a Monday."""
    assert off("GB", "2026-05-01", "2026-05-15") == [
        "2026-05-02",
        "2026-05-03",
        "2026-05-04",
    ]


def test_a_single_working_day_between_is_a_bridge() -> None:
    """Ascension Day is a Thursday in Germany: the Friday and the weekend follow."""
    assert off("DE", "2026-05-11", "2026-05-20") == [
        "2026-05-14",
        "2026-05-15",
        "2026-05-16",
        "2026-05-17",
    ]


def test_christmas_reaches_from_the_last_weekend_before_to_new_year() -> None:
    """In a country that celebrates both; 24 December 2026 is a Thursday."""
    days = off("FR", "2026-12-15", "2027-01-05")
    assert days[0] == "2026-12-19"
    assert "2026-12-30" in days
    assert days[-1] == "2027-01-03"  # a Sunday beside Friday, 1 January
    assert "2026-12-30" not in off("JP", "2026-12-15", "2026-12-30")


def test_a_holiday_of_most_regions_counts_for_the_country() -> None:
    """Easter Monday: not in Scotland, but in the other three. Corpus Christi: in six of
    sixteen German states, so only for those.
    """
    assert "2026-04-06" in off("GB", "2026-04-01", "2026-04-10")
    assert "2026-04-06" not in off("GB-SCT", "2026-04-06", "2026-04-10")
    assert "2026-06-04" not in off("DE", "2026-06-01", "2026-06-30")
    assert "2026-06-04" in off("DE-BY", "2026-06-01", "2026-06-30")


@pytest.mark.parametrize("country", ["XX", "DE-XX", "Germany", "gb"])
def test_an_unknown_country_is_a_fault_of_the_study(country: str) -> None:
    """It is named when the study is read, not when a night fails."""
    extracts = [{"source": "table", "path": "x"}]
    with pytest.raises(StudyError, match=r"gates\.country"):
        parse({"extracts": extracts, "gates": {"country": country}}, Path())
