"""The cost of a write in data points."""

from typing import Any

from churn.sandbox.values import ADD_OR_REMOVE, type_of


def cost(value: Any) -> int:
    """Data points of one write, whether or not the value changes.

    A scalar, null or a whole array costs 1. So does each key of a nested object, each
    item that is added to an array, and a removal of any number of items. An increment
    is free.

    >>> [cost(value) for value in (None, ["a", "b"], {"add": ["a", "b"]}, {"inc": 1})]
    [1, 1, 2, 0]
    >>> cost({"a": 1, "b": {"c": 2}})
    2
    """
    if isinstance(value, dict) and value:
        if set(value) == {"inc"}:
            return 0
        if set(value) <= ADD_OR_REMOVE:
            added = value.get("add")
            n_added = len(added) if isinstance(added, list) else 0
            return n_added + ("remove" in value)
    return max(1, _n_keys(value)) if _has_keys(value) else 1


def _n_keys(value: Any) -> int:
    """Number of leaf keys; keys that only select an object of an array don't count."""
    left = [value]
    n = 0
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += [item for item in node if isinstance(item, dict)]
            continue
        for key, inner in node.items():
            if _has_keys(inner):
                if key != "$time":
                    left.append(inner)
            elif not key.startswith("$identifier"):
                n += 1
    return n


def _has_keys(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and type_of(value) == "objects"
    )
