"""What one profile is and what a write does to it: identifiers, fields, triggers,
spoilt nested values, histories.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from churn.sandbox import values

PRIMARY = ("external_id", "user_alias", "braze_id")
SECONDARY = ("email", "phone")
CONTROL = {*PRIMARY, "_update_existing_only", "_merge_objects", "push_token_import"}
FIELDS = set(
    "alias_name alias_label country current_location date_of_first_session date_of_last_session dob email "
    "email_subscribe email_open_tracking_disabled email_click_tracking_disabled facebook first_name gender home_city "
    "image_url language last_name marked_email_as_spam_at phone push_subscribe push_tokens subscription_groups "
    "time_zone twitter".split()
)
NOT_CUSTOM = FIELDS | CONTROL
Key = tuple[str, str]
Object = tuple[str, int, Any]  # array, place in it, what was sent


@dataclass
class Profile:
    """One user: identifiers, standard fields, custom attributes; first, last and count
    of events and purchases.
    """

    identifiers: dict[str, str]
    fields: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    events: dict[str, list[Any]] = field(default_factory=dict)
    purchases: dict[str, list[Any]] = field(default_factory=dict)
    updated: int = 0

    @property
    def braze_id(self) -> str:
        """The id Braze would have given: the one it is known by, else a digest."""
        known = "\0".join(f"{k}\0{v}" for k, v in self.identifiers.items()).encode(
            "utf-8", "surrogatepass"
        )
        return (
            self.identifiers.get("braze_id")
            or hashlib.blake2b(known, digest_size=12).hexdigest()
        )


class Change(NamedTuple):
    """One write to an attribute, and whether an "attribute changed" trigger would have
    fired.
    """

    at: float
    who: str
    name: str
    old: Any
    new: Any
    fired: bool
    why: str


@dataclass
class Group:
    """Requests that named one ``group_id``, for the status endpoint."""

    at: float
    received: int = 0
    done: int = 0
    finished: float = 0.0


def identity(item: dict[str, Any]) -> Key:
    """Kind and text of the identifier that a valid object is looked up by; an alias is
    label:name.
    """
    if isinstance(alias := item.get("user_alias"), dict):
        return "user_alias", f"{alias['alias_label']}:{alias['alias_name']}"
    kind = next(name for name in (*PRIMARY, *SECONDARY) if item.get(name))
    return kind, str(item[kind])


def updates_only(item: dict[str, Any], kind: str) -> bool:
    """Whether an unknown user stays unknown: never created by Braze's own id, by alias
    only on demand.
    """
    said = item.get("_update_existing_only")
    return kind == "braze_id" or (
        said if isinstance(said, bool) else kind == "user_alias"
    )


def trigger(old: Any, new: Any) -> tuple[bool, str]:
    """Whether an "attribute changed" trigger fires, and why not.

    >>> trigger("low", "high"), trigger("high", "high"), trigger("high", None)
    ((True, ''), (False, 'same value'), (False, 'removed'))
    """
    if new is None:
        return False, "removed"
    if isinstance(new, list | dict):
        return False, "arrays and objects have no trigger"
    if isinstance(new, float):
        return False, "no trigger is documented for decimals"
    same = old == new and isinstance(old, bool) == isinstance(new, bool)
    return not same, "same value" if same else ""


def spoilt_in(objects: list[Object]) -> dict[str, str]:
    """Attributes of which one nested value is bad: all nested updates to them in the
    request are lost.
    """
    return {
        name: fault
        for array, _, item in objects
        if array == "attributes"
        for name, value in item.items()
        if isinstance(value, list | dict)
        and name not in NOT_CUSTOM
        and (fault := _nested(value))
    }


def _nested(value: Any) -> str | None:
    scalars = values.ADD | {"inc"}
    plain = (
        set(value) <= scalars
        if isinstance(value, dict) and value
        else values.type_of(value) == "array"
    )
    return None if plain else values.nested_fault(value)


def happened(
    book: dict[str, list[Any]], name: str, time: Any, now: float, times: int
) -> None:
    """Events are never de-duplicated; times to come become now."""
    at = values.as_datetime(time)
    at = min(at, datetime.fromtimestamp(now, at.tzinfo)) if at else None
    first, last, n = book.get(name, [at, at, 0])
    book[name] = [
        min(filter(None, (first, at)), default=None),
        max(filter(None, (last, at)), default=None),
        n + times,
    ]
