"""Which tables a store has, how they are divided into files, and in which order."""

ADOPTED = {"activity": "adopted_activity", "users": "adopted_users"}
"""Tables that also have adopted rows, and the tables that hold these."""

BUCKETED = ("events", "activity", "users", "anonymous", *ADOPTED.values())
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
