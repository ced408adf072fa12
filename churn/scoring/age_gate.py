"""The gate on the age of the data: whether the extracts still arrive."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from churn.events import coverage, sources
from churn.scoring.gate import Case, verdict
from churn.settings import Extract, Settings
from churn.store.schemas import Findings

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
    complete day. The gate names every extract that is too old, and the cutoff if it is
    too old although all extracts are fresh. It fails as well if the cutoff lies in the
    future, since then the clock is wrong.
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
    elif age > max(limits) and not cases:
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
    covered = coverage.covered_by(extract, volume)
    limit = _limit(extract, settings)
    if covered is None:
        return None
    age = (present - covered).days - 1
    if age <= limit:
        return None
    seen = f"the newest whole day, {_days(age)} old (at most {limit} allowed)"
    return Case(extract.path, str(covered), seen)


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
