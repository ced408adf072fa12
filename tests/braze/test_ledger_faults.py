"""Ledgers that can't be used as they are: older ones, locked ones, no databases."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from churn.braze import delivery
from churn.braze.ledger import closing, database, history, keys, locking, runs
from churn.braze.ledger.database import Ledger
from churn.errors import TerminalBrazeError
from churn.settings import Settings

from ..conftest import unavailable
from .ledgers import Open, changes, deliver, synced

PLACE = ("https://rest.example.com", "w", "external_id")


def sqlite_at(file: Path, wait: float | None = 0.0) -> Any:
    """Open a ledger in a file."""
    return database.opened(f"sqlite:///{file}", *PLACE, wait)


@contextmanager
def read_only(file: Path) -> Iterator[Ledger]:
    """Open a ledger that takes no writes from now on."""
    with sqlite_at(file) as ledger:
        ledger.connection.exec_driver_sql("PRAGMA query_only = ON")
        yield ledger


def as_version_2(ledger: Ledger) -> None:
    """Make the ledger what the program before wrote."""
    for statement in (
        "ALTER TABLE churn_runs DROP COLUMN cutoff",
        "DROP TABLE churn_keys",
        "UPDATE churn_schema SET version = 2",
    ):
        ledger.connection.exec_driver_sql(statement)
    ledger.connection.commit()


def test_a_ledger_of_the_version_before_is_brought_up_to_date(opened: Open) -> None:
    """Its users and runs stay. What it didn't keep is unknown until the next export."""
    with opened() as ledger:
        deliver(ledger, "r1", changes("a"))
        as_version_2(ledger)
    with opened() as ledger:
        assert synced(ledger) == {"a": ({"x": 1}, False)}
        assert history.sent_cutoff(ledger) is None
        assert not keys.is_changed(ledger, "any-key")
        run = runs.start(
            ledger,
            "r2",
            runs.EXPORT,
            changes("b"),
            ["x"],
            date(2026, 3, 1),
        )
        runs.record(ledger, run, [runs.Result(0, 0, runs.SENT)], 1)
        closing.finish(ledger, run, 1, {}, lost=False)
        assert history.sent_cutoff(ledger) == (date(2026, 3, 1), "r2")
        keys.bind(ledger, "this-key")
        assert keys.is_changed(ledger, "any-key")


def test_an_update_that_was_killed_is_completed(opened: Open) -> None:
    """The column is there already and the version isn't."""
    with opened() as ledger:
        statement = "UPDATE churn_schema SET version = 2"
        ledger.connection.exec_driver_sql(statement)
        ledger.connection.commit()
    for _ in range(2):
        with opened() as ledger:
            assert history.sent_cutoff(ledger) is None


def test_a_reader_changes_no_ledger_that_an_export_uses(opened: Open) -> None:
    """An export of the earlier version may be running."""
    with opened() as ledger:
        as_version_2(ledger)
        with (
            pytest.raises(TerminalBrazeError, match="still uses those of an earlier"),
            opened(wait=None),
        ):
            pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "store").write_text("no folder")
    for below in ("store/ledger.db", "store/deeper/ledger.db"):
        with (
            pytest.raises(TerminalBrazeError, match=r"folder .* can't be made"),
            sqlite_at(tmp_path / below),
        ):
            pass


def test_a_lock_file_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    """The message names the file and the reason, for a writer and for a reader."""
    (tmp_path / "ledger.db.lock").mkdir()
    for wait in (0.0, None):
        with (
            pytest.raises(TerminalBrazeError, match=r"can't be locked by .*ledger.db"),
            sqlite_at(tmp_path / "ledger.db", wait),
        ):
            pass


def test_a_ledger_that_is_a_folder_is_one_sentence(tmp_path: Path) -> None:
    """The message says so."""
    (tmp_path / "ledger.db").mkdir()
    with (
        pytest.raises(TerminalBrazeError, match=r"can't be opened .*it is a folder"),
        sqlite_at(tmp_path / "ledger.db"),
    ):
        pass


