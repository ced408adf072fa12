"""An audience as a marketer builds it: rows of attribute, operator and value, joined by
AND, with Braze's rules for blanks, letter case and types.
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
# A test takes the value that a profile holds, None where it holds none.
Test = Callable[[Any], bool]


class Filter(NamedTuple):
    """One row of an audience."""

    name: str
    operator: str = "is"
    value: str = ""

    @property
    def listed(self) -> list[str]:
        """The values of "is any of", which are separated by commas."""
        return [text.strip() for text in self.value.split(",")]


def kind_of(state: State, name: str) -> str | None:
    """The type of an attribute; None where no profile has ever held it."""
    known = state.options.forced_types.get(name) or state.types.get(name)
    if known:
        return known
    held = state.values_of(name)
    return type_of(held[0]) if held else None


def matching(state: State, filters: list[Filter]) -> list[Profile]:
    """The profiles that pass every filter; all of them without a filter."""
    tests = [(row.name, _test(kind_of(state, row.name), row)) for row in filters]
    return [
        profile
        for profile in state.profiles.values()
        if all(test(profile.attributes.get(name)) for name, test in tests)
    ]


def number(text: str) -> float | None:
    """The number that a text holds, None where it holds none."""
    try:
        return float(text)
    except ValueError:
        return None


def _test(kind: str | None, row: Filter) -> Test:
    if row.operator == "is blank":
        return lambda held: held is None
    if row.operator == "is not blank":
        return lambda held: held is not None
    if row.operator in ("more than", "less than"):
        return _comparison(kind, row.operator, number(row.value))
    if kind not in ("number", "string", "boolean", "array"):
        return _never
    if row.operator == "is any of":
        return lambda held: any(_equal(kind, held, text) for text in row.listed)
    if row.operator == "is":
        return lambda held: _equal(kind, held, row.value)
    return lambda held: not _equal(kind, held, row.value, ignore_case=True)


def _never(held: Any) -> bool:
    return False


def _comparison(
    kind: str | None,
    operator: str,
    limit: float | None,
) -> Test:
    """Braze's "less than" also matches profiles without a value."""
    if kind != "number" or limit is None:
        return _never
    if operator == "more than":
        return lambda held: isinstance(held, int | float) and held > limit
    return lambda held: held is None or (isinstance(held, int | float) and held < limit)


def _equal(
    kind: str,
    held: Any,
    text: str,
    ignore_case: bool = False,
) -> bool:
    """Whether a profile's value equals a filter's text.

    A number of exactly 0 also matches profiles without a value. On text, Braze's
    EQUALS is case-sensitive and its DOES NOT EQUAL is not.
    """
    if kind == "number":
        return number(text) == (0.0 if held is None else held)
    if kind == "array":
        return text in map(shown, held or ())
    if kind == "boolean" or ignore_case:
        return held is not None and shown(held).casefold() == text.casefold()
    return bool(held == text)
