"""Days inside a log whose events are missing."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.errors import CutoffError
from churn.events.holes import holes
from churn.features.cutoffs import Calendar
from churn.settings import Windows

DAY0 = date(2026, 1, 1)
DAYS = [DAY0 + timedelta(days=k) for k in range(120)]
WINDOWS = Windows(observation_days=28, eligible_days=14, horizon_days=14)


@pytest.mark.parametrize("n_days", [1, 6, 9, 35])
def test_days_that_were_never_delivered_are_a_hole(n_days: int) -> None:
    """Each of the missing days is found, and no other."""
    missing = DAYS[40 : 40 + n_days]
    assert holes({day: 40 for day in DAYS if day not in missing}) == missing


def test_habits_of_weekdays_are_no_hole() -> None:
    """A shop without Sundays has no hole, nor has one that later gives up Mondays."""
    shop = {day: 40 for day in DAYS if day.weekday() != 6}
    assert holes(shop) == []
    later = {d: n for d, n in shop.items() if d < DAYS[60] or d.weekday() != 0}
    assert holes(later) == []


def test_a_quiet_day_of_a_tiny_app_is_no_hole() -> None:
    """Where five events are usual, one day without any says nothing."""
    assert holes({day: 5 for day in DAYS if day != DAYS[50]}) == []


@given(st.integers(20, 90), st.integers(2, 20))
def test_only_cutoffs_whose_windows_touch_a_hole_are_left_out(
    first: int, n_days: int
) -> None:
    """A cutoff stays if no day of its eligible window and its horizon is missing, and
    none does with three missing days in either.
    """
    missing = frozenset(DAYS[first : first + n_days])
    whole = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0)
    newest = whole.newest_mature()
    kept = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0, missing).series(newest, 20)
    fortnight = timedelta(days=14)
    expected = [
        cutoff
        for cutoff in whole.series(newest, 20)
        if not any(cutoff - fortnight <= d < cutoff + fortnight for d in missing)
    ]
    assert set(expected) <= set(kept)
    for cutoff in set(kept) - set(expected):
        sides = (cutoff - fortnight, cutoff), (cutoff, cutoff + fortnight)
        assert all(sum(a <= d < b for d in missing) <= 2 for a, b in sides)


def test_a_cutoff_with_a_hole_around_it_is_refused_by_name() -> None:
    """A hole from day 90 to 93 spoils the horizon of day 80 and the eligible window of
    day 95, which are named with the days; day 60 may be used.
    """
    calendar = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0, frozenset(DAYS[90:94]))
    calendar.check_whole([DAYS[60]])
    words = f"{DAYS[80]}, {DAYS[95]} has days.* 4 days from {DAYS[90]} to {DAYS[93]}"
    with pytest.raises(CutoffError, match=words):
        calendar.check_whole([DAYS[60], DAYS[80], DAYS[95]])


def test_the_newest_whole_cutoff_lies_before_a_hole() -> None:
    """With days 100 to 104 missing, the horizon of day 88 lacks two days, which are
    tolerated, and one of the windows of every later cutoff lacks more.
    Without a hole it is the newest mature one, and so it is if every cutoff has one.
    """
    whole = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0)
    assert whole.newest_whole() == whole.newest_mature() == DAYS[105]
    torn = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0, frozenset(DAYS[100:105]))
    assert torn.newest_whole() == DAYS[88]
    empty = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0, frozenset(DAYS[::4]))
    assert empty.newest_whole() == DAYS[105]


def test_earlier_cutoffs_take_the_place_of_those_left_out() -> None:
    """With days 50 to 59 missing, three cutoffs back from day 77 are 77 and those whose
    windows end before the hole; the ones between are left out.
    """
    missing = frozenset(DAYS[50:60])
    calendar = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0, missing)
    assert calendar.series(DAYS[77], 3) == [DAYS[28], DAYS[35], DAYS[77]]
    between = [DAYS[day] for day in (42, 49, 56, 63, 70)]
    assert calendar.left_out(DAYS[77], 3) == between


def test_left_out_cutoffs_and_the_series_are_all_cutoffs() -> None:
    """A cutoff is either in the series or left out because of missing days."""
    missing = frozenset(DAYS[50:60])
    calendar = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0, missing)
    every = Calendar(DAY0, DAYS[-1], WINDOWS, 7, 0).series(DAYS[100], 20)
    left_out = calendar.left_out(DAYS[100], 20)
    assert left_out
    assert sorted(calendar.series(DAYS[100], 20) + left_out) == every
