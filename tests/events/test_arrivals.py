"""Which files an ingest reads again, and what then becomes of the rows of others."""

from pathlib import Path

import pytest

from churn.errors import InputError, StoreError
from churn.store import open_filled

from .replaying import Life, same_as_fresh

HEADER = "event_id,user_id,event,time\n"
BARE = "user_id,event,time\n"


def rows(*numbers: int) -> str:
    """A table with an event id."""
    lines = (f"{n},u{n % 3},open,2026-03-{1 + n:02d}\n" for n in numbers)
    return HEADER + "".join(lines)


def bare(*numbers: int) -> str:
    """A table without event ids."""
    lines = (f"u{n % 3},open,2026-03-{1 + n:02d}\n" for n in numbers)
    return BARE + "".join(lines)


def n_events(life: Life) -> int:
    """Number of events in the log."""
    return life.store().scan("events").collect().height


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A study over a folder of tables."""
    return Life(tmp_path)


@pytest.mark.parametrize("table", [rows, bare])
def test_a_file_with_fewer_rows_takes_the_others_away(life: Life, table) -> None:
    """Rows that the file no longer has leave the log and all its tables."""
    life.write("a.csv", table(1, 2, 3, 4))
    life.ingest()
    life.write("a.csv", table(2, 4, 5))
    done = life.ingest()
    assert (done.n_added, done.n_removed, done.n_again) == (1, 2, 1)
    same_as_fresh(life)


@pytest.mark.parametrize("table", [rows, bare])
def test_a_row_may_move_to_another_file(life: Life, table) -> None:
    """It stays one event, however the files are read."""
    life.write("a.csv", table(1, 2, 3))
    life.write("b.csv", table(4, 5))
    life.ingest()
    life.write("a.csv", table(1, 2))
    life.write("b.csv", table(3, 4, 5))
    life.ingest()
    assert n_events(life) == 5
    same_as_fresh(life)
    life.write("a.csv", table(1, 2, 5))
    life.ingest()
    life.write("b.csv", table(3, 4))
    life.ingest()
    assert n_events(life) == 5
    same_as_fresh(life)


@pytest.mark.parametrize("together", [True, False])
def test_another_files_copy_of_a_lost_event_counts(life: Life, together: bool) -> None:
    """An event that two files hold stays when the first one loses it, whether both were
    read in one ingest or in two.
    """
    life.write("a.csv", rows(1, 2, 3))
    if not together:
        life.ingest()
    life.write("b.csv", rows(3, 4))
    life.ingest()
    life.write("a.csv", rows(1, 2))
    life.ingest()
    assert n_events(life) == 4
    same_as_fresh(life)


@pytest.mark.parametrize("table", [rows, bare])
@pytest.mark.parametrize("first", ["a.csv", "b.csv"])
def test_a_copy_takes_over_from_the_file_that_changed(
    life: Life, table, first: str
) -> None:
    """Of two files with equal content one is changed: the other one's rows stay, and
    the table of files counts them as its own.
    """
    other = "b.csv" if first == "a.csv" else "a.csv"
    life.write(first, table(1, 2, 3))
    life.ingest()
    life.copy(first, other)
    life.ingest()
    life.write(first, table(4, 5))
    life.ingest()
    assert n_events(life) == 5
    files = life.store().scan("files").collect()
    kept = dict(files.select("address", "kept").iter_rows())
    assert kept == {str(life.raw / first): 2, str(life.raw / other): 3}
    same_as_fresh(life)
    life.write(other, table(6))
    life.ingest()
    assert n_events(life) == 3
    same_as_fresh(life)


@pytest.mark.parametrize("table", [rows, bare])
def test_a_renamed_file_may_grow(life: Life, table) -> None:
    """Its rows count once, and stay with the file in later changes."""
    life.write("a.csv", table(1, 2, 3))
    life.ingest()
    life.rename("a.csv", "b.csv")
    life.ingest()
    same_as_fresh(life)
    life.write("b.csv", table(1, 2, 3, 4))
    done = life.ingest()
    assert n_events(life) == 4
    assert done.gone == []
    same_as_fresh(life)
    life.write("b.csv", table(4))
    life.ingest()
    assert n_events(life) == 1
    same_as_fresh(life)


@pytest.mark.parametrize("touched", [["a.csv"], ["b.csv"], ["a.csv", "b.csv"]])
@pytest.mark.parametrize("table", [rows, bare])
def test_a_touched_file_changes_nothing(life: Life, table, touched) -> None:
    """Files and copies with another time of change alone are read once more, and their
    new stamp is remembered.
    """
    life.write("a.csv", table(1, 2, 3))
    life.ingest()
    life.copy("a.csv", "b.csv")
    life.ingest()
    before = life.store().scan("files").collect()
    for name in touched:
        life.touch(name)
    done = life.ingest()
    assert (done.n_added, done.n_removed) == (0, 0)
    assert n_events(life) == 3
    after = life.store().scan("files").collect()
    same = before.drop("stamp").sort("address")
    assert after.drop("stamp").sort("address").equals(same)
    assert set(after["stamp"]) != set(before["stamp"])
    version = life.store().versions
    life.ingest()
    assert life.store().versions == version
    same_as_fresh(life)


def test_a_setting_cant_change_once_a_file_is_gone(life: Life) -> None:
    """The ingest is refused with a sentence that names the file; with the setting put
    back, or the file, all is well.
    """
    life.write("a.csv", rows(1, 2, 3))
    life.write("b.csv", rows(4, 5))
    life.ingest()
    life.delete("a.csv")
    life.ingest()
    life.change(kinds={"open": "session_start"})
    before = life.open_as_is().versions
    with pytest.raises(StoreError, match=r"extract raw: kinds changed.*a\.csv"):
        life.ingest()
    assert life.open_as_is().versions == before
    life.change(kinds=None)
    life.ingest()
    same_as_fresh(life)
    life.change(kinds={"open": "session_start"})
    life.write("a.csv", rows(1, 2, 3))
    assert life.ingest().n_again == 2
    same_as_fresh(life)


def test_a_renamed_file_is_not_gone_when_a_setting_changes(life: Life) -> None:
    """What matters is that the content is still there, under whatever name."""
    life.write("a.csv", rows(1, 2, 3))
    life.write("b.csv", rows(4, 5))
    life.ingest()
    life.rename("a.csv", "c.csv")
    life.copy("b.csv", "d.csv")
    life.ingest()
    life.delete("b.csv")
    life.change(kinds={"open": "session_start"})
    life.ingest()
    same_as_fresh(life)
    life.change(kinds=None)
    life.ingest()
    same_as_fresh(life)


def test_readers_wait_until_changed_settings_are_ingested(life: Life) -> None:
    """They are refused with a sentence, while a person can still be erased."""
    life.write("a.csv", rows(1, 2, 3))
    life.ingest()
    life.change(timezone="Asia/Tokyo")
    with pytest.raises(StoreError, match=r"raw: timezone.*run `churn ingest`"):
        open_filled(life.settings)
    life.forget("u1")
    life.ingest()
    assert set(open_filled(life.settings).scan("events").collect()["user_id"]) == {
        "u0",
        "u2",
    }
    same_as_fresh(life)


def test_an_extracts_path_may_be_written_otherwise(life: Life) -> None:
    """Files found by a glob instead of their folder are the same events, and coverage
    follows.
    """
    life.write("a.csv", rows(1, 2, 3))
    life.write("b.csv", bare(4, 5))
    life.ingest()
    covered_until = life.store().covered_until
    life.change(path="raw/*.csv")
    assert life.ingest().n_again == 2
    assert life.store().covered_until == covered_until
    volume = life.store().scan("volume").collect()
    assert set(volume["extract"]) == {"raw/*.csv"}
    same_as_fresh(life)


def test_a_file_of_two_extracts_is_read_once(life: Life) -> None:
    """The last extract that has it counts, also if it was added later."""
    life.write("a.csv", bare(1, 2, 3))
    life.write("b.csv", bare(4, 5))
    life.ingest()
    second = {
        "source": "table",
        "path": "raw/b.csv",
        "kinds": {"open": "session_start"},
    }
    life.change(extracts=[life.extract, second])
    for _ in range(2):
        life.ingest()
        kinds = life.store().scan("events").collect()["event_kind"].value_counts()
        assert dict(kinds.iter_rows()) == {"in_app": 3, "session_start": 2}
        same_as_fresh(life)


def test_an_extract_added_later_reads_no_other_again(life: Life) -> None:
    """Only the new extract's files are read."""
    life.write("a.csv", bare(1, 2, 3))
    life.ingest()
    other = life.folder / "other"
    other.mkdir()
    (other / "b.csv").write_text(bare(4, 5))
    life.change(extracts=[life.extract, {"source": "table", "path": "other"}])
    done = life.ingest()
    assert (done.n_new_files, done.n_again, done.n_added) == (1, 0, 2)
    same_as_fresh(life)


