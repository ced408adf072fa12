"""An audience as a marketer builds it: attribute, operator, value; and what Braze's
filters do that surprises.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from churn.sandbox.profiles import Profile
from churn.sandbox.state import State
from churn.sandbox.values import shown, type_of

OPERATORS = (
    "is",
    "is not",
    "is any of",
    "more than",
    "less than",
    "is blank",
    "is not blank",
)
MAX_ANY_OF = 256
Test = Callable[[Any], bool]  # of the value held, None for none


class Filter(NamedTuple):
    """One row of an audience; rows are joined by AND."""

    name: str
    operator: str = "is"
    value: str = ""


def kind_of(state: State, name: str) -> str | None:
    """The type of an attribute; None where nobody ever held it."""
    held = (
        type_of(p.attributes[name])
        for p in state.profiles.values()
        if name in p.attributes
    )
    return (
        state.options.forced_types.get(name)
        or state.types.get(name)
        or next(held, None)
    )


def matching(state: State, filters: list[Filter]) -> list[Profile]:
    """The profiles that pass every filter."""
    tests = [(f.name, _test(kind_of(state, f.name), f)) for f in filters]
    return [
        p
        for p in state.profiles.values()
        if all(test(p.attributes.get(name)) for name, test in tests)
    ]


def number(text: str) -> float | None:
    """The number a text holds, None where it holds none."""
    try:
        return float(text)
    except ValueError:
        return None


def _test(kind: str | None, f: Filter) -> Test:
    if f.operator in ("is blank", "is not blank"):
        return lambda held: (held is None) == (f.operator == "is blank")
    if f.operator in ("more than", "less than"):
        return _compared(kind, f.operator, number(f.value))
    if kind not in ("number", "string", "boolean", "array"):
        return lambda held: False
    if f.operator == "is any of":
        return lambda held: any(_equal(kind, held, text) for text in _listed(f))
    if f.operator == "is":
        return lambda held: _equal(kind, held, f.value)
    return lambda held: not _equal(kind, held, f.value, loosely=True)


def _listed(f: Filter) -> list[str]:
    return [text.strip() for text in f.value.split(",")]


def _compared(kind: str | None, operator: str, limit: float | None) -> Test:
    if kind != "number" or limit is None:
        return lambda held: False
    if operator == "more than":
        return lambda held: isinstance(held, int | float) and held > limit
    return lambda held: held is None or (isinstance(held, int | float) and held < limit)


def _equal(kind: str, held: Any, text: str, loosely: bool = False) -> bool:
    """EQUALS on text heeds letter case, DOES NOT EQUAL doesn't; exactly 0 also finds
    those without a number.
    """
    if kind == "number":
        return number(text) == (held if held is not None else 0.0)
    if kind == "array":
        return text in map(shown, held or ())
    if kind == "boolean" or loosely:
        return held is not None and shown(held).casefold() == text.casefold()
    return bool(held == text)


def notes(state: State, f: Filter) -> list[str]:
    """What to know about this filter, beside its result."""
    kind, blank = (
        kind_of(state, f.name),
        sum(f.name not in p.attributes for p in state.profiles.values()),
    )
    if f.operator in ("is blank", "is not blank"):
        return []
    if kind is None:
        return [f"No profile has ever held {f.name}. Names are case-sensitive."]
    told = {"datetime": _on_datetime, "number": _on_number, "string": _on_text}.get(
        kind, _on_others
    )
    return told(state, f, kind, blank)


def _on_datetime(state: State, f: Filter, kind: str, blank: int) -> list[str]:
    return [
        f"{f.name} holds datetimes: its values looked like dates, and Braze turned them into such. Filters on text or "
        "numbers find nobody. Use labels that don't look like a date, and a new attribute name."
    ]


def _on_number(state: State, f: Filter, kind: str, blank: int) -> list[str]:
    if f.operator != "is any of" and number(f.value) is None:
        return [f"{f.name} is a number: give a number to compare with."]
    if f.operator == "less than" or (
        f.operator in ("is", "is any of") and any(number(v) == 0 for v in _listed(f))
    ):
        return [
            f"This row lets in all {blank:,} profiles without any {f.name}: Braze's “less than” and “exactly 0” match "
            "them. Add a row “is not blank” to leave them out."
        ]
    return _on_others(state, f, kind, blank)


def _on_text(state: State, f: Filter, kind: str, blank: int) -> list[str]:
    if f.operator in ("more than", "less than"):
        return [
            f"{f.name} is text: it is never more or less than anything, so this finds nobody."
        ]
    if f.operator == "is not":
        return [
            "“Is not” ignores letter case, unlike “is”. Spaces count.",
            *_on_others(state, f, kind, blank),
        ]
    wanted = {
        text.casefold() for text in ([f.value] if f.operator == "is" else _listed(f))
    }
    held = (p.attributes.get(f.name) for p in state.profiles.values())
    missed = sum(
        isinstance(v, str)
        and v.casefold() in wanted
        and v not in (f.value, *_listed(f))
        for v in held
    )
    near = f" Not found for holding it in other letters: {missed:,}." if missed else ""
    many = (
        [f"“Is any of” takes up to {MAX_ANY_OF} values."]
        if len(_listed(f)) > MAX_ANY_OF
        else []
    )
    return [
        f"“{f.operator.capitalize()}” on text is case-sensitive, and spaces count.{near}",
        *many,
    ]


def _on_others(state: State, f: Filter, kind: str, blank: int) -> list[str]:
    if kind in ("object", "objects"):
        return [
            f"{f.name} is nested: in Braze this needs a nested filter, which this page doesn't have."
        ]
    if f.operator == "is not" and blank:
        return [
            f"Counts those without a value too ({blank:,} here); Braze's documents don't say whether it does."
        ]
    if kind == "boolean" and f.operator == "is" and f.value.casefold() == "false":
        return [
            f"{blank:,} profiles have no value; for those Braze offers the filter “false or not set”."
        ]
    return []
