"""Days inside the log whose events are missing, so that silence then says nothing."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from statistics import median

DAY = timedelta(days=1)

N_WEEKS = 4
"""Number of days of the same weekday, before and after, that a day is compared with."""

MAX_SHARE = 0.05
"""A day with a larger share of the usual events has its data, or most of it."""

MIN_MISSING = 10
"""Fewest events usual on days in a row from which their absence is no chance."""

WEEK = 7
"""Number of empty days in a row that no habit of weekdays explains."""


def holes(live: Mapping[date, int]) -> list[date]:
    """Days between the first and last with data that have hardly any, oldest first.

    A day has hardly any data with under 5 % of what its weekday usually has, before it
    and after it. Usual is the median of the four nearest such days on either side, the
    lower of both sides, so that a shop's Sundays and an app's weekends are no holes.
    Days inside a week or more without data are not compared with. Days in a row are a
    hole if ten events are usual on them together.

    >>> log = {date(2026, 1, 1) + timedelta(days=k): 40 for k in range(60)}
    >>> missing = [log.pop(date(2026, 2, day)) for day in range(1, 11)]
    >>> [str(day) for day in holes(log)[:2]], len(holes(log))
    (['2026-02-01', '2026-02-02'], 10)
    """
    if not live:
        return []
    first = min(live)
    n_days = (max(live) - first).days + 1
    counts = [live.get(first + k * DAY, 0) for k in range(n_days)]
    usual = _usual(counts)
    found = []
    numbered = range(n_days)
    for is_low, run in groupby(numbered, lambda k: counts[k] < MAX_SHARE * usual[k]):
        days = list(run)
        if is_low and sum(usual[k] for k in days) >= MIN_MISSING:
            found += [first + k * DAY for k in days]
    return found


def _usual(counts: Sequence[int]) -> list[float]:
    """What each day's weekday usually has, by the days before and after it."""
    weekdays: list[list[int]] = [[] for _ in range(WEEK)]
    for k, is_there in enumerate(_is_there(counts)):
        if is_there:
            weekdays[k % WEEK].append(k)
    usual = []
    for k in range(len(counts)):
        same = weekdays[k % WEEK]
        before = [counts[other] for other in same if other < k][-N_WEEKS:]
        after = [counts[other] for other in same if other > k][:N_WEEKS]
        sides = [median(side) for side in (before, after) if side]
        usual.append(min(sides, default=0.0))
    return usual


def _is_there(counts: Sequence[int]) -> list[bool]:
    """Whether each day lies outside of a week or more without data."""
    flags = []
    for is_empty, run in groupby(counts, lambda n: n == 0):
        n_days = len(list(run))
        flags += [not (is_empty and n_days >= WEEK)] * n_days
    return flags
