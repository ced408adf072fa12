"""Ingest: extracts become an event log, and every row is counted."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from filelock import FileLock

from churn.errors import InputError, StoreError
from churn.events import ingest
from churn.settings import Settings, load
from churn.store import Store, create_or_open, open_filled

from ..conftest import SHARED

NOW = datetime(2026, 3, 20, tzinfo=UTC)


def write(path: Path, *rows: str) -> None:
    """A small table as CSV."""
    path.write_text("user_id,event,time\n" + "\n".join(rows) + "\n")


def test_every_row_is_kept_duplicate_or_quarantined(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Rows read equal kept plus duplicate plus quarantined ones, and each quarantined
    row is listed with file, row and reason.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,event_id\na,open,2026-03-01,1\na,open,2026-03-01,1\na,open,2099-01-01,2\na,open,soon,3\n"
    )
    settings = make_study()
    result = ingest.ingest(settings, NOW, progress=False)
    row = result.files.row(0, named=True)
    assert (row["rows"], row["kept"], row["duplicate"], row["quarantined"]) == (
        4,
        1,
        1,
        2,
    )
    listed = create_or_open(settings).scan("quarantine").sort("source_row").collect()
    assert listed["reason"].to_list() == ["in_the_future", "unreadable_time"]
    assert listed["source_row"].to_list() == [3, 4]


def test_ingesting_again_adds_nothing(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """The same file under the same or another name adds no event; a new file adds its
    own.
    """
    write(tmp_path / "events.csv", "a,open,2026-03-01", "b,open,2026-03-02")
    settings = make_study(extracts=[{"source": "table", "path": "*.csv"}])
    assert ingest.ingest(settings, NOW, progress=False).n_added == 2
    (tmp_path / "copy.csv").write_bytes((tmp_path / "events.csv").read_bytes())
    assert ingest.ingest(settings, NOW, progress=False).n_added == 0
    write(tmp_path / "later.csv", "a,open,2026-03-03")
    assert ingest.ingest(settings, NOW, progress=False).n_added == 1
    assert open_filled(settings).scan("events").select(pl.len()).collect().item() == 3


def test_a_file_that_cannot_be_read_leaves_the_store_as_it_was(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """With one bad file among good ones, the ingest fails and nothing of the good ones
    becomes visible.
    """
    write(tmp_path / "a.csv", "a,open,2026-03-01")
    (tmp_path / "b.csv").write_text("user_id,event\na,open\n")
    settings = make_study(extracts=[{"source": "table", "path": "*.csv"}])
    with pytest.raises(InputError, match=r"b\.csv lacks column"):
        ingest.ingest(settings, NOW, progress=False)
    with pytest.raises(StoreError, match="no events yet"):
        open_filled(settings)
    assert list(settings.store_path.glob(".churn-staging*")) == []


def test_rows_without_a_user_stay_in_the_log_and_out_of_activity(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """An event of an unknown person is kept in the log and counts for no user."""
    write(tmp_path / "events.csv", "a,open,2026-03-01", ",open,2026-03-01")
    settings = make_study()
    ingest.ingest(settings, NOW, progress=False)
    store = open_filled(settings)
    assert store.scan("events").collect().height == 2
    assert store.scan("activity").collect()["user_id"].to_list() == ["a"]


def test_late_rows_append_and_sum_on_read(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A second file with rows of the same user and day leaves the first batch's files
    unchanged, and the sums are right.
    """
    write(tmp_path / "1.csv", "a,open,2026-03-01")
    settings = make_study(extracts=[{"source": "table", "path": "*.csv"}])
    ingest.ingest(settings, NOW, progress=False)
    before = {f: f.stat().st_mtime_ns for f in settings.store_path.rglob("*.parquet")}
    write(tmp_path / "2.csv", "a,open,2026-03-01T05:00:00Z")
    ingest.ingest(settings, NOW, progress=False)
    assert all(f.stat().st_mtime_ns == mtime for f, mtime in before.items())
    daily = (
        open_filled(settings)
        .scan("activity")
        .group_by("user_id", "date", "event")
        .agg(pl.col("n").sum())
    )
    assert daily.collect()["n"].to_list() == [2]


