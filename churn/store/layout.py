"""Which tables a store has, how they are divided into files, and in which order."""

from datetime import date

ADOPTED = {"activity": "adopted_activity", "users": "adopted_users"}
"""Tables that also have adopted rows, and the tables that hold these."""

BUCKETED = ("events", "activity", "users", "anonymous", *ADOPTED.values())
PERIODS = {
    "events": "event_time",
    "activity": "date",
    "adopted_activity": "date",
    "anonymous": "date",
}
"""Tables that are also divided into quarters of a year, and the column that decides.

A night thus adds to the present quarter, compaction leaves the others alone, and a
reader of some days passes over them.
"""

FLAT = ("edges", "merges", "files", "quarantine", "volume", "tally", "tombstones")
TABLES = (*BUCKETED, *FLAT)

ORDER: dict[str, list[str]] = {
    "events": ["event_time"],
    "activity": ["user_id", "date"],
    "users": ["user_id"],
    "adopted_activity": ["user_id", "date"],
    "adopted_users": ["user_id"],
    "anonymous": ["date"],
}
"""The order of rows in each file of a table; tables without one are small."""


def period(day: date) -> str:
    """The quarter of a day, written as in the names of folders: "2026Q1"."""
    return f"{day.year:04d}Q{(day.month + 2) // 3}"
