"""Days without data inside the log, which a comparison with earlier weeks overlooks.

What is expected of a day is what the weeks before had. It falls to nothing within a long
time without data, while the days after that time show what is missing.
"""

from datetime import date

import polars as pl

from churn.events import coverage
from churn.scoring.baseline import days_before
from churn.scoring.gate import Case
from churn.settings import Settings


def empty_days(
    known: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> list[Case]:
    """Days of the window whose events are missing, by extract.

    ``known`` is the number of events known before the cutoff. Which days are missing
    says ``coverage.missing_by_extract``.
    """
    missing = coverage.missing_by_extract(known, settings)
    first = days_before(cutoff, settings.gates.window_days)
    return [
        Case(extract, str(day), f"{n:,} events, hardly any of the usual", off=1.0)
        for (extract, day), n in missing.items()
        if first <= day < cutoff
    ]
