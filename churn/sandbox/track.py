"""The answers of the endpoints that write data, track, bulk and sync, without HTTP."""

import random
from typing import Any

from churn.sandbox import messages, objects, rules
from churn.sandbox.faults import PARTIAL
from churn.sandbox.messages import Answer
from churn.sandbox.options import SYNC, TRACK
from churn.sandbox.profiles import History, Profile, Sent, identity
from churn.sandbox.state import State
from churn.sandbox.values import JsonObject

REPEATED_USER = "one user in several objects of a request: Braze doesn't say which wins"


def track(
    state: State,
    body: Any,
    endpoint: str = TRACK,
    nth: int = 1,
    fault: str | None = None,
) -> Answer:
    """Accept the valid objects of a body, and answer with the faults of the others.

    ``nth`` is the number of the request. If ``fault`` is one of ``PARTIAL``, one valid
    object, drawn from the seed, is refused as well.
    """
    if refusal := rules.refusal(body, endpoint, state.options):
        return refusal
    accepted: list[Sent] = []
    faults: dict[tuple[str, int], str] = {}
    for sent in rules.objects_of(body):
        found = objects.fault_of(sent.array, sent.item, state.options)
        if found:
            faults[sent.place] = found
        else:
            accepted.append(sent)
    if fault in PARTIAL and accepted:
        drawn = random.Random(f"{state.options.seed}:{nth}:refused").choice(accepted)
        faults[drawn.place] = messages.INJECTED
        accepted.remove(drawn)
    form = PARTIAL.get(fault or "", state.options.error_form)
    errors = {"errors": messages.error_entries(faults, form)} if faults else {}
    if not accepted:
        return 400, {"message": messages.NOTHING_VALID, **errors}
    return 201, {**_taken(state, body, accepted, endpoint), **errors}


def _taken(
    state: State, body: JsonObject, accepted: list[Sent], endpoint: str
) -> JsonObject:
    _count(state, accepted)
    if endpoint == SYNC:
        reached = state.apply_all(accepted)
        users = [_result(profile, accepted[0]) for profile in reached]
        return {"users": users, "message": "success"}
    group = body.get("group_id", "") if state.options.status_endpoint else ""
    state.accept(accepted, group)
    answer: JsonObject = {"message": "success"}
    for array in rules.ARRAYS:
        if body.get(array):
            n_processed = sum(sent.array == array for sent in accepted)
            answer[f"{array}_processed"] = n_processed
    return answer


def _count(state: State, accepted: list[Sent]) -> None:
    items = [sent.item for sent in accepted if sent.array == "attributes"]
    for item in items:
        state.count_points(item)
    if len({identity(item) for item in items}) < len(items):
        state.warnings[REPEATED_USER] += 1


def _result(profile: Profile, sent: Sent) -> JsonObject:
    """The answer of /sync: the values that the object's profile holds now."""
    kind, _ = identity(sent.item)
    user = {kind: sent.item[kind]}
    if sent.array == "attributes":
        held = {k: v for k, v in profile.attributes.items() if k in sent.item}
        return {**user, "custom_attributes": held}
    if sent.array == "events":
        name = sent.item["name"]
        entry = history_entry("name", name, profile.events[name])
        return {**user, "custom_events": [entry]}
    product = sent.item["product_id"]
    entry = history_entry("product_id", product, profile.purchases[product])
    return {**user, "purchase_events": [entry]}


def history_entry(
    label: str,
    name: str,
    history: History,
) -> JsonObject:
    """The history of one event or product, in the form that sync and export return."""
    return {
        label: name,
        "first": history.first,
        "last": history.last,
        "count": history.count,
    }
