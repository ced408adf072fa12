"""What an answer means, how fast requests go, and what the workers do about it."""

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from churn.braze import answers, client, pace, payload, sending
from churn.braze import key as secret
from churn.braze.answers import Answer
from churn.braze.pace import Pace
from churn.braze.payload import Batches
from churn.braze.sending import Sent
from churn.errors import TerminalBrazeError, TransientBrazeError
from churn.sandbox import server
from churn.settings import Braze

KEY = "secret-key-5f2a"


def read(status: int, body: Any, n: int = 3) -> Answer:
    """The meaning of an answer to ``n`` objects."""
    return answers.read(
        status, body if isinstance(body, bytes) else json.dumps(body).encode(), n, KEY
    )


def error(
    index: Any = None, array: str | None = "attributes", text: str = "bad"
) -> dict[str, Any]:
    """One error as Braze writes it."""
    found = {"type": text, "index": index, "input_array": array}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (201, {"message": "success"}, Answer()),
        (202, {"message": "queued"}, Answer()),
        (200, {"message": "success", "errors": []}, Answer()),
        (201, {"message": "success", "errors": [error(2)]}, Answer({2: "bad"})),
        (201, {"message": "success", "errors": [error(0, None)]}, Answer({0: "bad"})),
        (
            201,
            {"message": "success", "errors": [error(0), error(2, text="worse")]},
            Answer({0: "bad", 2: "worse"}),
        ),
        (
            201,
            {"message": "success", "errors": [error(0, "events")]},
            Answer(split="singles"),
        ),
        (201, {"message": "success", "errors": [error(3)]}, Answer(split="singles")),
        (201, {"message": "success", "errors": [error(-1)]}, Answer(split="singles")),
        (201, {"message": "success", "errors": [error(True)]}, Answer(split="singles")),
        (201, {"message": "success", "errors": [error()]}, Answer(split="singles")),
        (201, {"message": "success", "errors": ["text"]}, Answer(split="singles")),
        (201, {"message": "success", "errors": "text"}, Answer(split="singles")),
        (
            201,
            {"message": "success", "errors": [error(1), "text"]},
            Answer(split="singles"),
        ),
        (
            400,
            {"message": "no", "errors": [error(0), error(1), error(2)]},
            Answer({0: "bad", 1: "bad", 2: "bad"}, was_taken=False),
        ),
        (
            400,
            {"message": "no", "errors": [error(0)]},
            Answer(split="smaller", was_taken=False),
        ),
        (
            400,
            {"message": "Max Input Length Exceeded"},
            Answer(split="smaller", was_taken=False),
        ),
        (413, b"<html>too large</html>", Answer(split="smaller", was_taken=False)),
    ],
)
def test_an_answer_tells_which_users_were_accepted(
    status: int, body: Any, expected: Answer
) -> None:
    """Errors are placed by array and index; an error without a place asks for smaller
    requests.
    """
    assert read(status, body) == expected


def test_two_objects_are_sent_singly_too() -> None:
    """One of them may be the one that is meant."""
    assert read(201, {"message": "success", "errors": ["text"]}, 2) == Answer(
        split="singles"
    )
    assert read(413, {}, 2) == Answer(split="smaller", was_taken=False)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (201, {"message": "success", "errors": ["text"]}, "text"),
        (201, {"message": "success", "errors": [error(5)]}, "bad"),
        (400, {"message": "no"}, "400 no"),
        (413, b"", "413"),
    ],
)
def test_of_a_single_object_every_error_is_its_own(
    status: int, body: Any, reason: str
) -> None:
    """No other user can be meant."""
    assert read(status, body, 1) == Answer({0: reason}, was_taken=status == 201)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, {"message": "queued"}),
        (201, b'{"message":"succ'),
        (201, b"[1]"),
        (204, b""),
        (429, {}),
        (500, {}),
        (408, {}),
        (599, b""),
    ],
)
def test_what_may_succeed_later_is_transient(status: int, body: Any) -> None:
    """A 2xx without success, a limit, a failing server."""
    with pytest.raises(TransientBrazeError, match=str(status)):
        read(status, body)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "does not accept the key"),
        (403, "permission users.track"),
        (404, "no /users/track"),
        (415, "with 415: why"),
        (302, "302"),
    ],
)
def test_what_can_not_succeed_stops_the_run(status: int, sentence: str) -> None:
    """Each error names what to check."""
    with pytest.raises(TerminalBrazeError, match=sentence) as caught:
        read(status, {"message": "why"})
    assert caught.value.status == status


