"""Ingests from two machines into one store in an object store."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.errors import StoreError
from churn.events import ingest
from churn.settings import Settings, load
from churn.store import objects, open_filled

from .. import object_server

NOW = datetime(2026, 6, 1, tzinfo=UTC)
INGEST = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from churn.errors import StoreError
from churn.events import committing, ingest, merging
from churn.settings import load
from churn.store import locks
timing = locks.Timing(renewal=0.5, lease=12, poll=0.2)
locks.exclusively.__wrapped__.__defaults__ = (timing, locks.INGEST)
pause_at = sys.argv[2]
if pause_at:
    finish = merging._finished if pause_at == "finish" else committing.committed
    def waiting(*args, **kwargs):
        print("paused", flush=True)
        sys.stdin.readline()
        return finish(*args, **kwargs)
    if pause_at == "finish":
        merging._finished = waiting
    else:
        committing.committed = waiting
try:
    done = ingest.ingest(load(sys.argv[1]), datetime(2026, 6, 1, tzinfo=UTC), False)
except StoreError as error:
    sys.exit(f"refused: {error}")
print("added", done.n_added, flush=True)
"""


@pytest.fixture
def machines(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Settings, list[Path]]]:
    """A store that holds one night, and two folders whose studies use it."""
    for name, value in object_server.environment(endpoint).items():
        monkeypatch.setenv(name, value)
    object_server.empty(endpoint, "machines")
    objects._client.cache_clear()
    raw = tmp_path / "raw"
    raw.mkdir()
    night(raw, 0)
    files = []
    for name in "ab":
        file = tmp_path / name / "churn.toml"
        file.parent.mkdir()
        file.write_text(
            f'store = "s3://machines/store"\n[[extracts]]\nsource = "table"\n'
            f'path = "{raw}"\n'
        )
        files.append(file)
    settings = load(files[0])
    ingest.ingest(settings, NOW, progress=False)
    yield settings, files
    objects._client.cache_clear()


def night(raw: Path, number: int) -> None:
    """The extract file of one night: 50 events."""
    rows = [f"u{i},d{i},open,2026-03-{number + 1:02d}T10:{i:02d}:00" for i in range(50)]
    text = "user_id,anonymous_id,event,time\n" + "\n".join(rows)
    (raw / f"{number}.csv").write_text(text)


def start(file: Path, pause_at: str = "") -> "subprocess.Popen[str]":
    """An ingest in a process of its own, which may wait at a step."""
    return subprocess.Popen(
        [sys.executable, "-c", INGEST, str(file), pause_at],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_done(file: Path) -> int:
    """Start again whenever the other machine is at work; the events added."""
    for _ in range(30):
        with start(file) as process:
            out, err = process.communicate()
        if process.returncode == 0:
            return int(out.split()[-1])
        assert "refused: another ingest into s3://machines/store" in err, err
        time.sleep(0.5)
    raise AssertionError("never done")


def check(settings: Settings, n_nights: int) -> None:
    """Every table holds each event once."""
    store = open_filled(settings)
    n = 50 * n_nights
    assert store.scan("events").collect().height == n
    assert store.scan("volume").select(pl.col("n").sum()).collect().item() == n
    activity = store.scan("activity", adopted=False)
    assert activity.select(pl.col("n").sum()).collect().item() == n
    assert store.scan("events").collect()["event_id"].n_unique() == n


def test_two_machines_lose_nothing_and_add_nothing_twice(
    machines: tuple[Settings, list[Path]], tmp_path: Path
) -> None:
    """Each of two nights is ingested by both at once, the refused one again."""
    settings, files = machines
    added = []
    for number in (1, 2):
        night(tmp_path / "raw", number)
        threads = [
            threading.Thread(target=lambda f=f: added.append(until_done(f)))  # type: ignore[misc]
            for f in files
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(added) == 100
    check(settings, 3)


def test_the_work_of_a_machine_that_died_is_done_by_the_other(
    machines: tuple[Settings, list[Path]], tmp_path: Path
) -> None:
    """It takes the lock over once that has not been renewed, and rolls tables back."""
    settings, files = machines
    night(tmp_path / "raw", 1)
    with start(files[0], "commit") as first:
        assert first.stdout
        assert first.stdout.readline() == "paused\n"
        first.kill()
    check(settings, 1)
    assert until_done(files[1]) == 50
    check(settings, 2)


@pytest.mark.parametrize("step", ["finish", "commit"])
def test_a_machine_that_lost_the_lock_changes_nothing(
    machines: tuple[Settings, list[Path]], tmp_path: Path, step: str
) -> None:
    """Stopped in the middle and continued after the other has done the same night, it
    fails with one sentence, and the tables stay as the other made them.
    """
    settings, files = machines
    night(tmp_path / "raw", 1)
    with start(files[0], step) as first:
        assert first.stdout
        assert first.stdout.readline() == "paused\n"
        os.kill(first.pid, signal.SIGSTOP)
        assert until_done(files[1]) == 50
        before = open_filled(settings).place.read("store.json")
        os.kill(first.pid, signal.SIGCONT)
        _, err = first.communicate("\n")
    assert first.returncode == 1
    assert "refused: " in err
    assert "Traceback" not in err
    assert open_filled(settings).place.read("store.json") == before
    check(settings, 2)
    night(tmp_path / "raw", 2)
    assert until_done(files[1]) == 50
    check(settings, 3)


def test_a_second_ingest_on_one_machine_is_refused(tmp_path: Path) -> None:
    """With one sentence, while the first is running; the first completes."""
    (tmp_path / "raw").mkdir()
    night(tmp_path / "raw", 0)
    file = tmp_path / "churn.toml"
    file.write_text('[[extracts]]\nsource = "table"\npath = "raw"\n')
    with start(file, "commit") as first:
        assert first.stdout
        assert first.stdout.readline() == "paused\n"
        with pytest.raises(
            StoreError, match=r"another ingest into .* is running; wait"
        ):
            ingest.ingest(load(file), NOW, progress=False)
        first.communicate("\n")
    assert first.returncode == 0
    check(load(file), 1)
