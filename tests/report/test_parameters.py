"""Dates and times from the text of a parameter."""

from datetime import UTC, date, datetime

import pytest

from churn.errors import CutoffError, InputError
from churn.report import parameters


def test_a_cutoff_is_a_date_and_an_empty_text_is_null() -> None:
    """Anything else is refused with an example."""
    assert parameters.parse_cutoff("2026-03-01") == date(2026, 3, 1)
    assert parameters.parse_cutoff("") is None
    with pytest.raises(CutoffError, match="'1 March' is no cutoff; write a date like"):
        parameters.parse_cutoff("1 March")


def test_the_present_is_a_date_or_time_in_utc() -> None:
    """A date is its midnight; an empty text is null; anything else is refused."""
    assert parameters.parse_now("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    with_time = parameters.parse_now("2026-03-01T06:30")
    assert with_time == datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
    assert parameters.parse_now("") is None
    with pytest.raises(InputError, match="'now' is no time; write a date like"):
        parameters.parse_now("now")
