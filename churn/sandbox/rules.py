"""What /users/track does with attributes, without any HTTP: identifiers, update-only, partial errors, removal."""

from dataclasses import dataclass, field
from typing import Any

PRIMARY = ("external_id", "user_alias", "braze_id")
SECONDARY = ("email", "phone")
CONTROL = {*PRIMARY, "_update_existing_only", "_merge_objects", "push_token_import"}
FIELDS = set(
    "alias_name alias_label country current_location date_of_first_session date_of_last_session dob email "
    "email_subscribe email_open_tracking_disabled email_click_tracking_disabled facebook first_name gender home_city "
    "image_url language last_name marked_email_as_spam_at phone push_subscribe push_tokens subscription_groups "
    "time_zone twitter".split()
)
DROPPED = {"bio"}
MAX_OBJECTS = 75
MAX_EXTERNAL_ID_BYTES = 987
MAX_TEXT = 255


@dataclass
class Profile:
    """One user: identifiers, standard profile fields, custom attributes."""

    identifiers: dict[str, str]
    fields: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class State:
    """All that a sandbox knows. ``silent`` lists what was acknowledged and yet did nothing."""

    profiles: dict[tuple[str, str], Profile] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    n_requests: int = 0
    n_refused: int = 0
    n_data_points: int = 0
    n_created: int = 0

    def add_users(self, external_ids: list[str]) -> None:
        """Make profiles known, as if the app's SDK had."""
        for who in external_ids:
            self.profiles.setdefault(("external_id", who), Profile({"external_id": who}))

    def attribute_values(self, name: str) -> dict[str, int]:
        """How many profiles hold each value of an attribute."""
        counts: dict[str, int] = {}
        for profile in self.profiles.values():
            if name in profile.attributes:
                value = str(profile.attributes[name])
                counts[value] = counts.get(value, 0) + 1
        return dict(sorted(counts.items()))

    def as_json(self) -> dict[str, Any]:
        """Counts and every profile's attributes."""
        return {
            "n_requests": self.n_requests,
            "n_refused": self.n_refused,
            "n_data_points": self.n_data_points,
            "n_created": self.n_created,
            "silent": self.silent,
            "profiles": [{**p.identifiers, "custom_attributes": p.attributes} for p in self.profiles.values()],
        }


def track(state: State, body: Any) -> tuple[int, dict[str, Any]]:
    """Status and answer to one parsed body; applies what is valid, in index order."""
    if not isinstance(body, dict):
        return 400, {"message": "Bad Request", "error": "Error while parsing request body. Please check your syntax."}
    arrays = {name: body.get(name, []) for name in ("attributes", "events", "purchases")}
    if not all(isinstance(a, list) for a in arrays.values()):
        return 400, {"message": "Bad Request", "error": "attributes, events and purchases must be arrays"}
    if sum(len(a) for a in arrays.values()) > MAX_OBJECTS:
        return 400, {"message": "Max Input Length Exceeded"}
    return _apply_all(state, arrays["attributes"])


def _apply_all(state: State, objects: list[Any]) -> tuple[int, dict[str, Any]]:
    faults = [(i, fault) for i, fault in enumerate(map(_fault, objects)) if fault]
    errors = [{"type": fault, "input_array": "attributes", "index": i} for i, fault in faults]
    refused = {i for i, _ in faults}
    if len(refused) == len(objects):
        message = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
        return 400, {"message": message, **({"errors": errors} if errors else {})}
    for i, item in enumerate(objects):
        if i not in refused:
            _apply(state, item)
    answer = {"message": "success", "attributes_processed": len(objects) - len(refused)}
    return 201, {**answer, "errors": errors} if errors else answer


def _fault(item: Any) -> str | None:
    if not isinstance(item, dict):
        return "attributes must be objects"
    primary = [name for name in PRIMARY if item.get(name) is not None]
    if len(primary) > 1:
        return "You must specify only one of 'external_id', 'user_alias' or 'braze_id'"
    if not primary and not any(item.get(name) for name in SECONDARY):
        return "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
    if len(str(item.get("external_id") or "x").encode()) > MAX_EXTERNAL_ID_BYTES:
        return "'external_id' must be fewer than 988 bytes"
    return _alias_fault(item.get("user_alias"))


def _alias_fault(alias: Any) -> str | None:
    named = isinstance(alias, dict) and alias.get("alias_name") and alias.get("alias_label")
    return None if alias is None or named else "'user_alias' must have a non-empty alias_name and alias_label"


def _identity(item: dict[str, Any]) -> tuple[str, str]:
    alias = item.get("user_alias")
    if isinstance(alias, dict):
        return "user_alias", f"{alias['alias_label']}:{alias['alias_name']}"
    kind = next(name for name in (*PRIMARY, *SECONDARY) if item.get(name))
    return kind, str(item[kind])


def _apply(state: State, item: dict[str, Any]) -> None:
    kind, who = _identity(item)
    update_only = item.get("_update_existing_only", kind == "user_alias") or kind == "braze_id"
    values = {k: v for k, v in item.items() if k not in CONTROL and k not in DROPPED and not k.startswith("$")}
    # Points are counted per write, changed or not, for removals too, and even where nobody is there to be changed.
    state.n_data_points += sum(name not in FIELDS for name in values)
    profile = _find(state, kind, who)
    if profile is None and update_only:
        state.silent.append("unknown user, update only")
        return
    if profile is None:
        profile = state.profiles[kind, who] = Profile({kind: who})
        state.n_created += 1
    for name, value in values.items():
        _set(state, profile, name, value)


def _find(state: State, kind: str, who: str) -> Profile | None:
    if (kind, who) in state.profiles or kind in PRIMARY:
        return state.profiles.get((kind, who))
    return next((p for p in state.profiles.values() if p.fields.get(kind) == who), None)


def _set(state: State, profile: Profile, name: str, value: Any) -> None:
    if name in FIELDS:
        profile.fields[name] = value
    elif value is None:
        profile.attributes.pop(name, None)
    elif isinstance(value, str) and len(value) > MAX_TEXT:
        state.silent.append(f"{name}: text over {MAX_TEXT} characters")
    else:
        profile.attributes[name] = value