@given(
    st.sampled_from([200, 201, 400, 401, 403, 404, 413, 415, 429, 500]),
    st.text(max_size=20),
    st.integers(1, 3),
)
def test_the_key_is_in_nothing_that_an_answer_becomes(
    status: int, around: str, n: int
) -> None:
    """Wherever the server repeats it, it is in no reason and no error."""
    errors = [error(0, text=f"{around} {KEY}"), f"{KEY} {around}", error(text=KEY)]
    try:
        said = repr(
            read(
                status,
                {"message": "success" if n > 1 else f"no {KEY}", "errors": errors},
                n,
            )
        )
    except (TransientBrazeError, TerminalBrazeError) as caught:
        said = f"{caught} {caught!r}"
    assert KEY not in said


def test_a_long_message_is_cut_to_a_line() -> None:
    """200 characters of the server's text are enough, in reasons and in errors."""
    assert len(read(413, {"message": "x" * 999}, 1).rejected[0]) == len("413 ") + 200
    assert (
        len(
            read(
                201, {"message": "success", "errors": [error(0, text="x" * 999)]}
            ).rejected[0]
        )
        == 200
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-ratelimit-retry-after": "3"}, 3.0),
        ({"retry-after": "4"}, 4.0),
        (
            {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "x-ratelimit-reset": "5"},
            5.0,
        ),
        ({"x-ratelimit-reset": "1700000007"}, 7.0),
        ({"x-ratelimit-reset": "1699999990"}, 0.0),
        ({"x-ratelimit-reset": "-3"}, 0.0),
        ({"x-ratelimit-reset": "nan"}, None),
        ({"x-ratelimit-reset": "inf"}, None),
        ({"x-ratelimit-reset": "1800000000"}, 3600.0),
        ({"x-ratelimit-reset": "999999999"}, 3600.0),
    ],
)
def test_hints_come_by_whatever_header_as_epoch_or_seconds(
    headers: dict[str, str], expected: float | None
) -> None:
    """Above a thousand million it is a point in time; never is a pause longer than an
    hour.
    """
    assert pace.stated_wait(headers, now=1_700_000_000.0) == expected


class Time:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0 - 1_700_000_000.0 % 3600  # the start of a clock hour
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


def paced(time: Time, per_second: float, **more: Any) -> Pace:
    """A pace that lives by that clock."""
    return Pace(
        per_second,
        clock=lambda: time.now,
        wall=lambda: time.now,
        sleep=time.sleep,
        **more,
    )


def turns(time: Time, kept: Pace, n: int) -> list[float]:
    """When each of n turns came, in seconds from the first."""

    async def take() -> list[float]:
        found = []
        for _ in range(n):
            await kept.turn()
            found.append(time.now)
        return found

    found = asyncio.run(take())
    return [round(at - found[0], 6) for at in found]


def test_turns_keep_the_ceiling_per_second() -> None:
    """Ten a second come a tenth apart."""
    time = Time()
    assert turns(time, paced(time, 10), 4) == [0, 0.1, 0.2, 0.3]


def test_a_late_turn_is_made_up_for_but_not_a_long_pause() -> None:
    """After half a minute without a request, turns do not all come at once."""
    time = Time()
    kept = paced(time, 10)
    turns(time, kept, 1)
    time.now += 30
    assert turns(time, kept, 4) == [0, 0, 0.1, 0.2]


