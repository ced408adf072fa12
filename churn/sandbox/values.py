"""The stored values of written attributes, by Braze's rules for types and limits.

The functions know neither profiles nor HTTP. A value that Braze acknowledges and does
not store is a NotTakenError.
"""

import json
import re
from datetime import datetime
from typing import Any

from churn.sandbox.dates import as_datetime
from churn.sandbox.options import Options

# A parsed object of JSON.
JsonObject = dict[str, Any]
# The keys of an update to an array of scalars.
ADD_OR_REMOVE = {"add", "remove"}
TRUE = {"1", "true", "t"}
FALSE = {"0", "false", "f"}
# The names under which Braze lists the types of values.
TYPES = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    datetime: "datetime",
    dict: "object",
}


class NotTakenError(ValueError):
    """A value that Braze acknowledges and does not store; the text says why."""


def type_of(value: Any) -> str:
    """The name under which Braze lists the type of a value.

    >>> [type_of(value) for value in (True, 1.5, "a", [1], [{"a": 1}], {})]
    ['boolean', 'number', 'string', 'array', 'objects', 'object']
    """
    if isinstance(value, list):
        return "objects" if value and isinstance(value[0], dict) else "array"
    return TYPES[type(value)]


def shown(value: Any) -> str:
    """A stored value as text; datetimes in the form of Braze's exports."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, str):
        return value
    return json.dumps(
        value,
        default=shown,
        ensure_ascii=False,
    )


def scalar(
    value: Any,
    options: Options,
    forced: str | None,
) -> Any:
    """The stored value of a boolean, number or text.

    ``forced`` is the type that the attribute was given by hand in Braze's dashboard.
    """
    if forced:
        value = _coerced(value, forced)
    if not isinstance(value, str):
        return in_range(value)
    if len(value) > options.max_text:
        if options.long_text == "drop":
            raise NotTakenError(f"text over {options.max_text} characters")
        return value[: options.max_text]
    if forced == "string":
        return value
    return as_datetime(value) or value


def _coerced(value: Any, forced: str) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    if forced == "string":
        return text
    if forced == "boolean" and text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    if forced == "number" and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text) if "." in text else int(text)
    if forced == "datetime" and as_datetime(text):
        return text
    raise NotTakenError(f"{type_of(value)} can't be made the forced {forced}")


def in_range(value: Any) -> Any:
    """The value itself; whole numbers must fit in 64 bits."""
    if isinstance(value, int) and abs(value) >= 2**63:
        raise NotTakenError("a whole number of more than 64 bits")
    return value


def array(items: list[Any], options: Options) -> list[Any]:
    """The scalars of an array, without duplicates.

    A repeated item keeps its last place; if there are too many items, the first are
    dropped.
    """
    if any(isinstance(item, list | dict) or item is None for item in items):
        raise NotTakenError("arrays hold scalars only")
    # In Python True == 1, which are different items here.
    unique = {(isinstance(item, bool), item): item for item in reversed(items)}
    ordered = list(unique.values())[::-1]
    return ordered[-options.array_limit :]


def fitting(value: Any, options: Options) -> Any:
    """The value itself; arrays and objects have a largest size as JSON."""
    size = len(json.dumps(value, default=shown).encode())
    if size > options.max_nested_bytes:
        raise NotTakenError(f"over {options.max_nested_bytes // 1024} KB")
    return value
