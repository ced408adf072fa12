"""Which requests and objects Braze refuses: counts, arrays, identifiers, reserved
fields; and how it says so.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from churn.sandbox import values
from churn.sandbox.options import BULK, SYNC, Options
from churn.sandbox.profiles import PRIMARY, SECONDARY, Object, identity

ARRAYS = ("attributes", "events", "purchases")
COUNTED = {"combined75": 75, "per_array75": 75, "combined50": 50, "combined5": 5}
MAX_EXTERNAL_ID_BYTES, MAX_ALIAS_BYTES, MAX_PRODUCT, MAX_QUANTITY = 987, 236, 255, 100
NO_IDENTIFIER = (
    "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
)
SEVERAL = "You must specify only one of 'external_id', 'user_alias' or 'braze_id'"
BAD_ALIAS = f"'user_alias' must have an alias_name and an alias_label of 1 to {MAX_ALIAS_BYTES} bytes"
UNKNOWN_SYNTAX = "Error while parsing request body. Please check your syntax."
NOTHING_VALID = (
    "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
)
TOO_MANY = "Max Input Length Exceeded"
STATES = "must be 'subscribed', 'unsubscribed', or 'opted_in'"
# The sentence that Braze answers for each name that its documents list; other errors
# have a sentence only.
SENTENCES = {
    "BAD_DEVICE_ID": "'device_id' of a push token must have 8 to 255 bytes",
    "BAD_EMAIL_SUBSCRIPTION_STATE": f"'email_subscribe' {STATES}",
    "BAD_LOCATION_UPDATE": "'current_location' must have a longitude and a latitude",
    "BAD_PUSH_SUBSCRIPTION_STATE": f"'push_subscribe' {STATES}",
    "BAD_PUSH_TOKEN_APP_ID": "every push token must have an app_id",
    "BAD_PUSH_TOKEN_IMPORT": "'push_token_import' must not come with 'external_id' or 'braze_id'",
    "BAD_PUSH_TOKEN_STRING": "every push token must have a token",
    "BAD_PUSH_TOKEN_VALUE": "'push_tokens' must be an array of objects",
    "BAD_SUBSCRIPTION_GROUP_ARRAY": "'subscription_groups' must be an array",
    "BAD_SUBSCRIPTION_GROUP_HASH": "every subscription group must be an object",
    "BAD_SUBSCRIPTION_GROUP_ID": "every subscription group must have a subscription_group_id",
    "BAD_SUBSCRIPTION_GROUP_STATE": "the state of a subscription group must be 'subscribed' or 'unsubscribed'",
    "BLACKLISTED_EXTERNAL_USER_ID": "provided external_id is blacklisted and disallowed",
    "EMAIL_BAD_FORMAT": "The value provided for the 'email' field is not a valid email.",
    "EXTERNAL_USER_ID_TOO_LARGE": f"'external_id' must be fewer than {MAX_EXTERNAL_ID_BYTES + 1} bytes",
    "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO": "'email_subscription_info' is reserved",
}
Answer = tuple[int, dict[str, Any]]


def malformed(body: Any, endpoint: str, options: Options) -> Answer | None:
    """The 400 to a body that is refused whole, before any object is looked at."""
    if not isinstance(body, dict):
        return 400, {"message": "Bad Request", "error": UNKNOWN_SYNTAX}
    for name in ARRAYS:
        if not isinstance(body.get(name, []), list):
            return 400, {
                "message": "Bad Request",
                "error": f"'{name}' must be an array",
            }
    if (
        options.status_endpoint
        and "group_id" in body
        and not valid_group(body["group_id"])
    ):
        return 400, {"message": "Invalid group_id"}
    return (400, {"message": TOO_MANY}) if _too_many(body, endpoint, options) else None


def valid_group(group: Any) -> bool:
    """1 to 128 letters, digits and ._~-."""
    return isinstance(group, str) and bool(
        re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", group)
    )


def _too_many(body: dict[str, Any], endpoint: str, options: Options) -> bool:
    sizes = [len(body.get(name, ())) for name in ARRAYS]
    if endpoint == SYNC:
        return sum(sizes) > 1
    if endpoint == BULK:
        return (
            sum(sizes) > options.bulk_objects
            or _for_one_user(body) > options.bulk_objects_per_user
        )
    most = max(sizes) if options.count_mode == "per_array75" else sum(sizes)
    return most > COUNTED[options.count_mode]


def _for_one_user(body: dict[str, Any]) -> int:
    users = Counter(
        identity(item) for _, _, item in objects_of(body) if not identifier_fault(item)
    )
    return max(users.values(), default=0)


def objects_of(body: dict[str, Any]) -> list[Object]:
    """Every object with its array and its place in it, in the order Braze begins
    them.
    """
    return [
        (name, i, item) for name in ARRAYS for i, item in enumerate(body.get(name, ()))
    ]


def told(faults: Mapping[tuple[str, int], str], form: str) -> list[Any]:
    """The ``errors`` of an answer, in one of the forms seen: with place, as listed
    names, without place, bare text.
    """
    texts = {
        place: fault if form == "enum" else SENTENCES.get(fault, fault)
        for place, fault in faults.items()
    }
    if form == "strings":
        return list(texts.values())
    if form == "no_index":
        return [{"type": text} for text in texts.values()]
    return [
        {"type": text, "input_array": array, "index": i}
        for (array, i), text in texts.items()
    ]


def fault_of(array: str, item: Any, options: Options) -> str | None:
    """Why one object is refused: a listed name or a sentence; None where it is
    accepted.
    """
    if not isinstance(item, dict):
        return f"elements of '{array}' must be objects"
    if fault := identifier_fault(item):
        return fault
    if options.spam_blocked and item.get("external_id") in options.spam_blocked:
        return "BLACKLISTED_EXTERNAL_USER_ID"
    if array != "attributes":
        return _event_fault(item) if array == "events" else _purchase_fault(item)
    if item.get("push_token_import") is True and (
        item.get("external_id") or item.get("braze_id")
    ):
        return "BAD_PUSH_TOKEN_IMPORT"
    checked = CHECKS.keys() & item.keys()
    return next(
        (
            f
            for name in sorted(checked)
            if item[name] is not None and (f := CHECKS[name](item[name]))
        ),
        None,
    )


def identifier_fault(item: Any) -> str | None:
    """What is wrong with an object's identifiers; null and empty ones count as none."""
    if not isinstance(item, dict):
        return NO_IDENTIFIER
    given = [
        name for name in (*PRIMARY, *SECONDARY) if item.get(name) not in (None, "")
    ]
    n_primary = sum(name in PRIMARY for name in given)
    if n_primary > 1:
        return SEVERAL
    if not given:
        return NO_IDENTIFIER
    for name in given:
        if name != "user_alias" and not isinstance(item[name], str):
            return f"'{name}' must be a string"
    if "external_id" in given and _size(item["external_id"]) > MAX_EXTERNAL_ID_BYTES:
        return "EXTERNAL_USER_ID_TOO_LARGE"
    return _alias_fault(item["user_alias"]) if "user_alias" in given else None


