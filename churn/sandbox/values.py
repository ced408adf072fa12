"""What a sent value becomes: types, dates, arrays, nested objects, and what each write
costs. No state, no HTTP.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from churn.sandbox.options import Options

ZONE = r"(?P<z>Z|[+-]\d\d:?\d\d)"
DATES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<y>\d{{4}})-(?P<m>\d\d)-(?P<d>\d\d)(?:[T ](?P<t>\d\d:\d\d(?::\d\d)?)(?:[.:](?P<f>\d{{1,6}}))? ?{ZONE}?)?",
        r"(?P<m>\d\d?)[/-](?P<d>\d\d?)[/-](?P<y>\d{4})",
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<m>\d\d) (?P<d>\d\d) (?P<t>\d\d:\d\d:\d\d)\.{ZONE} (?P<y>\d{{4}})",
    )
)
LAST_YEAR = 3000
ADD, REMOVE = {"add", "remove"}, {"$add", "$remove", "$update"}
TRUE, FALSE = {"1", "true", "t"}, {"0", "false", "f"}


class NotTakenError(ValueError):
    """A value that Braze acknowledges and does not take; the text says why."""


def as_datetime(text: str) -> datetime | None:
    """The datetime that Braze makes of a text that looks like one; midnight UTC where
    no time is given.

    >>> as_datetime("12/1/2021"), as_datetime("high"), as_datetime("4000-01-01")
    (datetime.datetime(2021, 12, 1, 0, 0, tzinfo=datetime.timezone.utc), None, None)
    """
    if not (text[:1].isdigit() or text[3:4] == " "):
        return None
    found = next((m for m in (date.fullmatch(text) for date in DATES) if m), None)
    return _built({**dict.fromkeys("tfz"), **found.groupdict()}) if found else None


def _built(part: dict[str, str | None]) -> datetime | None:
    time = f"{part['t'] or '00:00'}" + (":00" if len(part["t"] or "00:00") == 5 else "")
    text = f"{part['y']}-{part['m']:0>2}-{part['d']:0>2}T{time}.{part['f'] or '0':0<6}{part['z'] or 'Z'}"
    try:
        found = datetime.fromisoformat(text).astimezone(UTC)
    except (
        ValueError,
        OverflowError,
    ):  # a month 13, or the first day of year 1 in the east
        return None
    return found if found.year <= LAST_YEAR else None


def type_of(value: Any) -> str:
    """The name under which Braze lists a value's type.

    >>> [type_of(v) for v in (True, 1.5, "a", [1], [{"a": 1}], {})]
    ['boolean', 'number', 'string', 'array', 'objects', 'object']
    """
    if isinstance(value, list):
        return "objects" if value and isinstance(value[0], dict) else "array"
    names = {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        datetime: "datetime",
        dict: "object",
    }
    return names[type(value)]


def shown(value: Any) -> str:
    """A stored value as text; datetimes as Braze exports them."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        value
        if isinstance(value, str)
        else json.dumps(value, default=shown, ensure_ascii=False)
    )


def points(value: Any) -> int:
    """Data points of one write, changed or not: 1 for a scalar, null or whole array; 1
    for each nested key or addition.

    >>> [points(v) for v in (None, ["a", "b"], {"add": ["a", "b"]}, {"a": 1, "b": {"c": 2}}, {"inc": 1})]
    [1, 1, 2, 2, 0]
    """
    if not isinstance(value, list | dict):
        return 1
    if isinstance(value, dict) and value:
        if set(value) == {"inc"}:  # described as not counting
            return 0
        if set(value) <= ADD:
            added = value.get("add")
            return (len(added) if isinstance(added, list) else 0) + ("remove" in value)
    return max(1, _leaves(value)) if type_of(value) != "array" else 1


def _leaves(value: Any) -> int:
    """Keys that hold no further keys, those that only steer an update aside."""
    left, n = [value], 0
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += [v for v in node if isinstance(v, dict)]
        elif isinstance(node, dict):
            for key, inner in node.items():
                nested = isinstance(inner, dict) or (
                    isinstance(inner, list) and type_of(inner) == "objects"
                )
                left += [inner] if nested and key != "$time" else []
                n += not nested and not key.startswith("$identifier")
    return n


def nested_fault(value: Any) -> str | None:
    """Why a nested value is not taken: null, a bad key or a bad date somewhere inside;
    None where all is well.
    """
    left = [value]
    while left:
        node = left.pop()
        if node is None:
            return "null inside a nested value"
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            fault = _keys_fault(node)
            if fault:
                return fault
            left += node.values()
    return None


def _keys_fault(node: dict[str, Any]) -> str | None:
    if set(node) == {"$time"}:
        return (
            None
            if isinstance(node["$time"], str) and as_datetime(node["$time"])
            else "bad $time in a nested value"
        )
    operators = REMOVE | {"$identifier_key", "$identifier_value", "$new_object"}
    bad = any(
        k not in operators and (len(k) > 255 or not k or set(k) & set(" .$"))
        for k in node
    )
    return "bad key in a nested value" if bad else None


