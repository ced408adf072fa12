"""Churned, active or unknown."""

from datetime import date, timedelta

import polars as pl

from churn.events import activity
from churn.features import labels
from churn.features.cutoffs import Calendar
from churn.settings import Windows

from ..conftest import DAY0, event_log

WINDOWS = Windows(lead_days=2, horizon_days=7)
CUTOFF = DAY0 + timedelta(days=10)


def came_back(*rows: dict, as_of: date = date(2030, 1, 1)) -> bool:
    """Whether u1 is active in the horizon of day 10: days 12 to 18."""
    daily = activity.from_events(event_log(*rows).lazy(), "UTC", "USD")
    asked = pl.DataFrame({"user_id": ["u1"], "cutoff": [CUTOFF]})
    got = labels.returned(daily, asked, WINDOWS, (), as_of)
    return got["return_days"][0] is not None


def test_the_horizon_is_half_open_and_starts_after_the_lead() -> None:
    """Days 12 to 18 count; day 11 is lead time and day 19 is over."""
    assert [came_back({"day": d}) for d in (10, 11.99, 12, 18.99, 19)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_passive_events_are_no_return() -> None:
    """An uninstall or a message in the horizon does not make a user active."""
    assert not came_back(
        {"day": 13, "kind": "uninstall"}, {"day": 14, "kind": "message_sent"}
    )


def test_a_return_that_was_not_known_yet_does_not_count() -> None:
    """As of day 20, an event of day 13 received on day 25 is unknown."""
    row = {"day": 13, "received": 25}
    assert came_back(row)
    assert not came_back(row, as_of=DAY0 + timedelta(days=20))


def test_a_return_is_dated_by_its_first_day_in_the_horizon() -> None:
    """U1 first on day 14, u2 on the horizon's first day, u3 on its last, u4 only before
    and after: 2, 0, 6, null, in the order in which they were asked for.
    """
    days = {"u1": (11, 14.2, 14.8, 16), "u2": (12,), "u3": (18,), "u4": (11, 19)}
    rows = [{"u": user, "day": day} for user, mine in days.items() for day in mine]
    daily = activity.from_events(event_log(*rows).lazy(), "UTC", "USD")
    users = ["u4", "u1", "u3", "u2"]
    asked = pl.DataFrame({"user_id": users, "cutoff": [CUTOFF] * len(users)})
    got = labels.returned(daily, asked, WINDOWS, (), date(2030, 1, 1))
    assert got["user_id"].to_list() == users
    assert got["return_days"].to_list() == [None, 2, 6, 0]


def test_a_label_is_mature_when_its_whole_horizon_is_covered() -> None:
    """Horizon days 12 to 18: mature with day 18 covered, not with day 17."""
    calendar = Calendar(DAY0, DAY0 + timedelta(days=19), WINDOWS, 7, 0)
    assert calendar.newest_mature() == CUTOFF
    assert calendar.newest_mature(DAY0 + timedelta(days=18)) < CUTOFF
