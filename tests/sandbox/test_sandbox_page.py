"""The audience filter and the page that shows it."""

import urllib.parse
import urllib.request

import pytest

from churn.sandbox import audience, notes, page, server, track
from churn.sandbox.audience import Filter
from churn.sandbox.options import Options
from churn.sandbox.profiles import Profile
from churn.sandbox.state import State

from .client import post


@pytest.fixture
def state() -> State:
    """Five profiles: two with a score, one without, one empty, and one that a test put
    into the state by hand.
    """
    state = State()
    state.add_users(list("abcd"))
    items = [
        {
            "external_id": "a",
            "churn_segment": "high",
            "churn_score": 90,
            "vip": True,
            "tags": ["x", "y"],
        },
        {"external_id": "b", "churn_segment": "High", "churn_score": 0},
        {
            "external_id": "c",
            "churn_segment": "low",
            "wave": "2024-01-01",
            "vip": False,
            "nest": {"a": 1},
        },
    ]
    track.track(state, {"attributes": items})
    by_hand = Profile({"external_id": "e"}, attributes={"by_hand": "yes"})
    state.profiles["external_id", "e"] = by_hand
    return state


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], "abcde"),
        ([("churn_segment", "is", "high")], "a"),
        ([("churn_segment", "is not", "high")], "cde"),
        ([("churn_segment", "is any of", "low, high")], "ac"),
        ([("churn_segment", "more than", "a")], ""),
        ([("churn_segment", "is blank", "")], "de"),
        ([("churn_segment", "is not blank", "")], "abc"),
        ([("churn_score", "is", "90")], "a"),
        ([("churn_score", "is", "0")], "bcde"),
        ([("churn_score", "is not", "0")], "a"),
        ([("churn_score", "is not", "90")], "bcde"),
        ([("churn_score", "is any of", "90,1")], "a"),
        ([("churn_score", "more than", "10")], "a"),
        ([("churn_score", "less than", "10")], "bcde"),
        (
            [("churn_score", "less than", "10"), ("churn_score", "is not blank", "")],
            "b",
        ),
        ([("churn_score", "less than", "ten")], ""),
        ([("vip", "is", "true")], "a"),
        ([("vip", "is", "False")], "c"),
        ([("tags", "is", "y")], "a"),
        ([("wave", "is", "2024-01-01")], ""),
        ([("wave", "is not", "2024-01-01")], ""),
        ([("wave", "is not blank", "")], "c"),
        ([("nest", "is", "a")], ""),
        ([("by_hand", "is", "yes")], "e"),
        ([("Churn_segment", "is", "high")], ""),
    ],
)
def test_an_audience_is_what_braze_would_find(
    state: State, rows: list[tuple[str, str, str]], found: str
) -> None:
    """Rows are joined by AND, a blank counts as less than any number and as exactly 0,
    and text is compared as Braze does.
    """
    matching = audience.matching(state, [Filter(*row) for row in rows])
    assert "".join(p.identifiers["external_id"] for p in matching) == found


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (
            ("churn_score", "less than", "10"),
            "also matches all 3 profiles without any churn_score",
        ),
        (("churn_score", "is", "0"), "also matches all 3 profiles"),
        (("churn_score", "more than", "x"), "give a number"),
        (
            ("churn_segment", "is", "high"),
            "case-sensitive, and spaces count. 1 not matched: the value differs in",
        ),
        (("churn_segment", "is not", "high"), "ignores letter case"),
        (("churn_segment", "less than", "1"), "never more or less"),
        (
            ("churn_segment", "is any of", ",".join(map(str, range(300)))),
            "up to 256 values",
        ),
        (("wave", "is", "2024-01-01"), "Braze converted them"),
        (("vip", "is", "false"), "false or not set"),
        (("nest", "is", "a"), "nested filter"),
        (("Churn_segment", "is", "high"), "Names are case-sensitive"),
    ],
)
def test_surprises_are_noted_beside_the_result(
    state: State, row: tuple[str, str, str], note: str
) -> None:
    """What surprises in Braze's filters stands on the page, escaped."""
    query = dict(zip(("attribute", "operator", "value"), row, strict=True))
    assert any(note in text for text in notes.notes_on(state, Filter(*row)))
    assert note in page.render(state, query)


def test_the_page_shows_all_parts_of_the_state(state: State) -> None:
    """Figures, types, a histogram, triggers, data points and writes without effect."""
    scores = [{"external_id": "a", "churn_score": i} for i in [0, *range(20)]]
    track.track(state, {"attributes": scores})
    numbers = [{"external_id": f"u{i}", "n": i} for i in range(21)]
    track.track(state, {"attributes": numbers})
    state.silent.append("unknown user, update only")
    text = page.render(state, {})
    for expected in (
        "NOT Braze",
        "median 10",
        "not fired: same value",
        '<span class="yes">fired',
        "run 1",
        "unknown user, update only",
        "datetime",
    ):
        assert expected in text, expected
    assert "None yet" in page.render(State(), {})


HOSTILE = "\"'><script>alert(1)</script>&"
ESCAPED = "&#34;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;"


def test_whatever_was_sent_is_escaped(state: State) -> None:
    """Markup in names, values, identifiers, agents, runs and the query is only text."""
    state.start_run(HOSTILE)
    state.count_agent(HOSTILE)
    item = {"external_id": HOSTILE, HOSTILE: HOSTILE}
    track.track(state, {"attributes": [item, {**item, HOSTILE: HOSTILE + "2"}]})
    state.silent.append(HOSTILE)
    state.warnings[HOSTILE] += 1
    rows = [
        {"attribute": HOSTILE, "operator": HOSTILE, "value": HOSTILE},
        {"attribute": "not " + HOSTILE, "value": HOSTILE},
    ]
    for query in rows:
        second = {f"{name}2": value for name, value in query.items()}
        text = page.render(state, {**query, **second})
        assert text.count(ESCAPED) > 20
        assert "<script" not in text
        assert HOSTILE not in text


def test_the_page_loads_nothing(state: State) -> None:
    """No script, no address and no inline style is in it."""
    text = page.render(state, {})
    for unwanted in ("<script", "http", "style=", "src=", "@import", "url("):
        assert unwanted not in text


def test_the_page_over_http() -> None:
    """The page is HTML on the sandbox's own port, takes filters from the query, and
    counts requests that still wait to be applied.
    """
    options = Options(apply_delay=5, clock=lambda: 0.0)
    with server.running(known_users=["a", "b"], options=options) as sandbox:
        post(sandbox)
        query = urllib.parse.urlencode({"attribute": "x", "operator": "is blank"})
        with urllib.request.urlopen(f"{sandbox.url}/?{query}") as answer:
            text = answer.read().decode()
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "2 profiles listed" in text
    assert "1 request acknowledged, not applied yet" in text
