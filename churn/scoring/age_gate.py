"""The gate on the age of the data: whether the extracts still arrive."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from churn.events import coverage, sources
from churn.events.days_off import closed_days, days_off, has_events_then
from churn.scoring.baseline import WEEKS
from churn.scoring.gate import Case, verdict
from churn.settings import Extract, Settings
from churn.store.score_schemas import Findings

GATE = "stale_data"

SLACK_DAYS = 2
"""Days beyond a source's settling days for which data may fail to arrive.

A log that holds all of yesterday is 0 days old. One late delivery, or a zone in which
the day ends later, must not stop a night.
"""


def today(settings: Settings, now: datetime | None = None) -> date:
    """The present date in the study's time zone.

    It is that of ``now``; without it the one that a simulated app states, or that of
    the clock.
    """
    if now is None and settings.now is not None:
        return settings.now
    present = now or datetime.now(UTC)
    return present.astimezone(ZoneInfo(settings.timezone)).date()


def stale_data(
    volume: pl.DataFrame,
    settings: Settings,
    cutoff: date,
    present: date,
) -> dict[str, Any]:
    """Fails if an extract, or the cutoff itself, is older than the limit.

    The age of an extract is the number of whole days that have passed since its last
    complete day. Days on which it has nothing anyway, such as the Sundays of a shop and
    the holidays of the study's country, don't count towards the limit. The gate names
    every extract that is too old, and the cutoff if it is too old although all extracts
    are fresh. It fails as well if the cutoff lies in the future, since then the clock
    is wrong.
    """
    limits = [_limit(extract, settings) for extract in settings.extracts]
    cases = [
        case
        for extract in settings.extracts
        if (case := _old_extract(extract, volume, settings, present))
    ]
    age = (present - cutoff).days
    if age < -1:
        seen = f"it lies in the future, today is {present}: look at the clock"
        cases.append(Case("cutoff", str(cutoff), seen))
    elif age > max(limits) and not cases and cutoff != _newest(volume, settings):
        cases.append(Case("cutoff", str(cutoff), f"{_days(age)} old"))
    expected = f"at most {_days(max(limits))} old"
    return verdict(
        cutoff,
        GATE,
        cases,
        expected=expected,
        cure=(
            "Look whether the exports still arrive, ingest what is missing and score "
            "again. If they come less often, raise gates.max_age_days"
        ),
        all_clear=f"{described(age)}, {expected}",
    )


def _limit(extract: Extract, settings: Settings) -> int:
    """Largest age of an extract in days: the study's, else by its source."""
    if settings.gates.max_age_days is not None:
        return settings.gates.max_age_days
    return sources.settling_days(extract) + SLACK_DAYS


def _old_extract(
    extract: Extract,
    volume: pl.DataFrame,
    settings: Settings,
    present: date,
) -> Case | None:
    """The case of an extract whose last complete day is too old."""
    covered = coverage.covered_by(extract, volume, settings)
    limit = _limit(extract, settings)
    if covered is None:
        return None
    n_due = _n_due(extract, volume, settings, covered, present)
    if n_due <= limit:
        return None
    age = (present - covered).days - 1
    due = "" if n_due == age else f"; data was due on {_days(n_due)}"
    seen = f"the newest whole day, {_days(age)} old (at most {limit} allowed){due}"
    return Case(extract.path, str(covered), seen)


def _n_due(
    extract: Extract,
    volume: pl.DataFrame,
    settings: Settings,
    covered: date,
    present: date,
) -> int:
    """Number of whole days since the last complete one that should have had events.

    Not due is a weekday without any event in the four weeks before. Nor is a day off in
    the study's country, unless the extract has events on days off as well.
    """
    days = set(volume.filter(pl.col("extract") == extract.path)["date"])
    begin = min(days, default=covered)
    off = days_off(settings.gates, begin, present)
    closed = closed_days(settings.gates, begin, present)
    if has_events_then(days, set(off) - closed, covered + timedelta(days=1)):
        off = dict.fromkeys(closed, "closed")
    first = covered - timedelta(weeks=WEEKS)
    weekdays = {day.isoweekday() for day in days if first < day <= covered}
    if not weekdays or min(days) > first:
        # Too short a log, or none in these weeks, says nothing about weekdays.
        weekdays = set(range(1, 8))
    passed = [covered + timedelta(days=k) for k in range(1, (present - covered).days)]
    due = [day for day in passed if day.isoweekday() in weekdays and day not in off]
    return len(due)


def _newest(volume: pl.DataFrame, settings: Settings) -> date | None:
    """The newest possible cutoff, whose age is that of the extracts."""
    covered = coverage.covered_until(volume, settings)
    return covered + timedelta(days=1) if covered else None


def described(age: int) -> str:
    """The age of the data in words.

    >>> described(1)
    'data 1 day old'
    """
    return f"data {_days(max(age, 0))} old"


def _days(n: int) -> str:
    return "1 day" if n == 1 else f"{n:,} days"


def refreshed(
    findings: pl.DataFrame,
    volume: pl.DataFrame,
    settings: Settings,
    present: date,
) -> pl.DataFrame:
    """Stored findings in which the age of the data is judged by the present date.

    Scores that were fresh when they were made may be old when they are exported.
    """
    cutoff = findings["cutoff"][0]
    row = stale_data(volume, settings, cutoff, present)
    fresh = pl.DataFrame([row]).select(Findings.column_names())
    others = findings.filter(pl.col("gate") != GATE)
    return Findings.validate(pl.concat([fresh, others]))
