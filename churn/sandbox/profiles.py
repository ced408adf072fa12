"""One profile, with the rules for its identifiers, fields, events and triggers."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from churn.sandbox import nested, phones
from churn.sandbox.dates import as_datetime
from churn.sandbox.values import ADD_OR_REMOVE, JsonObject, type_of

# Exactly one of these identifies a user; without one, an e-mail or a phone number does.
PRIMARY = ("external_id", "user_alias", "braze_id")
SECONDARY = ("email", "phone")
# Keys of an attributes object that control how it is written.
CONTROL = {*PRIMARY, "_update_existing_only", "_merge_objects", "push_token_import"}
# Keys of an attributes object that are fields of the profile.
FIELDS = {
    "alias_name",
    "alias_label",
    "country",
    "current_location",
    "date_of_first_session",
    "date_of_last_session",
    "dob",
    "email",
    "email_subscribe",
    "email_open_tracking_disabled",
    "email_click_tracking_disabled",
    "facebook",
    "first_name",
    "gender",
    "home_city",
    "image_url",
    "language",
    "last_name",
    "marked_email_as_spam_at",
    "phone",
    "push_subscribe",
    "push_tokens",
    "subscription_groups",
    "time_zone",
    "twitter",
}
NOT_CUSTOM = FIELDS | CONTROL

# Kind and text of an identifier.
Key = tuple[str, str]


class Sent(NamedTuple):
    """One object of a request, with its array and its position in it."""

    array: str
    position: int
    item: Any

    @property
    def place(self) -> tuple[str, int]:
        """Array and position, by which an answer identifies the object."""
        return self.array, self.position


@dataclass
class History:
    """The first and last time, and the number, of one event or product."""

    first: datetime | None = None
    last: datetime | None = None
    count: int = 0

    def add(
        self,
        time: str | None,
        now: float,
        times: int,
    ) -> None:
        """Count an event. Events are never de-duplicated; a future time becomes now."""
        self.count += times
        at = as_datetime(time) if time else None
        if at is None:
            return
        at = min(at, datetime.fromtimestamp(now, at.tzinfo))
        self.first = min(self.first or at, at)
        self.last = max(self.last or at, at)


@dataclass
class Profile:
    """One user: identifiers, fields, custom attributes, events and purchases."""

    identifiers: dict[str, str]
    fields: JsonObject = field(default_factory=dict)
    attributes: JsonObject = field(default_factory=dict)
    events: dict[str, History] = field(default_factory=dict)
    purchases: dict[str, History] = field(default_factory=dict)
    # The number of the last write to this profile.
    updated: int = 0

    @property
    def braze_id(self) -> str:
        """Braze's own id: the one the profile is known by, or else a digest."""
        if given := self.identifiers.get("braze_id"):
            return given
        text = "\0".join(f"{kind}\0{value}" for kind, value in self.identifiers.items())
        # JSON can hold half a surrogate pair, which plain UTF-8 can't.
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, digest_size=12).hexdigest()


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
    """The requests of one ``group_id``, for the status endpoint."""

    at: float
    received: int = 0
    done: int = 0
    finished: float = 0.0


def identity(item: JsonObject) -> Key:
    """The identifier that a valid object is looked up by.

    An alias is label:name; a telephone number has the one form that Braze keeps.
    """
    alias = item.get("user_alias")
    if isinstance(alias, dict):
        return "user_alias", f"{alias['alias_label']}:{alias['alias_name']}"
    kind = next(name for name in (*PRIMARY, *SECONDARY) if item.get(name))
    return kind, in_one_form(kind, str(item[kind]))


def in_one_form(kind: str, value: str) -> str:
    """An identifier as Braze keeps it: only telephone numbers are written anew."""
    if kind == "phone":
        return phones.in_one_form(value) or value
    return value


def updates_only(item: JsonObject, kind: str) -> bool:
    """Whether a write to an unknown user is dropped rather than creating a profile.

    The object's ``_update_existing_only`` decides; it is true by default for an alias.
    Braze's own id never creates a profile.
    """
    if kind == "braze_id":
        return True
    given = item.get("_update_existing_only")
    return given if isinstance(given, bool) else kind == "user_alias"


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
    # In Python True == 1, which are different values here.
    if old == new and isinstance(old, bool) == isinstance(new, bool):
        return False, "same value"
    return True, ""


def lost_updates(objects: list[Sent]) -> dict[str, str]:
    """Attributes with one bad nested value in a request, and what is wrong with it.

    All nested updates of such an attribute in the same request are lost.
    """
    lost: dict[str, str] = {}
    for sent in objects:
        if sent.array != "attributes":
            continue
        for name, value in sent.item.items():
            if name in NOT_CUSTOM or not isinstance(value, list | dict):
                continue
            fault = None if _is_flat(value) else nested.fault_of(value)
            if fault:
                lost[name] = fault
    return lost


def _is_flat(value: list[Any] | JsonObject) -> bool:
    """Whether it is an array of scalars, or an update to such an array or a number."""
    if isinstance(value, dict) and value:
        return set(value) <= ADD_OR_REMOVE | {"inc"}
    return type_of(value) == "array"