def test_turns_keep_the_ceiling_per_clock_hour() -> None:
    """Two an hour: the third waits for the next clock hour, whenever the first came."""
    time = Time()
    kept = paced(time, 1000, per_hour=2)
    time.now += 600
    assert turns(time, kept, 5) == [0, 0.001, 3000, 3000, 6600]


def test_a_clock_that_is_set_back_neither_ends_nor_prolongs_an_hour() -> None:
    """The third turn comes an hour after the first, which came as an hour began."""
    time = Time()
    offset = [0.0]
    kept = paced(time, 1000, per_hour=2)
    kept.wall = lambda: time.now + offset[0]
    assert turns(time, kept, 1) == [0]
    for hours in (-1, 1, -5):
        offset[0] = hours * 3600.0
        began = time.now
        assert turns(time, kept, 2)[0] == 0
        assert time.now - began == pytest.approx(3600, abs=0.01)


def test_a_reset_is_measured_by_the_servers_clock() -> None:
    """A machine that is an hour behind doesn't wait an hour for a reset in 5 seconds."""
    at = "Tue, 14 Nov 2023 22:13:20 GMT"
    headers = {"x-ratelimit-reset": "1700000005", "date": at}
    for clock in (1_699_996_400.0, 1_700_003_600.0):
        assert pace.stated_wait(headers, clock) == 5
    assert pace.stated_wait({**headers, "date": "soon"}, 1_700_000_001.0) == 4


def test_a_pause_holds_all_workers_and_the_longest_counts() -> None:
    """A pause of seven seconds is not shortened by one of two."""
    time = Time()
    kept = paced(time, 10)
    turns(time, kept, 1)
    kept.pause(7)
    kept.pause(2)
    began = time.now
    turns(time, kept, 1)
    assert time.now - began == pytest.approx(7)


@pytest.mark.parametrize(
    ("remaining", "waits"), [("21", False), ("20", True), ("0", True), ("many", False)]
)
def test_a_share_of_the_servers_limit_is_left_to_others(
    remaining: str, waits: bool
) -> None:
    """A fifth of a hundred: with twenty left all wait for the reset, stated as a point
    in time or as seconds.
    """
    for reset in ("9", None):
        time = Time()
        kept = paced(time, 10, leave_rate=0.2)
        at = reset or str(int(time.now) + 9)
        kept.observe(
            {
                "x-ratelimit-limit": "100",
                "x-ratelimit-remaining": remaining,
                "x-ratelimit-reset": at,
            }
        )
        began = time.now
        turns(time, kept, 1)
        assert (time.now - began == pytest.approx(9)) is waits


def test_nothing_left_waits_even_where_the_limit_is_not_stated() -> None:
    """Remaining 0 is enough; without a reset there is nothing to wait for."""
    time = Time()
    kept = paced(time, 10)
    kept.observe({"x-ratelimit-remaining": "0"})
    kept.observe({"x-ratelimit-reset": "5"})
    turns(time, kept, 1)
    assert time.slept == []
    kept.observe({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "5"})
    turns(time, kept, 1)
    assert sum(time.slept) == pytest.approx(5)


@given(st.integers(1, 2000))
def test_backoff_is_full_jitter_under_a_ceiling(attempt: int) -> None:
    """Anywhere from nothing to twice as much each time, never over a minute."""
    assert 0 <= pace.full_jitter(attempt) <= min(60.0, 2.0 ** min(attempt, 10))


@given(
    st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted), st.integers(1, 60)
)
def test_the_pieces_of_a_range_cover_it_once(ends: list[int], size: int) -> None:
    """In order, without gap or overlap, none larger than asked for."""
    first, last = ends
    pieces = payload.pieces((first, last), size)
    assert [p for f, t in pieces for p in range(f, t + 1)] == list(
        range(first, last + 1)
    )
    assert max(t - f + 1 for f, t in pieces) <= size


