"""Churned, active or unknown."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from churn.events import activity
from churn.features import labels, snapshots
from churn.features.cutoffs import Calendar
from churn.settings import Settings, Windows

from ..benchmarks import leaks
from ..conftest import DAY0, event_log

WINDOWS = Windows(lead_days=2, horizon_days=7)
CUTOFF = DAY0 + timedelta(days=10)


def returned(
    daily: pl.LazyFrame,
    asked: pl.DataFrame,
    as_of: date = date(2030, 1, 1),
) -> pl.DataFrame:
    """When users came back according to one group's activity."""

    def find(searches: pl.DataFrame) -> pl.DataFrame:
        return labels.first_days(daily, searches, (), as_of)

    return labels.returned(asked, WINDOWS, None, find)


def came_back(*rows: dict, as_of: date = date(2030, 1, 1)) -> bool:
    """Whether u1 is active in the horizon of day 10: days 12 to 18."""
    daily = activity.from_events(event_log(*rows).lazy(), "UTC", "USD")
    asked = pl.DataFrame({"user_id": ["u1"], "cutoff": [CUTOFF]})
    got = returned(daily, asked, as_of)
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
    got = returned(daily, asked)
    assert got["user_id"].to_list() == users
    assert got["return_days"].to_list() == [None, 2, 6, 0]


def test_a_label_is_mature_when_its_whole_horizon_is_covered() -> None:
    """Horizon days 12 to 18: mature with day 18 covered, not with day 17."""
    calendar = Calendar(DAY0, DAY0 + timedelta(days=19), WINDOWS, 7, 0)
    assert calendar.newest_mature() == CUTOFF
    assert calendar.newest_mature(DAY0 + timedelta(days=18)) < CUTOFF


def profile(user: str, *days: float) -> list[dict[str, Any]]:
    """Visits of a user on these days, on a Braze profile of the same name."""
    return [{"u": user, "day": day, "ids": [f"braze_id:{user}"]} for day in days]


def merge(
    user: str, into: str, day: float, received: float | None = None
) -> dict[str, Any]:
    """The record that says that a user's profile became part of another one."""
    ids = [f"braze_id:{user}", f"braze_id:{into}"]
    row = {"u": user, "day": day, "ids": ids, "kind": "merge", "event": "merge"}
    return row | {"received": received}


@pytest.fixture
def first_return(make_study: Callable[..., Settings]) -> Callable[..., int | None]:
    """A function: the first active day of u1 in the horizon of day 10, null if none."""

    def find(*rows: dict[str, Any], as_of: int = 40) -> int | None:
        log = event_log(*rows).with_columns(
            numbers=pl.lit([], leaks.properties.NUMBERS)
        )
        windows = {"eligible_days": 7, "lead_days": 2, "horizon_days": 7}
        settings = make_study(windows=windows, store=f"store-{as_of}-{len(rows)}")
        store = leaks.filled(log.lazy(), settings, n_days=60)
        asked = snapshots.observe(store, [CUTOFF], snapshots.plan(store, CUTOFF))
        labelled = snapshots.label(asked, store, DAY0 + timedelta(days=as_of))
        found = labelled.filter(user_id="u1")["return_days"][0]
        return None if found is None else found + 12

    return find


def test_who_is_merged_in_the_horizon_returns_as_the_other_user(
    first_return: Callable[..., int | None],
) -> None:
    """u1 becomes u2 on day 14: the visit of u2 on day 15 is theirs, that on day 13 not
    yet. Without the merge u1 has churned.
    """
    visits = [*profile("u1", 8, 9), *profile("u2", 5, 13, 15)]
    assert first_return(*visits) is None
    assert first_return(*visits, merge("u1", "u2", 14)) == 15


def test_a_merge_leads_on_to_a_third_user(
    first_return: Callable[..., int | None],
) -> None:
    """u1 becomes u2 on day 12 and u2 becomes u3 on day 15: u3 counts from then on."""
    visits = [*profile("u1", 9), *profile("u2", 8), *profile("u3", 6, 13, 16)]
    merges = [merge("u1", "u2", 12), merge("u2", "u3", 15)]
    assert first_return(*visits, *merges) == 16


def test_a_merge_that_was_not_known_yet_changes_no_label(
    first_return: Callable[..., int | None],
) -> None:
    """Received on day 30, the merge of day 14 counts as of day 40 and not as of day 20."""
    visits = [*profile("u1", 9), *profile("u2", 8, 16)]
    late = merge("u1", "u2", 14, received=30)
    assert first_return(*visits, late, as_of=20) is None
    assert first_return(*visits, late, as_of=40) is None


def test_groups_of_users_give_the_labels_of_all_together() -> None:
    """Each user's activity read alone: u1 became u2, whose visit of day 15 counts for
    u1; u2 and u3 have their own.
    """
    days = {"u1": (9,), "u2": (13, 15), "u3": (14, 18)}
    rows = [{"u": user, "day": day} for user, own in days.items() for day in own]
    daily = activity.from_events(event_log(*rows).lazy(), "UTC", "USD")
    asked = pl.DataFrame({"user_id": ["u3", "u1", "u2"], "cutoff": [CUTOFF] * 3})
    merged = pl.DataFrame(
        {"user_id": ["u1"], "now": ["u2"], "merged": [DAY0 + timedelta(days=14)]}
    )

    def find(searches: pl.DataFrame) -> pl.DataFrame:
        groups = [pl.col("user_id") == user for user in days]
        return pl.concat(
            labels.first_days(
                daily.filter(group), searches.filter(group), (), date(2030, 1, 1)
            )
            for group in groups
        )

    got = labels.returned(asked, WINDOWS, merged, find)
    assert got["return_days"].to_list() == [2, 3, 1]
