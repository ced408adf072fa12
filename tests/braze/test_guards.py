"""What an export refuses since it contradicts the ledger: older scores, another key."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from churn.braze import export
from churn.braze.delivery import Delivery, Export, open_ledger
from churn.braze.key import KEY_VARIABLE
from churn.braze.ledger import closing, history, runs, tables, users
from churn.braze.ledger.runs import Result
from churn.errors import GateError, TerminalBrazeError
from churn.sandbox import server
from churn.sandbox.options import PERMISSIONS, Options
from churn.sandbox.server import Sandbox
from churn.settings import Settings

from .ledgers import changes

KEY, OTHER_KEY = "key-of-this-workspace", "key-of-another"
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 8)
PASSED = pl.DataFrame(
    {"gate": ["missing_day"], "passed": [True], "sentence": ["all days are there"]}
)
Send = Callable[..., Export]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that knows a and b and takes two keys; one is in the environment."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    options = Options(more_keys={OTHER_KEY: frozenset(PERMISSIONS.values())})
    with server.running(key=KEY, options=options, known_users=["a", "b"]) as running:
        yield running


@pytest.fixture
def study(sandbox: Sandbox, make_study: Callable[..., Settings]) -> Settings:
    """A study that delivers to the sandbox and writes the date of the last change."""
    braze = {"endpoint": sandbox.url, "changed_attribute": "churn_since"}
    return make_study(braze=braze)


@pytest.fixture
def send(study: Settings) -> Send:
    """Export scores of a cutoff: the users' segments."""
    numbers = iter(range(1000))

    def run(
        cutoff: date,
        accept: tuple[str, ...] = (),
        settings: Settings = study,
        send: bool = True,
        **segments: str,
    ) -> Export:
        table = pl.DataFrame(
            {"identifier": list(segments), "segment": list(segments.values())},
            schema={"identifier": pl.String, "segment": pl.String},
        ).with_columns(cutoff=pl.lit(cutoff), score=pl.lit(50))
        run_id = f"run-{next(numbers)}"
        how = Delivery(
            settings,
            run_id,
            send,
            accept,
            progress=False,
        )
        return export.run(table, PASSED, how)

    return run


def attributes(sandbox: Sandbox, user: str) -> dict[str, Any]:
    """What the sandbox holds of a user."""
    return sandbox.state.profiles[("external_id", user)].attributes


def test_scores_of_an_older_cutoff_are_refused(sandbox: Sandbox, send: Send) -> None:
    """Neither a segment nor its date goes back, until a person accepts it by name."""
    send(SECOND, a="high", b="low")
    with pytest.raises(GateError, match=r"older_cutoff: .* 2026-03-01, and run run-0"):
        send(FIRST, a="low", b="low")
    assert attributes(sandbox, "a")["churn_segment"] == "high"
    assert attributes(sandbox, "a")["churn_since"].date() == SECOND
    send(FIRST, accept=("older_cutoff",), a="low", b="low")
    assert attributes(sandbox, "a")["churn_segment"] == "low"


def test_a_dry_run_says_that_the_cutoff_is_older(send: Send) -> None:
    """It counts what would be written and refuses nothing."""
    send(SECOND, a="high")
    done = send(FIRST, send=False, a="low")
    assert done.summary["n_changed"] == 1
    assert "users would be put back" in done.summary["beyond_limits"][0]
    assert send(SECOND, send=False, a="low").summary["beyond_limits"] == []


def test_the_same_and_a_newer_cutoff_go_on(send: Send) -> None:
    """A second export of a day, such as one resumed after a kill, is no step back; nor
    is the night after an accepted one.
    """
    send(SECOND, a="high")
    assert send(SECOND, a="low").summary["n_sent"] == 1
    send(FIRST, accept=("older_cutoff",), a="high")
    between = date(2026, 3, 4)
    assert send(between, a="low").summary["n_sent"] == 1


def test_a_run_without_changes_counts_as_well(send: Send) -> None:
    """It found that Braze holds the newer scores already."""
    send(FIRST, a="high")
    assert send(SECOND, a="high").summary["n_changed"] == 0
    with pytest.raises(GateError, match="older_cutoff"):
        send(FIRST, a="low")