class Notes:
    """An outcome log in memory."""

    def __init__(self) -> None:
        self.outcome: dict[int, str] = {}
        self.reserved = -1

    async def reserve(self, position: int) -> None:
        """Note how far."""
        self.reserved = max(self.reserved, position)

    async def confirm_lock(self) -> None:
        """Always."""

    async def refuse(self) -> None:
        """As a ledger does whose lock is gone."""
        raise TerminalBrazeError("the ledger is ours no more")

    def acknowledged(
        self, part: tuple[int, int], rejected: dict[int, str], *, may_be_applied: bool
    ) -> None:
        """Sent, but for the rejected."""
        self._set(part, "sent")
        self.outcome |= {
            p: f"{why}, perhaps applied" if may_be_applied else why
            for p, why in rejected.items()
        }

    def unacknowledged(
        self, part: tuple[int, int], reason: str, *, attempted: bool
    ) -> None:
        """Unknown or not attempted."""
        self._set(part, "unknown" if attempted else "not attempted")

    def _set(self, part: tuple[int, int], outcome: str) -> None:
        for position in range(part[0], part[1] + 1):
            assert position not in self.outcome, "an outcome is given once"
            assert position <= self.reserved, "nothing is sent before it is reserved"
            self.outcome[position] = outcome


Answering = Callable[[int, list[str]], tuple[int, dict[str, str], Any]]


def sent_to(
    answer: Answering,
    n: int = 4,
    size: int = 4,
    retried_from: int | None = None,
    **braze: Any,
) -> tuple[Sent, dict[int, str], list[list[str]]]:
    """Send n users to a server that answers by ``answer(nth request, its ids)``:
    result, outcomes, requests seen.
    """
    seen: list[list[str]] = []

    async def track(request: web.Request) -> web.Response:
        ids = [item["external_id"] for item in (await request.json())["attributes"]]
        seen.append(ids)
        status, headers, body = answer(len(seen), ids)
        return web.Response(
            status=status,
            headers=headers,
            text=body if isinstance(body, str) else json.dumps(body),
        )

    app = web.Application(client_max_size=10**9)
    app.router.add_post("/users/track", track)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "application", lambda _: app)
        patch.setattr(pace, "BACKOFF_SECONDS", 0.001)
        with server.running() as bare:
            settings = Braze(
                **{
                    "endpoint": bare.url,
                    "concurrency": 1,
                    "requests_per_second": 1000,
                    **braze,
                }
            )
            log = Notes()
            ranges = payload.batches([1] * n, size, 10**6)
            items = pl.Series([f'{{"external_id":"{i}"}}' for i in range(n)])
            done = sending.send(
                Batches(items, ranges, 1_000_000),
                settings,
                KEY,
                log,
                False,
                retried_from,
            )
    return done, log.outcome, seen


OK: tuple[int, dict[str, str], Any] = (201, {}, {"message": "success"})


def scripted(*script: tuple[int, dict[str, str], Any]) -> Answering:
    """These answers in turn, then success."""
    return lambda n, _: script[n - 1] if n <= len(script) else OK


def test_a_request_that_is_too_large_becomes_smaller_until_it_fits() -> None:
    """At most one object a request: 4, 2, 1, 1, 2, 1, 1, in the order of the plan, and
    all are sent.
    """
    too_large: Answering = lambda _, ids: OK if len(ids) == 1 else (413, {}, "")  # noqa: E731
    done, outcome, seen = sent_to(too_large)
    assert seen == [
        ["0", "1", "2", "3"],
        ["0", "1"],
        ["0"],
        ["1"],
        ["2", "3"],
        ["2"],
        ["3"],
    ]
    assert set(outcome.values()) == {"sent"}
    assert (done.error, done.n_requests) == (None, 7)