def stored(
    value: Any,
    old: Any,
    options: Options,
    forced: str | None = None,
    merge: bool = False,
) -> Any:
    """What a profile holds after a write to an attribute that held ``old``;
    NotTakenError where nothing changes.
    """
    if isinstance(value, dict):
        return _from_object(value, old, options, merge)
    if isinstance(value, list):
        return _fitting(
            _objects(value) if type_of(value) == "objects" else _array(value, options),
            options,
        )
    if forced:
        value = _coerced(value, forced)
    if not isinstance(value, str):
        return _in_range(value)
    if len(value) > options.max_text:
        if options.long_text == "drop":
            raise NotTakenError(f"text over {options.max_text} characters")
        return value[: options.max_text]
    return (None if forced == "string" else as_datetime(value)) or value


def _coerced(value: Any, forced: str) -> Any:
    text = json.dumps(value) if not isinstance(value, str) else value
    if forced == "string":
        return text
    if forced == "boolean" and text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    if forced == "number" and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text) if "." in text else int(text)
    if forced == "datetime" and as_datetime(text):
        return text
    raise NotTakenError(f"{type_of(value)} can't be made the forced {forced}")


def _array(items: list[Any], options: Options) -> list[Any]:
    """Unique, a repeated item at its last place; on overflow the oldest go."""
    if any(isinstance(v, list | dict) or v is None for v in items):
        raise NotTakenError("arrays hold scalars only")
    unique = {(isinstance(v, bool), v): v for v in reversed(items)}
    return list(unique.values())[::-1][-options.array_limit :]


def _objects(items: list[Any]) -> list[Any]:
    if not all(isinstance(v, dict) for v in items):
        raise NotTakenError("objects and scalars in one array")
    return [_dated(v) for v in items]


def _fitting(value: Any, options: Options) -> Any:
    if len(json.dumps(value, default=shown).encode()) > options.max_nested_bytes:
        raise NotTakenError(f"over {options.max_nested_bytes // 1024} KB")
    return value


def _from_object(value: dict[str, Any], old: Any, options: Options, merge: bool) -> Any:
    for keys, make in OPERATORS:
        if value and set(value) <= keys:
            return _fitting(make(value, old, options, merge), options)
    new = _dated(value)
    return _fitting(
        _merged(old, new) if merge and isinstance(old, dict) else new, options
    )


def _incremented(value: dict[str, Any], old: Any, options: Options, merge: bool) -> int:
    by, start = value["inc"], 0 if old is None else old
    if type(by) is not int or type(start) is not int:
        raise NotTakenError("only whole numbers can be incremented")
    return int(_in_range(start + by))


def _in_range(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= 2**63:
        raise NotTakenError("a whole number of more than 64 bits")
    return value


def _scalars_changed(
    value: dict[str, Any], old: Any, options: Options, merge: bool
) -> list[Any]:
    add, remove = value.get("add", []), value.get("remove", [])
    if not all(isinstance(v, list) for v in (add, remove, old or [])):
        raise NotTakenError("add and remove need arrays")
    gone = {(isinstance(v, bool), v) for v in _array(remove, options)}
    return _array(
        [v for v in [*(old or []), *add] if (isinstance(v, bool), v) not in gone],
        options,
    )


def _objects_changed(
    value: dict[str, Any], old: Any, options: Options, merge: bool
) -> list[Any]:
    """In one request Braze adds, removes and then updates, in whatever order they are
    written.
    """
    steps = [value.get(name, []) for name in ("$add", "$remove", "$update")]
    if not all(
        isinstance(s, list) and all(isinstance(v, dict) for v in s)
        for s in (*steps, old or [])
    ):
        raise NotTakenError("$add, $remove and $update need arrays of objects")
    items = [*(old or []), *_objects(steps[0])]
    items = [item for item in items if not any(_meant(step, item) for step in steps[1])]
    return [_updated(item, steps[2], merge) for item in items]


def _meant(step: dict[str, Any], item: dict[str, Any]) -> bool:
    key = step.get("$identifier_key")
    return key in item and item[key] == step.get("$identifier_value")


def _updated(
    item: dict[str, Any], steps: list[dict[str, Any]], merge: bool
) -> dict[str, Any]:
    for step in steps:
        new = step.get("$new_object")
        if isinstance(new, dict) and _meant(step, item):
            item = _merged(item, _dated(new)) if merge else _dated(new)
    return item


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    deep = {
        k: _merged(old[k], v)
        for k, v in new.items()
        if isinstance(v, dict) and isinstance(old.get(k), dict)
    }
    return {**old, **new, **deep}


def _dated(value: Any) -> Any:
    """The same with every {"$time": …} made a datetime."""
    if isinstance(value, list):
        return [_dated(v) for v in value]
    if not isinstance(value, dict):
        return value
    return (
        as_datetime(value["$time"])
        if set(value) == {"$time"}
        else {k: _dated(v) for k, v in value.items()}
    )


OPERATORS: tuple[
    tuple[set[str], Callable[[dict[str, Any], Any, Options, bool], Any]], ...
] = (
    ({"inc"}, _incremented),
    (ADD, _scalars_changed),
    (REMOVE, _objects_changed),
)
