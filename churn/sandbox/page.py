"""The sandbox's one page: profiles, an audience filter, counts. Plain HTML that loads nothing."""

from collections.abc import Mapping
from html import escape

from churn.sandbox.rules import Profile, State

SHOWN = 100
STYLE = """
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,sans-serif;color:#1c2430;background:#f5f7f9;margin:0}
main{max-width:960px;margin:0 auto 3rem;padding:0 1.5rem}
.loud{background:#8a2f2f;color:#fff;padding:.7rem 1.5rem;text-align:center;font-weight:600}
.cards{display:flex;gap:1rem;flex-wrap:wrap}
.card{background:#fff;border:1px solid #dde3ea;border-radius:8px;padding:.8rem 1.2rem;min-width:8rem}
.card b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;background:#fff;margin:.6rem 0;font-size:.9rem}
td,th{padding:.3rem .9rem;border:1px solid #dde3ea;text-align:left}
form{margin:1rem 0}input{font:inherit;padding:.25rem .5rem}button{font:inherit;padding:.25rem .9rem}
"""


def render(state: State, query: Mapping[str, str]) -> str:
    """The page; ``attribute`` and ``value`` in the query filter the audience (an empty value: is blank)."""
    name, value = query.get("attribute", ""), query.get("value", "")
    audience = [p for p in state.profiles.values() if not name or _matches(p, name, value)]
    shown = _cards(state) + _values(state) + _form(name, value) + _table(audience)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sandbox, not Braze</title>'
        f"<style>{STYLE}</style></head><body>"
        '<div class="loud">This is a local stand-in. It is NOT Braze, and nothing here reaches a user.</div>'
        f"<main><h1>Sandbox</h1>{shown}</main></body></html>"
    )


def _matches(profile: Profile, name: str, value: str) -> bool:
    return str(profile.attributes.get(name, "")) == value


def _cards(state: State) -> str:
    figures = {
        "profiles": len(state.profiles),
        "requests": state.n_requests,
        "refused requests": state.n_refused,
        "data points": state.n_data_points,
        "profiles created": state.n_created,
        "writes without effect": len(state.silent),
    }
    cards = "".join(f'<div class="card"><b>{n:,}</b>{escape(label)}</div>' for label, n in figures.items())
    return f'<div class="cards">{cards}</div>'


def _values(state: State) -> str:
    names = sorted({name for p in state.profiles.values() for name in p.attributes})
    return "".join(_one_attribute(state, name) for name in names)


def _one_attribute(state: State, name: str) -> str:
    counts = state.attribute_values(name)
    if len(counts) > 12:
        return f"<h2>{escape(name)}</h2><p>{len(counts)} different values on {sum(counts.values()):,} profiles</p>"
    rows = "".join(f"<tr><td>{escape(v)}</td><td>{n:,}</td></tr>" for v, n in counts.items())
    return f"<h2>{escape(name)}</h2><table><tr><th>value</th><th>profiles</th></tr>{rows}</table>"


def _form(name: str, value: str) -> str:
    return (
        "<h2>Audience</h2><form>attribute "
        f'<input name="attribute" value="{escape(name)}"> is <input name="value" value="{escape(value)}"> '
        "<button>filter</button> (empty value: is blank)</form>"
    )


def _table(audience: list[Profile]) -> str:
    rows = "".join(_row(p) for p in audience[:SHOWN])
    head = "<tr><th>identifier</th><th>custom attributes</th></tr>"
    return f"<p>{len(audience):,} profiles, {min(len(audience), SHOWN)} shown</p><table>{head}{rows}</table>"


def _row(profile: Profile) -> str:
    who = ", ".join(f"{k} {v}" for k, v in profile.identifiers.items())
    what = ", ".join(f"{k} = {v}" for k, v in sorted(profile.attributes.items()))
    return f"<tr><td>{escape(who)}</td><td>{escape(what)}</td></tr>"
