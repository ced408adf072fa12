"""The ledger on SQLite and, if there is a server, on PostgreSQL."""

import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from churn.braze.ledger import (
    closing,
    database,
    erasure,
    history,
    runs,
    tables,
    users,
)
from churn.braze.ledger.recorder import Recorder
from churn.braze.ledger.runs import NOT_ATTEMPTED, SENT, UNKNOWN, Result
from churn.errors import TerminalBrazeError, TransientBrazeError

from .ledgers import Open, changes, deliver, synced


def test_sent_and_unknown_users_are_synced_and_no_others(opened: Open) -> None:
    """Sent, unknown, rejected within a sent range, not attempted, and without any
    answer: each has its outcome.
    """
    with opened() as ledger:
        plan = changes(*"abcde")
        deliver(
            ledger,
            "r1",
            plan,
            Result(0, 1, SENT, rejected=((1, "too long"),)),
            Result(2, 2, UNKNOWN, "no answer"),
            Result(3, 3, NOT_ATTEMPTED, "refused"),
        )
        assert synced(ledger) == {"a": ({"x": 1}, False), "c": ({"x": 1}, True)}
        row = history.runs(ledger).row(0, named=True)
        assert (row["n_users"], row["sent"], row["rejected"], row["unknown"]) == (
            5,
            1,
            1,
            1,
        )
        assert (row["not attempted"], row["pending"]) == (2, 0)
        assert history.rejected(ledger, "r1").rows() == [
            ("b", '{"x":1}', "too long", None)
        ]
        outcomes = {
            who: history.history(ledger, who).row(0, named=True)["outcome"]
            for who in "abcde"
        }
        assert outcomes == {
            "a": "sent",
            "b": "rejected",
            "c": "unknown",
            "d": "not attempted",
            "e": "not attempted",
        }


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_users_are_read_in_pages(
    opened: Open, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Whatever the size of a page and whatever the identifiers: all users, each once."""
    monkeypatch.setattr(users, "USERS_IN_A_PAGE", size)
    names = ["a\nb", "a\x1fb", '"quoted", \\', "ü😀"]
    with opened() as ledger:
        assert synced(ledger) == {}
        unknown = Result(0, 0, UNKNOWN)
        deliver(ledger, "r1", changes(names[0], x="one\nline"), unknown)
        deliver(ledger, "r2", changes(*names[1:]))
        assert synced(ledger) == {
            names[0]: ({"x": "one\nline"}, True),
            **{name: ({"x": 1}, False) for name in names[1:]},
        }


def test_the_next_run_overwrites_what_is_synced(opened: Open) -> None:
    """The newest values count and are confirmed again; other users stay."""
    with opened() as ledger:
        deliver(ledger, "r1", changes("a", "b"), Result(0, 1, UNKNOWN, "?"))
        deliver(ledger, "r2", changes("a", x=2))
        assert synced(ledger) == {"a": ({"x": 2}, False), "b": ({"x": 1}, True)}
        assert [
            h["run_id"] for h in history.history(ledger, "a").iter_rows(named=True)
        ] == ["r2", "r1"]


def test_places_are_apart(opened: Open) -> None:
    """Another workspace or kind of identifier has no users, names or runs
    of this one.
    """
    with opened() as ledger:
        deliver(ledger, "r1", changes("a"))
        assert history.names(ledger) == ["x"]
    for other in ({"workspace": "w2"}, {"kind": "braze_id"}):
        with opened(**other) as ledger:
            assert synced(ledger) == {}
            assert history.names(ledger) == []
            assert history.runs(ledger).is_empty()
            with pytest.raises(TerminalBrazeError, match="has no run r1"):
                history.restorable(ledger, "r1")


def test_a_run_id_is_used_once(opened: Open) -> None:
    """The second start is refused and stores nothing."""
    with opened() as ledger:
        deliver(ledger, "r1", changes("a"))
        with pytest.raises(TerminalBrazeError, match="run r1 is in the ledger already"):
            runs.start(ledger, "r1", "export", changes("b"), ["x"])
        assert history.runs(ledger).height == 1


def test_a_killed_run_is_closed_by_what_it_had_reserved(opened: Open) -> None:
    """Answered positions are sent, reserved ones without an answer unknown, later ones
    not attempted; closing again changes nothing.
    """
    with opened() as ledger:
        run = runs.start(ledger, "r1", "export", changes(*"abcdef"), ["x"])
        runs.record(ledger, run, [Result(1, 2, SENT)], reserve=4)
        assert history.runs(ledger)["pending"].item() == 4
    with opened() as ledger:
        assert closing.close_interrupted(ledger) == 2
        assert closing.close_interrupted(ledger) == 0
        assert synced(ledger) == {
            "a": ({"x": 1}, True),
            "b": ({"x": 1}, False),
            "c": ({"x": 1}, False),
            "d": ({"x": 1}, True),
        }
        assert history.last_unanswered_at(ledger) >= time.time() - 60
        assert history.runs(ledger).select("pending", "unknown", "not attempted").row(
            0
        ) == (0, 2, 2)
        assert (
            history.history(ledger, "e").row(0, named=True)["reason"]
            == closing.INTERRUPTED
        )


def test_a_run_killed_before_it_sent_changes_nothing(
    opened: Open,
) -> None:
    """Without a reservation no user is unknown and no request was lost."""
    with opened() as ledger:
        runs.start(ledger, "r1", "export", changes("a", "b"), ["x"])
        assert closing.close_interrupted(ledger) == 0
        assert (synced(ledger), history.last_unanswered_at(ledger)) == ({}, 0)


def test_a_run_with_unanswered_requests_is_remembered(opened: Open) -> None:
    """Even if the repetition was answered, the first attempt may still be applied."""
    with opened() as ledger:
        for run_id, lost in (("r1", False), ("r2", True)):
            run = runs.start(ledger, run_id, "export", changes("a"), ["x"])
            runs.record(ledger, run, [Result(0, 0, SENT)], 1)
            closing.finish(ledger, run, 1, {}, lost=lost)
            assert (history.last_unanswered_at(ledger) > 0) is lost


def test_the_mean_answer_time_of_the_newest_run_is_known(opened: Open) -> None:
    """Runs without any answer are passed over."""
    with opened() as ledger:
        assert history.answer_seconds(ledger) is None
        for run_id, summary in (
            ("r1", {"answer_seconds": 0.2}),
            ("r2", {"answer_seconds": 0.0}),
            ("r3", {}),
        ):
            run = runs.start(ledger, run_id, "export", changes("a"), ["x"])
            closing.finish(ledger, run, 1, summary, lost=False)
        assert history.answer_seconds(ledger) == 0.2


def test_one_run_at_a_time_holds_the_lock_and_others_can_read(opened: Open) -> None:
    """A second run is refused after its waiting time; a reader can read and not start a
    run.
    """
    with opened() as ledger:
        deliver(ledger, "r1", changes("a"))
        before = time.monotonic()
        with (
            pytest.raises(TransientBrazeError, match="another export is running"),
            opened(wait=0.3),
        ):
            pass
        assert time.monotonic() - before >= 0.3
        with opened(wait=None) as onlooker:
            assert not onlooker.is_exclusive
            assert synced(onlooker) == {"a": ({"x": 1}, False)}
            with pytest.raises(TransientBrazeError, match="another export is running"):
                runs.start(onlooker, "r2", "export", changes("b"), ["x"])
    with opened() as ledger:
        assert ledger.is_exclusive


HOLD = """
    import sys, time
    from churn.braze.ledger import database, runs
    import polars as pl
    place = ("https://rest.example.com", "w", "external_id")
    row = {"identifier": ["a"], "before": ["{}"], "after": ["{}"], "attributes": ["{}"]}
    with database.opened(sys.argv[1], *place) as ledger:
        runs.start(ledger, "killed", "export", pl.DataFrame(row), ["x"])
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_crash_releases_the_lock(opened: Open, url: str) -> None:
    """After the process that holds it is killed, the next run gets the lock and closes
    the old run.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with (
        pytest.raises(TransientBrazeError, match="another export is running"),
        opened(),
    ):
        pass
    child.kill()
    child.wait()
    child.stdout.close()
    with opened(wait=10) as ledger:
        closing.close_interrupted(ledger)
        assert history.runs(ledger).select("run_id", "not attempted").row(0) == (
            "killed",
            1,
        )


def test_a_run_is_restorable_except_for_users_written_since(opened: Open) -> None:
    """Of a, b and c a later run has written b, which therefore stays."""
    with opened() as ledger:
        deliver(
            ledger,
            "r1",
            changes("a", "b", "c", before='{"x":0}'),
            Result(0, 2, SENT, rejected=((2, "no"),)),
        )
        deliver(ledger, "r2", changes("b", x=5))
        assert history.restorable(ledger, "r1").rows() == [
            ("a", '{"x":0}', '{"x":1}', '{"x":1}')
        ]


def test_a_run_whose_plan_was_deleted_cannot_be_restored(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error states it; an empty plan would be misleading."""
    with opened() as ledger:
        deliver(ledger, "r1", changes("a"))
        monkeypatch.setattr(
            runs, "now", lambda: int(time.time()) + closing.KEEP_SECONDS + 10
        )
        deliver(ledger, "r2", changes("b"))
        with pytest.raises(TerminalBrazeError, match="no longer kept"):
            history.restorable(ledger, "r1")


def test_requests_under_way_at_a_kill_are_waited_for_even_if_all_were_answered(
    opened: Open,
) -> None:
    """A first attempt may still be applied though its repetition was answered."""
    with opened() as ledger:
        run = runs.start(ledger, "r1", "export", changes("a"), ["x"])
        runs.record(ledger, run, [Result(0, 0, SENT)], reserve=1)
        assert closing.close_interrupted(ledger) == 0
        assert history.last_unanswered_at(ledger) > 0


def test_a_rejection_after_a_lost_answer_leaves_the_user_unconfirmed(
    opened: Open,
) -> None:
    """The user is rejected in the report and sent all attributes again by the next
    export; a rejection without an earlier attempt is final.
    """
    with opened() as ledger:
        refused = Result(0, 1, SENT, rejected=((1, "no"),), may_be_applied=True)
        deliver(
            ledger,
            "r1",
            changes("a", "b", "c"),
            refused,
            Result(2, 2, SENT, rejected=((2, "no"),)),
        )
        assert synced(ledger) == {"a": ({"x": 1}, False), "b": ({"x": 1}, True)}
        assert history.runs(ledger).select("sent", "rejected").row(0) == (1, 2)


def test_rejections_are_counted_by_change(opened: Open) -> None:
    """The same change twice, another one once; of this place only."""
    with opened() as ledger:
        for run_id, x in (("r1", 1), ("r2", 1), ("r3", 2)):
            deliver(
                ledger,
                run_id,
                changes("a", "b", x=x),
                Result(0, 1, SENT, rejected=((0, "no"),)),
            )
        assert sorted(history.rejections(ledger).rows()) == [
            ("a", '{"x":1}', 2),
            ("a", '{"x":2}', 1),
        ]
    with opened("w2") as ledger:
        assert history.rejections(ledger).is_empty()


def test_forgetting_keeps_the_counts_of_a_run(opened: Open) -> None:
    """One sent and one rejected user are still counted after the rejected one was
    forgotten.
    """
    with opened() as ledger:
        deliver(
            ledger,
            "r1",
            changes("a", "b"),
            Result(0, 1, SENT, rejected=((1, "b is no id"),)),
        )
        erasure.forget(ledger, ["b"])
        assert history.runs(ledger).select("sent", "rejected").row(0) == (1, 1)
        assert history.kinds(ledger) == ["external_id"]


def test_an_error_of_the_database_shows_no_user(opened: Open) -> None:
    """Neither the statement nor its parameters are in the message."""
    with opened() as ledger:
        ledger.connection.exec_driver_sql("DROP TABLE churn_told")
        ledger.connection.commit()
    with (
        pytest.raises(
            TerminalBrazeError, match="failed and nothing more is sent"
        ) as caught,
        opened() as ledger,
    ):
        erasure.forget(ledger, ["secret-user@example.com"])
    assert "secret-user" not in f"{caught.value}"
    assert caught.value.__suppress_context__


def test_old_plans_are_deleted_and_synced_users_stay(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ninety days a run can no longer be restored."""
    with opened() as ledger:
        deliver(ledger, "r1", changes("a"))
        monkeypatch.setattr(
            runs, "now", lambda: int(time.time()) + closing.KEEP_SECONDS + 10
        )
        deliver(ledger, "r2", changes("b"))
        assert history.history(ledger, "a").is_empty()
        assert set(synced(ledger)) == {"a", "b"}
        assert history.runs(ledger).height == 2


def test_the_forgotten_leave_plans_at_once_and_the_rest_after_null(
    opened: Open,
) -> None:
    """Synced users wait for their null write, others are deleted at once; afterwards
    nothing about either is left.
    """
    with opened() as ledger:
        deliver(
            ledger,
            "r1",
            changes("a", "b", "c"),
            Result(0, 2, SENT, rejected=((1, "no"),)),
        )
        assert erasure.forget(ledger, ["a", "b", "never"]) == 1
        assert erasure.waiting(ledger) == ["a"]
        assert history.history(ledger, "a").is_empty()
        assert history.rejected(ledger, "r1").is_empty()
        erasure.complete(ledger)
        assert erasure.waiting(ledger) == ["a"]
        deliver(ledger, "r2", changes("a", x=None))
        erasure.complete(ledger)
        assert erasure.waiting(ledger) == []
        assert set(synced(ledger)) == {"c"}
        assert history.history(ledger, "a").is_empty()


def test_an_unconfirmed_null_completes_no_erasure(opened: Open) -> None:
    """Unknown is not acknowledged."""
    with opened() as ledger:
        deliver(ledger, "r1", changes("a"))
        erasure.forget(ledger, ["a"])
        deliver(ledger, "r2", changes("a", x=None), Result(0, 0, UNKNOWN, "?"))
        erasure.complete(ledger)
        assert erasure.waiting(ledger) == ["a"]
        assert erasure.forget(ledger, ["a"]) == 1


def test_forgetting_reaches_every_endpoint_of_the_same_kind(opened: Open) -> None:
    """Each place waits for a null write of its own; another kind of identifier is
    another person.
    """
    for workspace, kind in (
        ("w", "external_id"),
        ("w2", "external_id"),
        ("w3", "braze_id"),
    ):
        with opened(workspace, kind) as ledger:
            deliver(ledger, f"r-{workspace}", changes("a"))
    with opened() as ledger:
        assert erasure.forget(ledger, ["a"]) == 1
    for workspace, kind, expected in (
        ("w", "external_id", ["a"]),
        ("w2", "external_id", ["a"]),
        ("w3", "braze_id", []),
    ):
        with opened(workspace, kind) as ledger:
            assert erasure.waiting(ledger) == expected


def test_a_recorder_commits_all_outcomes_in_few_transactions(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand answers are durable after the block, in fewer than a hundred
    commits.
    """
    import asyncio

    commits = []
    record = runs.record
    monkeypatch.setattr(
        runs, "record", lambda *a: (commits.append(len(a[2])), record(*a))
    )
    with opened() as ledger:
        plan = changes(*[f"u{i}" for i in range(2000)])
        run = runs.start(ledger, "r1", "export", plan, ["x"])

        async def answer_all(recorder: Recorder) -> None:
            for i in range(2000):
                await recorder.reserve(i)
                if i % 2:
                    recorder.acknowledged((i, i), {}, may_be_applied=False)
                else:
                    recorder.unacknowledged((i, i), "gone", attempted=i % 4 == 0)

        with Recorder(ledger, run, ahead=500) as recorder:
            asyncio.run(answer_all(recorder))
        assert sum(commits) == 2000
        assert len(commits) < 100
        assert history.runs(ledger).select(
            "sent", "unknown", "not attempted", "pending"
        ).row(0) == (1000, 500, 500, 0)


def test_a_ledger_that_breaks_while_sending_stops_the_run(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next reservation raises, and so does the end of the block; no worker waits
    for ever.
    """
    import asyncio

    def full(*_: Any) -> None:
        raise OSError("disk full")

    with opened() as ledger:
        run = runs.start(ledger, "r1", "export", changes("a", "b"), ["x"])
        monkeypatch.setattr(runs, "record", full)
        with (
            pytest.raises(TerminalBrazeError, match=r"can't be written \(OSError\)"),
            Recorder(ledger, run, 0) as recorder,
            pytest.raises(TerminalBrazeError),
        ):
            asyncio.run(recorder.reserve(0))


@pytest.mark.parametrize("version", [1, 99])
def test_a_ledger_of_another_version_is_refused(tmp_path: Path, version: int) -> None:
    """An older or newer one gets a sentence with both versions and what to do."""
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("CREATE TABLE churn_schema (version INTEGER)")
        connection.execute(f"INSERT INTO churn_schema VALUES ({version})")
    connection.close()
    with (
        pytest.raises(
            TerminalBrazeError,
            match=f"schema version {version}, and this program reads versions 2 to 3",
        ),
        database.opened(f"sqlite:///{tmp_path}/ledger.db", "e", "w", "k"),
    ):
        pass


def test_a_backup_is_a_whole_ledger_and_overwrites_nothing(tmp_path: Path) -> None:
    """The copy can be opened and has the same users; a second copy to the same file is
    refused.
    """
    with database.opened(f"sqlite:///{tmp_path}/ledger.db", "e", "w", "k") as ledger:
        deliver(ledger, "r1", changes("a"))
        database.backup(ledger.connection, tmp_path / "copy.db")
        with pytest.raises(TerminalBrazeError, match="overwrites nothing"):
            database.backup(ledger.connection, tmp_path / "copy.db")
    with database.opened(f"sqlite:///{tmp_path}/copy.db", "e", "w", "k") as copy:
        assert synced(copy) == {"a": ({"x": 1}, False)}


def test_a_ledger_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    """A text file in its place is named without a traceback."""
    (tmp_path / "ledger.db").write_text(
        "not a database, but long enough to have a header of its own" * 20
    )
    with (
        pytest.raises(
            TerminalBrazeError,
            match=r"ledger.db can't be opened \(DatabaseError: it is no SQLite database\)",
        ),
        database.opened(f"sqlite:///{tmp_path}/ledger.db", "e", "w", "k"),
    ):
        pass


def test_a_password_is_in_no_message() -> None:
    """A server that does not exist is named without it."""
    for url in (
        "postgresql+psycopg://me:pass-word-1@127.0.0.1:9/x",
        "postgresql+psycopg://127.0.0.1:9/x?user=me&password=pass-word-1",
        "postgres://me:pass-word-1@127.0.0.1:9/x",
    ):
        with (
            pytest.raises(TerminalBrazeError) as caught,
            database.opened(url, "e", "w", "external_id"),
        ):
            pass
        assert "pass-word-1" not in str(caught.value)
        assert "127.0.0.1:9" in str(caught.value)
    for url in ("postgresql://me:pass-word-1@127.0.0.1:port/x", "pass-word-1"):
        with (
            pytest.raises(TerminalBrazeError, match="address can't be read") as caught,
            database.opened(url, "e", "w", "k"),
        ):
            pass
        assert "pass-word-1" not in str(caught.value)


def test_a_reservation_is_durable_before_anything_is_sent(opened: Open) -> None:
    """Once reserve has returned, the ledger holds how far the run may have come, and
    little more.
    """
    import asyncio

    from sqlalchemy import select

    with opened() as ledger:
        run = runs.start(ledger, "r1", "export", changes(*"abcdef"), ["x"])

        async def reserved(recorder: Recorder, position: int) -> int:
            await recorder.reserve(position)
            return int(ledger.connection.scalar(select(tables.RUNS.c.reserved)) or 0)

        with Recorder(ledger, run, ahead=2) as recorder:
            assert asyncio.run(reserved(recorder, 0)) == 3
            assert asyncio.run(reserved(recorder, 2)) == 3
            assert asyncio.run(reserved(recorder, 3)) == 6
            asyncio.run(recorder.confirm_lock())


def test_commits_are_synced_and_deleted_pages_overwritten(tmp_path: Path) -> None:
    """SQLite syncs every commit and overwrites freed pages."""
    with database.opened(f"sqlite:///{tmp_path}/ledger.db", "e", "w", "k") as ledger:
        pragma = {
            n: ledger.connection.exec_driver_sql(f"PRAGMA {n}").scalar()
            for n in ("synchronous", "secure_delete")
        }
        assert pragma == {"synchronous": 2, "secure_delete": 1}
        assert (
            ledger.connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        )


def test_of_two_forgotten_users_only_the_acknowledged_one_is_deleted(
    opened: Open,
) -> None:
    """The null write of the other one is still to be sent."""
    with opened() as ledger:
        deliver(ledger, "r1", changes("a", "b"))
        erasure.forget(ledger, ["a", "b"])
        deliver(ledger, "r2", changes("a", x=None))
        erasure.complete(ledger)
        assert erasure.waiting(ledger) == ["b"]


def test_a_history_has_the_values_outcome_and_time_of_each_run(opened: Open) -> None:
    """A run without an outcome is pending."""
    with opened() as ledger:
        deliver(
            ledger,
            "r1",
            changes("a", before='{"x":0}'),
            Result(0, 0, UNKNOWN, "no answer"),
        )
        runs.start(ledger, "r2", "export", changes("a", before='{"x":1}', x=2), ["x"])
        newest, oldest = history.history(ledger, "a").iter_rows(named=True)
        assert (newest["before"], newest["attributes"], newest["outcome"]) == (
            '{"x":1}',
            '{"x":2}',
            "pending",
        )
        assert (oldest["before"], oldest["outcome"], oldest["reason"]) == (
            '{"x":0}',
            "unknown",
            "no answer",
        )
        assert abs(oldest["at"].timestamp() - time.time()) < 86_400
