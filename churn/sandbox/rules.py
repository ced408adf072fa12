"""Which requests Braze refuses as a whole: bodies that aren't arrays of objects, and
too many objects.
"""

import re
from collections import Counter
from typing import Any

from churn.sandbox.messages import TOO_MANY, UNKNOWN_SYNTAX, Answer
from churn.sandbox.objects import identifier_fault
from churn.sandbox.options import BULK, SYNC, Options
from churn.sandbox.profiles import Sent, identity
from churn.sandbox.values import JsonObject

ARRAYS = ("attributes", "events", "purchases")
# Objects per request by count mode.
MAX_OBJECTS = {
    "combined75": 75,
    "per_array75": 75,
    "combined50": 50,
    "combined5": 5,
}


def refusal(
    body: Any,
    endpoint: str,
    options: Options,
) -> Answer | None:
    """The 400 to a body that is refused before its objects are checked, or None."""
    if not isinstance(body, dict):
        return bad_request(UNKNOWN_SYNTAX)
    for name in ARRAYS:
        if not isinstance(body.get(name, []), list):
            return bad_request(f"'{name}' must be an array")
    has_group = options.status_endpoint and "group_id" in body
    if has_group and not is_group_id(body["group_id"]):
        return 400, {"message": "Invalid group_id"}
    if _too_many(body, endpoint, options):
        return 400, {"message": TOO_MANY}
    return None


def bad_request(error: str) -> Answer:
    """A 400 that says what is wrong with the body."""
    return 400, {"message": "Bad Request", "error": error}


def is_group_id(value: Any) -> bool:
    """Whether a ``group_id`` is 1 to 128 letters, digits and ``._~-``."""
    if not isinstance(value, str):
        return False
    return re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", value) is not None


def objects_of(body: JsonObject) -> list[Sent]:
    """All objects of a body, in the order in which Braze applies them."""
    return [
        Sent(array, position, item)
        for array in ARRAYS
        for position, item in enumerate(body.get(array, ()))
    ]


def _too_many(
    body: JsonObject,
    endpoint: str,
    options: Options,
) -> bool:
    sizes = [len(body.get(name, ())) for name in ARRAYS]
    if endpoint == SYNC:
        return sum(sizes) > 1
    if endpoint == BULK:
        if sum(sizes) > options.bulk_objects:
            return True
        return _most_for_one_user(body) > options.bulk_objects_per_user
    counted = max(sizes) if options.count_mode == "per_array75" else sum(sizes)
    return counted > MAX_OBJECTS[options.count_mode]


def _most_for_one_user(body: JsonObject) -> int:
    valid = [sent.item for sent in objects_of(body) if not identifier_fault(sent.item)]
    counts = Counter(identity(item) for item in valid)
    return max(counts.values(), default=0)
