"""The answers to reads: export by identifier, status of a group, and the sandbox's own
state. Nothing here knows HTTP.
"""

from datetime import UTC, datetime
from typing import Any

from churn.sandbox import objects, rules, values
from churn.sandbox.messages import NO_STATUS, Answer
from churn.sandbox.profiles import History, Key, Profile, identity
from churn.sandbox.state import State
from churn.sandbox.track import history_entry
from churn.sandbox.values import JsonObject

MAX_EXPORTED = 50
# Keys of an export's body that hold one identifier, and the kind of it.
SINGLE_IDENTIFIERS = {
    "braze_id": "braze_id",
    "device_id": "device_id",
    "email_address": "email",
    "phone": "phone",
}


def export(state: State, body: Any) -> Answer:
    """POST /users/export/ids: the profiles as they are now, without pending writes."""
    keys = _keys(body) if isinstance(body, dict) else []
    if not 0 < len(keys) <= MAX_EXPORTED:
        message = f"1 to {MAX_EXPORTED} user identifiers must be provided"
        return 400, {"message": message}
    users: dict[int, JsonObject] = {}
    unknown = []
    for kind, value in keys:
        profile = state.find(kind, value)
        if profile:
            users[id(profile)] = _exported(profile, body.get("fields_to_export"))
        elif kind == "external_id":
            unknown.append(value)
    answer = {"message": "success", "users": list(users.values())}
    if unknown:
        answer["invalid_user_ids"] = unknown
    return 201, answer


def _keys(body: JsonObject) -> list[Key]:
    keys: list[Key] = []
    external_ids = body.get("external_ids")
    if isinstance(external_ids, list):
        keys += [("external_id", str(value)) for value in external_ids]
    aliases = body.get("user_aliases")
    for alias in aliases if isinstance(aliases, list) else []:
        item = {"user_alias": alias}
        if not objects.identifier_fault(item):
            keys.append(identity(item))
    for name, kind in SINGLE_IDENTIFIERS.items():
        if body.get(name):
            keys.append((kind, str(body[name])))
    return keys


def _exported(profile: Profile, wanted: Any) -> JsonObject:
    """The requested fields of a profile that aren't empty."""
    label, _, name = profile.identifiers.get("user_alias", "").partition(":")
    everything = {
        "external_id": profile.identifiers.get("external_id"),
        "braze_id": profile.braze_id,
        "user_aliases": [{"alias_name": name, "alias_label": label}] if label else [],
        "custom_attributes": profile.attributes,
        "custom_events": _history(profile.events),
        "purchases": _history(profile.purchases),
        **profile.fields,
    }
    return {
        name: value
        for name, value in everything.items()
        if value and (not isinstance(wanted, list) or name in wanted)
    }


def _history(histories: dict[str, History]) -> list[JsonObject]:
    return [history_entry("name", name, entry) for name, entry in histories.items()]


def status(state: State, group_id: str) -> Answer:
    """GET /users/track/status: how many requests of a group are done.

    The counts are of requests: one whose objects were all refused is done as well.
    """
    if not state.options.status_endpoint:
        return 403, {"message": NO_STATUS}
    if not rules.is_group_id(group_id):
        return 400, {"message": "Invalid group_id"}
    group = state.groups.get(group_id)
    if not group or state.options.clock() - group.at > state.options.group_seconds:
        return 200, {"results": []}
    n_left = group.received - group.done
    finished = values.shown(datetime.fromtimestamp(group.finished, UTC))
    result = {
        "group_id": group_id,
        "status": "processing" if n_left else "completed",
        "received": group.received,
        "done": group.done,
        "processing": n_left,
        "final_completion_time": None if n_left else finished,
    }
    return 200, {"results": [result]}


def state_as_json(state: State) -> JsonObject:
    """The whole state of a sandbox, for /__sandbox__/state."""
    return {
        "note": "a local stand-in, not Braze",
        "n_requests": state.n_requests,
        "n_refused": state.n_refused,
        "n_data_points": state.n_data_points,
        "n_created": state.n_created,
        "n_waiting": len(state.waiting),
        "silent": state.silent,
        "warnings": state.warnings,
        "faults": state.faults,
        "user_agents": state.user_agents,
        "types": state.types,
        "data_points": state.points_by_attribute(),
        "data_points_by_run": state.points,
        "changes": [change._asdict() for change in state.changes],
        "profiles": [_profile(profile) for profile in state.profiles.values()],
    }


def _profile(profile: Profile) -> JsonObject:
    attributes = {"custom_attributes": profile.attributes}
    return {
        **profile.identifiers,
        **profile.fields,
        **attributes,
    }
