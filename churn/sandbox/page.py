"""The values that the sandbox's page shows. ``page.html`` has the markup and the style.

The page is one document that loads nothing else: no script, font or picture.
"""

import statistics
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.sandbox import audience, notes
from churn.sandbox.audience import Filter
from churn.sandbox.profiles import Change, Profile
from churn.sandbox.state import State
from churn.sandbox.values import shown

if TYPE_CHECKING:
    from jinja2 import Template

# The endings of the query parameters that hold the rows of the audience filter.
ROWS = ("", "2")
MAX_PROFILES = 100
MAX_COLUMNS = 6
MAX_CHANGES = 50
# An attribute with more distinct values than this is summarised, not listed.
MAX_VALUES = 12
BINS = 20


def render(state: State, query: Mapping[str, str]) -> str:
    """The page as HTML.

    ``attribute``, ``operator`` and ``value`` in the query are the first row of the
    audience filter, ``attribute2`` and so on the second. An unknown operator is read
    as "is". Everything inserted is escaped.
    """
    names = _attribute_names(state)
    return _template().render(
        figures=_figures(state),
        n_waiting=len(state.waiting),
        names=names,
        operators=audience.OPERATORS,
        audience=_audience(state, [_filter(query, row) for row in ROWS]),
        attributes=[_attribute(state, name) for name in names],
        triggers=_triggers(state),
        points=_points(state),
        counts=_counts(state),
    )


@cache
def _template() -> "Template":
    # Loaded here: a sandbox whose page nobody opens runs without Jinja2.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = "{:,}".format
    return environment.get_template("page.html")


def _attribute_names(state: State) -> list[str]:
    names = set(state.types)
    for profile in state.profiles.values():
        names.update(profile.attributes)
    return sorted(names)


def _filter(query: Mapping[str, str], row: str) -> Filter:
    operator = query.get(f"operator{row}", "is")
    if operator not in audience.OPERATORS:
        operator = "is"
    name = query.get(f"attribute{row}", "")
    return Filter(name, operator, query.get(f"value{row}", ""))


def _figures(state: State) -> dict[str, int]:
    return {
        "profiles": len(state.profiles),
        "profiles created": state.n_created,
        "requests": state.n_requests,
        "requests refused": state.n_refused,
        "data points": state.n_data_points,
        "without effect": len(state.silent),
    }


def _audience(state: State, filters: list[Filter]) -> dict[str, Any]:
    used = [row for row in filters if row.name]
    found = audience.matching(state, used)
    listed = found[:MAX_PROFILES]
    columns = _commonest_attributes(listed)
    return {
        "rows": list(zip(ROWS, filters, strict=True)),
        "n_found": len(found),
        "share": len(found) / len(state.profiles) if state.profiles else None,
        "notes": [note for row in used for note in notes.notes_on(state, row)],
        "columns": columns,
        "profiles": [_profile_row(profile, columns) for profile in listed],
    }


def _commonest_attributes(profiles: list[Profile]) -> list[str]:
    counts = Counter(name for profile in profiles for name in profile.attributes)
    return [name for name, _ in counts.most_common(MAX_COLUMNS)]


def _profile_row(profile: Profile, columns: list[str]) -> list[str | None]:
    identifiers = [
        value if kind == "external_id" else f"{kind} {value}"
        for kind, value in profile.identifiers.items()
    ]
    attributes = [_text_or_none(profile.attributes.get(name)) for name in columns]
    return [", ".join(identifiers), *attributes]


def _text_or_none(value: Any) -> str | None:
    return None if value is None else shown(value)


def _attribute(state: State, name: str) -> dict[str, Any]:
    held = state.values_of(name)
    kind = audience.kind_of(state, name) or ""
    counts = Counter(shown(value) for value in held)
    is_listed = len(counts) <= MAX_VALUES
    return {
        "name": name,
        "kind": kind,
        "n_profiles": len(held),
        "n_points": state.points_by_attribute()[name],
        "n_values": len(counts),
        "listed_values": [
            {
                "text": text,
                "n": n,
                "share": n / len(held),
            }
            for text, n in counts.most_common()
            if is_listed
        ],
        "spread": None if is_listed else _spread(held),
    }


def _spread(held: list[Any]) -> dict[str, Any] | None:
    """A histogram as the heights of its columns, at most 1; None unless all values are
    numbers.
    """
    if not all(isinstance(value, int | float) for value in held):
        return None
    low = min(held)
    high = max(held)
    bins = Counter(
        min(BINS - 1, int(BINS * (value - low) / (high - low))) for value in held
    )
    tallest = max(bins.values())
    return {
        "heights": [bins[i] / tallest for i in range(BINS)],
        "low": low,
        "median": f"{statistics.median(held):g}",
        "high": high,
    }


def _triggers(state: State) -> dict[str, Any]:
    """Counts per attribute of triggers fired and, per reason, not fired; the newest
    changes first.
    """
    reasons = set[str]().union(*state.fired.values()) - {""}
    columns = ["", *sorted(reasons)]
    totals = [
        {
            "name": name,
            "n_writes": counts.total(),
            "counts": [counts[reason] for reason in columns],
        }
        for name, counts in sorted(state.fired.items())
    ]
    newest = list(reversed(state.changes))[:MAX_CHANGES]
    return {
        "reasons": columns[1:],
        "totals": totals,
        "changes": [_change(change) for change in newest],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "at": datetime.fromtimestamp(change.at, UTC).strftime("%H:%M:%S"),
        "user": change.who,
        "name": change.name,
        "old": _text_or_none(change.old),
        "new": _text_or_none(change.new),
        "reason": change.why,
    }


def _points(state: State) -> dict[str, Any]:
    by_attribute = state.points_by_attribute().most_common()
    return {
        "runs": list(state.points),
        "rows": [
            {
                "name": name,
                "total": total,
                "by_run": [counts[name] for counts in state.points.values()],
            }
            for name, total in by_attribute
        ],
    }


def _counts(state: State) -> dict[str, list[tuple[str, int]]]:
    counters = {
        "Writes without effect": Counter(state.silent),
        "Warnings": state.warnings,
        "Faults injected": state.faults,
        "User agents": state.user_agents,
    }
    return {
        title: counter.most_common(MAX_VALUES)
        for title, counter in counters.items()
        if counter
    }
