"""Why Braze refuses one object of a request: identifiers, reserved fields, events and
purchases.

A fault is a name that Braze's documents list, or else a sentence; see messages.py.
"""

import re
from collections.abc import Callable
from typing import Any

from churn.sandbox import phones
from churn.sandbox.dates import as_datetime
from churn.sandbox.messages import (
    BAD_ALIAS,
    BAD_PHONE,
    MAX_ALIAS_BYTES,
    MAX_EXTERNAL_ID_BYTES,
    NO_IDENTIFIER,
    SEVERAL,
)
from churn.sandbox.options import Options
from churn.sandbox.profiles import PRIMARY, SECONDARY
from churn.sandbox.values import JsonObject

MAX_PRODUCT = 255
MAX_QUANTITY = 100
SUBSCRIPTION_STATES = ("subscribed", "unsubscribed", "opted_in")


def fault_of(
    array: str,
    item: Any,
    options: Options,
) -> str | None:
    """Why one object is refused; None where it is accepted."""
    if not isinstance(item, dict):
        return f"elements of '{array}' must be objects"
    if fault := identifier_fault(item):
        return fault
    external_id = item.get("external_id")
    if options.spam_blocked and external_id in options.spam_blocked:
        return "BLACKLISTED_EXTERNAL_USER_ID"
    if array == "events":
        return _event_fault(item)
    if array == "purchases":
        return _purchase_fault(item)
    return _attributes_fault(item)


def identifier_fault(item: Any) -> str | None:
    """What is wrong with an object's identifiers; null and empty count as not given."""
    if not isinstance(item, dict):
        return NO_IDENTIFIER
    given = [
        name for name in (*PRIMARY, *SECONDARY) if item.get(name) not in (None, "")
    ]
    if not given:
        return NO_IDENTIFIER
    if sum(name in PRIMARY for name in given) > 1:
        return SEVERAL
    for name in given:
        if name != "user_alias" and not isinstance(item[name], str):
            return f"'{name}' must be a string"
    if "phone" in given and phones.in_one_form(item["phone"]) is None:
        return BAD_PHONE
    if "external_id" in given and n_bytes(item["external_id"]) > MAX_EXTERNAL_ID_BYTES:
        return "EXTERNAL_USER_ID_TOO_LARGE"
    return _alias_fault(item["user_alias"]) if "user_alias" in given else None


def n_bytes(text: str) -> int:
    """The size of a text in UTF-8; JSON can hold half a surrogate pair."""
    return len(text.encode("utf-8", "surrogatepass"))


def _alias_fault(alias: Any) -> str | None:
    if not isinstance(alias, dict):
        return BAD_ALIAS
    for name in ("alias_name", "alias_label"):
        part = alias.get(name)
        if not isinstance(part, str) or not 0 < n_bytes(part) <= MAX_ALIAS_BYTES:
            return BAD_ALIAS
    return None


def _event_fault(item: JsonObject) -> str | None:
    if not item.get("name") or not isinstance(item["name"], str):
        return "'name' is required"
    reserved = {"time", "event_name"} & set(item.get("properties") or {})
    if reserved:
        return f"'{min(reserved)}' is no valid property name"
    return _time_fault(item)


def _time_fault(item: JsonObject) -> str | None:
    time = item.get("time")
    if isinstance(time, str) and as_datetime(time):
        return None
    return "'time' is required, in ISO 8601"


def _purchase_fault(item: JsonObject) -> str | None:
    product = item.get("product_id")
    if not isinstance(product, str) or not 0 < len(product) <= MAX_PRODUCT:
        return "'product_id' is not valid"
    currency = item.get("currency")
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        return "'currency' is not valid"
    price = item.get("price")
    if isinstance(price, bool) or not isinstance(price, int | float):
        return "'price' is not valid"
    quantity = item.get("quantity", 1)
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        return "'quantity' is not valid"
    return _time_fault(item)


def _attributes_fault(item: JsonObject) -> str | None:
    has_id = item.get("external_id") or item.get("braze_id")
    if item.get("push_token_import") is True and has_id:
        return "BAD_PUSH_TOKEN_IMPORT"
    for name in sorted(FIELD_FAULTS.keys() & item.keys()):
        if item[name] is None:
            continue
        if fault := FIELD_FAULTS[name](item[name]):
            return fault
    return None


def _email_subscribe_fault(state: Any) -> str | None:
    return None if state in SUBSCRIPTION_STATES else "BAD_EMAIL_SUBSCRIPTION_STATE"


def _push_subscribe_fault(state: Any) -> str | None:
    return None if state in SUBSCRIPTION_STATES else "BAD_PUSH_SUBSCRIPTION_STATE"


def _location_fault(place: Any) -> str | None:
    if isinstance(place, dict) and {"longitude", "latitude"} <= set(place):
        return None
    return "BAD_LOCATION_UPDATE"


def _email_fault(email: Any) -> str | None:
    if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(email)):
        return None
    return "EMAIL_BAD_FORMAT"


def _push_tokens_fault(tokens: Any) -> str | None:
    if not isinstance(tokens, list) or not all(isinstance(t, dict) for t in tokens):
        return "BAD_PUSH_TOKEN_VALUE"
    if not all(token.get("app_id") for token in tokens):
        return "BAD_PUSH_TOKEN_APP_ID"
    if not all(token.get("token") for token in tokens):
        return "BAD_PUSH_TOKEN_STRING"
    devices = [str(token["device_id"]) for token in tokens if "device_id" in token]
    if not all(8 <= n_bytes(device) <= 255 for device in devices):
        return "BAD_DEVICE_ID"
    return None


def _subscription_groups_fault(groups: Any) -> str | None:
    if not isinstance(groups, list):
        return "BAD_SUBSCRIPTION_GROUP_ARRAY"
    if not all(isinstance(group, dict) for group in groups):
        return "BAD_SUBSCRIPTION_GROUP_HASH"
    if not all(group.get("subscription_group_id") for group in groups):
        return "BAD_SUBSCRIPTION_GROUP_ID"
    states = [group.get("subscription_state") for group in groups]
    if not all(state in ("subscribed", "unsubscribed") for state in states):
        return "BAD_SUBSCRIPTION_GROUP_STATE"
    return None


def _email_subscription_info_fault(value: Any) -> str | None:
    return "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO"


# The checks of reserved fields in an attributes object. Null removes a field and is
# not checked.
FIELD_FAULTS: dict[str, Callable[[Any], str | None]] = {
    "email_subscribe": _email_subscribe_fault,
    "push_subscribe": _push_subscribe_fault,
    "current_location": _location_fault,
    "email": _email_fault,
    "push_tokens": _push_tokens_fault,
    "subscription_groups": _subscription_groups_fault,
    "email_subscription_info": _email_subscription_info_fault,
}
