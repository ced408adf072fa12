"""The last whole day of an extract: one that nothing is missing from."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from itertools import accumulate
from statistics import median

N_WEEKS = 4
"""Number of earlier days of the same weekday that a day is compared with."""

N_DAYS = 7
"""Number of earlier days, of all weekdays, that a day is compared with."""

MIN_SHARE = 0.5
"""A day with a smaller share of the usual events isn't whole."""

MIN_SHARE_OFF = 0.05
"""The same share on a public holiday, when many apps have few events."""

MIN_LATE = 10
"""Fewest events usual after an hour from which their absence is no chance."""

MIN_LATE_SHARE = 0.1
"""Smallest share of the day's events that is usual after such an hour."""

MAX_LATE_SHARE = 0.1
"""Largest share of the usual late events that a few wrong clocks can account for."""

Hours = Sequence[int]
"""Events in each hour of one day, 24 of them."""


def last_whole_day(
    live: Mapping[date, int],
    hours: Mapping[date, Hours],
    off: Collection[date] = (),
    present: date | None = None,
) -> date:
    """The newest day that is whole, among the days with data, which ``live`` counts.

    A day is whole if it is over by ``present``, has at least half of the usual events,
    and does not end early. Usual is what its weekday had on the last four days with
    data or what the last seven days had, whichever is lower, so that a new level is
    accepted after half a week. A day ``off`` may have fewer. A day ends early if the
    events of its usual late hours are missing: at least ten, and a tenth of a day.
    ``hours`` may lack days, which are then judged by their number alone.

    If no day is whole, the result is the first day, or the day before ``present``.
    """
    days = sorted(live)
    for position in range(len(days) - 1, 0, -1):
        day = days[position]
        if present is not None and day >= present:
            continue
        earlier = days[:position]
        same = [d for d in earlier if d.weekday() == day.weekday()][-N_WEEKS:]
        recent = [live[d] for d in earlier[-N_DAYS:]]
        usual = min(_median([live[d] for d in same], recent), median(recent))
        share = MIN_SHARE_OFF if day in off else MIN_SHARE
        known = [hours[d] for d in same if d in hours]
        if live[day] >= share * usual and not _ends_early(hours.get(day), known):
            return day
    return days[0] if present is None else min(days[0], present - timedelta(days=1))


def _median(values: Sequence[int], otherwise: Sequence[int]) -> float:
    return median(values or otherwise)


def _ends_early(hours: Hours | None, earlier: Sequence[Hours]) -> bool:
    """Whether the usual late events are missing, by the hours of earlier days.

    If the day is quieter than usual before that hour, so may it be after it.
    """
    if hours is None or len(earlier) < 2:
        return False
    late = _from_hour(hours)
    usual = [median(counts) for counts in zip(*map(_from_hour, earlier), strict=True)]
    total = usual[0]
    for hour in range(1, 24):
        before = max(total - usual[hour], 1)
        level = min(1.0, (late[0] - late[hour]) / before)
        expected = level * usual[hour]
        is_many = expected >= MIN_LATE and usual[hour] >= MIN_LATE_SHARE * total
        if is_many and late[hour] <= MAX_LATE_SHARE * expected:
            return True
    return False


def _from_hour(hours: Hours) -> list[int]:
    """Events from each hour of the day to its end."""
    return list(accumulate(reversed(hours)))[::-1]