def taking(most: int, refused: str = "") -> Answering:
    """A server that refuses requests of more users, and any with the refused one."""
    too_long = (400, {}, {"message": "Max Input Length Exceeded"})

    def answer(_: int, ids: list[str]) -> tuple[int, dict[str, str], Any]:
        return too_long if len(ids) > most or refused in ids else OK

    return answer


def test_a_contract_of_fifty_is_learned_from_one_refusal() -> None:
    """Braze refuses 75 and takes 50, which all later requests have, however many
    workers there are: the first request goes alone.
    """
    done, outcome, seen = sent_to(taking(50), n=300, size=75, concurrency=16)
    sizes = [len(ids) for ids in seen]
    assert sizes[:3] == [75, 50, 25]
    assert sorted(sizes[3:], reverse=True) == [50, 50, 50, 50, 25]
    assert (set(outcome.values()), len(outcome)) == ({"sent"}, 300)
    assert (done.error, done.max_users) == (None, 50)


def test_a_contract_of_five_is_learned_in_the_first_range() -> None:
    """Every later request has five users, and none is refused any more."""
    done, outcome, seen = sent_to(taking(5), n=225, size=75, concurrency=16)
    sizes = [len(ids) for ids in seen]
    assert sizes[:5] == [75, 50, 25, 10, 5]
    assert (sizes.count(5), max(sizes[-30:])) == (45, 5)
    assert (set(outcome.values()), len(outcome)) == ({"sent"}, 225)
    assert (done.error, done.max_users) == (None, 5)


def test_one_user_who_spoils_a_request_makes_no_other_smaller() -> None:
    """Whatever holds user 3 is refused, which says nothing about sizes."""
    done, outcome, seen = sent_to(taking(75, refused="3"), n=225, size=75)
    assert [len(ids) for ids in seen[-2:]] == [75, 75]
    assert outcome.pop(3) == "400 Max Input Length Exceeded"
    assert set(outcome.values()) == {"sent"}
    assert done.max_users is None


def test_a_size_is_learned_from_another_range_if_the_first_is_spoiled() -> None:
    """The first range with user 3 tells nothing, the second one does."""
    done, outcome, seen = sent_to(taking(50, refused="3"), n=300, size=75)
    assert [len(ids) for ids in seen[-3:]] == [50, 50, 50]
    assert (len(outcome), done.max_users) == (300, 50)


def test_a_rejected_user_without_a_name_is_identified_by_single_requests() -> None:
    """User 2 makes every answer vague: the others are sent, and that user is rejected
    with the text.
    """
    vague = (201, {}, {"message": "success", "errors": ["2 is odd"]})
    done, outcome, seen = sent_to(lambda _, ids: vague if "2" in ids else OK)
    assert outcome == {0: "sent", 1: "sent", 2: "2 is odd, perhaps applied", 3: "sent"}
    assert [len(ids) for ids in seen] == [4, 1, 1, 1, 1]
    assert done.error is None


def test_a_limit_makes_all_wait_and_is_no_failure() -> None:
    """After forty 429 with next to no retry_seconds all users are sent, and no request
    counts as unanswered.
    """
    limited = (429, {"x-ratelimit-retry-after": "0"}, "")
    done, outcome, seen = sent_to(scripted(*[limited] * 40), retry_seconds=0.01)
    assert set(outcome.values()) == {"sent"}
    assert (len(seen), done.n_retries, done.n_unanswered, done.n_requests) == (
        41,
        40,
        0,
        1,
    )


def test_failures_end_when_their_time_is_over_and_leave_the_batch_unknown() -> None:
    """With 500 for ever the run stops: the first batch is unknown, the second was never
    tried.
    """
    done, outcome, _ = sent_to(lambda *_: (500, {}, ""), n=8, retry_seconds=0.01)
    assert isinstance(done.error, TransientBrazeError)
    assert outcome == dict.fromkeys(range(4), "unknown")
    assert done.n_unanswered > 0


