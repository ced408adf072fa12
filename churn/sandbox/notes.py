"""Notes on surprising rules of Braze's filters, shown beside an audience's result."""

from churn.sandbox.audience import Filter, kind_of, number
from churn.sandbox.state import State

MAX_ANY_OF = 256


def notes_on(state: State, row: Filter) -> list[str]:
    """Notes that a marketer should read about this row; empty if there are none."""
    if row.operator in ("is blank", "is not blank"):
        return []
    kind = kind_of(state, row.name)
    if kind is None:
        return [f"No profile has ever held {row.name}. Names are case-sensitive."]
    if kind == "datetime":
        return [
            f"{row.name} holds datetimes: its values looked like dates, and Braze "
            "converted them. Filters on text or numbers match nobody. Use labels that "
            "don't look like a date, under a new attribute name."
        ]
    if kind == "number":
        return _on_number(state, row)
    if kind == "string":
        return _on_text(state, row)
    return _on_other_kind(state, row, kind)


def _on_number(state: State, row: Filter) -> list[str]:
    if row.operator != "is any of" and number(row.value) is None:
        return [f"{row.name} is a number: give a number to compare with."]
    if row.operator == "less than" or _looks_for_zero(row):
        n_blank = _n_blank(state, row.name)
        return [
            f"This row also matches all {n_blank:,} profiles without any {row.name}: "
            "Braze's “less than” and “exactly 0” include them. Add a row “is not "
            "blank” to leave them out."
        ]
    return _on_is_not(state, row)


def _looks_for_zero(row: Filter) -> bool:
    if row.operator not in ("is", "is any of"):
        return False
    return any(number(text) == 0 for text in row.listed)


def _on_text(state: State, row: Filter) -> list[str]:
    if row.operator in ("more than", "less than"):
        return [
            f"{row.name} is text, which is never more or less than anything: this row "
            "matches nobody."
        ]
    if row.operator == "is not":
        ignored = "“Is not” ignores letter case, unlike “is”. Spaces count."
        return [ignored, *_on_is_not(state, row)]
    wanted = [row.value] if row.operator == "is" else row.listed
    sensitive = (
        f"“{row.operator.capitalize()}” on text is case-sensitive, and spaces count."
    )
    n_missed = _n_in_other_case(state, row.name, wanted)
    if n_missed:
        sensitive += (
            f" {n_missed:,} not matched: the value differs in letter case only."
        )
    if len(wanted) > MAX_ANY_OF:
        return [sensitive, f"“Is any of” takes up to {MAX_ANY_OF} values."]
    return [sensitive]


def _n_in_other_case(
    state: State,
    name: str,
    wanted: list[str],
) -> int:
    folded = {text.casefold() for text in wanted}
    return sum(
        isinstance(held, str) and held not in wanted and held.casefold() in folded
        for held in state.values_of(name)
    )


def _on_other_kind(
    state: State,
    row: Filter,
    kind: str,
) -> list[str]:
    if kind in ("object", "objects"):
        return [
            f"{row.name} is nested: in Braze this needs a nested filter, which this "
            "page doesn't have."
        ]
    asks_for_false = row.operator == "is" and row.value.casefold() == "false"
    if kind == "boolean" and asks_for_false:
        return [
            f"{_n_blank(state, row.name):,} profiles have no value; to include them, "
            "Braze offers the filter “false or not set”."
        ]
    return _on_is_not(state, row)


def _on_is_not(state: State, row: Filter) -> list[str]:
    n_blank = _n_blank(state, row.name)
    if row.operator != "is not" or not n_blank:
        return []
    return [
        f"Profiles without a value are counted too ({n_blank:,} here); Braze's "
        "documents don't say whether they are."
    ]


def _n_blank(state: State, name: str) -> int:
    return len(state.profiles) - len(state.values_of(name))
