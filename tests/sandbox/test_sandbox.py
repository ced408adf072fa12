"""The sandbox over real HTTP: points 1 to 11, 18 and 30 to 32 of the checklist
(transport, limits, status, state).
"""

import gzip
import http.client
import json
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from churn.sandbox import limits, server, track
from churn.sandbox.instance import Sandbox
from churn.sandbox.options import (
    BULK,
    CHOICES,
    EXPORT,
    PERMISSIONS,
    STATUS,
    SYNC,
    TRACK,
    Options,
)
from churn.sandbox.state import State

JSON = "application/json"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox that knows a and b."""
    with server.running(key="k", known_users=["a", "b"]) as running:
        yield running


def call(
    sandbox: Sandbox,
    body: Any,
    path: str = TRACK,
    key: str = "Bearer k",
    kind: str = JSON,
    method: str = "POST",
    **more: str,
) -> tuple[int, dict[str, Any]]:
    """Send a body; status and parsed answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "Authorization": key,
        "Content-Type": kind,
        **{k.replace("_", "-"): v for k, v in more.items()},
    }
    request = urllib.request.Request(
        sandbox.url + path, data if method == "POST" else None, headers, method=method
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def one(**values: Any) -> dict[str, Any]:
    """A request with one object."""
    return {"attributes": [values]}


def many(n: int, who: str = "a") -> list[dict[str, Any]]:
    """N objects for one user."""
    return [{"external_id": who, "x": i} for i in range(n)]


@pytest.mark.parametrize("path", [TRACK, BULK, SYNC, EXPORT])
def test_point_1_routes(sandbox: Sandbox, path: str) -> None:
    """Point 1: every path is a POST, 403 with a slash more, 404 under another method or
    another name.
    """
    body = {"external_ids": ["a"]} if path == EXPORT else one(external_id="a", x=1)
    assert call(sandbox, body, path)[0] == 201
    assert call(sandbox, body, path + "/") == (403, {"message": "Access Denied"})
    assert call(sandbox, body, path, method="GET")[0] == 404
    assert call(sandbox, body, path, method="PUT")[0] == 404
    assert call(sandbox, body, path + "x")[0] == 404
    assert sandbox.state.n_requests == 2


def test_point_1_slash_by_switch() -> None:
    """Point 1: a slash too many is 404 where the option says so."""
    with server.running(key="k", options=Options(trailing_slash=404)) as sandbox:
        assert call(sandbox, {}, TRACK + "/")[0] == 404


@pytest.mark.parametrize(
    "key", ["", "k", 'Bearer "k"', "Bearer other", "bearer k", "Bearer  k"]
)
def test_point_2_any_key_but_its_own_is_401(sandbox: Sandbox, key: str) -> None:
    """Point 2: missing, without Bearer, quoted and wrong keys are refused."""
    assert call(sandbox, one(external_id="a", x=1), key=key) == (
        401,
        {"message": "Invalid API key"},
    )
    assert sandbox.state.attribute_values("x") == {}


def test_point_2_the_offered_key_is_repeated_by_switch(sandbox: Sandbox) -> None:
    """Point 2: the 401 holds the key offered while the switch is on, which an option
    can set from the start.
    """
    sandbox.echo_key = True
    assert call(sandbox, {}, key="Bearer wrong")[1] == {
        "message": "Invalid API key: Bearer wrong"
    }
    sandbox.echo_key = False
    assert call(sandbox, {}, key="Bearer wrong")[1] == {"message": "Invalid API key"}
    with server.running(options=Options(echo_key=True)) as other:
        assert "wrong" in call(other, {}, key="Bearer wrong")[1]["message"]


def test_point_3_permissions_and_inactive_accounts() -> None:
    """Point 3: a key may do only what its permissions say; an inactive account is
    Forbidden whatever they say.
    """
    options = Options(
        permissions=frozenset({"users.track"}),
        more_keys={"reader": frozenset({"users.export.ids"})},
    )
    with server.running(key="k", options=options) as sandbox:
        assert call(sandbox, one(external_id="a", x=1))[0] == 201
        assert call(sandbox, one(external_id="a", x=1), BULK) == (
            403,
            {"message": "Access Denied"},
        )
        assert call(sandbox, one(external_id="a", x=1), key="Bearer reader")[0] == 403
        assert (
            call(sandbox, {"external_ids": ["a"]}, EXPORT, key="Bearer reader")[0]
            == 201
        )
    with server.running(key="k", options=Options(inactive=True)) as sandbox:
        assert call(sandbox, one(external_id="a")) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize(
    ("kind", "status"),
    [("text/plain", 415), (f"{JSON}; charset=utf-8", 201), ("text/json", 415)],
)
def test_point_4_content_type(sandbox: Sandbox, kind: str, status: int) -> None:
    """Point 4: only application/json passes, with or without parameters."""
    assert call(sandbox, one(external_id="a", x=1), kind=kind)[0] == status


@pytest.mark.parametrize(
    "body",
    [
        b'{"attributes":[{"external_id":"a","x":NaN}]}',
        b'{"attributes":[{"external_id":"a","x":-Infinity}]}',
        b'{"attributes":[{"external_id":"a","x":1e999}]}',
        b'{"attributes":[{"external_id":"a","x":1},]}',
        b'{"attributes":[] /* none */}',
        b"{'attributes':[]}",
        b'\xef\xbb\xbf{"attributes":[{"external_id":"a"}]}',
        b'{"attributes":[{"external_id":"\xff"}]}',
        b"[" * 100_000,
        b"[]",
        b'"x"',
        b"null",
        b"",
    ],
)
def test_point_5_only_a_json_object_passes(sandbox: Sandbox, body: bytes) -> None:
    """Point 5: NaN, commas too many, comments, single quotes, a byte-order mark, bad
    UTF-8, no object: all 400.
    """
    status, answer = call(sandbox, body)
    assert (status, answer["message"]) == (400, "Bad Request")
    assert answer["error"].startswith("Error while parsing")


def test_point_5_odd_text_is_no_server_error(sandbox: Sandbox) -> None:
    """Point 5: half a surrogate pair is JSON: it is stored, exported and shown without
    a 500.
    """
    assert (
        call(sandbox, b'{"attributes":[{"external_id":"\\ud800","x":"\\ud800"}]}')[0]
        == 201
    )
    deep = (
        b'{"attributes":[{"external_id":"a","x":'
        + b'{"a":' * 600
        + b"1"
        + b"}" * 600
        + b"}]}"
    )
    assert call(sandbox, deep)[0] in (201, 400)
    with urllib.request.urlopen(sandbox.url) as answer:
        assert answer.status == 200


def test_point_6_body_size() -> None:
    """Point 6: over 4 MB is 413, or 400 by switch; bulk over 2 MB is 400."""
    big = json.dumps(one(external_id="a", x="y" * 3_000_000)).encode()
    with server.running(key="k") as sandbox:
        assert call(sandbox, big)[0] == 201
        assert call(sandbox, big, BULK)[0] == 400
        assert call(sandbox, big + b" " * 2_000_000)[0] == 413
    with server.running(
        key="k", options=Options(body_size_answer=400, max_body_bytes=50)
    ) as sandbox:
        assert call(sandbox, one(external_id="a", x="y" * 50))[0] == 400
        assert call(sandbox, one(external_id="a"))[0] == 201


def test_point_7_header_names_are_lower_case(sandbox: Sandbox) -> None:
    """Point 7: no header name of an answer has a capital."""
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    connection.request(
        "POST",
        TRACK,
        json.dumps(one(external_id="a", x=1)),
        {"Authorization": "Bearer k"},
    )
    names = [name for name, _ in connection.getresponse().getheaders()]
    connection.close()
    assert {"content-type", "content-length"} <= set(names)
    assert all(name == name.lower() for name in names)


@pytest.mark.parametrize("switch", [False, True])
def test_point_7_packed_bodies_by_switch(switch: bool) -> None:
    """Point 7: a gzip body is read only where the option says so; a broken one
    never.
    """
    with server.running(key="k", options=Options(gzip=switch)) as sandbox:
        packed = gzip.compress(json.dumps(one(external_id="a", x=1)).encode())
        assert call(sandbox, packed, Content_Encoding="gzip")[0] == (
            201 if switch else 400
        )
        assert call(sandbox, b"no gzip", Content_Encoding="gzip")[0] == 400


@pytest.mark.parametrize(
    ("mode", "limit"), [("combined75", 75), ("combined50", 50), ("combined5", 5)]
)
def test_point_8_counted_together(mode: str, limit: int) -> None:
    """Point 8: so many objects over all arrays pass; one more and nothing of the
    request is applied.
    """
    state = State(options=Options(count_mode=mode))
    event = {"external_id": "a", "name": "e", "time": "2026-01-01"}
    body = {"attributes": many(limit - 1), "events": [event]}
    assert track.track(state, {**body, "events": [event] * 2}) == (
        400,
        {"message": "Max Input Length Exceeded"},
    )
    assert (state.n_data_points, len(state.profiles)) == (0, 0)
    assert track.track(state, body)[1]["attributes_processed"] == limit - 1


def test_point_8_counted_per_array() -> None:
    """Point 8: on legacy limits each array may hold 75."""
    state = State(options=Options(count_mode="per_array75"))
    events = [{"external_id": "a", "name": "e", "time": "2026-01-01"}] * 75
    assert (
        track.track(state, {"attributes": many(75), "events": events})[1][
            "events_processed"
        ]
        == 75
    )
    assert track.track(state, {"attributes": many(76)})[0] == 400


def test_point_9_bulk() -> None:
    """Point 9: 1,000 objects for 10 users pass, 1,001 don't, nor 101 for one user."""
    objects = [o for i in range(10) for o in many(100, f"u{i}")]
    assert (
        track.track(State(), {"attributes": objects}, BULK)[1]["attributes_processed"]
        == 1000
    )
    assert track.track(State(), {"attributes": [*objects, *many(1)]}, BULK)[0] == 400
    assert track.track(State(), {"attributes": many(101)}, BULK)[0] == 400


def test_point_10_sync() -> None:
    """Point 10: exactly one object; the answer holds what is stored now, or nobody."""
    state = State()
    state.add_users(["a"])
    assert track.track(state, {"attributes": many(2)}, SYNC)[0] == 400
    assert track.track(state, {}, SYNC)[0] == 400
    user = {"external_id": "a", "custom_attributes": {"x": 1}}
    assert track.track(state, one(external_id="a", x=1, long="y" * 256), SYNC)[1] == {
        "users": [user],
        "message": "success",
    }
    assert (
        track.track(state, one(external_id="z", _update_existing_only=True, x=1), SYNC)[
            1
        ]["users"]
        == []
    )
    event = {"external_id": "a", "name": "e", "time": "2026-01-01T00:00:00Z"}
    told = track.track(state, {"events": [event]}, SYNC)[1]["users"][0][
        "custom_events"
    ][0]
    assert (told["name"], told["count"]) == ("e", 1)


def test_point_11_windows_reset_on_the_clock() -> None:
    """Point 11: two requests per 3 s by the clock, not rolling; a refused one is
    neither counted nor applied.
    """
    now = [1_000_000_001.0]
    options = Options(burst_limit=2, clock=lambda: now[0])
    with server.running(key="k", known_users=["a"], options=options) as sandbox:
        assert [call(sandbox, one(external_id="a", x=i))[0] for i in range(3)] == [
            201,
            201,
            429,
        ]
        assert sandbox.state.attribute_values("x") == {"1": 1}
        now[0] = 1_000_000_002.0  # divisible by 3
        assert call(sandbox, one(external_id="a", x=5))[0] == 201


def test_point_11_the_hour_and_whose_it_is() -> None:
    """Point 11: the clock hour has its own limit, shared by a company's keys or not."""
    now = [7200.0]
    shared = limits.Limiter(Options(hourly_limit=2, clock=lambda: now[0]))
    assert [
        shared.take(path, key)[0]
        for path, key in [(TRACK, "k"), (BULK, "l"), (TRACK, "k")]
    ] == [True, True, False]
    now[0] = 7200 + 3599
    assert shared.take(TRACK, "k") == (False, {"x-ratelimit-retry-after": "1"})
    now[0] = 10800
    assert shared.take(TRACK, "k")[0]
    own = limits.Limiter(
        Options(burst_limit=1, limit_scope="key", clock=lambda: now[0])
    )
    assert [own.take(TRACK, key)[0] for key in "kkl"] == [True, False, True]


@pytest.mark.parametrize(
    ("mode", "reset", "headers"),
    [
        ("mau", "epoch", {"retry-after": "2"}),
        ("legacy", "epoch", {"limit": "1", "remaining": "0", "reset": "303"}),
        ("legacy", "delta", {"limit": "1", "remaining": "0", "reset": "2"}),
        ("bare", "epoch", {}),
    ],
)
def test_point_11_what_headers_tell(
    mode: str, reset: str, headers: dict[str, str]
) -> None:
    """Point 11: other answers hold limit, remaining and reset; a 429 holds what its
    mode says.
    """
    options = Options(
        burst_limit=1, answer_429=mode, reset_mode=reset, clock=lambda: 301.0
    )
    limiter = limits.Limiter(options)
    first = {
        "limit": "1",
        "remaining": "0",
        "reset": "303" if reset == "epoch" else "2",
    }
    assert limiter.take(TRACK, "k") == (
        True,
        {f"x-ratelimit-{k}": v for k, v in first.items()},
    )
    assert limiter.take(TRACK, "k") == (
        False,
        {f"x-ratelimit-{k}": v for k, v in headers.items()},
    )


ALIAS = {"alias_name": "n", "alias_label": "l"}


def test_point_18_unknown_keys_are_ignored_and_the_agent_is_noted(
    sandbox: Sandbox,
) -> None:
    """Point 18: a partner key and bulk headers change nothing; who wrote is counted."""
    body = {**one(external_id="a", x=1), "partner": "p", "group_id": "not valid!"}
    assert (
        call(sandbox, body, User_Agent="partner-X-Y/1", X_Braze_Bulk="true")[0] == 201
    )
    assert sandbox.state.user_agents == {"partner-X-Y/1": 1}
    for i in range(200):
        sandbox.state.count_agent(str(i))
    assert len(sandbox.state.user_agents) == 100


def test_point_30_status_of_a_group() -> None:
    """Point 30: off by default with the 403; on, it counts requests, checks the name,
    and forgets after a day.
    """
    now = [1_700_000_000.0]
    with server.running(key="k") as sandbox:
        told = {"message": "API request status is not enabled for this app group."}
        assert call(sandbox, None, STATUS + "?group_id=g", method="GET") == (403, told)
    options = Options(status_endpoint=True, clock=lambda: now[0], apply_delay=5.0)
    with server.running(key="k", options=options) as sandbox:
        assert call(sandbox, {**one(external_id="a", x=1), "group_id": "a b"}) == (
            400,
            {"message": "Invalid group_id"},
        )
        assert call(sandbox, {**one(external_id="a", x=1), "group_id": "g-1"})[0] == 201
        waiting = call(sandbox, None, STATUS + "?group_id=g-1", method="GET")[1][
            "results"
        ][0]
        assert (
            waiting["status"],
            waiting["received"],
            waiting["final_completion_time"],
        ) == ("processing", 1, None)
        now[0] += 5
        done = call(sandbox, None, STATUS + "?group_id=g-1", method="GET")[1][
            "results"
        ][0]
        assert (done["status"], done["done"]) == ("completed", 1)
        assert done["final_completion_time"] == "2023-11-14T22:13:25.000Z"
        assert call(sandbox, None, STATUS, method="GET")[0] == 400
        assert (
            call(sandbox, None, STATUS + "?group_id=g-1", method="GET", key="no")[0]
            == 401
        )
        now[0] += 86400
        assert call(sandbox, None, STATUS + "?group_id=g-1", method="GET") == (
            200,
            {"results": []},
        )


def test_reading_back_takes_50_ids_of_any_kind(sandbox: Sandbox) -> None:
    """Export finds by every identifier, tells unknown external ids, keeps to the fields
    asked for, and to 50.
    """
    call(sandbox, one(user_alias=ALIAS, _update_existing_only=False, x=1))
    call(sandbox, one(external_id="a", email="s@x.de", day="2026-01-02"))
    body = {
        "external_ids": ["a", "no"],
        "user_aliases": [ALIAS],
        "email_address": "s@x.de",
    }
    status, answer = call(sandbox, body, EXPORT)
    assert (status, answer["invalid_user_ids"], len(answer["users"])) == (
        201,
        ["no"],
        2,
    )
    assert answer["users"][0]["custom_attributes"] == {
        "day": "2026-01-02T00:00:00.000Z"
    }
    assert answer["users"][1]["user_aliases"] == [ALIAS]
    answer = call(sandbox, {**body, "fields_to_export": ["external_id"]}, EXPORT)[1]
    assert answer["users"] == [{"external_id": "a"}, {}]
    assert call(sandbox, {"external_ids": ["a"] * 51}, EXPORT)[0] == 400
    assert call(sandbox, [], EXPORT)[0] == 400


def test_point_31_state_can_be_read_and_users_made_known(sandbox: Sandbox) -> None:
    """Point 31: paths that are plainly not Braze's tell all, and make profiles known;
    only loopback is listened on.
    """
    assert sandbox.url.startswith("http://127.0.0.1:")
    assert call(sandbox, ["c"], "/__sandbox__/users") == (200, {"n_profiles": 3})
    assert call(sandbox, "night", "/__sandbox__/runs") == (200, {"run": "night"})
    call(
        sandbox,
        one(external_id="c", _update_existing_only=True, x="2026-01-01"),
        User_Agent="me",
    )
    state = call(sandbox, None, "/__sandbox__/state", method="GET")[1]
    assert (
        state["n_requests"],
        state["n_data_points"],
        state["data_points_by_run"],
    ) == (1, 1, {"night": {"x": 1}})
    assert state["profiles"][2] == {
        "external_id": "c",
        "custom_attributes": {"x": "2026-01-01T00:00:00.000Z"},
    }
    assert state["changes"][0]["fired"] is True
    assert (state["user_agents"], "not Braze" in state["note"]) == ({"me": 1}, True)


def test_point_31_the_same_seed_gives_the_same_order() -> None:
    """Point 31: what a seed draws is the same again, and another seed draws
    otherwise.
    """

    def ends(seed: int) -> list[Any]:
        now = [0.0]
        state = State(
            options=Options(
                seed=seed, apply_delay=5.0, reorder=True, clock=lambda: now[0]
            )
        )
        state.add_users(["a"])
        for nth in range(20):
            track.track(state, one(external_id="a", x=nth))
        now[0] = 5.0
        state.settle()
        return [change.new for change in state.changes]

    assert ends(1) == ends(1) != ends(2)
    random.seed(3)  # the global generator plays no part
    assert sorted(ends(1)) == list(range(20)) != ends(1)


def test_point_32_it_starts_loudly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Point 32: the first line says that it is not Braze; it serves on loopback."""
    served: dict[str, Any] = {}
    monkeypatch.setattr(web, "run_app", lambda app, **given: served.update(given))
    server.serve(port=8600, key="k", options=Options(burst_limit=5))
    assert "NOT Braze" in capsys.readouterr().out.splitlines()[0]
    assert (served["host"], served["port"]) == ("127.0.0.1", 8600)


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_an_unknown_choice_is_refused(name: str) -> None:
    """The error names the choices there are."""
    with pytest.raises(ValueError, match=str(CHOICES[name][0])):
        Options(**{name: "other"})
    assert set(PERMISSIONS.values()) == Options().permissions
