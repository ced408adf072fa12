"""Exports and ingests from two machines, on one object store and one shared ledger."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from churn.braze import client
from churn.events import ingest
from churn.sandbox import server
from churn.sandbox.server import Sandbox
from churn.scoring import scores
from churn.settings import load
from churn.store import Store, objects, open_filled
from churn.store.score_schemas import Findings, Scores

from .. import object_server

N_USERS = 200
USERS = [f"u{number}" for number in range(N_USERS)]
KEY = "key-1"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CUTOFF, NEXT_CUTOFF = date(2026, 3, 2), date(2026, 3, 3)
BATCH = 5

STUDY = """\
store = "s3://machines/store"

[[extracts]]
source = "table"
path = "{raw}"

[gates]
max_age_days = 3650

[braze]
endpoint = "{endpoint}"
batch_size = 5
concurrency = 2
requests_per_second = 20
quiet_seconds = 1
max_change_rate = 1.0
"""
"""Forty requests, two at a time, so that an export sends for two seconds."""

WORK = """
import sys
import churn
from churn.errors import BusyError, ChurnError
study = churn.open(sys.argv[1])

def work():
    if sys.argv[2] == "export":
        return study.export(send=True, now="2026-03-03").done.summary["n_sent"]
    while True:
        try:
            return study.ingest("2026-06-01").done.n_added
        except BusyError:
            pass  # The other machine is at it, which took a while to find out.

try:
    print(work())
except ChurnError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""

FINDING = {
    "gate": "match_rate",
    "passed": True,
    "days": "",
    "expected": "",
    "seen": "",
    "sentence": "all are matched",
    "cases": "",
}

Start = Callable[[int, str], "subprocess.Popen[str]"]
"""Starts a step, "ingest" or "export", on machine 0 or 1."""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox that knows the users."""
    with server.running(key=KEY, known_users=USERS) as running:
        yield running


@pytest.fixture
def files(
    endpoint: str,
    postgres: str,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[Path]]:
    """The studies of two machines, whose store holds one night and its scores."""
    for name, value in object_server.environment(endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHURN_LEDGER_URL", postgres)
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    object_server.empty(endpoint, "machines")
    objects._client.cache_clear()
    raw = tmp_path / "raw"
    raw.mkdir()
    night(raw, 1)
    made = []
    for name in "ab":
        file = tmp_path / name / "churn.toml"
        file.parent.mkdir()
        file.write_text(STUDY.format(raw=raw, endpoint=sandbox.url))
        made.append(file)
    settings = load(made[0])
    ingest.ingest(settings, NOW, progress=False)
    score(open_filled(settings), CUTOFF, "high")
    yield made
    objects._client.cache_clear()


@pytest.fixture
def start(files: list[Path]) -> Iterator[Start]:
    """Start a step in a process of its own, which does not outlive the test."""
    with ExitStack() as processes:

        def started(machine: int, step: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, "-c", WORK, str(files[machine]), step],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield started


def night(raw: Path, day: int) -> None:
    """The extract file of one night: an event of every user."""
    rows = [f"{user},open,2026-03-{day:02d}T10:00:00" for user in USERS]
    (raw / f"{day}.csv").write_text("\n".join(["user_id,event,time", *rows]))


def score(store: Store, cutoff: date, segment: str) -> None:
    """Store scores that put every user into one segment."""
    table = pl.DataFrame({"user_id": USERS}).with_columns(
        pl.lit(None).alias("reason_1"),
        pl.lit(None).alias("reason_2"),
        pl.lit(None).alias("reason_3"),
        cutoff=pl.lit(cutoff),
        probability=pl.lit(0.5),
        segment=pl.lit(segment),
        score=pl.lit(50),
        decile=pl.lit(5),
        model_id=pl.lit("m"),
        identifier=pl.col("user_id"),
    )
    findings = pl.DataFrame([{**FINDING, "cutoff": cutoff}])
    table = Scores.validate(table, cast=True)
    scores.write(store, table, Findings.validate(findings))


def wait_until(is_true: Callable[[], bool], by: "subprocess.Popen[str]") -> None:
    """Return once a step that runs has made something true; fail after five minutes."""
    deadline = time.monotonic() + 300
    while not is_true():
        if by.poll() is not None:
            pytest.fail(by.communicate()[1])
        assert time.monotonic() < deadline, "waited for five minutes"
        time.sleep(0.02)


def n_sessions(address: str) -> int:
    """Number of programs that are connected to the ledger."""
    with psycopg.connect(address.replace("+psycopg", "")) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchone()
    assert found is not None
    return int(found[0])


def result(process: "subprocess.Popen[str]") -> int:
    """The number that a step printed once it has ended well."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return int(out.split()[-1])


def held(sandbox: Sandbox) -> list[Any]:
    """The segment of every profile."""
    profiles = sandbox.state.profiles.values()
    return [profile.attributes.get("churn_segment") for profile in profiles]


@pytest.mark.parametrize("first_is_killed", [False, True])
def test_two_exports_and_two_ingests_at_once_lose_nothing_and_repeat_nothing(
    first_is_killed: bool,
    start: Start,
    files: list[Path],
    sandbox: Sandbox,
    postgres: str,
    tmp_path: Path,
) -> None:
    """While one machine sends and the other waits to send the same, both ingest the same
    night. Every event is stored once and every user is written once. If the first is
    killed, the second sends the rest, and repeats only what had no answer in the ledger.
    """
    first = start(0, "export")
    wait_until(lambda: sandbox.state.n_tracked >= 3, first)
    os.kill(first.pid, signal.SIGSTOP)
    second = start(1, "export")
    wait_until(lambda: n_sessions(postgres) == 2, second)
    night(tmp_path / "raw", 2)
    ingests = [start(machine, "ingest") for machine in (0, 1)]
    assert sorted(map(result, ingests)) == [0, N_USERS]
    if first_is_killed:
        first.kill()
    else:
        os.kill(first.pid, signal.SIGCONT)
        assert result(first) == N_USERS
    n_sent = result(second)
    assert held(sandbox) == ["high"] * N_USERS
    if first_is_killed:
        # Reserved ahead: four batches for each of two workers.
        n_repeated = sandbox.state.n_data_points // 2 - N_USERS
        assert 0 < n_sent < N_USERS
        assert n_repeated <= 4 * 2 * BATCH
    else:
        assert n_sent == 0
        assert sandbox.state.n_data_points == 2 * N_USERS
    events = open_filled(load(files[0])).scan("events").collect()
    assert events["event_id"].n_unique() == events.height == 2 * N_USERS


def test_a_machine_that_waited_with_older_scores_sends_none_of_them(
    start: Start,
    files: list[Path],
    sandbox: Sandbox,
    postgres: str,
) -> None:
    """The machine that had read yesterday's scores finds that the other has written
    today's meanwhile, and asks for a decision.
    """
    first = start(0, "export")
    wait_until(lambda: sandbox.state.n_tracked >= 3, first)
    os.kill(first.pid, signal.SIGSTOP)
    waiting = start(1, "export")
    wait_until(lambda: n_sessions(postgres) == 2, waiting)
    os.kill(waiting.pid, signal.SIGSTOP)
    score(open_filled(load(files[0])), NEXT_CUTOFF, "low")
    os.kill(first.pid, signal.SIGCONT)
    assert result(first) == N_USERS
    assert result(start(0, "export")) == N_USERS
    os.kill(waiting.pid, signal.SIGCONT)
    _, err = waiting.communicate(timeout=300)
    assert "GateError: nothing was sent: older_cutoff" in err
    assert held(sandbox) == ["low"] * N_USERS
