"""Public holidays of a country and the days around them, which are not usual days."""

from collections import Counter
from collections.abc import Collection
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING

from churn.settings.sections import Gates
from churn.settings.values import public_holidays

if TYPE_CHECKING:
    from holidays import HolidayBase

DAY = timedelta(days=1)
MARGIN = timedelta(days=10)
"""Days looked at beyond the ends, since a holiday outside may touch a day inside."""

RECENT = timedelta(weeks=4)
"""How long before a day its weekdays with events are looked up."""

SATURDAY = 5

NATIONWIDE = 0.5
"""A regional holiday counts for the country if at least this share of regions has it.

In Great Britain, for instance, Easter Monday is a holiday everywhere but in Scotland.
"""


def has_events_then(
    days: Collection[date],
    off: Collection[date],
    before: date,
) -> bool:
    """Whether an extract has events on days off too, as its log shows up to a date.

    ``days`` are those with events, ``off`` the days off. What happened on earlier days
    off decides. If the log holds none, an extract with events on all seven weekdays is
    taken for one that has them.
    """
    known = {day for day in days if day < before}
    if not known:
        return False
    past = [day for day in off if min(known) <= day < before]
    if past:
        return len(known.intersection(past)) > len(past) / 2
    recent = [day for day in known if day >= before - RECENT]
    return len({day.isoweekday() for day in recent}) == 7


def days_off(
    gates: Gates,
    first: date,
    last: date,
) -> dict[date, str]:
    """Days off from ``first`` to ``last``, by name: holidays and days of ``closed``."""
    closed = dict.fromkeys(closed_days(gates, first, last), "closed")
    return dict(sorted((closed | holidays_around(gates.country, first, last)).items()))


def closed_days(
    gates: Gates,
    first: date,
    last: date,
) -> set[date]:
    """The days from ``first`` to ``last`` that ``gates.closed`` names."""
    days: set[date] = set()
    for begin, end in gates.closed:
        n_days = (min(end, last) - max(begin, first)).days + 1
        days.update(max(begin, first) + n * DAY for n in range(n_days))
    return days


def holidays_around(
    country: str | None,
    first: date,
    last: date,
) -> dict[date, str]:
    """Public holidays and the days around them, from ``first`` to ``last``, by name.

    ``country`` is a code such as GB, or with a region DE-BY; null gives no days. Around
    a holiday lie the weekend that touches it, the single working day between it and
    other days off, and all days from the last Saturday before Christmas Eve to New
    Year's Eve in a country that celebrates both. That weekend is the busiest of the
    year for some and the quietest for others.
    """
    if country is None:
        return {}
    years = range((first - MARGIN).year, (last + MARGIN).year + 1)
    named, weekend = _public(country, years)
    around = {**_bridges(named, weekend), **named}
    around |= _weekends(around, weekend)
    found = {**_around_christmas(named, years), **around}
    inside = {day: name for day, name in found.items() if first <= day <= last}
    return dict(sorted(inside.items()))


@cache
def _public(
    country: str,
    years: range,
) -> tuple[dict[date, str], Collection[int]]:
    """Public holidays by name, and the weekdays of the weekend (Monday is 0)."""
    calendar = public_holidays(country, years)
    named = dict(calendar.items())
    if "-" not in country:
        named = {**_in_most_regions(calendar, country, years), **named}
    return named, calendar.weekend


def _in_most_regions(
    calendar: "HolidayBase",
    code: str,
    years: Collection[int],
) -> dict[date, str]:
    regions = calendar.subdivisions
    named: dict[date, str] = {}
    n_regions: Counter[date] = Counter()
    for region in regions:
        regional = public_holidays(f"{code}-{region}", years)
        named |= dict(regional.items())
        n_regions.update(regional.keys())
    enough = NATIONWIDE * len(regions)
    return {day: name for day, name in named.items() if n_regions[day] >= enough}


def _around_christmas(
    named: dict[date, str],
    years: Collection[int],
) -> dict[date, str]:
    """The days around Christmas up to New Year, where both are holidays."""
    days = {}
    for year in years:
        christmas = date(year, 12, 25)
        if christmas in named and date(year, 1, 1) in named:
            eve = christmas - DAY
            n_back = (eve.weekday() - SATURDAY) % 7 or 7
            first = eve - n_back * DAY
            for n in range((date(year, 12, 31) - first).days + 1):
                days[first + n * DAY] = "around Christmas"
    return days


def _bridges(
    found: dict[date, str],
    weekend: Collection[int],
) -> dict[date, str]:
    """Single working days between a holiday and another day off."""
    bridges = {}
    for day, name in found.items():
        for step in (DAY, -DAY):
            between, beyond = day + step, day + 2 * step
            is_off = beyond in found or beyond.weekday() in weekend
            is_working = between not in found and between.weekday() not in weekend
            if is_off and is_working:
                bridges[between] = f"next to {name}"
    return bridges


def _weekends(
    found: dict[date, str],
    weekend: Collection[int],
) -> dict[date, str]:
    """The days of a weekend that touches a holiday."""
    touching: dict[date, str] = {}
    for day, name in found.items():
        for step in (DAY, -DAY):
            beside = day + step
            while beside.weekday() in weekend and beside not in found:
                touching[beside] = f"next to {name}"
                beside += step
    return touching