def test_a_refused_key_stops_the_run_with_nothing_attempted() -> None:
    """A 401 applied nothing; the next batches are not tried."""
    done, outcome, seen = sent_to(
        lambda *_: (401, {}, {"message": f"Invalid API key: {KEY}"}), n=12
    )
    assert isinstance(done.error, TerminalBrazeError)
    assert KEY not in str(done.error)
    assert (outcome, len(seen)) == (dict.fromkeys(range(4), "not attempted"), 1)


def test_a_refusal_after_a_failure_leaves_the_batch_unknown() -> None:
    """The 500 before the 401 may have been applied."""
    _, outcome, _ = sent_to(scripted((500, {}, ""), (401, {}, {})), n=4)
    assert set(outcome.values()) == {"unknown"}


def test_a_rejection_after_a_lost_answer_may_be_applied() -> None:
    """The first attempt of four users was perhaps applied before the second rejects two
    of them.
    """
    refused = (201, {}, {"message": "success", "errors": [error(2), error(0)]})
    _, outcome, _ = sent_to(scripted((503, {}, ""), refused))
    assert outcome == {
        0: "bad, perhaps applied",
        1: "sent",
        2: "bad, perhaps applied",
        3: "sent",
    }
    assert sent_to(scripted(refused))[1] == {0: "bad", 1: "sent", 2: "bad", 3: "sent"}


def test_of_a_vague_answer_the_rest_is_unknown_when_the_run_stops() -> None:
    """The first user is sent, the second request is denied; what the vague answer
    accepted of the rest is unknown.
    """
    vague = (201, {}, {"message": "success", "errors": ["x"]})
    _, outcome, _ = sent_to(scripted(vague, OK, (403, {}, {})))
    assert outcome == {0: "sent", 1: "unknown", 2: "unknown", 3: "unknown"}


def test_of_a_request_refused_whole_the_rest_was_not_attempted() -> None:
    """After halving, the first half is sent and the second denied: nothing of it was
    applied.
    """
    _, outcome, _ = sent_to(scripted((413, {}, ""), OK, (403, {}, {})))
    assert outcome == {0: "sent", 1: "sent", 2: "not attempted", 3: "not attempted"}


def test_a_run_whose_users_are_all_rejected_stops() -> None:
    """It stops after 150 rejections without an accepted user between them."""

    def nobody(_, ids):
        return (
            400,
            {},
            {"message": "no", "errors": [error(i) for i in range(len(ids))]},
        )

    done, outcome, seen = sent_to(nobody, n=400, size=75)
    assert "rejected 150 users in a row" in str(done.error)
    assert (len(seen), len(outcome)) == (2, 150)
    counts = itertools.count()
    half: Answering = lambda n, ids: nobody(n, ids) if next(counts) % 2 == 0 else OK  # noqa: E731
    assert sent_to(half, n=400, size=75)[0].error is None


def test_users_rejected_in_earlier_runs_do_not_stop_the_run() -> None:
    """Of the same 400 rejections all but the first hundred were rejected before."""

    def nobody(_, ids):
        return (
            400,
            {},
            {"message": "no", "errors": [error(i) for i in range(len(ids))]},
        )

    done, outcome, _ = sent_to(nobody, n=400, size=75, retried_from=100)
    assert (done.error, len(outcome)) == (None, 400)


def test_a_failure_after_a_long_pause_is_tried_again() -> None:
    """Pauses the server asks for take nothing from the time that may be spent
    failing.
    """
    limited = (429, {"x-ratelimit-retry-after": "1"}, "")
    done, outcome, _ = sent_to(
        scripted(limited, (503, {}, ""), (503, {}, "")), retry_seconds=0.5
    )
    assert (done.error, set(outcome.values())) == (None, {"sent"})


