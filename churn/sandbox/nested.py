"""Nested values: objects, arrays of objects, and the updates that change a part of what
is stored: inc, add, remove, $add, $remove, $update.
"""

from collections.abc import Iterable
from typing import Any

from churn.sandbox.dates import as_datetime
from churn.sandbox.options import Options
from churn.sandbox.values import (
    ADD_OR_REMOVE,
    JsonObject,
    NotTakenError,
    array,
    fitting,
    in_range,
    type_of,
)

UPDATES = {"$add", "$remove", "$update"}
OPERATORS = UPDATES | {"$identifier_key", "$identifier_value", "$new_object"}
MAX_KEY = 255


def fault_of(value: Any) -> str | None:
    """Why a nested value is not stored: null, a bad key or a bad date inside it; None
    where nothing is wrong.
    """
    left = [value]
    while left:
        node = left.pop()
        if node is None:
            return "null inside a nested value"
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            if fault := _fault_of_keys(node):
                return fault
            left += node.values()
    return None


def _fault_of_keys(node: JsonObject) -> str | None:
    if set(node) == {"$time"}:
        time = node["$time"]
        if isinstance(time, str) and as_datetime(time):
            return None
        return "bad $time in a nested value"
    if all(key in OPERATORS or _is_key(key) for key in node):
        return None
    return "bad key in a nested value"


def _is_key(key: str) -> bool:
    return 0 < len(key) <= MAX_KEY and not set(key) & set(" .$")


def from_array(items: list[Any], options: Options) -> list[Any]:
    """The stored value of an array of scalars or of objects."""
    if type_of(items) == "objects":
        return list(fitting(_objects(items), options))
    return list(fitting(array(items, options), options))


def from_object(
    value: JsonObject,
    old: Any,
    options: Options,
    merge: bool,
) -> Any:
    """The stored value after writing an object or an update over ``old``.

    ``merge`` is the ``_merge_objects`` of the write: if true, nested keys that the
    object doesn't name stay; otherwise the object replaces the old one.
    """
    return fitting(_changed(value, old, options, merge), options)


def _changed(
    value: JsonObject,
    old: Any,
    options: Options,
    merge: bool,
) -> Any:
    keys = set(value)
    if keys == {"inc"}:
        return _incremented(value["inc"], old)
    if keys and keys <= ADD_OR_REMOVE:
        return _scalars_changed(value, old, options)
    if keys and keys <= UPDATES:
        return _objects_changed(value, old, merge)
    new = _dated(value)
    return _merged(old, new) if merge and isinstance(old, dict) else new


def _incremented(by: Any, old: Any) -> int:
    start = 0 if old is None else old
    if type(by) is not int or type(start) is not int:
        raise NotTakenError("only whole numbers can be incremented")
    return int(in_range(start + by))


def _scalars_changed(
    value: JsonObject,
    old: Any,
    options: Options,
) -> list[Any]:
    held = old or []
    added = value.get("add", [])
    removed = value.get("remove", [])
    if not all(isinstance(items, list) for items in (held, added, removed)):
        raise NotTakenError("add and remove need arrays")
    gone = {(isinstance(item, bool), item) for item in array(removed, options)}
    kept = [
        item for item in [*held, *added] if (isinstance(item, bool), item) not in gone
    ]
    return array(kept, options)


def _objects_changed(
    value: JsonObject,
    old: Any,
    merge: bool,
) -> list[Any]:
    """Braze adds, then removes, then updates, in whatever order they are written."""
    held = old or []
    added = value.get("$add", [])
    removed = value.get("$remove", [])
    updated = value.get("$update", [])
    if not all(_are_objects(items) for items in (held, added, removed, updated)):
        raise NotTakenError("$add, $remove and $update need arrays of objects")
    items = [*held, *_objects(added)]
    items = [item for item in items if not _any_selects(removed, item)]
    return [_updated(item, updated, merge) for item in items]


def _are_objects(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _any_selects(steps: Iterable[JsonObject], item: JsonObject) -> bool:
    return any(_selects(step, item) for step in steps)


def _selects(step: JsonObject, item: JsonObject) -> bool:
    key = step.get("$identifier_key")
    return key in item and item[key] == step.get("$identifier_value")


def _updated(
    item: JsonObject,
    steps: list[JsonObject],
    merge: bool,
) -> JsonObject:
    for step in steps:
        new = step.get("$new_object")
        if isinstance(new, dict) and _selects(step, item):
            new = _dated(new)
            item = _merged(item, new) if merge else new
    return item


def _merged(old: JsonObject, new: JsonObject) -> JsonObject:
    merged = {**old, **new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            merged[key] = _merged(before, value)
    return merged


def _objects(items: list[Any]) -> list[Any]:
    if not _are_objects(items):
        raise NotTakenError("objects and scalars in one array")
    return [_dated(item) for item in items]


def _dated(value: Any) -> Any:
    """The same value with every {"$time": …} made a datetime."""
    if isinstance(value, list):
        return [_dated(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$time"}:
        return as_datetime(value["$time"])
    return {key: _dated(inner) for key, inner in value.items()}
