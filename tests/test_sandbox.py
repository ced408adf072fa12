"""The sandbox's own rules, over real HTTP."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from churn.sandbox import page, rules, server
from churn.sandbox.server import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox that knows a and b."""
    with server.running(key="k", known_users=["a", "b"]) as running:
        yield running


def call(
    sandbox: Sandbox, body: Any, key: str = "Bearer k", kind: str = "application/json", path: str = "/users/track"
) -> tuple[int, dict[str, Any]]:
    """POST a body; status and parsed answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(sandbox.url + path, data, {"Authorization": key, "Content-Type": kind})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else {}


def one(**values: Any) -> dict[str, Any]:
    """A request with one object."""
    return {"attributes": [values]}


@pytest.mark.parametrize("key", ["", "k", 'Bearer "k"', "Bearer other"])
def test_any_key_but_its_own_is_401(sandbox: Sandbox, key: str) -> None:
    """Missing, without Bearer, quoted and wrong keys are refused."""
    assert call(sandbox, one(external_id="a", x=1), key=key) == (401, {"message": "Invalid API key"})


def test_content_type_path_and_json_are_checked(sandbox: Sandbox) -> None:
    """415 for another content type, 403 for a trailing slash, 404 elsewhere, 400 for what isn't JSON or holds NaN."""
    assert call(sandbox, one(external_id="a"), kind="text/plain")[0] == 415
    assert call(sandbox, {}, path="/users/track/")[0] == 403
    assert call(sandbox, {}, path="/users/trak")[0] == 404
    assert call(sandbox, b'{"attributes":[{"external_id":"a","x":NaN}]}')[0] == 400
    assert call(sandbox, b"[]")[0] == 400
    assert call(sandbox, b"x" * (5 * 1024 * 1024))[0] == 413


def test_more_than_75_objects_are_refused_whole(sandbox: Sandbox) -> None:
    """75 pass; 76 are 400 and nothing of them is applied."""
    many = [{"external_id": "a", "x": i} for i in range(76)]
    assert call(sandbox, {"attributes": many}) == (400, {"message": "Max Input Length Exceeded"})
    assert sandbox.state.n_data_points == 0
    assert call(sandbox, {"attributes": many[:75]})[1]["attributes_processed"] == 75


def test_partial_errors_name_array_and_index(sandbox: Sandbox) -> None:
    """Processed and errors add up to what was sent; the valid objects are applied."""
    objects = [
        {"external_id": "a", "x": 1},
        {"x": 2},
        {"external_id": "a", "braze_id": "z"},
        {"external_id": "b", "x": 3},
    ]
    status, answer = call(sandbox, {"attributes": objects})
    assert (status, answer["attributes_processed"]) == (201, 2)
    assert [(e["input_array"], e["index"]) for e in answer["errors"]] == [("attributes", 1), ("attributes", 2)]
    assert sandbox.state.attribute_values("x") == {"1": 1, "3": 1}


def test_nothing_valid_is_400_and_creates_nobody(sandbox: Sandbox) -> None:
    """All objects invalid, or none at all: 400 with Braze's sentence."""
    for body in ({}, {"attributes": []}, one(x=1)):
        status, answer = call(sandbox, body)
        assert status == 400
        assert answer["message"].startswith("Valid data must be provided")
    assert len(sandbox.state.profiles) == 2


def test_update_only_never_creates_and_the_default_does(sandbox: Sandbox) -> None:
    """An unknown external_id is created by default, not with _update_existing_only; an alias only with false."""
    call(sandbox, one(external_id="new", _update_existing_only=True, x=1))
    assert sandbox.state.n_created == 0
    call(sandbox, one(external_id="new", x=1))
    assert sandbox.state.n_created == 1
    alias = {"alias_name": "n", "alias_label": "l"}
    call(sandbox, one(user_alias=alias, x=1))
    assert sandbox.state.n_created == 1
    call(sandbox, one(user_alias=alias, _update_existing_only=False, x=1))
    assert sandbox.state.n_created == 2


def test_null_removes_and_every_write_is_a_data_point(sandbox: Sandbox) -> None:
    """Setting, setting again and removing cost a point each; profile fields cost none and are no attributes."""
    for value in (1, 1, None):
        call(sandbox, one(external_id="a", x=value))
    call(sandbox, one(external_id="a", country="DE"))
    assert sandbox.state.n_data_points == 3
    profile = sandbox.state.profiles["external_id", "a"]
    assert (profile.attributes, profile.fields) == ({}, {"country": "DE"})


def test_the_page_says_it_is_not_braze_and_escapes_what_it_shows(sandbox: Sandbox) -> None:
    """The page warns, filters an audience, and runs no markup that came in as data."""
    call(sandbox, one(external_id="a", churn_segment="<script>alert(1)</script>"))
    call(sandbox, one(external_id="b", churn_segment="high"))
    with urllib.request.urlopen(f"{sandbox.url}/?attribute=churn_segment&value=high") as answer:
        text = answer.read().decode()
    assert "NOT Braze" in text
    assert "<script" not in text
    assert "1 profiles, 1 shown" in text
    assert "http" not in page.STYLE


def test_it_listens_on_loopback_only(sandbox: Sandbox) -> None:
    """The address is 127.0.0.1, and its state can be read there."""
    assert sandbox.url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(sandbox.url + "/__sandbox__/state") as answer:
        assert len(json.load(answer)["profiles"]) == 2


def test_rules_know_nothing_of_http() -> None:
    """The rules are plain functions over a state: usable without a server."""
    state = rules.State()
    assert rules.track(state, {"attributes": [{"external_id": "a", "x": 1}]})[0] == 201
    assert state.attribute_values("x") == {"1": 1}
