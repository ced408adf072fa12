"""Parameters of notebooks: which there are, and their values from text.

The command line states every value as text, and a notebook states dates and times as
text, since papermill's parameters are plain literals.
"""

import ast
import difflib
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import nbformat

from churn.errors import CutoffError, InputError, ParameterError

SWITCHES = {"true": True, "false": False}
"""Values of a parameter that is a bool, as text."""


def of_notebook(notebook: Path) -> dict[str, dict[str, Any]]:
    """A notebook's parameters by name, with what its parameters cell states.

    That is papermill's inferred_type_name, default (source text) and help.
    """
    import papermill

    with warnings.catch_warnings():
        # papermill warns about a notebook without a parameters cell.
        warnings.simplefilter("ignore")
        return dict(papermill.inspect_notebook(str(notebook)))


def in_effect(executed: Path) -> list[dict[str, str]]:
    """Every parameter of an executed notebook: name, value, how (given or default), help.

    In the order of the parameters cell. A notebook without such a cell has those that
    it was given.
    """
    node = nbformat.read(executed, as_version=4)
    given = node.metadata.get("papermill", {}).get("parameters", {})
    tags = [tag for cell in node.cells for tag in cell.metadata.get("tags", [])]
    known = of_notebook(executed) if "parameters" in tags else {}
    rows = []
    for name in dict.fromkeys([*known, *given]):
        is_given = name in given
        stated = known.get(name, {})
        row = {
            "name": name,
            "value": repr(given[name]) if is_given else stated["default"],
            "how": "given" if is_given else "default",
            "help": stated.get("help", ""),
        }
        rows.append(row)
    return rows


def check_names(notebook: Path, given: Sequence[str]) -> None:
    """Raise ParameterError for a name that the notebook doesn't have.

    Papermill itself only warns.
    """
    known = list(of_notebook(notebook))
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"it has {', '.join(known)}"
            if close:
                hint = f"did you mean {close[0]}?"
            raise ParameterError(f"{notebook.name} has no parameter {name!r}; {hint}")


def parse_assignments(notebook: Path, assignments: Sequence[str]) -> dict[str, Any]:
    """``name=value`` texts as values of the types that the parameters cell states.

    Raises ParameterError for an unknown name, a text without ``=``, and a value that
    isn't of the parameter's type.
    """
    texts = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ParameterError(f"-p {assignment!r} must be written name=value")
        texts[name] = text
    check_names(notebook, list(texts))
    known = of_notebook(notebook)
    return {
        name: _value(name, text, known[name]["inferred_type_name"])
        for name, text in texts.items()
    }


def _value(
    name: str,
    text: str,
    kind: str,
) -> Any:
    """One value by its annotation; of a kind not listed here it stays text."""
    parsers: dict[str, Callable[[str], Any]] = {
        "bool": lambda text: SWITCHES[text.lower()],
        "int": int,
        "float": float,
        "list": _list,
    }
    try:
        return parsers.get(kind, str)(text)
    except (ValueError, KeyError, SyntaxError):
        raise ParameterError(f"{name}={text!r} is no {kind}") from None


def _list(text: str) -> list[Any]:
    """A list from a literal such as ['a', 'b'] or from a,b."""
    if text.startswith("["):
        return list(ast.literal_eval(text))
    return [value for value in text.split(",") if value]


def parse_cutoff(text: str) -> date | None:
    """A cutoff from a date like 2026-03-01; null if the text is empty.

    Raises CutoffError for any other text.
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise CutoffError(
            f"{text!r} is no cutoff; write a date like 2026-03-01"
        ) from None


def parse_now(text: str) -> datetime | None:
    """The present from an ISO date or time; null if the text is empty.

    A time without a zone is in UTC. Raises InputError for any other text.
    """
    try:
        stated = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise InputError(f"{text!r} is no time; write a date like 2026-03-01") from None
    if stated is None:
        return None
    if stated.tzinfo is None:
        return stated.replace(tzinfo=UTC)
    return stated.astimezone(UTC)
