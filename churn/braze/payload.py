"""What is written to Braze, as pure functions: attribute objects, batches, bodies, and what must never be sent."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from churn.errors import TerminalBrazeError

MAX_EXTERNAL_ID_BYTES = 987
MAX_TEXT = 255
RESERVED = frozenset(
    "external_id user_alias braze_id _update_existing_only _merge_objects push_token_import alias_name alias_label bio "
    "country current_location date_of_first_session date_of_last_session dob email email_subscribe "
    "email_open_tracking_disabled email_click_tracking_disabled email_subscription_info facebook first_name gender "
    "home_city image_url language last_name marked_email_as_spam_at phone push_subscribe push_tokens "
    "subscription_groups time_zone twitter".split()
)
"""Names in an attributes object that are profile fields or controls, never custom attributes."""

# Braze stores text of these forms as a date, and a segment filter on the text then finds nobody.
DATE_LIKE = re.compile(r"^\s*(\d{1,4}[-/]\d|[A-Za-z]{3} [A-Za-z0-9]{2,3} \d)")

Value = str | int | None


def check_names(names: Sequence[str]) -> None:
    """Raise TerminalBrazeError for attribute names that Braze takes for something else, or that are used twice."""
    bad = sorted(n for n in names if n in RESERVED or n.startswith(("$", "_", "appboy")))
    if bad:
        raise TerminalBrazeError(f"{', '.join(bad)} can't be a custom attribute in Braze; choose another name")
    if len(set(names)) < len(names):
        raise TerminalBrazeError("segment_attribute and score_attribute must differ")


def check_text(value: str) -> None:
    """Raise TerminalBrazeError for text that Braze would cut or turn into a date."""
    if DATE_LIKE.match(value) or not 0 < len(value) <= MAX_TEXT:
        raise TerminalBrazeError(
            f"{value[:40]!r} can't be a value: 1 to {MAX_TEXT} characters that don't look like a date"
        )


def is_deliverable(identifier: str) -> bool:
    """Whether Braze can take this identifier at all: 1 to 987 bytes."""
    return 0 < len(identifier.encode()) <= MAX_EXTERNAL_ID_BYTES


def alias(name: str, label: str) -> dict[str, str]:
    """A user alias as Braze writes it.

    >>> alias("176-64", "appsflyer_id")
    {'alias_name': '176-64', 'alias_label': 'appsflyer_id'}
    """
    return {"alias_name": name, "alias_label": label}


def whose(item: dict[str, Any], kind: str) -> str:
    """The identifier of an attribute object; of an alias its name."""
    identifier = item[kind]
    return str(identifier["alias_name"] if isinstance(identifier, dict) else identifier)


def update(
    kind: str, identifier: str | dict[str, str], values: dict[str, Value], create_unknown_users: bool
) -> dict[str, Any]:
    """One attribute object. A null value removes the attribute.

    >>> update("external_id", "u1", {"churn_segment": "high"}, create_unknown_users=False)
    {'external_id': 'u1', '_update_existing_only': True, 'churn_segment': 'high'}
    """
    return {kind: identifier, "_update_existing_only": not create_unknown_users, **values}


def batches(objects: Sequence[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Objects in order, at most ``size`` to a request.

    >>> [len(b) for b in batches([{}] * 5, 2)]
    [2, 2, 1]
    """
    for start in range(0, len(objects), size):
        yield list(objects[start : start + size])


def body(batch: Sequence[dict[str, Any]]) -> bytes:
    """A request body: compact UTF-8 JSON; NaN raises ValueError, since it isn't JSON."""
    text = json.dumps({"attributes": list(batch)}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()
