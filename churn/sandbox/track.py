"""The answers of the endpoints to parsed bodies, without any HTTP: track, bulk, sync,
export and status.
"""

import random
from datetime import UTC, datetime
from typing import Any

from churn.sandbox import rules, values
from churn.sandbox.faults import PARTIAL
from churn.sandbox.options import SYNC, TRACK
from churn.sandbox.profiles import Object, Profile, identity
from churn.sandbox.rules import Answer
from churn.sandbox.state import State

MAX_EXPORTED = 50
INJECTED = "refused by the sandbox, as its faults say"


def track(
    state: State,
    body: Any,
    endpoint: str = TRACK,
    nth: int = 1,
    fault: str | None = None,
) -> Answer:
    """Status and answer to one body; what is valid is taken, the rest told. ``fault``
    may refuse one object more.
    """
    if refusal := rules.malformed(body, endpoint, state.options):
        return refusal
    objects = rules.objects_of(body)
    found = {
        (array, i): rules.fault_of(array, item, state.options)
        for array, i, item in objects
    }
    faults = {place: f for place, f in found.items() if f}
    good = [o for o in objects if o[:2] not in faults]
    form = PARTIAL.get(fault or "", state.options.error_form)
    if fault in PARTIAL and good:
        chosen = random.Random(f"{state.options.seed}:{nth}:refused").choice(good)
        faults[chosen[:2]] = INJECTED
        good.remove(chosen)
    errors = {"errors": rules.told(faults, form)} if faults else {}
    if not good:
        return 400, {"message": rules.NOTHING_VALID, **errors}
    return 201, {**_taken(state, body, good, endpoint), **errors}


def _taken(
    state: State, body: dict[str, Any], good: list[Object], endpoint: str
) -> dict[str, Any]:
    _book(state, good)
    if endpoint == SYNC:
        return {
            "users": [_result(p, *good[0]) for p in state.apply_all(good)],
            "message": "success",
        }
    state.accept(
        good,
        body["group_id"]
        if state.options.status_endpoint and "group_id" in body
        else "",
    )
    sent = [name for name in rules.ARRAYS if body.get(name)]
    return {
        "message": "success",
        **{f"{name}_processed": sum(o[0] == name for o in good) for name in sent},
    }


def _book(state: State, good: list[Object]) -> None:
    items = [item for array, _, item in good if array == "attributes"]
    for item in items:
        state.count_points(item)
    if len({identity(item) for item in items}) < len(items):
        state.warnings[
            "one user in several objects of a request: Braze doesn't say which wins"
        ] += 1


def _result(
    profile: Profile, array: str, i: int, item: dict[str, Any]
) -> dict[str, Any]:
    kind, _ = identity(item)
    who = {kind: item[kind]}
    if array == "attributes":
        held = {k: v for k, v in profile.attributes.items() if k in item}
        return {**who, "custom_attributes": held}
    book, name = (
        (profile.events, "name")
        if array == "events"
        else (profile.purchases, "product_id")
    )
    key = "custom_events" if array == "events" else "purchase_events"
    return {**who, key: _history({item[name]: book[item[name]]}, name)}


def _history(book: dict[str, list[Any]], name: str) -> list[dict[str, Any]]:
    return [
        {name: what, "first": first, "last": last, "count": n}
        for what, (first, last, n) in book.items()
    ]


def export(state: State, body: Any) -> Answer:
    """POST /users/export/ids: profiles as they stand now, without what still waits."""
    asked = _asked(body) if isinstance(body, dict) else None
    if not asked or len(asked) > MAX_EXPORTED:
        return 400, {
            "message": f"1 to {MAX_EXPORTED} user identifiers must be provided"
        }
    found = [(key, state.find(*key)) for key in asked]
    wanted = body.get("fields_to_export")
    users = {id(p): _exported(p, wanted) for _, p in found if p}
    unknown = [who for (kind, who), p in found if p is None and kind == "external_id"]
    return 201, {
        "message": "success",
        "users": list(users.values()),
        **({"invalid_user_ids": unknown} if unknown else {}),
    }


def _asked(body: dict[str, Any]) -> list[tuple[str, str]]:
    ids, aliases = body.get("external_ids"), body.get("user_aliases")
    keys = [("external_id", str(who)) for who in ids] if isinstance(ids, list) else []
    for alias in aliases if isinstance(aliases, list) else []:
        keys += (
            []
            if rules.identifier_fault({"user_alias": alias})
            else [identity({"user_alias": alias})]
        )
    single = {
        "braze_id": "braze_id",
        "device_id": "device_id",
        "email_address": "email",
        "phone": "phone",
    }
    return keys + [
        (kind, str(body[name])) for name, kind in single.items() if body.get(name)
    ]


def _exported(profile: Profile, wanted: Any) -> dict[str, Any]:
    label, _, name = profile.identifiers.get("user_alias", "").partition(":")
    everything = {
        "external_id": profile.identifiers.get("external_id"),
        "braze_id": profile.braze_id,
        "user_aliases": [{"alias_name": name, "alias_label": label}] if label else [],
        "custom_attributes": profile.attributes,
        "custom_events": _history(profile.events, "name"),
        "purchases": _history(profile.purchases, "name"),
        **profile.fields,
    }
    return {
        k: v
        for k, v in everything.items()
        if v and (not isinstance(wanted, list) or k in wanted)
    }


def status(state: State, group: str) -> Answer:
    """GET /users/track/status: how many requests of a group are done; refused objects
    count as done.
    """
    if not state.options.status_endpoint:
        return 403, {"message": "API request status is not enabled for this app group."}
    if not rules.valid_group(group):
        return 400, {"message": "Invalid group_id"}
    found = state.groups.get(group)
    if not found or state.options.clock() - found.at > state.options.group_seconds:
        return 200, {"results": []}
    left = found.received - found.done
    result = {
        "group_id": group,
        "status": "processing" if left else "completed",
        "received": found.received,
        "done": found.done,
        "processing": left,
        "final_completion_time": None
        if left
        else values.shown(datetime.fromtimestamp(found.finished, UTC)),
    }
    return 200, {"results": [result]}


def told(state: State) -> dict[str, Any]:
    """All that a sandbox knows, for /__sandbox__/state."""
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
        "profiles": [
            {**p.identifiers, **p.fields, "custom_attributes": p.attributes}
            for p in state.profiles.values()
        ],
    }
