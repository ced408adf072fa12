"""Injected faults over real HTTP: point 29 of the sandbox's README."""

import http.client
import json
import threading
import time
from typing import Any

import pytest

from churn.sandbox import faults, server
from churn.sandbox.faults import NAMES, Faults
from churn.sandbox.options import BULK, Options
from churn.sandbox.state import State

from .client import post


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
    """Point 29: the second request has this answer and changes nothing; the requests
    before and after it pass.
    """
    with faulty(name) as sandbox:
        assert post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]})[0] == 201
        answered, _, text = post(sandbox)
        assert (answered, json.loads(text)["message"] != "success") == (status, True)
        assert sandbox.state.attribute_values("x") == {}
        assert post(sandbox)[0] == 201
        assert (
            sandbox.state.n_requests,
            sandbox.state.n_refused,
            sandbox.state.faults,
        ) == (3, status > 201, {name: 1})


@pytest.mark.parametrize(
    ("name", "reset", "expected"),
    [
        ("429_mau", "epoch", {"retry-after": "0"}),
        ("429_legacy", "delta", {"limit": "3000", "remaining": "0", "reset": "0"}),
        ("429_legacy", "epoch", {"limit": "3000", "remaining": "0", "reset": "1000"}),
        ("429_bare", "epoch", {}),
    ],
)
def test_point_29_headers_of_an_injected_429(
    name: str, reset: str, expected: dict[str, str]
) -> None:
    """Point 29: each kind has its own headers, with the wait that the faults set."""
    with faulty(name, reset_mode=reset, clock=lambda: 1000.0) as sandbox:
        post(sandbox)
        headers = {
            k: v for k, v in post(sandbox)[1].items() if "rate" in k or "retry" in k
        }
    assert headers == {f"x-ratelimit-{k}": v for k, v in expected.items()}


def test_point_29_closed_before_and_after() -> None:
    """Point 29: the client can't distinguish the two; the state can."""
    for name, applied in (("close_before", {}), ("close_after", {"1": 2})):
        with faulty(name) as sandbox:
            post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]})
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                post(sandbox)
            assert sandbox.state.attribute_values("x") == applied
            assert post(sandbox)[0] == 201


def test_point_29_hanging_with_and_without_effect() -> None:
    """Point 29: the client gives up first, one of the writes is applied all the same,
    and a hanging request doesn't delay the shutdown.
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
    """Point 29: a 201 with a truncated or non-JSON body applies the request."""
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


def test_point_29_queued() -> None:
    """Point 29: a 202 "queued" applies what is valid and says nothing about the rest; a
    refusal stays one.
    """
    with faulty("queued") as sandbox:
        post(sandbox, {"attributes": [{"external_id": "a", "y": 1}]})
        bad = {"external_id": "b", "email": "no address", "x": 1}
        good = {"external_id": "a", "x": 1}
        status, _, text = post(sandbox, {"attributes": [bad, good]})
        assert (status, json.loads(text)) == (202, {"message": "queued"})
        assert sandbox.state.attribute_values("x") == {"1": 1}
    with faulty("queued") as sandbox:
        post(sandbox)
        assert post(sandbox, {})[0] == 400


@pytest.mark.parametrize("name", list(faults.PARTIAL))
def test_point_29_one_object_is_refused(name: str) -> None:
    """Point 29: one object drawn from the seed isn't applied, the other is; the fault
    decides how the error names it.
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
    """Point 29: a rate breaks about its share of the requests, the same ones for the
    same seed; the script goes first.
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
    """Point 29: an unknown name is refused with a list; so are rates above 1."""
    with pytest.raises(
        ValueError, match=r"unknown fault '509'.*429_mau.*close_after.*partial_strings"
    ):
        Faults(**given)
    with pytest.raises(ValueError, match="shares"):
        Faults(rates={"500": 0.6, "502": 0.6})
    assert len(set(NAMES)) == len(NAMES) == 22


def test_delayed_writes_land_without_a_further_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server applies delayed writes by itself."""
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
