"""Injected faults over real HTTP (point 29 of the checklist), and the page."""

import http.client
import json
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

import pytest

from churn.sandbox import audience, faults, page, server, track
from churn.sandbox.audience import Filter
from churn.sandbox.faults import NAMES, Faults
from churn.sandbox.options import BULK, Options
from churn.sandbox.profiles import Profile
from churn.sandbox.server import Sandbox
from churn.sandbox.state import State
from churn.sandbox.style import STYLE

TWO = {"attributes": [{"external_id": "a", "x": 1}, {"external_id": "b", "x": 1}]}


def post(
    sandbox: Sandbox, body: Any = TWO, path: str = "/users/track", timeout: float = 5
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of an answer."""
    connection = http.client.HTTPConnection(
        sandbox.url.removeprefix("http://"), timeout=timeout
    )
    try:
        headers = {
            "Authorization": f"Bearer {sandbox.key}",
            "Content-Type": "application/json",
        }
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def faulty(name: str, **options: Any) -> Any:
    """A sandbox whose second request meets a fault."""
    injected = Faults(script={2: name}, hang_seconds=0.3, retry_seconds=0)
    return server.running(
        known_users=["a", "b"], options=Options(**options), faults=injected
    )


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("429", 429),
        ("429_mau", 429),
        ("429_legacy", 429),
        ("429_bare", 429),
        ("500", 500),
        ("502", 502),
        ("503", 503),
        ("504", 504),
        ("hang", 504),
        ("too_large", 413),
        ("not_success", 201),
        ("drop_401", 401),
        ("drop_403", 403),
    ],
)
def test_point_29_answers_that_apply_nothing(name: str, status: int) -> None:
    """Point 29: the second request is answered so and changes nothing; those around it
    pass.
    """
    with faulty(name) as sandbox:
        assert post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]})[0] == 201
        told, _, text = post(sandbox)
        assert (told, json.loads(text)["message"] != "success") == (status, True)
        assert sandbox.state.attribute_values("x") == {}
        assert post(sandbox)[0] == 201
        assert (
            sandbox.state.n_requests,
            sandbox.state.n_refused,
            sandbox.state.faults,
        ) == (3, status > 201, {name: 1})


@pytest.mark.parametrize(
    ("name", "reset", "told"),
    [
        ("429_mau", "epoch", {"retry-after": "0"}),
        ("429_legacy", "delta", {"limit": "3000", "remaining": "0", "reset": "0"}),
        ("429_legacy", "epoch", {"limit": "3000", "remaining": "0", "reset": "1000"}),
        ("429_bare", "epoch", {}),
    ],
)
def test_point_29_what_an_injected_429_tells(
    name: str, reset: str, told: dict[str, str]
) -> None:
    """Point 29: each kind has its own headers; the hint is what the script sets."""
    with faulty(name, reset_mode=reset, clock=lambda: 1000.0) as sandbox:
        post(sandbox)
        headers = {
            k: v for k, v in post(sandbox)[1].items() if "rate" in k or "retry" in k
        }
    assert headers == {f"x-ratelimit-{k}": v for k, v in told.items()}


def test_point_29_closed_before_and_after() -> None:
    """Point 29: the client can't tell one from the other; the state can."""
    for name, applied in (("close_before", {}), ("close_after", {"1": 2})):
        with faulty(name) as sandbox:
            post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]})
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                post(sandbox)
            assert sandbox.state.attribute_values("x") == applied
            assert post(sandbox)[0] == 201


def test_point_29_hanging_with_and_without_effect() -> None:
    """Point 29: the client gives up first; one write is there all the same; a hanging
    request holds up no shutdown.
    """
    for name, applied in (("hang", {}), ("hang_after", {"1": 2})):
        injected = Faults(script={1: name}, hang_seconds=60)
        started = time.monotonic()
        with server.running(known_users=["a", "b"], faults=injected) as sandbox:
            with pytest.raises(TimeoutError):
                post(sandbox, timeout=0.2)
            assert sandbox.state.attribute_values("x") == applied
        assert time.monotonic() - started < 10


def test_point_29_broken_success() -> None:
    """Point 29: a body cut off and one that is no JSON come with 201 and are
    applied.
    """
    with faulty("truncated") as sandbox:
        post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]})
        with pytest.raises(http.client.IncompleteRead):
            post(sandbox)
        assert sandbox.state.attribute_values("x") == {"1": 2}
    with faulty("not_json") as sandbox:
        post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]})
        status, _, text = post(sandbox)
        assert (status, text[:6], sandbox.state.attribute_values("x")) == (
            201,
            "<html>",
            {"1": 2},
        )
        assert post(sandbox, {})[0] == 400


@pytest.mark.parametrize("name", list(faults.PARTIAL))
def test_point_29_one_object_is_refused(name: str) -> None:
    """Point 29: one object chosen by the seed isn't applied, the other is; how much is
    told is the fault's.
    """
    with faulty(name) as sandbox:
        post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]}, BULK)
        status, _, text = post(sandbox, path=BULK)
        assert (status, sandbox.state.attribute_values("x")) == (201, {"1": 1})
        answer = json.loads(text)
        error, *others = answer["errors"]
        assert (answer["attributes_processed"], others) == (1, [])
        if name == "partial":
            refused = sandbox.state.profiles["external_id", "ab"[error["index"]]]
            assert (error["input_array"], refused.attributes.get("x")) == (
                "attributes",
                None,
            )
        assert (name == "partial_strings") == isinstance(error, str)
        assert ("index" in error) == (name == "partial")