def test_a_read_only_ledger_is_one_sentence_and_leaves_no_run_open(
    tmp_path: Path,
) -> None:
    """A run that can't be stored has not begun."""
    with sqlite_at(tmp_path / "ledger.db") as ledger:
        deliver(ledger, "r1", changes("a"))
    with (
        pytest.raises(TerminalBrazeError, match="OperationalError: it is read-only"),
        read_only(tmp_path / "ledger.db") as ledger,
    ):
        runs.start(ledger, "r2", runs.EXPORT, changes("a"), ["x"])
    with sqlite_at(tmp_path / "ledger.db") as ledger:
        assert history.runs(ledger)["run_id"].to_list() == ["r1"]


def test_a_full_disk_is_said_to_be_full() -> None:
    """An unknown code is left to its class."""
    full = sqlite3.OperationalError("no more")
    full.sqlite_errorname = "SQLITE_FULL"
    for cause, expected in (
        (full, "OperationalError: the disk is full"),
        (sqlite3.OperationalError("other"), "OperationalError"),
    ):
        error = OperationalError("INSERT", {}, cause)
        assert database._reason(error) == expected


@pytest.mark.parametrize(
    "sessions",
    [
        [7, 7, 7, 7, 7, 7, 7],
        [7, 8, 8, 9, 7, 7, 8],
        [7, 8, 7, 8, 7, 8, 7],
    ],
)
def test_a_pooler_is_known_by_its_sessions(
    monkeypatch: pytest.MonkeyPatch, sessions: list[int]
) -> None:
    """Both connections have one session, one has several, or they come in turn."""
    with pytest.raises(TerminalBrazeError, match="pool_mode=session"):
        probe(sessions)
    probe([7 if number == 0 else 8 for number in locking.PROBE])


def probe(sessions: list[int]) -> None:
    """Look for a pooler where the two connections have these sessions, in turn."""
    answers = iter(sessions)

    class Connected:
        def scalar(self, _: Any) -> int:
            return next(answers)

        def commit(self) -> None: ...
        def detach(self) -> None: ...
        def __enter__(self) -> "Connected":
            return self

        def __exit__(self, *_: object) -> None: ...

    class Engine:
        connect = Connected

    locking._refuse_pooler(Engine(), Connected())  # type: ignore[arg-type]


def test_a_transaction_pooler_is_refused_and_locks_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through a real pgbouncer, with its pool idle and busy; afterwards the direct
    address is free.
    """
    direct = os.environ.get("CHURN_TEST_POSTGRES_URL")
    pooled = os.environ.get("CHURN_TEST_PGBOUNCER_URL")
    if not direct or not pooled:
        unavailable("CHURN_TEST_PGBOUNCER_URL names no pgbouncer in front of a server")
    import psycopg

    for _ in range(3):
        for wait in (0.0, None):
            with (
                pytest.raises(TerminalBrazeError, match="pool_mode=transaction"),
                database.opened(pooled, *PLACE, wait),
            ):
                pass
    with psycopg.connect(pooled.replace("+psycopg", "")) as other:
        other.execute("SELECT 1")
        with (
            pytest.raises(TerminalBrazeError, match="pool_mode=transaction"),
            database.opened(pooled, *PLACE, 0.0),
        ):
            pass
    with database.opened(direct, *PLACE, 10) as ledger:
        assert ledger.is_exclusive


def test_a_clock_that_was_set_back_makes_nobody_wait_longer(
    opened: Open,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lost request an hour ahead of the clock is waited for as if it was lost now."""
    waited: list[float] = []
    clock = SimpleNamespace(time=time.time, sleep=waited.append)
    monkeypatch.setattr(delivery, "time", clock)
    braze = make_study(braze={"quiet_seconds": 30}).braze
    with opened() as ledger:
        run = runs.start(ledger, "r1", runs.EXPORT, changes("a"), ["x"])
        for ahead, expected in ((3600, 31), (-20, 11), (-3600, None)):
            at = int(time.time()) + ahead
            runs.update_run(ledger, run, lost_at=at)
            delivery._wait_for_unanswered(ledger, braze)
            assert (waited.pop() if waited else None) == (
                expected and pytest.approx(expected, abs=1.5)
            )