def test_the_reset_of_a_limit_does_not_delay_a_retry() -> None:
    """A 503 whose limit resets in an hour is tried again at once."""
    usual = {
        "x-ratelimit-limit": "250000",
        "x-ratelimit-remaining": "249000",
        "x-ratelimit-reset": "2400",
    }
    done, outcome, _ = sent_to(scripted((503, usual, "")))
    assert (done.error, set(outcome.values())) == (None, {"sent"})
    assert done.seconds < 5


def test_a_refused_key_ends_the_pause_of_all_others() -> None:
    """One worker waits for an hour when another learns that the key is refused: the run
    ends at once.
    """
    hour = (429, {"x-ratelimit-retry-after": "3600"}, "")

    def answer(n: int, _: list[str]) -> tuple[int, dict[str, str], Any]:
        if n == 1:
            time.sleep(0.5)  # until the other one waits
        return (401, {}, {}) if n == 1 else hour

    began = time.monotonic()
    done, outcome, _ = sent_to(answer, n=16, concurrency=2)
    assert time.monotonic() - began < 10
    assert isinstance(done.error, TerminalBrazeError)
    assert set(outcome.values()) == {"not attempted"}


def test_a_request_that_waited_long_confirms_the_lock_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a pause the log is asked before anything is sent; if the lock is lost,
    nothing is sent.
    """
    monkeypatch.setattr(sending, "CONFIRM_SECONDS", 0.5)
    monkeypatch.setattr(Notes, "confirm_lock", Notes.refuse)
    done, outcome, seen = sent_to(scripted((429, {"x-ratelimit-retry-after": "1"}, "")))
    assert "ours no more" in str(done.error)
    assert (len(seen), set(outcome.values())) == (1, {"not attempted"})


@pytest.mark.parametrize(
    ("key", "fine"), [("abc-123", True), ("abc“", False), ("a\nb", False), (" ", False)]
)
def test_a_key_that_no_header_takes_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str, fine: bool
) -> None:
    """A curly quote from a word processor, a line break, nothing."""
    monkeypatch.setenv(client.KEY_VARIABLE, key)
    if fine:
        assert secret.from_environment() == key
        return
    with pytest.raises(TerminalBrazeError) as caught:
        secret.from_environment()
    assert "a\nb" not in str(caught.value)
    assert "“" not in str(caught.value)


def test_an_answer_that_cannot_be_unpacked_is_tried_again() -> None:
    """A body that claims to be gzip and is not leaves the outcome unknown, so it is
    sent again.
    """
    done, outcome, _ = sent_to(scripted((503, {"content-encoding": "gzip"}, "no gzip")))
    assert (done.error, set(outcome.values()), done.n_unanswered) == (None, {"sent"}, 1)


@pytest.mark.parametrize("endpoint", ["https://rest.no-such-host.invalid"])
def test_an_endpoint_that_does_not_exist_leaves_no_user_unknown(
    endpoint: str,
) -> None:
    """There was never a connection, so nothing was attempted."""
    log = Notes()
    batches = Batches(pl.Series(["{}"] * 4), [(0, 3)], 1_000_000)
    done = sending.send(batches, Braze(endpoint=endpoint), KEY, log, progress=False)
    assert "can't be found" in str(done.error)
    assert log.outcome == dict.fromkeys(range(4), "not attempted")


def test_a_run_ends_when_its_minutes_are_over() -> None:
    """A limit without end can't carry a run into the next night."""
    done, outcome, _ = sent_to(
        lambda *_: (429, {"retry-after": "0"}, ""), n=8, max_run_minutes=0.002
    )
    assert "max_run_minutes (0.002) are over" in str(done.error)
    assert set(outcome.values()) == {"not attempted"}


