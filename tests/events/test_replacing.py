"""What changed files and settings brought is replaced, as if it had never been."""

import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.report import history_sentences as sentences
from churn.scoring import arrival_gates

from .replaying import Life, same_as_fresh

HEADER = (
    "event_id,user_id,event,time,received_time,anonymous_id,email,idfa,consent,limited,"
    "platform,revenue,city,note\n"
)
ROWS = (
    "1,u1,open,2026-03-01 10:00:00,2026-03-02,d1,a@x.org,,,,ios,,Köln,\n",
    "2,u1,buy,2026-03-02 23:30:00,,d1,,,,,ios,5,Rom,call 0711\n",
    "3,u2,open,2026-03-02 10:00:00,,d1,b@x.org,,,,android,,,\n",
    "4,,open,2026-03-03 10:00:00,2026-03-04,d1,,,,,ios,,,\n",
    "5,,open,2026-02-27 10:00:00,,d2,,,,,,,,\n",
    "6,u3,open,2026-03-05 10:00:00,,d2,c@x.org,33333333-0000-4000-8000-000000000000,,,,,,\n",
    "7,u4,mail,2026-03-05 12:00:00,,d4,,44444444-0000-4000-8000-000000000000,,true,,,,\n",
    "8,u5,open,2026-03-05 12:00:00,,d5,,,no,,,,,\n",
    "9,u3,open,soon,,,,,,,,,,\n",
    ",u1,open,2026-03-06 10:00:00,,d1,,,,,,,,\n",
    ",u2,mail,2026-03-06 11:00:00,2026-03-09,,b@x.org,,,,,3,,\n",
    ",u2,mail,2026-03-06 11:00:00,2026-03-09,,b@x.org,,,,,3,,\n",
    ",u3,buy,2026-03-07 10:00:00,,d3,,,,,,2,,\n",
    ",,open,2026-03-08 10:00:00,,d6,,,,,web,,,\n",
    ",u4,open,2099-03-08 10:00:00,,,,,,,,,,\n",
)
UNREADABLE = 8
"""Number of the row that can't be read."""

ONLY_IN_Z = (
    "20,u1,open,2026-02-20 10:00:00,,d1,,,,,ios,,Rom,\n",
    "21,,buy,2026-03-02 10:00:00,,d2,,,,,,5,,\n",
    ",u2,open,2026-03-09 10:00:00,,,,,,,,,,\n",
)
"""A deleted file keeps its rows, but no other file's copy of them can be brought back
from it: so the file that is deleted has rows of its own.
"""
NAMES = ("a.csv", "b.csv", "c.csv", "d.csv")
CHANGES: tuple[dict[str, Any], ...] = (
    {"kinds": {"open": "session_start"}},
    {"kinds": {"mail": "message_sent", "buy": "purchase"}},
    {"columns": {"platform": "city"}},
    {"timezone": "Asia/Tokyo"},
    {"encoding": "latin-1"},
    {"identity": {"not_a_user": ["u1"]}},
    {"identity": {"never_join": ["device"]}},
    {"privacy": {"refused_consent": "keep"}},
    {"privacy": {"limited_tracking": "keep"}},
    {"privacy": {"limited_tracking": "drop"}},
    {"privacy": {"scrub_keys": ["city"]}},
    {"privacy": {"scrub_patterns": ["\\d{4}"]}},
    {"braze": {"identifier": "email"}},
)


def table(n: int) -> str:
    """A file of n rows with event ids."""
    rows = (f"{i},u{i % 7},open,2026-03-0{1 + i % 9}\n" for i in range(n))
    return "event_id,user_id,event,time\n" + "".join(rows)


