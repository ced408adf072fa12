"""Days with data, told apart from days that only hold stray rows.

A row is stray if its time is wrong: a phone whose clock was reset to 2009, or runs three
months ahead. A small app has few events a day, so that a share of the usual day alone
does not find a single row. What gives strays away is that they are few, and that they
lie far from all other days.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from itertools import pairwise
from statistics import median

MIN_DAY_SHARE = 0.01
"""A day with a smaller share of the usual day's events holds only stray rows."""

SILENCE = 7
"""Days further apart than this many, and than twice the usual distance, are far apart."""

MIN_GROUP = 5
"""Fewest events of days that lie far from all others."""

MIN_GROUP_SHARE = 0.5
"""Fewest events of such days, as a share of a usual day's."""

MAX_STRAY_RATE = 0.05
"""Days far from all others with a larger share of all events are never strays."""


def live_days(daily: Mapping[date, int]) -> dict[date, int]:
    """Events per day by date, without the days that only hold stray rows.

    These are the days that ``near_days`` leaves out, and days with under 1 % of the
    usual day's events.

    >>> days = {date(2026, 3, day): 40 for day in range(1, 31)}
    >>> stray = {date(2009, 1, 1): 1, date(2026, 6, 30): 3}
    >>> live_days({**stray, **days}) == days
    True
    """
    least = MIN_DAY_SHARE * usual_day(daily.values())
    return {day: n for day, n in near_days(daily).items() if n >= least}


def near_days(daily: Mapping[date, int]) -> dict[date, int]:
    """Events per day by date, without stray days that lie far from all others.

    Such days are strays if they have together less than half of a usual day's events
    or fewer than five, and under 5 % of all events. Days that follow each other closely
    are kept however small they are, since an app begins with few users.
    """
    usual = usual_day(daily.values())
    total = sum(daily.values())
    enough = min(max(MIN_GROUP, MIN_GROUP_SHARE * usual), MAX_STRAY_RATE * total)
    counts = dict(sorted(daily.items()))
    near: dict[date, int] = {}
    for group in _groups(counts):
        if sum(group.values()) >= enough:
            near |= group
    return near or counts


def usual_day(counts: Iterable[int]) -> int:
    """Number of events of the usual day: half of all events lie on days with fewer.

    Unlike the median of all days it does not fall when there are many days with a few
    stray rows.

    >>> usual_day([100, 100, 100, 1, 1, 1, 1, 1])
    100
    """
    ordered = sorted(counts)
    half = sum(ordered) / 2
    passed = 0
    for n in ordered:
        passed += n
        if passed >= half:
            return n
    return 0


def _groups(counts: Mapping[date, int]) -> list[dict[date, int]]:
    """The days in groups that lie far apart from each other, oldest first."""
    gaps = [(after - before).days for before, after in pairwise(counts)]
    far = max(SILENCE, 2 * median(gaps)) if gaps else SILENCE
    groups: list[dict[date, int]] = []
    previous: date | None = None
    for day, n in counts.items():
        if previous is None or (day - previous).days > far:
            groups.append({})
        groups[-1][day] = n
        previous = day
    return groups
