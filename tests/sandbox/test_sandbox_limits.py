"""How many objects and requests the sandbox takes: points 8 to 11 of its README."""

import pytest

from churn.sandbox import limits, server, track
from churn.sandbox.options import BULK, SYNC, TRACK, Options
from churn.sandbox.state import State

from .client import call, many, one


@pytest.mark.parametrize(
    ("mode", "limit"), [("combined75", 75), ("combined50", 50), ("combined5", 5)]
)
def test_point_8_counted_together(mode: str, limit: int) -> None:
    """Point 8: up to the limit over all arrays a request passes; with one object more
    nothing of it is applied.
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
    """Point 10: sync takes exactly one object and answers with what is stored."""
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
    answer = track.track(state, {"events": [event]}, SYNC)[1]["users"][0][
        "custom_events"
    ][0]
    assert (answer["name"], answer["count"]) == ("e", 1)


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


def test_point_11_the_hour_is_shared_by_keys_or_not() -> None:
    """Point 11: the clock hour has its own limit, for the company or for each key."""
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
def test_point_11_forms_of_headers(
    mode: str, reset: str, headers: dict[str, str]
) -> None:
    """Point 11: an answer has limit, remaining and reset; a 429 has the headers of its
    mode.
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
