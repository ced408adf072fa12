"""The sandbox's one page, for whoever wants to see what Braze would see. Plain HTML
that loads nothing.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from churn.sandbox import audience
from churn.sandbox.audience import Filter
from churn.sandbox.profiles import Change, Profile
from churn.sandbox.state import State
from churn.sandbox.style import STYLE
from churn.sandbox.values import shown

SHOWN, CHANGES, FEW, BINS = 100, 50, 12, 20
DATED = "Sent as text that looks like a date: Braze keeps a datetime, and filters on text find nobody."
TRIGGERS = (
    "Whether an “attribute changed” trigger would have fired. Braze judges it before the audience filters: don't "
    "filter on the attribute that triggers."
)
LOUD = "This is a local stand-in. It is NOT Braze, and nothing here reaches a user."


class Html(str):
    """Markup of our own; any other text is escaped."""


def html(*parts: Any) -> Html:
    """The parts as one piece of markup, escaped unless they are markup already; numbers
    with thousands marked.
    """
    return Html(
        "".join(
            p
            if isinstance(p, Html)
            else escape(f"{p:,}" if isinstance(p, int) else str(p))
            for p in parts
        )
    )


def tag(element: str, /, *inner: Any, **attributes: Any) -> Html:
    """One element.

    >>> tag("p", "a < b", Class="note")
    '<p class="note">a &lt; b</p>'
    """
    given = "".join(
        f' {"class" if k == "Class" else k}="{escape(str(v))}"'
        for k, v in attributes.items()
    )
    return Html(f"<{element}{given}>{html(*inner)}</{element}>")


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Html:
    """A table; columns of numbers stand right."""
    body = [list(row) for row in rows]
    right = (
        [{"Class": "n"} if isinstance(v, int) else {} for v in body[0]]
        if body
        else [{} for _ in head]
    )
    cells = [
        tag("tr", *(tag("td", v, **side) for v, side in zip(row, right, strict=True)))
        for row in body
    ]
    top = tag(
        "tr", *(tag("th", h, **side) for h, side in zip(head, right, strict=True))
    )
    return tag("table", tag("thead", top), tag("tbody", *cells))


def counted(n: int, what: str) -> str:
    """A number with its noun.

    >>> counted(1, "profile"), counted(1200, "profile")
    ('1 profile', '1,200 profiles')
    """
    return f"{n:,} {what}" + "s" * (n != 1)


def render(state: State, query: Mapping[str, str]) -> str:
    """The page; attribute, operator, value and attribute2, operator2, value2 in the
    query choose an audience.
    """
    names = sorted(
        {name for p in state.profiles.values() for name in p.attributes}
        | set(state.types)
    )
    filters = [_filter(query, row) for row in ("", "2")]
    main = html(
        tag("h1", "Sandbox for /users/track"),
        _figures(state),
        _audience(state, names, filters),
        tag("h2", "Attributes"),
        tag("div", *(_attribute(state, name) for name in names), Class="grid")
        if names
        else tag("p", "None yet."),
        _changes(state),
        tag("div", _points(state), _behind(state), Class="grid"),
    )
    head = html(
        Html('<meta charset="utf-8">'),
        tag("title", "Sandbox, not Braze"),
        tag("style", Html(STYLE)),
    )
    body = tag("body", tag("div", LOUD, Class="loud"), tag("main", main))
    return f'<!doctype html><html lang="en"><head>{head}</head>{body}</html>'


def _filter(query: Mapping[str, str], row: str) -> Filter:
    operator = query.get(f"operator{row}", "is")
    known = operator if operator in audience.OPERATORS else "is"
    return Filter(query.get(f"attribute{row}", ""), known, query.get(f"value{row}", ""))


def _figures(state: State) -> Html:
    figures = {
        "profiles": len(state.profiles),
        "created": state.n_created,
        "requests": state.n_requests,
        "requests refused": state.n_refused,
        "data points": state.n_data_points,
        "without effect": len(state.silent),
    }
    cards = (
        tag("div", tag("b", n), tag("span", label), Class="card")
        for label, n in figures.items()
    )
    waiting = tag(
        "p", counted(len(state.waiting), "request"), " acknowledged, not applied yet."
    )
    return html(tag("div", *cards, Class="cards"), waiting if state.waiting else "")


def _audience(state: State, names: list[str], filters: list[Filter]) -> Html:
    used = [f for f in filters if f.name]
    found = audience.matching(state, used)
    share = (
        f"{len(found) / len(state.profiles):.1%} of all"
        if state.profiles
        else "nobody yet"
    )
    notes = [
        tag("p", note, Class="note") for f in used for note in audience.notes(state, f)
    ]
    rows = [_row(names, f, row) for f, row in zip(filters, ("", "2"), strict=True)]
    form = tag(
        "form", rows[0], tag("em", "AND"), rows[1], Html("<button>Count</button>")
    )
    result = tag(
        "p",
        tag("b", len(found)),
        f" profile{'s' * (len(found) != 1)} · ",
        share,
        Class="result",
    )
    head = tag("summary", counted(min(len(found), SHOWN), "profile"), " listed")
    listed = tag("details", head, _people(found), open="")
    return tag(
        "section", tag("h2", "Audience"), form, result, *notes, listed if found else ""
    )


def _row(names: list[str], f: Filter, row: str) -> Html:
    known = names if f.name in (*names, "") else [*names, f.name]
    choices = [
        _option("", f.name, "any attribute"),
        *(_option(n, f.name) for n in known),
    ]
    attribute = tag("select", *choices, name=f"attribute{row}")
    operator = tag(
        "select",
        *(_option(o, f.operator) for o in audience.OPERATORS),
        name=f"operator{row}",
    )
    value = f'<input name="value{row}" placeholder="value" value="{escape(f.value)}">'
    return tag("div", attribute, operator, Html(value), Class="row")


def _option(value: str, chosen: str, label: str = "") -> Html:
    return tag(
        "option",
        label or value,
        value=value,
        **({"selected": ""} if value == chosen else {}),
    )


def _people(found: list[Profile]) -> Html:
    names = [
        name
        for name, _ in Counter(
            n for p in found[:SHOWN] for n in p.attributes
        ).most_common(6)
    ]
    rows = (
        [_who(p), *(_blank_or(p.attributes.get(name), shown) for name in names)]
        for p in found[:SHOWN]
    )
    return tag("div", table(["profile", *names], rows), Class="scroll")


def _who(profile: Profile) -> str:
    return ", ".join(
        who if kind == "external_id" else f"{kind} {who}"
        for kind, who in profile.identifiers.items()
    )


def _blank_or(value: Any, told: Callable[[Any], Any]) -> Any:
    return tag("i", "blank") if value is None else told(value)


def _attribute(state: State, name: str) -> Html:
    held = [p.attributes[name] for p in state.profiles.values() if name in p.attributes]
    kind = audience.kind_of(state, name) or ""
    told = f"{counted(len(held), 'profile')} · {counted(state.points_by_attribute()[name], 'data point')}"
    warned = tag("p", DATED, Class="note") if kind == "datetime" else ""
    counts = Counter(shown(v) for v in held)
    if len(counts) <= FEW:
        body = table(
            ["value", "profiles", "share"],
            ([v, n, _bar(n, len(held))] for v, n in counts.most_common()),
        )
    else:
        body = _spread(held, kind, len(counts))
    return tag(
        "section",
        tag("h3", name, " ", tag("small", kind, Class="kind")),
        tag("p", told),
        warned,
        body,
    )


def _bar(n: int, of: int) -> Html:
    rect = tag("rect", width=f"{100 * n / of:.1f}", height="10")
    bar = tag(
        "svg", rect, Class="bar", viewBox="0 0 100 10", preserveAspectRatio="none"
    )
    return html(bar, f" {n / of:.0%}" if 100 * n >= of else " <1%")


def _spread(held: list[Any], kind: str, n_values: int) -> Html:
    if kind != "number" or not all(isinstance(v, int | float) for v in held):
        return tag("p", n_values, " different values")
    low, high = min(held), max(held)
    bins = Counter(min(BINS - 1, int(BINS * (v - low) / (high - low))) for v in held)
    top = max(bins.values())
    columns = (_column(i, 46 * bins[i] / top) for i in range(BINS))
    chart = tag(
        "svg",
        *columns,
        Class="spread",
        viewBox="0 0 400 50",
        preserveAspectRatio="none",
    )
    ends = [
        tag("span", text) for text in (low, f"median {statistics.median(held):g}", high)
    ]
    return html(chart, tag("p", *ends, Class="ends"))


def _column(i: int, height: float) -> Html:
    return tag(
        "rect", x=i * 20 + 1, y=f"{50 - height:.1f}", width="18", height=f"{height:.1f}"
    )


def _changes(state: State) -> Html:
    reasons = ["", *sorted({why for c in state.fired.values() for why in c} - {""})]
    totals = (
        [name, sum(c.values()), *(c[why] for why in reasons)]
        for name, c in sorted(state.fired.items())
    )
    heads = ["attribute", "writes", "fire", *(f"don't: {why}" for why in reasons[1:])]
    rows = (_change(c) for c in list(state.changes)[: -CHANGES - 1 : -1])
    head = ["time (UTC)", "profile", "attribute", "old", "new", "trigger"]
    log = html(table(heads, totals), tag("div", table(head, rows), Class="scroll"))
    title = tag("h2", "Writes and triggers, newest first")
    return tag(
        "section",
        title,
        tag("p", TRIGGERS, Class="quiet"),
        log if state.changes else "No writes yet.",
    )


def _change(c: Change) -> list[Any]:
    at = datetime.fromtimestamp(c.at, UTC).strftime("%H:%M:%S")
    fires = (
        tag("span", "fires", Class="yes")
        if not c.why
        else html(tag("span", "no", Class="no"), f" {c.why}")
    )
    return [at, c.who, c.name, *(_blank_or(v, shown) for v in (c.old, c.new)), fires]


def _points(state: State) -> Html:
    by_name = state.points_by_attribute().most_common()
    rows: list[list[Any]] = [
        [name, n, *(book[name] for book in state.points.values())]
        for name, n in by_name
    ]
    head = ["attribute", "all", *(f"run {run}" for run in state.points)]
    why = "Every write counts, changed or not, null too; profile fields and blocklisted names don't."
    return tag(
        "section",
        tag("h2", "Data points"),
        tag("p", why, Class="quiet"),
        table(head, rows),
    )


def _behind(state: State) -> Html:
    parts = {
        "Writes without effect": Counter(state.silent),
        "Warnings": state.warnings,
        "Faults injected": state.faults,
        "Who wrote": state.user_agents,
    }
    told = [
        html(tag("h3", title), table(["", "times"], c.most_common(FEW)))
        for title, c in parts.items()
        if c
    ]
    return tag("section", tag("h2", "Behind the answers"), *told)
