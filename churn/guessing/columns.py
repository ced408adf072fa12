"""Which columns of a table hold what, by their names and by what they contain."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

Sample = Mapping[str, Sequence[str]]
"""The first values of each column of a table, as texts, without empty ones."""

WORDS = {
    "user_id": "user_id user uid external_user_id external_id customer_id customer "
    "account_id account member_id member player_id player client_id client "
    "subscriber_id student_id id_student person_id visitor_id",
    "event": "event event_name name event_type action activity activity_type type what",
    "time": "time event_time timestamp event_timestamp ts datetime date_time "
    "occurred_at created_at at date event_date day order_date ordered_at invoice_date",
    "revenue": "revenue event_revenue amount order_value total value price",
    "currency": "currency currency_code event_currency",
    "event_id": "event_id insert_id uuid message_id",
    "anonymous_id": "anonymous_id device_id cookie_id",
    "received_time": "received_time received_at ingested_at",
}
"""Usual names of the columns for our fields, the likeliest first."""

NEEDED = ("user_id", "event", "time")
"""Fields without which a table can't be read."""

MOST_EVENTS = 200
"""Most different names of events in a sample; a column with more holds texts."""

LEAST_TIMES = 0.9
"""Share of a column's values that must be times in a column of times."""

EPOCHS = (1e9, 1e10), (1e12, 1e13), (1e15, 1e16), (1e18, 1e19)
"""Ranges of times since 1970, in seconds and in their thousandth parts."""


def mapped(sample: Sample) -> dict[str, str]:
    """The column of each field that was found, by the study's name of the field.

    A column serves one field. Fields without a column are missing.
    """
    found: dict[str, str] = {}
    for field in WORDS:
        free = [column for column in sample if column not in found.values()]
        column = _by_name(field, free, sample) or _by_content(field, free, sample)
        if column:
            found[field] = column
    return found


def _by_name(
    field: str,
    free: Sequence[str],
    sample: Sample,
) -> str | None:
    """The column with the likeliest name whose values suit the field."""
    suits = CONTENTS.get(field, bool)
    by_word = {_plain(column): column for column in reversed(free)}
    for word in WORDS[field].split():
        column = by_word.get(_plain(word))
        if column is not None and suits(sample[column]):
            return column
    return None


def _by_content(
    field: str,
    free: Sequence[str],
    sample: Sample,
) -> str | None:
    """The only column that can be a needed field, for want of a known name."""
    if field not in NEEDED:
        return None
    suits = CONTENTS[field]
    able = [column for column in free if suits(sample[column])]
    hinted = [column for column in able if re.search(HINTS[field], column.lower())]
    if len(hinted) == 1:
        return hinted[0]
    return able[0] if len(able) == 1 and field == "time" else None


def _plain(name: str) -> str:
    """A column's name without case and punctuation: "Customer ID" is customerid."""
    return re.sub(r"[\W_]", "", name.lower())


def are_times(values: Sequence[str]) -> bool:
    """Whether nearly all of the values are dates or instants.

    >>> are_times(["2026-01-31 10:00:00", "31/01/2026"]), are_times(["7", "8"])
    (True, False)
    """
    n_times = sum(map(_is_time, values))
    return bool(values) and n_times >= LEAST_TIMES * len(values)


def _is_time(value: str) -> bool:
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return any(low <= float(text) < high for low, high in EPOCHS)
    if re.match(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(\D|$)", text):
        return True
    try:
        datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return False
    return True


def _are_events(values: Sequence[str]) -> bool:
    """Whether the values may name events: few different ones, and no numbers."""
    different = set(values)
    has_letters = all(re.search(r"[^\W\d]", value) for value in different)
    return 0 < len(different) <= MOST_EVENTS and has_letters and not are_times(values)


def _are_ids(values: Sequence[str]) -> bool:
    """Whether the values may be ids of users: more than one, and no times."""
    return len(set(values)) > 1 and not are_times(values)


CONTENTS: dict[str, Callable[[Sequence[str]], bool]] = {
    "user_id": bool,
    "event": _are_events,
    "time": are_times,
    "received_time": are_times,
}
"""What the values of a field's column must be; those of others may be anything."""

HINTS = {
    "user_id": r"user|customer|client|account|member|player|student|person",
    "event": r"event|action|activity|type",
    "time": r"time|date|_at$|day|stamp",
}
"""Parts of names that make a column likely for a needed field."""