def test_a_file_that_waits_stops_the_re_reading(life: Life) -> None:
    """A changed setting needs every file whole: while one is still being written, the
    ingest is refused and the old state stays.
    """
    life.write("a.csv", rows(1, 2, 3))
    life.write("b.csv", rows(4, 5))
    life.ingest()
    life.change(kinds={"open": "session_start"})
    (life.raw / "b.csv").write_text(rows(4, 5) + "6,u1,op")
    before = life.open_as_is().versions
    with pytest.raises(InputError, match=r"b\.csv must be read again, but is still"):
        life.ingest()
    assert life.open_as_is().versions == before
    life.write("b.csv", rows(4, 5, 6))
    life.ingest()
    same_as_fresh(life)


def test_a_changed_file_that_waits_keeps_its_rows(life: Life) -> None:
    """So do its copies, which don't stand for it meanwhile."""
    life.write("a.csv", bare(1, 2, 3))
    life.ingest()
    life.copy("a.csv", "b.csv")
    life.ingest()
    (life.raw / "a.csv").write_text(bare(1, 2, 3, 4) + "u1,op")
    done = life.ingest()
    assert (list(done.waiting), n_events(life)) == ([str(life.raw / "a.csv")], 3)
    life.write("a.csv", bare(5))
    life.ingest()
    assert n_events(life) == 4
    same_as_fresh(life)