def test_a_single_row_far_ahead_moves_no_coverage(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """With thirty full days and one stray row a year later, coverage ends on the
    thirtieth day.
    """
    rows = [f"u{i},open,2024-01-{d:02d}" for d in range(1, 31) for i in range(300)]
    write(tmp_path / "events.csv", *rows, "u1,open,2025-02-01")
    assert ingest.ingest(make_study(), NOW, progress=False).covered_until == date(
        2024, 1, 30
    )


def test_a_last_day_cut_off_half_way_is_not_covered(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """If the last day has a quarter of its weekday's events, coverage ends the day
    before, less the settling days.
    """
    rows = [
        f"u{i},open,2024-01-{d:02d}"
        for d in range(1, 31)
        for i in range(40 if d < 30 else 10)
    ]
    write(tmp_path / "events.csv", *rows)
    settings = make_study(
        extracts=[{"source": "table", "path": "events.csv", "settling_days": 2}]
    )
    assert ingest.ingest(settings, NOW, progress=False).covered_until == date(
        2024, 1, 27
    )


def test_a_store_of_another_time_zone_or_version_is_refused(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Days depend on the study's time zone, so a store of another zone or version is
    refused.
    """
    write(tmp_path / "events.csv", "a,open,2026-03-01")
    ingest.ingest(make_study(), NOW, progress=False)
    with pytest.raises(StoreError, match="another timezone"):
        ingest.ingest(make_study(timezone="Asia/Tokyo"), NOW, progress=False)
    file = make_study().store_path / "store.json"
    file.write_text(
        file.read_text().replace('"schema_version": 3', '"schema_version": 1')
    )
    with pytest.raises(StoreError, match="schema version 1"):
        ingest.ingest(make_study(), NOW, progress=False)


def test_a_second_ingest_at_the_same_time_is_refused(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """While one process holds the store, another is refused and changes nothing."""
    write(tmp_path / "events.csv", "a,open,2026-03-01")
    settings = make_study()
    settings.store_path.mkdir(parents=True)
    with (
        FileLock(settings.store_path / ".ingest.lock"),
        pytest.raises(StoreError, match="another ingest"),
    ):
        ingest.ingest(settings, NOW, progress=False)
    assert ingest.ingest(settings, NOW, progress=False).n_added == 1


INGEST = """
import sys
from datetime import datetime, UTC
from churn.events import ingest
from churn.settings import load
settings = load(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
ingest.ingest(settings, datetime(2026, 3, 20, tzinfo=UTC), progress=False)
"""


MOMENTS = 12


def test_killed_at_any_moment_the_log_is_the_old_one_or_the_new_one(
    tmp_path: Path,
) -> None:
    """Killed at twelve random moments of a second ingest, the store is in its old or
    its new state. The next ingest completes it, and events, activity and adopted
    history equal those of an undisturbed one.
    """
    who = ["" if i % 3 else f"u{i % 500}" for i in range(6_000)]
    first = "".join(
        f"{user},d{i % 500},open,2026-02-{1 + i % 28:02d}\n"
        for i, user in enumerate(who)
    )
    (tmp_path / "1.csv").write_text("user_id,anonymous_id,event,time\n" + first)
    (tmp_path / "churn.toml").write_text(
        '[[extracts]]\nsource = "table"\npath = "*.csv"\n'
    )
    settings = load(tmp_path / "churn.toml")
    ingest.ingest(settings, NOW, progress=False)
    (tmp_path / "2.csv").write_text(
        "user_id,anonymous_id,event,time\n" + first.replace("open", "buy")
    )
    backup = tmp_path / "backup"
    shutil.copytree(settings.store_path, backup)
    start = time.monotonic()
    ingest.ingest(settings, NOW, progress=False)
    took, undisturbed = time.monotonic() - start, content(settings)
    random_moments = random.Random(7)
    interrupted = 0
    for _ in range(MOMENTS):
        shutil.rmtree(settings.store_path)
        shutil.copytree(backup, settings.store_path)
        with waiting_child(tmp_path / "churn.toml") as process:
            start_work(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(random_moments.uniform(0, 1.3 * took))
            process.kill()
        interrupted += n_events(settings) == 6_000
        assert n_events(settings) in (6_000, 12_000)
        ingest.ingest(settings, NOW, progress=False)
        assert content(settings) == undisturbed
        assert list(settings.store_path.glob(".churn-staging*")) == []
    assert interrupted >= MOMENTS // 4


def waiting_child(study_file: Path) -> "subprocess.Popen[bytes]":
    """A process that has imported everything and waits, so that a random moment falls
    into its ingest.
    """
    command = [sys.executable, "-c", INGEST, str(study_file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process


def start_work(process: "subprocess.Popen[bytes]") -> None:
    """Let a waiting child begin its ingest."""
    assert process.stdin
    process.stdin.write(b"go\n")
    process.stdin.flush()


def content(settings: Settings) -> tuple[list[str], list[tuple[object, ...]]]:
    """Event ids, and daily activity summed by its key: the log's content, independent
    of its files.
    """
    store = open_filled(settings)
    ids = (
        store.scan("events")
        .select(pl.col("event_id").sort())
        .collect()["event_id"]
        .to_list()
    )
    key = ["user_id", "date", "event", "known_date"]
    daily = (
        store.scan("activity").group_by(key).agg(pl.col("n").sum()).sort(key).collect()
    )
    return ids, daily.rows()


def test_two_ingests_at_once_leave_one_whole_log(tmp_path: Path) -> None:
    """Of two processes that start together one ingests, and the other is refused or
    finds nothing new.
    """
    lines = "".join(
        f"u{i % 500},open,2026-02-{1 + i % 28:02d}\n" for i in range(20_000)
    )
    (tmp_path / "1.csv").write_text("user_id,event,time\n" + lines)
    (tmp_path / "churn.toml").write_text(
        '[[extracts]]\nsource = "table"\npath = "*.csv"\n'
    )
    with (
        waiting_child(tmp_path / "churn.toml") as one,
        waiting_child(tmp_path / "churn.toml") as two,
    ):
        start_work(one)
        start_work(two)
        codes = [one.wait(60), two.wait(60)]
    assert 0 in codes
    assert n_events(load(tmp_path / "churn.toml")) == 20_000


def n_events(settings: Settings) -> int:
    """The number of events in the log, none of which occurs twice."""
    ids = open_filled(settings).scan("events").select("event_id").collect()["event_id"]
    assert ids.is_unique().all()
    return len(ids)


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
def test_the_appsflyer_sample_keeps_18_of_21(
    make_study: Callable[..., Settings],
) -> None:
    """The sample holds one copy, one second attribution and one future row, and read
    again it adds nothing.
    """
    path = SHARED / "samples/appsflyer/pull_api/in_app_events_report_utc.csv"
    settings = make_study(extracts=[{"source": "appsflyer", "path": str(path)}])
    result = ingest.ingest(settings, NOW, progress=False)
    assert result.files.select("rows", "kept", "duplicate", "quarantined").row(0) == (
        21,
        18,
        1,
        2,
    )
    assert dict(result.reasons.iter_rows()) == {"in_the_future": 1, "not_primary": 1}
    local = str(path).replace("_utc", "_app_tz")
    both = [
        {"source": "appsflyer", "path": str(path)},
        {"source": "appsflyer", "path": local, "timezone": "America/Los_Angeles"},
    ]
    again = ingest.ingest(make_study(extracts=both), NOW, progress=False)
    assert again.n_added == 0
    assert again.totals["duplicate"] == 19


def test_the_copy_received_first_is_kept(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of the same event in two files the earlier time of receipt is kept, whichever
    file comes first.
    """
    header = "user_id,event,time,event_id,received_time\n"
    (tmp_path / "a.csv").write_text(header + "a,open,2026-03-01,1,2026-03-09\n")
    (tmp_path / "b.csv").write_text(header + "a,open,2026-03-01,1,2026-03-02\n")
    settings = make_study(extracts=[{"source": "table", "path": "*.csv"}])
    result = ingest.ingest(settings, NOW, progress=False)
    kept = open_filled(settings).scan("events").collect()
    assert kept["received_time"].to_list() == [datetime(2026, 3, 2, tzinfo=UTC)]
    assert result.files.sort("address")["copies"].to_list() == [1, 0]


def test_every_count_adds_up_by_day_and_event(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Volume and tallies hold each kept event once: by day and event, by hour, by
    filled column, by currency.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,revenue,currency\na,open,2026-03-01T05:00:00,,\n,buy,2026-03-01T05:30:00,3,EUR\n"
    )
    settings = make_study()
    ingest.ingest(settings, NOW, progress=False)
    store = open_filled(settings)
    volume = (
        store.scan("volume")
        .sort("event")
        .select("event", "kind", "n", "n_without_user")
        .collect()
    )
    assert volume.rows() == [("buy", "purchase", 1, 1), ("open", "in_app", 1, 0)]
    tally = (
        store.scan("tally").filter(pl.col("n") > 0).sort("measure", "value").collect()
    )
    assert tally.select("measure", "value", "n").rows() == [
        ("column", "currency", 1),
        ("column", "revenue", 1),
        ("column", "user_id", 1),
        ("currency", "EUR", 1),
        ("hour", "5", 2),
    ]


def test_equal_rows_of_a_file_are_counted_by_day(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of three equal rows two are copies. A row that differs in a property is none."""
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,level\n"
        + "a,open,2026-03-01,1\n" * 3
        + "a,open,2026-03-01,2\n"
    )
    settings = make_study()
    ingest.ingest(settings, NOW, progress=False)
    counted = open_filled(settings).scan("tally").collect()
    copies = counted.filter(pl.col("measure") == "copy")
    assert copies.select("date", "n").rows() == [(date(2026, 3, 1), 2)]


def test_a_large_ingest_bucket_by_bucket_is_the_same(
    tmp_path: Path, make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging one bucket at a time gives the same events and activity as merging all at
    once.
    """
    lines = [
        f"{'' if i % 4 else f'u{i % 50}'},d{i % 50},open,2026-02-{1 + i % 28:02d}"
        for i in range(2_000)
    ]
    header = "user_id,anonymous_id,event,time\n"
    (tmp_path / "1.csv").write_text(header + "u1,d1,open,2026-01-31\n")
    settings = make_study(extracts=[{"source": "table", "path": "*.csv"}])
    ingest.ingest(settings, NOW, progress=False)
    shutil.copytree(settings.store_path, tmp_path / "backup")
    (tmp_path / "2.csv").write_text(header + "\n".join(lines) + "\n")
    ingest.ingest(settings, NOW, progress=False)
    whole = content(settings)
    shutil.rmtree(settings.store_path)
    shutil.copytree(tmp_path / "backup", settings.store_path)
    monkeypatch.setattr(Store.passes, "__defaults__", (100,))
    ingest.ingest(settings, NOW, progress=False)
    assert content(settings) == whole


def test_a_copy_with_another_time_is_still_a_copy(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """An event delivered again a second later under its own id is one event, in one
    ingest or in two.
    """
    (tmp_path / "a.csv").write_text(
        "user_id,event,time,event_id\na,open,2026-03-01T10:00:00,1\n"
    )
    settings = make_study(extracts=[{"source": "table", "path": "*.csv"}])
    ingest.ingest(settings, NOW, progress=False)
    (tmp_path / "b.csv").write_text(
        "user_id,event,time,event_id\na,open,2026-03-01T10:00:01,1\na,open,2026-03-02,2\n"
    )
    assert ingest.ingest(settings, NOW, progress=False).totals == {
        "rows": 2,
        "kept": 1,
        "duplicate": 1,
        "quarantined": 0,
    }


def test_unfinished_files_of_dead_processes_are_swept(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """The next ingest removes what a killed write left behind, but nothing of a living
    process.
    """
    write(tmp_path / "events.csv", "a,open,2026-03-01")
    settings = make_study()
    left = [
        settings.store_path / "scores" / f".cutoff=2026-03-01.parquet.{pid}.tmp"
        for pid in (2**22 + 1, os.getpid())
    ]
    left[0].parent.mkdir(parents=True)
    for file in left:
        file.write_bytes(b"half")
    ingest.ingest(settings, NOW, progress=False)
    assert [file.exists() for file in left] == [False, True]