def test_a_hint_of_a_failing_server_is_kept() -> None:
    """503 with retry-after 0: tried again at once, whatever the backoff."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "full_jitter", lambda _: pytest.fail("the hint counts"))
        done, outcome, _ = sent_to(scripted((503, {"retry-after": "0"}, "")))
    assert (set(outcome.values()), done.n_retries, done.n_unanswered) == (
        {"sent"},
        1,
        1,
    )


def test_a_redirect_is_not_followed() -> None:
    """The key would go with it."""
    done, _, seen = sent_to(lambda *_: (302, {"location": "/users/track"}, ""))
    assert "302" in str(done.error)
    assert len(seen) == 1


def test_a_log_that_cannot_be_written_stops_the_run() -> None:
    """Nothing is sent that could not be recorded."""

    class Full(Notes):
        async def reserve(self, position: int) -> None:
            raise TerminalBrazeError("the ledger can't be written")

    with server.running(key=KEY) as sandbox:
        to = Braze(endpoint=sandbox.url)
        batches = Batches(pl.Series(["{}"]), [(0, 0)], 1_000_000)
        done = sending.send(batches, to, KEY, Full(), progress=False)
        assert "can't be written" in str(done.error)
        assert sandbox.state.n_requests == 0


def test_an_interrupt_stops_after_the_requests_under_way() -> None:
    """Ctrl-C in the second of a hundred: what was sent has its outcome, the others were
    not attempted.
    """

    def interrupting(n: int, _: list[str]) -> tuple[int, dict[str, str], Any]:
        if n == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return OK

    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a job in the background ignores it
    try:
        done, outcome, seen = sent_to(interrupting, n=400, requests_per_second=100)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "interrupted by hand" in str(done.error)
    assert 2 <= len(seen) < 50
    assert {
        who: what for who, what in outcome.items() if what != "not attempted"
    } == dict.fromkeys(range(4 * len(seen)), "sent")


def test_many_workers_send_each_batch_once() -> None:
    """Eight workers, fifty batches: each user once, in whatever order."""
    _, outcome, seen = sent_to(lambda *_: OK, n=200, size=4, concurrency=8)
    assert sorted(int(i) for ids in seen for i in ids) == list(range(200))
    assert set(outcome.values()) == {"sent"}


def test_batches_of_the_bulk_endpoint_go_to_its_path() -> None:
    """1,000 objects to /users/track/bulk, and 75 is the most without it."""
    assert Braze(bulk=True, batch_size=1000).path == "/users/track/bulk"
    with pytest.raises(ValueError, match="batch_size is at most 75"):
        Braze(batch_size=76)


def positions(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """All positions of ranges in order."""
    return [p for first, last in ranges for p in range(first, last + 1)]


@given(
    st.lists(st.integers(1, 100), max_size=60),
    st.integers(1, 20),
    st.integers(120, 400),
)
def test_batches_cover_all_and_keep_both_limits(
    sizes: list[int], max_objects: int, max_bytes: int
) -> None:
    """Each position once, in order; a batch over the bytes holds a single object."""
    ranges = payload.batches(sizes, max_objects, max_bytes)
    assert positions(ranges) == list(range(len(sizes)))
    for first, last in ranges:
        total = len(payload.body(["x" * size for size in sizes[first : last + 1]]))
        assert last - first < max_objects
        assert total <= max_bytes or first == last


def test_the_pace_is_that_of_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second, an hour, and what is left to others."""
    kept: list[Any] = []
    monkeypatch.setattr(
        sending, "Pace", lambda *given: (kept.append(given), Pace(*given))[1]
    )
    sent_to(
        lambda *_: OK, requests_per_second=500, requests_per_hour=77, leave_rate=0.25
    )
    assert kept == [(500, 77, 0.25)]


def test_the_mean_time_to_an_answer_is_measured() -> None:
    """A server that takes a tenth of a second: about that, and not the time of the
    run.
    """

    def slow(*_: Any) -> tuple[int, dict[str, str], Any]:
        time.sleep(0.1)
        return OK

    done, _, _ = sent_to(slow, n=8, size=4)
    assert 0.1 <= done.answer_seconds < 1
    assert done.seconds >= 0.2