def test_point_29_faults_by_seed() -> None:
    """Point 29: rates give about their share, the same for the same seed; the script
    goes first.
    """
    drawn = Faults(rates={"500": 0.2, "hang": 0.1}, seed=1, script={1: "partial"})
    met = [drawn.of(n) for n in range(1, 2001)]
    assert (met[0], met[1:]) == (
        "partial",
        [Faults(rates={"500": 0.2, "hang": 0.1}, seed=1).of(n) for n in range(2, 2001)],
    )
    assert 340 < met.count("500") < 460
    assert 150 < met.count("hang") < 250
    assert met[1:] != [
        Faults(rates={"500": 0.2, "hang": 0.1}, seed=2).of(n) for n in range(2, 2001)
    ]


@pytest.mark.parametrize("given", [{"script": {1: "509"}}, {"rates": {"509": 0.1}}])
def test_point_29_an_unknown_fault_lists_those_known(given: dict[str, Any]) -> None:
    """Point 29: the error names every fault there is; rates that are no shares are
    refused too.
    """
    with pytest.raises(
        ValueError, match=r"unknown fault '509'.*429_mau.*close_after.*partial_strings"
    ):
        Faults(**given)
    with pytest.raises(ValueError, match="shares"):
        Faults(rates={"500": 0.6, "502": 0.6})
    assert len(set(NAMES)) == len(NAMES) == 21


def test_delayed_writes_land_without_a_further_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server applies what is due by itself."""
    landed = threading.Event()
    settle = State.settle
    monkeypatch.setattr(
        State,
        "settle",
        lambda self: (settle(self), self.n_applied == 2 and landed.set()),
    )
    with server.running(
        known_users=["a", "b"], options=Options(apply_delay=0.05)
    ) as sandbox:
        post(sandbox)
        assert landed.wait(5)
        assert sandbox.state.attribute_values("x") == {"1": 2}


@pytest.fixture
def state() -> State:
    """Five profiles: two scored, one without a score, one with nothing, one put in by
    hand.
    """
    told = State()
    told.add_users(list("abcd"))
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
    track.track(told, {"attributes": items})
    told.profiles["external_id", "e"] = Profile(
        {"external_id": "e"}, {}, {"by_hand": "yes"}
    )
    return told


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
    """Rows are joined by AND; blanks are below any number and exactly 0; text is
    compared as Braze does.
    """
    matching = audience.matching(state, [Filter(*row) for row in rows])
    assert "".join(p.identifiers["external_id"] for p in matching) == found


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (
            ("churn_score", "less than", "10"),
            "lets in all 3 profiles without any churn_score",
        ),
        (("churn_score", "is", "0"), "lets in all 3 profiles"),
        (("churn_score", "more than", "x"), "give a number"),
        (
            ("churn_segment", "is", "high"),
            "case-sensitive, and spaces count. Not found for holding it in other letters: 1.",
        ),
        (("churn_segment", "is not", "high"), "ignores letter case"),
        (("churn_segment", "less than", "1"), "never more or less"),
        (
            ("churn_segment", "is any of", ",".join(map(str, range(300)))),
            "up to 256 values",
        ),
        (("wave", "is", "2024-01-01"), "turned them into such"),
        (("vip", "is", "false"), "false or not set"),
        (("nest", "is", "a"), "nested filter"),
        (("Churn_segment", "is", "high"), "Names are case-sensitive"),
    ],
)
def test_traps_are_told_beside_the_result(
    state: State, row: tuple[str, str, str], note: str
) -> None:
    """What surprises in Braze's filters stands on the page, escaped."""
    keys = dict(zip(("attribute", "operator", "value"), row, strict=True))
    assert any(note in told for told in audience.notes(state, Filter(*row)))
    assert page.html(note) in page.render(state, keys)


def test_the_page_shows_all_there_is_and_loads_nothing(state: State) -> None:
    """Figures, types, values, triggers, points, what had no effect; no script, no
    address, no style but its own.
    """
    items = [{"external_id": "a", "churn_score": i} for i in [0, *range(20)]]
    track.track(
        state,
        {
            "attributes": [
                *items,
                {"external_id": "<script>x</script>", "t": "<b>&", "n": 20},
            ]
        },
    )
    track.track(
        state,
        {
            "attributes": [
                {"external_id": f"u{i}", "n": i, "_update_existing_only": False}
                for i in range(20)
            ]
        },
    )
    state.silent.append("<i>")
    text = page.render(
        state,
        {
            "attribute": "t",
            "operator": "<u>",
            "value": '"><script>',
            "attribute2": "<s>",
        },
    )
    for shown in (
        "NOT Braze",
        "median 10",
        "don&#x27;t: same value",
        "fires",
        "&lt;script&gt;x",
        "run 1",
        "&lt;i&gt;",
        "datetime",
    ):
        assert shown in text, shown
    bad = (
        "<script",
        "<b>&",
        "<i>&",
        "<u>",
        "<s>",
        "http",
        "style=",
        "src=",
        "@import",
        "url(",
    )
    assert not [b for b in bad if b in text]
    assert "http" not in STYLE
    assert "None yet" in page.render(State(), {})


def test_the_page_over_http() -> None:
    """It is HTML on the sandbox's own port; filters come in the query; what waits is
    told.
    """
    with server.running(
        known_users=["a", "b"], options=Options(apply_delay=5, clock=lambda: 0.0)
    ) as sandbox:
        post(sandbox)
        query = urllib.parse.urlencode({"attribute": "x", "operator": "is blank"})
        with urllib.request.urlopen(f"{sandbox.url}/?{query}") as answer:
            text = answer.read().decode()
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "2 profiles listed" in text
    assert "1 request acknowledged, not applied yet" in text