def test_a_run_that_reached_nobody_does_not_count(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key was refused, so Braze holds nothing of its cutoff."""
    monkeypatch.setenv(KEY_VARIABLE, "wrong-key")
    with pytest.raises(TerminalBrazeError, match="does not accept the key"):
        send(SECOND, a="high")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert send(FIRST, a="high").summary["n_sent"] == 1


def test_a_killed_run_counts_if_a_request_may_have_left(study: Settings) -> None:
    """Before the first reservation nothing was sent, and afterwards it may have been."""
    for run_id, n_reserved, expected in (("r1", 0, None), ("r2", 1, (SECOND, "r2"))):
        with open_ledger(study) as ledger:
            run = runs.start(
                ledger,
                run_id,
                runs.EXPORT,
                changes("a"),
                ["x"],
                SECOND,
            )
            if n_reserved:
                runs.record(ledger, run, [], n_reserved)
        with open_ledger(study) as ledger:
            closing.close_interrupted(ledger)
            assert history.sent_cutoff(ledger) == expected
            assert history.runs(ledger)["cutoff"][0] == "2026-03-08"


def test_another_workspace_has_cutoffs_of_its_own(send: Send, study: Settings) -> None:
    """What one was told says nothing about the other."""
    send(SECOND, a="high")
    braze = study.braze.model_copy(update={"workspace": "other"})
    other = study.model_copy(update={"braze": braze})
    assert send(FIRST, settings=other, a="low").summary["n_sent"] == 1


def test_restoring_is_no_step_back(
    sandbox: Sandbox, study: Settings, send: Send
) -> None:
    """It puts users back on purpose, and the cutoff that counts stays."""
    send(FIRST, a="low")
    send(SECOND, a="high")
    export.restore("run-1", Delivery(study, "back", send=True, progress=False))
    assert attributes(sandbox, "a")["churn_segment"] == "low"
    with pytest.raises(GateError, match="older_cutoff"):
        send(FIRST, a="medium")


def test_a_file_of_rejects_knows_its_cutoff(
    study: Settings, send: Send, tmp_path: Path
) -> None:
    """Rejects of an older export would put back users whom a newer one has written. A
    file without the column, made by hand, is taken.
    """
    send(SECOND, a="high")
    file = tmp_path / "rejects.csv"
    value = '"{""churn_segment"":""low""}"'
    file.write_text(f"identifier,attributes,reason,cutoff\na,{value},no,2026-03-01\n")
    with pytest.raises(GateError, match="older_cutoff"):
        export.resend(file, Delivery(study, "again", send=True, progress=False))
    file.write_text(f"identifier,attributes,cutoff\na,{value},yesterday\n")
    with pytest.raises(TerminalBrazeError, match="something else than dates"):
        export.resend(file, Delivery(study, "again"))
    file.write_text(f"identifier,attributes\na,{value}\n")
    done = export.resend(file, Delivery(study, "again", send=True, progress=False))
    assert done.summary["n_sent"] == 1


def test_the_key_of_another_workspace_is_refused(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a known label it would find nothing changed and tell nobody. A key that
    replaces the old one is accepted once; both are known from then on.
    """
    send(FIRST, a="high")
    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)
    with pytest.raises(GateError, match=r"changed_key: .* braze\.workspace"):
        send(FIRST, a="high")
    assert "changed_key" not in send(FIRST, accept=("changed_key",), a="high").summary
    assert send(SECOND, a="low").summary["n_sent"] == 1
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert send(SECOND, a="high").summary["n_sent"] == 1


def test_a_dry_run_looks_at_a_key_only_if_there_is_one(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that the key is another one, and needs none."""
    send(FIRST, a="high")
    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)
    beyond = send(FIRST, send=False, a="low").summary["beyond_limits"]
    assert len(beyond) == 1
    assert "was written with so far" in beyond[0]
    monkeypatch.delenv(KEY_VARIABLE)
    assert send(FIRST, send=False, a="low").summary["beyond_limits"] == []


def test_another_label_takes_another_key(
    send: Send, study: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what the refusal advises."""
    send(FIRST, a="high")
    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)
    braze = study.braze.model_copy(update={"workspace": "staging"})
    other = study.model_copy(update={"braze": braze})
    assert send(FIRST, settings=other, a="high").summary["n_sent"] == 1


def test_a_refused_key_is_not_remembered(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right one may follow a wrong one without a question."""
    monkeypatch.setenv(KEY_VARIABLE, "wrong-key")
    with pytest.raises(TerminalBrazeError):
        send(FIRST, a="high")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert send(FIRST, a="high").summary["n_sent"] == 1


def test_the_ledger_does_not_hold_the_key(send: Send, study: Settings) -> None:
    """Only a fingerprint, which is another one in every ledger and workspace."""
    send(FIRST, a="high")
    braze = study.braze.model_copy(update={"workspace": "other"})
    send(FIRST, settings=study.model_copy(update={"braze": braze}), a="high")
    for file in study.path("data/store").glob("ledger.db*"):
        assert KEY.encode() not in file.read_bytes()
    with open_ledger(study) as ledger:
        query = select(tables.KEYS.c.fingerprint)
        first, second = ledger.connection.scalars(query).all()
    assert first != second


def test_a_run_that_another_export_has_closed_stops(study: Settings) -> None:
    """Where a lock doesn't hold, two exports run at once; only the later one goes on,
    and the earlier one changes nothing more.
    """
    with open_ledger(study) as ledger:
        run = runs.start(ledger, "r1", runs.EXPORT, changes("a", "b"), ["x"])
        runs.record(ledger, run, [Result(0, 0, runs.SENT)], 1)
        closing.close_interrupted(ledger)
        later = runs.start(ledger, "r2", runs.EXPORT, changes("a", x=2), ["x"])
        with pytest.raises(TerminalBrazeError, match="was closed by another export"):
            runs.record(ledger, run, [], 2)
        with pytest.raises(TerminalBrazeError, match="was closed by another export"):
            closing.finish(ledger, run, 2, {}, lost=False)
        runs.record(ledger, later, [Result(0, 0, runs.SENT)], 1)
        closing.finish(ledger, later, 1, {}, lost=False)
        assert users.synced(ledger)["attributes"].to_list() == ['{"x":2}']
