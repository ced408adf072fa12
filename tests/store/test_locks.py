"""One process at a time changes a store; a lock whose holder died is taken over."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from churn.errors import StoreError
from churn.store.locks import INGEST, Timing, exclusively
from churn.store.places import Place

from ..object_server import Server

REMOTE = Place("s3://exports/my-store")
QUICK = Timing(renewal=0.05, lease=0.6, poll=0.05)
NEVER_RENEWED = Timing(renewal=100)

HOLD = """
import os, sys
from churn.store.locks import Timing, exclusively
from churn.store.places import Place
timing = Timing(renewal=0.05, lease=0.6, poll=0.05)
with exclusively(Place(sys.argv[1]), timing) as held:
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    held.check()
"""

ADD = """
import sys, time
from churn.errors import StoreError
from churn.store.locks import Timing, exclusively
from churn.store.places import Place
place = Place(sys.argv[1])
timing = Timing(renewal=0.1, lease=2, poll=0.02)
n_done = 0
while n_done < 8:
    try:
        with exclusively(place, timing) as held:
            count = int(place.read("count") or b"0")
            time.sleep(0.02)
            held.check()
            place.write("count", b"%d" % (count + 1))
            n_done += 1
    except StoreError:
        time.sleep(0.01)
"""


@contextmanager
def holder(place: Place) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Another process that holds the lock until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, place.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline().strip() == str(process.pid)
        yield process, process.stdin
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_lock_is_free_again_after_use(place: Place) -> None:
    """Also after an error, and a missing folder is made."""
    for _ in range(2):
        with exclusively(place, QUICK) as held:
            held.check()
    with pytest.raises(KeyError), exclusively(place, QUICK):
        raise KeyError
    with exclusively(place, QUICK) as held:
        held.check()


def test_a_second_process_is_refused_until_the_first_has_ended(place: Place) -> None:
    """The sentence names the store, and in an object store host and process too."""
    with holder(place) as (process, stdin):
        where = "" if place.is_local else rf" \(by process {process.pid} on .+\)"
        message = rf"^another ingest into {place.address}{where} is running; wait"
        with pytest.raises(StoreError, match=message), exclusively(place, QUICK):
            pass
        stdin.write("\n")
        stdin.flush()
        assert process.wait() == 0
        with exclusively(place, QUICK):
            pass


def test_the_lock_of_a_process_that_died_is_taken_over(place: Place) -> None:
    """An object store's lock is, once it has not been renewed for the lease."""
    with holder(place) as (process, _):
        process.kill()
        process.wait()
        start = time.monotonic()
        with exclusively(place, QUICK) as held:
            held.check()
        if not place.is_local:
            assert time.monotonic() - start >= QUICK.lease


def test_two_processes_at_once_lose_nothing(place: Place) -> None:
    """Both add to the same number as often as they get the lock."""
    command = [sys.executable, "-c", ADD, place.address]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert place.read("count") == b"16"


def test_a_holder_notices_that_its_lock_was_taken_over(server: Server) -> None:
    """It may not commit, and it leaves the lock to the process that now holds it."""
    with exclusively(REMOTE, NEVER_RENEWED) as first:
        first.check()
        with exclusively(REMOTE, QUICK) as second:
            for _ in range(2):
                with pytest.raises(StoreError, match=r"taken over.*run the command"):
                    first.check()
            second.check()
            refused = pytest.raises(StoreError, match="another ingest")
            with refused, exclusively(REMOTE, QUICK):
                pass
    with exclusively(REMOTE, QUICK) as third:
        third.check()


def test_a_holder_outlives_a_busy_object_store(server: Server) -> None:
    """While the store answers 503, neither process counts the other as dead."""
    patient = Timing(renewal=0.05, lease=2, poll=0.05)
    with exclusively(REMOTE, patient) as held:
        server.n_busy = 12
        refused = pytest.raises(StoreError, match="another ingest")
        with refused, exclusively(REMOTE, patient):
            pass
        assert server.n_busy == 0
        held.check()


def test_a_lock_that_cannot_be_read_is_taken_over(server: Server) -> None:
    """Nobody renews it, whatever it holds."""
    for content in (b"", b"[1]", b"\xff"):
        REMOTE.write(INGEST, content)
        with exclusively(REMOTE, QUICK) as held:
            held.check()


def test_a_folder_that_cannot_be_locked_is_one_sentence(tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "store").write_text("x")
    refused = pytest.raises(StoreError, match=r"store can't be locked \(File exists\)$")
    with refused, exclusively(Place(str(tmp_path / "store"))):
        pass


def test_a_missing_bucket_is_one_sentence(server: Server) -> None:
    """It isn't taken for a lock that somebody else holds."""
    refused = pytest.raises(StoreError, match=r"s3://none/store.*404 Not Found")
    with refused, exclusively(Place("s3://none/store")):
        pass
