"""GA4's tables in BigQuery, by the names of their files or folders.

A table is exported into one file, several, or a folder of its own, such as
``events_20260308/000000000000.parquet``. A day may have up to three: while it lasts
``events_intraday_20260308``, then ``events_fresh_20260308`` (Fresh Daily) and
``events_20260308``. They hold the same events in a more and more final form.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from churn.events.sources import cells

NAME = re.compile(r"events_(intraday_|fresh_)?(\d{8})(?!\d)")
"""The name of a table, also within that of a file: its form and its day."""

PROVISIONAL = {
    "": 0,
    "fresh_": 1,
    "intraday_": 2,
}
"""The forms of a day's table; the lower the number, the more final."""


def superseded(paths: Iterable[str]) -> set[str]:
    """The files of tables of which a more final form is among the paths."""
    tables = []
    most_final: dict[str, int] = {}
    for path in paths:
        found = _table(path)
        if found:
            table, form = found
            tables.append((path, table, form))
            most_final[table] = min(form, most_final.get(table, form))
    return {path for path, table, form in tables if form > most_final[table]}


def is_provisional(path: str) -> bool:
    """Whether a file is of a table that the day's own one will replace."""
    found = _table(path)
    return found is not None and found[1] > 0


def _table(path: str) -> tuple[str, int] | None:
    """The folder and day of a file's table, and its form; None if no name says it.

    The name nearest to the file counts. Folders within that of the table are left out,
    so that a day's forms have one folder in common, however deep their files are.
    """
    names = list(NAME.finditer(path))
    if not names:
        return None
    form, day = names[-1].groups(default="")
    first = next(name for name in names if name.groups(default="") == (form, day))
    return path[: first.start()] + day, PROVISIONAL[form]


def received_by(path: str) -> datetime | None:
    """The end of the day after the table's, by which its rows had arrived."""
    names = NAME.findall(path)
    day = names[-1][1] if names else ""
    return cells.period_end(day, r"^(\d{8})$", "%Y%m%d", timedelta(days=2))
