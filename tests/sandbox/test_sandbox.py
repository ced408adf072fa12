"""Transport, reads and state over real HTTP: points 1 to 7, 18 and 30 to 32 of the
sandbox's README.
"""

import gzip
import http.client
import json
import random
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from churn.sandbox import server, track
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

from .client import ALIAS, JSON, call, one


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox that knows a and b."""
    with server.running(key="k", known_users=["a", "b"]) as running:
        yield running


@pytest.mark.parametrize("path", [TRACK, BULK, SYNC, EXPORT])
def test_point_1_routes(sandbox: Sandbox, path: str) -> None:
    """Point 1: every path takes POST; it is a 403 with a trailing slash, and a 404 with
    another method or another name.
    """
    body = {"external_ids": ["a"]} if path == EXPORT else one(external_id="a", x=1)
    assert call(sandbox, body, path)[0] == 201
    assert call(sandbox, body, path + "/") == (403, {"message": "Access Denied"})
    assert call(sandbox, body, path, method="GET")[0] == 404
    assert call(sandbox, body, path, method="PUT")[0] == 404
    assert call(sandbox, body, path + "x")[0] == 404
    assert sandbox.state.n_requests == 2


def test_point_1_trailing_slash_by_option() -> None:
    """Point 1: by option a trailing slash is a 404."""
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


def test_point_2_the_offered_key_is_repeated_by_option(sandbox: Sandbox) -> None:
    """Point 2: by option the 401 repeats the key that was offered."""
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
    """Point 5: NaN, trailing commas, comments, single quotes, a byte-order mark, bad
    UTF-8 and anything but an object are a 400.
    """
    status, answer = call(sandbox, body)
    assert (status, answer["message"]) == (400, "Bad Request")
    assert answer["error"].startswith("Error while parsing")


def test_point_5_half_a_surrogate_pair_is_no_server_error(sandbox: Sandbox) -> None:
    """Point 5: half a surrogate pair and deep nesting are JSON: they cause no 500, on
    the page neither.
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
    """Point 6: over 4 MB is a 413, or by option a 400; bulk over 2 MB is a 400."""
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


@pytest.mark.parametrize("accepted", [False, True])
def test_point_7_gzip_bodies_by_option(accepted: bool) -> None:
    """Point 7: a gzip body is read only by option, and a broken one never."""
    with server.running(key="k", options=Options(gzip=accepted)) as sandbox:
        packed = gzip.compress(json.dumps(one(external_id="a", x=1)).encode())
        assert call(sandbox, packed, Content_Encoding="gzip")[0] == (
            201 if accepted else 400
        )
        assert call(sandbox, b"no gzip", Content_Encoding="gzip")[0] == 400


def test_point_18_unknown_keys_are_ignored_and_the_agent_is_noted(
    sandbox: Sandbox,
) -> None:
    """Point 18: a partner key and bulk headers change nothing; User-Agents count."""
    body = {**one(external_id="a", x=1), "partner": "p", "group_id": "not valid!"}
    assert (
        call(sandbox, body, User_Agent="partner-X-Y/1", X_Braze_Bulk="true")[0] == 201
    )
    assert sandbox.state.user_agents == {"partner-X-Y/1": 1}
    for i in range(200):
        sandbox.state.count_agent(str(i))
    assert len(sandbox.state.user_agents) == 100


def test_point_30_status_of_a_group() -> None:
    """Point 30: the endpoint is a 403 by default; switched on, it counts requests,
    checks the name, and forgets a group after a day.
    """
    now = [1_700_000_000.0]
    with server.running(key="k") as sandbox:
        refusal = {"message": "API request status is not enabled for this app group."}
        assert call(sandbox, None, STATUS + "?group_id=g", method="GET") == (
            403,
            refusal,
        )
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
    """Export finds profiles by every identifier, lists unknown external ids, and
    returns the fields asked for; more than 50 ids are refused.
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
    """Point 31: paths that Braze doesn't have return the state and create profiles; the
    sandbox listens on loopback only.
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
    """Point 31: the same seed draws the same order, another seed another one."""

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
    """Point 32: the first line printed says that it is not Braze; it serves on
    loopback.
    """
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