def _size(text: str) -> int:
    return len(
        text.encode("utf-8", "surrogatepass")
    )  # JSON can hold half a surrogate pair


def _alias_fault(alias: Any) -> str | None:
    parts = (
        [alias.get(name) for name in ("alias_name", "alias_label")]
        if isinstance(alias, dict)
        else [None]
    )
    good = all(
        isinstance(part, str) and 0 < _size(part) <= MAX_ALIAS_BYTES for part in parts
    )
    return None if good else BAD_ALIAS


def _event_fault(item: dict[str, Any]) -> str | None:
    if not item.get("name") or not isinstance(item["name"], str):
        return "'name' is required"
    reserved = {"time", "event_name"} & set(item.get("properties") or {})
    return (
        f"'{sorted(reserved)[0]}' is no valid property name"
        if reserved
        else _time_fault(item)
    )


def _time_fault(item: dict[str, Any]) -> str | None:
    known = isinstance(item.get("time"), str) and values.as_datetime(item["time"])
    return None if known else "'time' is required, in ISO 8601"


def _purchase_fault(item: dict[str, Any]) -> str | None:
    product, currency, quantity = (
        item.get("product_id"),
        item.get("currency"),
        item.get("quantity", 1),
    )
    if not isinstance(product, str) or not 0 < len(product) <= MAX_PRODUCT:
        return "'product_id' is not valid"
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        return "'currency' is not valid"
    if isinstance(item.get("price"), bool) or not isinstance(
        item.get("price"), int | float
    ):
        return "'price' is not valid"
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        return "'quantity' is not valid"
    return _time_fault(item)


def _subscription(fault: str) -> Callable[[Any], str | None]:
    return lambda state: (
        None if state in ("subscribed", "unsubscribed", "opted_in") else fault
    )


def _location(place: Any) -> str | None:
    good = isinstance(place, dict) and {"longitude", "latitude"} <= set(place)
    return None if good else "BAD_LOCATION_UPDATE"


def _email(email: Any) -> str | None:
    return (
        None
        if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(email))
        else "EMAIL_BAD_FORMAT"
    )


def _tokens(tokens: Any) -> str | None:
    if not isinstance(tokens, list) or not all(isinstance(t, dict) for t in tokens):
        return "BAD_PUSH_TOKEN_VALUE"
    if not all(t.get("app_id") for t in tokens):
        return "BAD_PUSH_TOKEN_APP_ID"
    if not all(t.get("token") for t in tokens):
        return "BAD_PUSH_TOKEN_STRING"
    sizes = [_size(str(t["device_id"])) for t in tokens if "device_id" in t]
    return None if all(8 <= n <= 255 for n in sizes) else "BAD_DEVICE_ID"


def _groups(groups: Any) -> str | None:
    if not isinstance(groups, list):
        return "BAD_SUBSCRIPTION_GROUP_ARRAY"
    if not all(isinstance(g, dict) for g in groups):
        return "BAD_SUBSCRIPTION_GROUP_HASH"
    if not all(g.get("subscription_group_id") for g in groups):
        return "BAD_SUBSCRIPTION_GROUP_ID"
    states = {g.get("subscription_state") for g in groups}
    return (
        None
        if states <= {"subscribed", "unsubscribed"}
        else "BAD_SUBSCRIPTION_GROUP_STATE"
    )


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "email_subscribe": _subscription("BAD_EMAIL_SUBSCRIPTION_STATE"),
    "push_subscribe": _subscription("BAD_PUSH_SUBSCRIPTION_STATE"),
    "current_location": _location,
    "email": _email,
    "push_tokens": _tokens,
    "subscription_groups": _groups,
    "email_subscription_info": lambda _: "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO",
}