def test_ids_that_an_erased_person_shared_stay_shared(life: Life) -> None:
    """After files are read again, the other user of a device still gets none of its
    anonymous rows, and the erased person is nowhere.
    """
    header = "event_id,user_id,event,time,anonymous_id\n"
    lines = (
        "1,u1,open,2026-03-01,d1\n",
        "2,u2,open,2026-03-02,d1\n",
        "3,,open,2026-03-03,d1\n",
        "4,u2,open,2026-03-04,d2\n",
    )
    life.write("a.csv", header + "".join(lines))
    life.ingest()
    life.forget("u1")
    for setting in ({"open": "session_start"}, None):
        life.change(kinds=setting)
        life.ingest()
        activity = life.store().scan("activity").collect()
        assert set(activity["user_id"]) == {"u2"}
        assert int(activity["n"].sum()) == 2
        same_as_fresh(life)


def test_a_final_table_stands_for_the_provisional_one(tmp_path: Path) -> None:
    """Once GA4's final table is there, a changed setting reads that one alone, and the
    provisional one may be deleted or not.
    """
    life = Life(tmp_path, source="ga4")
    line = (
        '{{"event_timestamp": "{}", "event_name": "{}", "user_pseudo_id": "d1", '
        '"user_id": "u1", "stream_id": "1"}}\n'
    )
    opened = line.format(1_772_960_400_000_000, "open")
    bought = line.format(1_772_964_000_000_000, "buy")
    life.write("events_intraday_20260308.json", opened)
    life.ingest()
    life.write("events_20260308.json", opened + bought)
    life.ingest()
    assert n_events(life) == 2
    for setting in ({"open": "session_start"}, {"open": "other"}):
        life.change(kinds=setting)
        done = life.ingest()
        assert (n_events(life), done.n_removed) == (2, 0)
        same_as_fresh(life)
        (life.raw / "events_intraday_20260308.json").unlink(missing_ok=True)
        life.read.pop(life.raw / "events_intraday_20260308.json", None)


def test_rows_of_an_extract_that_was_removed_stay(life: Life) -> None:
    """They stay as they are until a setting changes that all extracts share; then its
    files are needed.
    """
    life.write("a.csv", bare(1, 2, 3))
    other = life.folder / "other"
    other.mkdir()
    (other / "b.csv").write_text(bare(4, 5))
    both = [life.extract, {"source": "table", "path": "other"}]
    life.change(extracts=both)
    life.ingest()
    life.change(extracts=None)
    done = life.ingest()
    assert (done.gone, n_events(life)) == ([str(other / "b.csv")], 5)
    life.change(identity={"not_a_user": ["u1"]})
    with pytest.raises(StoreError, match=r"extract other: identity changed"):
        life.ingest()
    life.change(extracts=both)
    assert life.ingest().n_again == 2
    same_as_fresh(life)


def test_an_extract_without_rows_may_be_removed(life: Life) -> None:
    """It has nothing that would have to be read again."""
    life.write("a.csv", bare(1, 2, 3))
    other = life.folder / "other"
    other.mkdir()
    (other / "b.csv").write_text(BARE)
    life.change(extracts=[life.extract, {"source": "table", "path": "other"}])
    life.ingest()
    life.change(extracts=None, identity={"not_a_user": ["u1"]})
    life.ingest()
    assert open_filled(life.settings).scan("events").collect().height == 3
