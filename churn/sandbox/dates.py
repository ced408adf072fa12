"""Text that Braze stores as a datetime because it looks like one."""

import re
from datetime import UTC, datetime

ZONE = r"(?P<zone>Z|[+-]\d\d:?\d\d)"
ISO_DAY = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
ISO_TIME = r"(?P<time>\d\d:\d\d(?::\d\d)?)(?:[.:](?P<fraction>\d{1,6}))?"
WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{ISO_DAY}(?:[T ]{ISO_TIME} ?{ZONE}?)?",
        r"(?P<month>\d\d?)[/-](?P<day>\d\d?)[/-](?P<year>\d{4})",
        rf"{WEEKDAY} (?P<month>\d\d) (?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d)"
        rf"\.{ZONE} (?P<year>\d{{4}})",
    )
)
LAST_YEAR = 3000


def as_datetime(text: str) -> datetime | None:
    """The datetime that Braze makes of a text; None for a text that stays text.

    The accepted forms are those that Braze's documents list. A missing time is read as
    midnight, and a missing zone as UTC.

    >>> as_datetime("12/1/2021"), as_datetime("high"), as_datetime("4000-01-01")
    (datetime.datetime(2021, 12, 1, 0, 0, tzinfo=datetime.timezone.utc), None, None)
    """
    # Nearly all texts are labels; these two tests are cheaper than the patterns.
    if not (text[:1].isdigit() or text[3:4] == " "):
        return None
    for pattern in PATTERNS:
        if match := pattern.fullmatch(text):
            return _built(match.groupdict())
    return None


def _built(parts: dict[str, str | None]) -> datetime | None:
    day = f"{parts['year']}-{parts['month']:0>2}-{parts['day']:0>2}"
    time = parts.get("time") or "00:00"
    if len(time) == len("00:00"):
        time += ":00"
    fraction = (parts.get("fraction") or "0").ljust(6, "0")
    zone = parts.get("zone") or "Z"
    try:
        found = datetime.fromisoformat(f"{day}T{time}.{fraction}{zone}").astimezone(UTC)
    # The date doesn't exist, such as month 13, or is before year 1 in UTC.
    except (ValueError, OverflowError):
        return None
    return found if found.year <= LAST_YEAR else None