def file(*numbers: int) -> str:
    """A file with some of ROWS."""
    return HEADER + "".join(ROWS[number] for number in numbers)


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_a_changed_setting_reads_the_files_again(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """After the next ingest the store is what a fresh one would be, and so it is once
    the setting is taken back.
    """
    life = Life(tmp_path, repeats="keep")
    life.write("a.csv", file(*range(0, 15, 2)))
    life.write("b.csv", file(*range(1, 15, 2), 0, 4))
    first = life.ingest()
    same_as_fresh(life)
    life.change(**change)
    done = life.ingest()
    assert (done.n_new_files, done.n_again) == (0, 2)
    assert list(done.changed) == ["raw"]
    assert done.n_added + done.n_replaced + done.n_removed > 0
    same_as_fresh(life)
    life.change(**dict.fromkeys(change))
    assert life.ingest().n_again == 2
    assert first.people == life.ingest().people
    same_as_fresh(life)


def test_the_summary_says_what_was_read_again_and_why(tmp_path: Path) -> None:
    """Changed settings and changed files have a line each, and the rows of files that
    are read again don't look like new ones.
    """
    life = Life(tmp_path)
    life.write("a.csv", file(0, 1, 2))
    life.write("b.csv", file(4, 5))
    first = sentences.ingest(life.ingest())
    assert first[:2] == [
        "2 new file(s), 0 already known",
        "rows 5  kept 5  duplicate 0  quarantined 0",
    ]
    life.change(kinds={"open": "session_start"})
    assert sentences.ingest(life.ingest())[:4] == [
        "0 new file(s), 2 already known",
        "2 file(s) of raw read again, because of: kinds",
        "event log: 0 added, 4 replaced, 0 removed",
        "in all files read now: rows 5  kept 5  duplicate 0  quarantined 0",
    ]
    life.write("a.csv", file(0, 2, 3, 5, 12))
    assert sentences.ingest(life.ingest())[1:4] == [
        "1 file(s) read again, because they changed",
        "event log: 2 added, 0 replaced, 1 removed",
        "in all files read now: rows 5  kept 4  duplicate 1  quarantined 0",
    ]
    life.write("a.csv", file(0, 2, 3))
    assert sentences.ingest(life.ingest())[1:3] == [
        "1 file(s) read again, because they changed",
        "event log: 0 added, 0 replaced, 1 removed",
    ]


def test_files_read_again_have_not_arrived_again(tmp_path: Path) -> None:
    """Overlapping reports of several nights are no copies of each other once a setting
    has all of them read together, and an old report is not a recent one.
    """
    life = Life(tmp_path)
    for n in (60, 80, 100, 120):
        life.write(f"{n}.csv", table(n))
        life.ingest()
    before = life.store().scan("files").sort("address").collect()
    life.change(kinds={"open": "session_start"})
    life.ingest()
    after = life.store().scan("files").sort("address").collect()
    marks = ("address", "ingested_at", "copies")
    assert after.select(marks).equals(before.select(marks))
    gate = arrival_gates.duplicate_rows(after, life.settings, date(2026, 3, 10))
    assert gate["passed"]


SOME_ROWS = st.lists(st.integers(0, len(ROWS) - 1), max_size=12)
NAME = st.sampled_from(NAMES)
ANY_NAME = st.sampled_from((*NAMES, "z.csv"))
STEPS = st.one_of(
    st.tuples(st.just("write"), NAME, SOME_ROWS),
    st.tuples(st.just("rename"), ANY_NAME, NAME),
    st.tuples(st.just("copy"), ANY_NAME, NAME),
    st.tuples(st.just("delete"), st.just("z.csv"), st.none()),
    st.tuples(st.just("touch"), ANY_NAME, st.none()),
    st.tuples(st.just("change"), st.sampled_from(CHANGES), st.booleans()),
    st.tuples(st.just("ingest"), st.none(), st.none()),
    st.tuples(st.just("ingest"), st.none(), st.none()),
    st.tuples(st.just("forget"), st.sampled_from(("u2", "u3")), st.none()),
)


def take(
    life: Life,
    step: str,
    one: Any,
    other: Any,
) -> None:
    """One step of a life, or nothing if it can't be taken now."""
    if step == "write":
        # A file that holds nothing but rows that can't be read is refused.
        readable = other if set(other) != {UNREADABLE} else [0, *other]
        life.write(one, file(*readable))
    elif step == "change":
        life.change(**(one if other else dict.fromkeys(one)))
    elif step == "ingest":
        life.ingest_or_bring_back()
    elif step == "forget":
        life.forget(one)
    elif life.has(one):
        handle(life, step, one, other)


def handle(
    life: Life,
    step: str,
    name: str,
    new: str | None,
) -> None:
    """Touch, delete, copy or rename a file; only one that was read is renamed."""
    if step == "touch":
        life.touch(name)
    elif step == "delete" and len(life.present()) > 1:
        life.delete(name)
    elif step == "copy" and new and name != new:
        life.copy(name, new)
    elif step == "rename" and new and name != new and life.is_as_read(name):
        life.rename(name, new)


@settings(max_examples=10)
@given(st.lists(STEPS, min_size=2, max_size=12))
def test_any_life_ends_as_a_fresh_store(
    steps: list[tuple[str, Any, Any]],
) -> None:
    """Whatever happens to files, settings and people, the next ingest brings the store
    to what a fresh one would hold.
    """
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder) / "study", repeats="keep")
        life.write("z.csv", HEADER + "".join(ONLY_IN_Z))
        life.ingest()
        for step, one, other in steps:
            take(life, step, one, other)
        life.ingest_or_bring_back()
        same_as_fresh(life)
