"""Delivery against the sandbox: real HTTP, a real ledger."""

import asyncio
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.braze import (
    answers,
    client,
    delivery,
    export,
    id_lists,
    outcomes,
    pace,
    payload,
)
from churn.braze.delivery import Delivery, Export, open_ledger
from churn.braze.ledger import database, history, users
from churn.errors import GateError, InputError, TerminalBrazeError, TransientBrazeError
from churn.report import delivery_tables
from churn.sandbox import server
from churn.sandbox.faults import Faults
from churn.sandbox.options import Options
from churn.sandbox.profiles import Profile
from churn.sandbox.server import Sandbox
from churn.settings import Settings

from ..conftest import unavailable

KEY = "secret-key-5f2a"
PASSED = pl.DataFrame(
    {"gate": ["missing_day"], "passed": [True], "sentence": ["all days are there"]}
)
FAILED = PASSED.with_columns(
    passed=pl.lit(False), sentence=pl.lit("2026-02-20 has no events")
)


def scores(segments: dict[str, str], score: int = 50) -> pl.DataFrame:
    """A scores table from user → segment."""
    return pl.DataFrame(
        {"user_id": list(segments), "segment": list(segments.values())},
        schema={"user_id": pl.String, "segment": pl.String},
    ).with_columns(
        cutoff=pl.lit(date(2026, 3, 1)),
        score=pl.lit(score),
        identifier=pl.col("user_id"),
    )


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A running sandbox whose key is in the environment."""
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    with server.running(key=KEY) as running:
        yield running


@pytest.fixture
def deliver(
    sandbox: Sandbox, make_study: Callable[..., Settings]
) -> Callable[..., Export]:
    """Export scores to the sandbox; ``braze`` overrides the study's table."""
    numbers = iter(range(1000))

    def run(
        table: pl.DataFrame,
        send: bool = True,
        braze: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Export:
        settings = make_study(
            braze={
                "endpoint": sandbox.url,
                "requests_per_second": 1000,
                **(braze or {}),
            }
        )
        run_id = kwargs.pop("run_id", f"run-{next(numbers)}")
        how = Delivery(settings, run_id, send, progress=False, **kwargs)
        return export.run(table, PASSED, how)

    return run


def held(sandbox: Sandbox, attribute: str = "churn_segment") -> dict[str, Any]:
    """Attribute by user, as the sandbox holds it."""
    profiles = sandbox.state.profiles.values()
    return {
        p.identifiers["external_id"]: p.attributes[attribute]
        for p in profiles
        if attribute in p.attributes
    }


def test_a_second_export_sends_nothing_and_changes_alone_are_sent(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """1,000 users take 14 requests of 75; again 0 requests and 0 data points; 150
    changes take exactly 2.
    """
    users = {f"u{i}": "low" for i in range(1000)}
    sandbox.state.add_users(list(users))
    assert deliver(scores(users)).summary["n_requests_sent"] == 14
    assert sandbox.state.n_data_points == 2000
    assert deliver(scores(users)).summary["n_requests_sent"] == 0
    assert (sandbox.state.n_requests, sandbox.state.n_data_points) == (14, 2000)
    flipped = users | {f"u{i}": "high" for i in range(150)}
    assert deliver(scores(flipped)).summary["n_requests_sent"] == 2
    assert held(sandbox) == flipped


def test_an_export_advises_the_size_that_the_contract_takes(
    make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contract of 50 users a request refuses one request and takes the others; the
    result names the size, and with it in the study nothing is refused.
    """
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    users = {f"u{i}": "low" for i in range(150)}
    contract = Options(count_mode="combined50")
    with server.running(key=KEY, known_users=list(users), options=contract) as sandbox:
        braze = {"endpoint": sandbox.url}
        first = Delivery(make_study(braze=braze), "r1", send=True, progress=False)
        done = export.run(scores(users), PASSED, first)
        assert (sandbox.state.n_tracked, sandbox.state.n_refused) == (5, 1)
        assert done.summary["n_users_per_request"] == 50
        table = delivery_tables.export_summary(done.summary)
        advice = "users that a request may hold: set braze.batch_size to it"
        assert dict(table.iter_rows())[advice] == "50"
        advised = make_study(braze=braze | {"batch_size": 50})
        second = Delivery(advised, "r2", send=True, progress=False)
        moved = dict.fromkeys(users, "high")
        done = export.run(
            scores(moved), PASSED, replace(second, accept=["change_rate"])
        )
        assert "n_users_per_request" not in done.summary
        assert (sandbox.state.n_tracked, sandbox.state.n_refused) == (8, 1)


def test_a_dry_run_sends_and_records_nothing(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The default needs no key, sends no request, and forecasts what
    sending then does.
    """
    sandbox.state.add_users(["a", "b"])
    monkeypatch.delenv(client.KEY_VARIABLE)
    dry = deliver(scores({"a": "high", "b": "low"}), send=False)
    assert (
        dry.summary["n_requests"],
        dry.summary["n_data_points"],
        dry.summary["dry_run"],
    ) == (1, 4, True)
    assert set(dry.outcomes["outcome"]) == {"planned"}
    assert sandbox.state.n_requests == 0
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    assert (
        deliver(scores({"a": "high", "b": "low"})).summary["n_data_points"]
        == sandbox.state.n_data_points
        == 4
    )


def test_no_user_is_created_unless_the_study_allows_it(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """An unknown user is acknowledged and not created; with create_unknown_users the
    profile appears.
    """
    deliver(scores({"stranger": "high"}))
    assert (sandbox.state.n_created, sandbox.state.silent) == (
        0,
        ["unknown user, update only"],
    )
    deliver(
        scores({"other": "high"}),
        braze={"create_unknown_users": True, "workspace": "w2"},
    )
    assert held(sandbox) == {"other": "high"}


def test_a_rejected_user_is_recorded_and_the_others_are_delivered(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    make_study: Callable[..., Settings],
) -> None:
    """One identifier too long for Braze, two good ones: each gets its outcome, and only
    the good ones are synced.
    """
    sandbox.state.add_users(["a", "b"])
    long = "x" * 988
    done = deliver(scores({"a": "high", long: "high", "b": "low"}))
    by_user = dict(done.outcomes.select("identifier", "outcome").iter_rows())
    assert by_user == {"a": "sent", "b": "sent", long: "rejected"}
    assert done.outcomes.filter(pl.col("outcome") == "rejected")[
        "reason"
    ].to_list() == [outcomes.UNDELIVERABLE]
    assert held(sandbox) == {"a": "high", "b": "low"}


def test_braze_own_partial_errors_are_mapped_to_users(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If Braze rejects one object of a batch, that user is rejected with its reason and
    sent again next time.
    """
    sandbox.state.add_users(["a", "b"])
    monkeypatch.setattr(payload, "max_bytes", lambda _: 5000)
    done = deliver(scores({"a": "high", "x" * 988: "high", "b": "low"}))
    refused = done.outcomes.filter(pl.col("outcome") == "rejected")
    assert refused["reason"].to_list() == ["'external_id' must be fewer than 988 bytes"]
    assert done.summary["n_sent"] == 2
    assert (
        deliver(scores({"a": "high", "x" * 988: "high", "b": "low"})).summary[
            "n_changed"
        ]
        == 1
    )


def test_users_who_are_no_longer_scored_lose_their_attributes_once(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """Both attributes become null, once; a user who is scored again is
    written again.
    """
    sandbox.state.add_users(["a", "b"])
    deliver(scores({"a": "high", "b": "low"}))
    gone = deliver(scores({"a": "high"}))
    assert (gone.summary["n_lapsed"], gone.summary["n_data_points"]) == (1, 2)
    assert gone.transitions.rows() == [("low", "removed", 1)]
    assert held(sandbox) == {"a": "high"}
    assert deliver(scores({"a": "high"})).summary["n_changed"] == 0
    assert deliver(scores({"a": "high", "b": "low"})).summary["n_changed"] == 1


def test_a_lapsed_value_is_written_instead_of_removal(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """With lapsed_value the segment becomes that value, and only the score
    is removed.
    """
    sandbox.state.add_users(["a", "b"])
    braze = {"lapsed_value": "lapsed"}
    deliver(scores({"a": "high", "b": "low"}), braze=braze)
    deliver(scores({"a": "high"}), braze=braze)
    assert held(sandbox) == {"a": "high", "b": "lapsed"}
    assert held(sandbox, "churn_score") == {"a": 50}


def test_a_score_alone_is_sent_only_once_it_moved_by_a_step(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """With the same segment nine points are kept back, and ten are sent without the
    segment.
    """
    sandbox.state.add_users(["a"])
    deliver(scores({"a": "high"}, 60))
    assert deliver(scores({"a": "high"}, 69)).summary["n_changed"] == 0
    assert deliver(scores({"a": "high"}, 70)).summary["n_data_points"] == 1
    assert held(sandbox, "churn_score") == {"a": 70}


def test_ledgers_of_other_endpoints_and_workspaces_are_apart(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """What one workspace acknowledged does not count for another."""
    sandbox.state.add_users(["a"])
    deliver(scores({"a": "high"}))
    assert (
        deliver(scores({"a": "high"}), braze={"workspace": "other"}).summary["n_sent"]
        == 1
    )


def test_a_missing_key_is_one_sentence(
    deliver: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
    sandbox: Sandbox,
) -> None:
    """Sending without CHURN_BRAZE_KEY names the variable to set."""
    monkeypatch.delenv(client.KEY_VARIABLE)
    with pytest.raises(TerminalBrazeError, match="CHURN_BRAZE_KEY is not set"):
        deliver(scores({"a": "high"}))


def test_a_wrong_key_stops_the_run_and_is_shown_nowhere(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Even if the server repeats it, the key is in no message, log or repr; nothing is
    retried or recorded.
    """
    sandbox.echo_key = True
    monkeypatch.setenv(client.KEY_VARIABLE, "wrong-key-77")
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(TerminalBrazeError, match="does not accept the key") as caught,
    ):
        deliver(scores({"a": "high"}))
    assert "wrong-key-77" not in "".join(
        [str(caught.value), repr(caught.value), caplog.text]
    )
    assert sandbox.state.n_requests == 1


def test_a_sandbox_that_is_down_is_one_sentence(
    make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing listens, the error names what to start, and no user is synced."""
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    settings = make_study(braze={"endpoint": "http://127.0.0.1:9"})
    with pytest.raises(
        TerminalBrazeError,
        match=r"start the sandbox with `churn sandbox`.*0 of 1 users",
    ):
        export.run(
            scores({"a": "high"}),
            PASSED,
            Delivery(settings, "r", send=True, progress=False),
        )
    with open_ledger(settings) as ledger:
        assert users.synced(ledger).is_empty()


def test_a_failed_gate_stops_the_export_unless_accepted_by_name(
    sandbox: Sandbox, make_study: Callable[..., Settings]
) -> None:
    """The gate's own sentence is in the error; accepting an unknown name is an error
    too.
    """
    sandbox.state.add_users(["a"])
    settings = make_study(braze={"endpoint": sandbox.url})
    table = scores({"a": "high"})
    with pytest.raises(GateError, match="2026-02-20 has no events"):
        export.run(table, FAILED, Delivery(settings, "r1", progress=False))
    with pytest.raises(GateError, match="mising_day is not a gate"):
        export.run(
            table,
            FAILED,
            Delivery(settings, "r2", accept=["mising_day"], progress=False),
        )
    done = export.run(
        table,
        FAILED,
        Delivery(settings, "r3", send=True, accept=["missing_day"], progress=False),
    )
    assert done.summary["n_sent"] == 1


def test_export_works_where_an_event_loop_already_runs(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """Called from inside a coroutine, as in a cell of Jupyter, it sends."""
    sandbox.state.add_users(["a"])

    async def cell() -> Export:
        return deliver(scores({"a": "high"}))

    assert asyncio.run(cell()).summary["n_sent"] == 1


def test_sample_bodies_show_no_user_id(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """The body in the report is real but for its ids."""
    done = deliver(scores({"alice-17": "high"}), send=False)
    assert "alice-17" not in done.sample_bodies[0]
    body = json.loads(done.sample_bodies[0])["attributes"][0]
    assert (body["churn_segment"], body["_update_existing_only"]) == ("high", True)


def answering(*answers: tuple[int, dict[str, str], bytes]) -> web.Application:
    """A server that gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def answer(request: web.Request) -> web.Response:
        status, headers, body = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_post("/users/track", answer)
    return app


OK = (201, {}, b'{"message":"success"}')


@pytest.mark.parametrize(
    "first",
    [
        (429, {"x-ratelimit-retry-after": "0"}, b"{}"),
        (429, {"x-ratelimit-reset": "0.01"}, b"Rate Limited"),
        (503, {"retry-after": "0"}, b""),
        (201, {"retry-after": "0"}, b'{"message":"succ'),
    ],
)
def test_transient_answers_are_retried(
    monkeypatch: pytest.MonkeyPatch,
    make_study: Callable[..., Settings],
    first: tuple[int, dict[str, str], bytes],
) -> None:
    """A 429 with whatever header, a 5xx and a truncated success are sent again after
    the stated wait, and count once.
    """
    monkeypatch.setattr(server, "application", lambda _: answering(first, OK))
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    with server.running() as bare:
        settings = make_study(braze={"endpoint": bare.url})
        done = export.run(
            scores({"a": "high"}),
            PASSED,
            Delivery(settings, "r", send=True, progress=False),
        )
    assert (done.summary["n_sent"], done.summary["n_requests_sent"]) == (1, 1)


def test_errors_that_name_no_user_are_resolved_one_by_one(
    monkeypatch: pytest.MonkeyPatch, make_study: Callable[..., Settings]
) -> None:
    """After a 201 whose error is a plain string both users are sent singly, and each
    gets an outcome.
    """
    vague = (201, {}, b'{"message":"success","errors":["something went wrong"]}')
    monkeypatch.setattr(server, "application", lambda _: answering(vague, OK, vague))
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    with server.running() as bare:
        settings = make_study(braze={"endpoint": bare.url, "concurrency": 1})
        done = export.run(
            scores({"a": "high", "b": "low"}),
            PASSED,
            Delivery(settings, "r", send=True),
        )
    assert sorted(done.outcomes.select("outcome", "reason").rows()) == [
        ("rejected", "something went wrong"),
        ("sent", ""),
    ]


def test_rate_limit_hints_come_as_epoch_or_seconds() -> None:
    """A large reset is a point in time, a small one the seconds left; without a header
    there is no hint.
    """
    assert pace.stated_wait({"x-ratelimit-reset": "7"}, now=2e9) == 7
    assert pace.stated_wait({"x-ratelimit-reset": "1000000001"}, now=2e9) == 0
    assert pace.stated_wait({}, now=2e9) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, TransientBrazeError), (429, TransientBrazeError), (418, TerminalBrazeError)],
)
def test_statuses_decide_by_type_whether_to_try_again(
    status: int, kind: type[Exception]
) -> None:
    """5xx and 429 raise a transient error, a bad request a terminal one."""
    with pytest.raises(kind):
        answers.read(status, b'{"message":"no"}', 2, KEY)


@pytest.mark.parametrize("name", ["email", "$x", "_id", "appboy_x"])
def test_names_that_braze_takes_for_something_else_are_refused(name: str) -> None:
    """Reserved profile fields and prefixes cannot be attribute names."""
    with pytest.raises(TerminalBrazeError, match="can't be a custom attribute"):
        payload.check_names([name])


@pytest.mark.parametrize("text", ["2024-01-01", "12/1/2021", "", "x" * 256])
def test_values_that_braze_would_change_are_refused(text: str) -> None:
    """Text that looks like a date becomes one in Braze; over-long text is cut."""
    with pytest.raises(TerminalBrazeError, match="can't be a value"):
        payload.check_text(text)


def test_a_ledger_password_never_shows(tmp_path: Path) -> None:
    """A ledger that can't be opened is named without its password."""
    url = "postgresql+psycopg://me:pass-word-1@127.0.0.1:9/x"
    with (
        pytest.raises(TerminalBrazeError) as caught,
        database.opened(url, "e", "w", "external_id"),
    ):
        pass
    assert "pass-word-1" not in str(caught.value)


def test_a_ledger_on_postgresql_does_the_same(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    make_study: Callable[..., Settings],
) -> None:
    """On a real PostgreSQL users are sent once, a change alone, a used run id is
    refused, and the forgotten get null.
    """
    url = os.environ.get("CHURN_TEST_POSTGRES_URL")
    if not url:
        unavailable(
            "CHURN_TEST_POSTGRES_URL names no PostgreSQL server, "
            "the shared ledger was not tried"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHURN_LEDGER_URL", url)
        a = f"a-{secrets.token_hex(4)}"
        sandbox.state.add_users([a, "b"])
        braze = {"workspace": secrets.token_hex(4)}  # a server may be used twice
        first, second, third = (f"pg-{secrets.token_hex(4)}" for _ in range(3))
        assert (
            deliver(scores({a: "high", "b": "low"}), braze=braze, run_id=first).summary[
                "n_sent"
            ]
            == 2
        )
        assert (
            deliver(
                scores({a: "high", "b": "low"}), braze=braze, run_id=second
            ).summary["n_sent"]
            == 0
        )
        assert (
            deliver(scores({a: "low", "b": "low"}), braze=braze, run_id=third).summary[
                "n_sent"
            ]
            == 1
        )
        with pytest.raises(TerminalBrazeError, match="is in the ledger already"):
            deliver(scores({a: "high"}), braze=braze, run_id=third)
        settings = make_study(braze={"endpoint": sandbox.url, **braze})
        assert export.forget(settings, lambda _: [a, "never-held"]) == 1
        fourth, fifth = (f"pg-{secrets.token_hex(4)}" for _ in range(2))
        assert (
            deliver(scores({"b": "low"}), braze=braze, run_id=fourth).summary["n_sent"]
            == 1
        )
        assert held(sandbox) == {"b": "low"}
        assert (
            deliver(scores({"b": "low"}), braze=braze, run_id=fifth).summary[
                "n_changed"
            ]
            == 0
        )
        assert export.forget(settings, lambda _: [a]) == 0


@settings(max_examples=25)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["high", "low"])),
        min_size=1,
        max_size=5,
    )
)
def test_after_any_series_of_exports_braze_holds_the_last_scores(
    tmp_path_factory: pytest.TempPathFactory, nights: list[dict[str, str]]
) -> None:
    """Whatever the nights before, profiles equal the last night's segments, and a
    repetition sends nothing.
    """
    from churn.settings import parse

    folder = tmp_path_factory.mktemp("nights")
    with (
        server.running(key=KEY, known_users=list("abcdef")) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(client.KEY_VARIABLE, KEY)
        settings = parse(
            {
                "extracts": [{"source": "table", "path": "x"}],
                "braze": {"endpoint": running.url, "requests_per_second": 1000},
            },
            folder,
        )
        for i, night in enumerate([*nights, nights[-1]]):
            before = running.state.n_requests
            export.run(
                scores(night),
                PASSED,
                Delivery(settings, f"r{i}", send=True, progress=False),
            )
        assert held(running) == nights[-1]
        assert running.state.n_requests == before


@pytest.mark.parametrize(
    ("braze", "key", "sent_as"),
    [
        ({"identifier": "braze_id"}, ("braze_id", "who-1"), "who-1"),
        (
            {"identifier": "user_alias", "alias_label": "appsflyer_id"},
            ("user_alias", "appsflyer_id:who-1"),
            {"alias_name": "who-1", "alias_label": "appsflyer_id"},
        ),
    ],
)
def test_any_identifier_can_be_how_users_are_addressed(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    braze: dict[str, Any],
    key: tuple[str, str],
    sent_as: Any,
) -> None:
    """By Braze id or alias the right profile gets the segment; a user without an
    identifier is counted and not sent.
    """
    sandbox.state.profiles[key] = Profile({key[0]: key[1]})
    table = scores({"u1": "high", "u2": "low"}).with_columns(
        identifier=pl.Series(["who-1", None])
    )
    planned = deliver(table, send=False, braze=braze)
    body = json.loads(planned.sample_bodies[0])["attributes"][0][braze["identifier"]]
    assert type(body) is type(sent_as)
    assert "who-1" not in planned.sample_bodies[0]
    done = deliver(table, braze=braze)
    assert sandbox.state.profiles[key].attributes["churn_segment"] == "high"
    assert (done.summary["n_sent"], done.summary["n_unmatched"]) == (1, 1)
    assert done.outcomes["outcome"].sort().to_list() == ["not matched", "sent"]
    assert deliver(table, braze=braze).summary["n_requests_sent"] == 0


def test_the_summary_has_counts_minutes_and_answer_time(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """Its table states in words whether it was a dry run."""
    sandbox.state.add_users(["a"])
    done = deliver(scores({"a": "high", "x" * 988: "low"}))
    counts = {
        name: done.summary[name]
        for name in (
            "n_sent",
            "n_rejected",
            "n_unknown",
            "n_retries",
            "n_undeliverable",
        )
    }
    assert counts == {
        "n_sent": 1,
        "n_rejected": 0,
        "n_unknown": 0,
        "n_retries": 0,
        "n_undeliverable": 1,
    }
    assert 0 < done.summary["answer_seconds"] < 5
    assert 0 <= done.summary["minutes_taken"] < 0.5
    endpoint = done.summary["endpoint"]
    said = delivery_tables.destination(done.summary)
    assert said == f"Sent to {endpoint} (sandbox, not Braze), workspace default."
    table = delivery_tables.export_summary(done.summary)
    assert table.head(2).rows() == [
        ("endpoint", f"{endpoint} (sandbox, not Braze)"),
        ("workspace", "default"),
    ]
    assert (table.columns, dict(table.iter_rows())["users delivered"]) == (
        ["sent", "n"],
        "1",
    )
    dry_run = deliver(scores({"a": "low"}), send=False)
    dry = delivery_tables.export_summary(dry_run.summary)
    assert dry.columns == ["dry run: nothing was sent", "n"]
    assert "users delivered" not in dict(dry.iter_rows())
    real = {**dry_run.summary, "endpoint": "https://rest.fra-02.braze.eu"}
    said = delivery_tables.destination(real)
    assert said == (
        "Dry run, nothing was sent. It would go to https://rest.fra-02.braze.eu, "
        "workspace default."
    )


def test_opted_out_users_get_null_though_scored(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """Also with a lapsed value in the study; a user who was never sent anything is left
    alone.
    """
    sandbox.state.add_users(["a", "b"])
    deliver(scores({"a": "high", "b": "low"}))
    done = deliver(
        scores({"a": "high", "b": "low"}),
        braze={"lapsed_value": "lapsed"},
        opted_out=["a", "never-held"],
    )
    assert (done.summary["n_gone"], done.summary["n_unchanged"]) == (1, 1)
    assert held(sandbox) == {"b": "low"}


def test_a_renamed_attribute_is_removed_and_needs_to_be_accepted(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """Renaming changes all users: the limit is a sentence in a dry run and stops a
    sending; once accepted, the old name is null.
    """
    users = {f"u{i}": "high" for i in range(60)}
    sandbox.state.add_users(list(users))
    deliver(scores(users))
    renamed = {"segment_attribute": "risk"}
    dry = deliver(scores(users), send=False, braze=renamed)
    assert "60 of 60 synced users (100%)" in dry.summary["beyond_limits"][0]
    assert dry.summary["n_data_points"] == 120
    n_requests = sandbox.state.n_requests
    with pytest.raises(GateError, match="change_rate"):
        deliver(scores(users), braze=renamed)
    assert sandbox.state.n_requests == n_requests
    done = deliver(scores(users), braze=renamed, accept=["change_rate"])
    assert (done.summary["n_sent"], held(sandbox), held(sandbox, "risk")) == (
        60,
        {},
        users,
    )
    assert deliver(scores(users), braze=renamed).summary["n_requests_sent"] == 0


def test_a_bad_run_is_restored(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    make_study: Callable[..., Settings],
) -> None:
    """Users get what they had before, new ones null; a user written since stays."""
    sandbox.state.add_users(["a", "b", "new"])
    deliver(scores({"a": "low", "b": "low"}, 10), run_id="good")
    deliver(scores({"a": "high", "b": "high", "new": "high"}, 90), run_id="bad")
    deliver(scores({"a": "high", "b": "low", "new": "high"}, 90), run_id="later")
    settings = make_study(braze={"endpoint": sandbox.url})
    dry = export.restore("bad", Delivery(settings, run_id="back"))
    assert (dry.summary["n_changed"], dry.summary["n_data_points"]) == (2, 4)
    assert held(sandbox)["a"] == "high"
    done = export.restore(
        "bad", Delivery(settings, run_id="back", send=True, progress=False)
    )
    assert done.transitions.rows() == [("high", "low", 1), ("high", "removed", 1)]
    assert (held(sandbox), held(sandbox, "churn_score")) == (
        {"a": "low", "b": "low"},
        {"a": 10, "b": 90},
    )
    assert (
        export.restore(
            "bad", Delivery(settings, run_id="again", send=True, progress=False)
        ).summary["n_changed"]
        == 0
    )
    with pytest.raises(TerminalBrazeError, match="has no run nonsense"):
        export.restore("nonsense", Delivery(settings, run_id="x"))


def test_rejects_are_a_file_that_can_be_corrected_and_sent(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A rejected user stands there with the reason; with the right identifier the file
    is accepted.
    """
    sandbox.state.add_users(["a", "b"])
    monkeypatch.setattr(payload, "max_bytes", lambda _: 5000)
    deliver(scores({"a": "high", "b" * 988: "low"}), run_id="first")
    settings = make_study(braze={"endpoint": sandbox.url})
    with open_ledger(settings) as ledger:
        rejects = history.rejected(ledger, "first")
    assert rejects["reason"].to_list() == ["'external_id' must be fewer than 988 bytes"]
    rejects.with_columns(identifier=pl.lit("b")).write_csv(tmp_path / "mended.csv")
    assert (
        export.resend(
            tmp_path / "mended.csv", Delivery(settings, run_id="dry")
        ).summary["n_changed"]
        == 1
    )
    done = export.resend(
        tmp_path / "mended.csv",
        Delivery(settings, run_id="second", send=True, progress=False),
    )
    assert (done.summary["n_sent"], held(sandbox)) == (1, {"a": "high", "b": "low"})
    with pytest.raises(InputError, match=r"none.csv can't be read"):
        export.resend(tmp_path / "none.csv", Delivery(settings, run_id="third"))


def test_after_unanswered_requests_a_run_waits_before_it_sends(
    sandbox: Sandbox,
    deliver: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request of an earlier run may still be applied, so newer values wait; a run
    with nothing to send does not.
    """
    sandbox.state.add_users(["a"])
    waited: list[float] = []
    clock = SimpleNamespace(time=time.time, sleep=waited.append)
    monkeypatch.setattr(delivery, "time", clock)
    monkeypatch.setattr(pace, "BACKOFF_SECONDS", 0.001)
    deliver(scores({"a": "high"}))
    deliver(scores({"a": "low"}), braze={"quiet_seconds": 60})
    assert waited == []
    with server.running(
        key=KEY, known_users=["a"], faults=Faults(script={1: "close_before"})
    ) as failing:
        lossy = {"endpoint": failing.url, "quiet_seconds": 60}
        deliver(scores({"a": "high"}), braze=lossy)
        assert waited == []
        deliver(scores({"a": "high"}), braze=lossy)
        assert waited == []
        deliver(scores({"a": "low"}), braze=lossy)
    assert len(waited) == 1
    assert 50 < waited[0] <= 61


def test_forgetting_without_a_ledger_creates_none(
    make_study: Callable[..., Settings],
) -> None:
    """Nothing was ever sent, so nothing waits, and no file appears."""
    settings = make_study()
    assert export.forget(settings, lambda _: ["a"]) == 0
    assert not settings.path("data/store/ledger.db").exists()


def test_id_lists_are_one_file_per_segment(
    make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """They hold sorted identifiers under the kind's own header, without the opted-out;
    older files are replaced.
    """
    settings = make_study(braze={"id_lists": "lists"})
    table = scores({"b": "high", "a": "high", "c": "low", "d": "low", "": "low"})
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/mine.csv").write_text("not ours")
    id_lists.write(table, settings, ["d"])
    (tmp_path / "lists/mine.csv").rename(tmp_path / "mine.csv")
    assert {f.name: f.read_text() for f in (tmp_path / "lists").iterdir()} == {
        "churn_high.csv": "external_id\na\nb\n",
        "churn_low.csv": "external_id\nc\n",
    }
    alias = make_study(
        braze={"id_lists": "lists", "identifier": "user_alias", "alias_label": "idfv"}
    )
    id_lists.write(table.filter(pl.col("segment") == "high"), alias)
    assert {f.name: f.read_text() for f in (tmp_path / "lists").iterdir()} == {
        "churn_high.csv": "user_alias_name,user_alias_label\na,idfv\nb,idfv\n"
    }
    assert export.forget(alias, lambda _: []) == 0
    assert list((tmp_path / "lists").iterdir()) == []
    id_lists.write(table, make_study())


def test_the_date_of_the_last_change_arrives_as_a_date(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """Braze makes a datetime of it, which filters on dates need; a second run leaves
    it.
    """
    sandbox.state.add_users(["a"])
    deliver(scores({"a": "high"}), braze={"changed_attribute": "churn_since"})
    assert str(held(sandbox, "churn_since")["a"]).startswith("2026-03-01 00:00:00")
    assert (
        deliver(
            scores({"a": "high"}), braze={"changed_attribute": "churn_since"}
        ).summary["n_changed"]
        == 0
    )


def test_the_forecast_is_exactly_what_is_sent(
    sandbox: Sandbox, deliver: Callable[..., Export]
) -> None:
    """Users, requests and data points of a dry run are those of the sending after it,
    at every change.
    """
    users = {f"u{i}": "low" for i in range(500)}
    sandbox.state.add_users(list(users))
    for night in (
        users,
        users | {f"u{i}": "high" for i in range(0, 200)},
        dict(list(users.items())[100:]),
    ):
        dry = deliver(scores(night), send=False).summary
        before = (sandbox.state.n_requests, sandbox.state.n_data_points)
        sent = deliver(scores(night)).summary
        made = (
            sandbox.state.n_requests - before[0],
            sandbox.state.n_data_points - before[1],
        )
        assert (
            made
            == (dry["n_requests"], dry["n_data_points"])
            == (sent["n_requests_sent"], sent["n_data_points"])
        )
        assert sent["n_sent"] == dry["n_changed"]
