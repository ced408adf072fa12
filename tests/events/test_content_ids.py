"""Rows without an event id are known by their content and their file."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.events import content_ids, ingest, staging
from churn.settings import Extract, Settings
from churn.store import Store, open_filled

from ..conftest import read

NOW = datetime(2026, 3, 20, tzinfo=UTC)
TABLE = Extract(source="table", path="x")
HEADER = "user_id,event,time,revenue,colour\n"
ROW = "a,buy,2026-03-01T10:00:00Z,5,red\n"


def ids(folder: Path, text: str, name: str = "events.csv") -> list[str]:
    """The event ids that the reader gives to the rows of a CSV file."""
    (folder / name).write_text(text)
    return read(folder / name, TABLE)["event_id"].to_list()


def stored_ids(settings: Settings) -> list[str]:
    """The event ids in the log, sorted."""
    events = open_filled(settings).scan("events").select("event_id").collect()
    return sorted(events["event_id"])


def by_files(make_study: Callable[..., Settings]) -> Settings:
    """A study over all CSV files of a folder."""
    return make_study(extracts=[{"source": "table", "path": "*.csv"}])


def test_an_id_depends_on_content_alone(tmp_path: Path) -> None:
    """Equal rows have one id in any file, place and spelling of their time, and an id
    that the row states is left as it is.
    """
    [first] = ids(tmp_path, HEADER + ROW)
    later = ids(tmp_path, HEADER + "b,open,2026-03-02,,\n" + ROW + ROW, "later.csv")
    assert later[1:] == [first, first]
    assert later[0] != first
    local = ROW.replace("10:00:00Z", "11:00:00+01:00")
    assert ids(tmp_path, HEADER + local) == [first]
    assert first.startswith("#")
    stated = "event_id,user_id,event,time\n7,a,open,2026-03-01\n"
    assert ids(tmp_path, stated) == ["7"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a,", "b,"),
        ("buy", "open"),
        ("10:00:00Z", "10:00:00.000001Z"),
        (",5,", ",6,"),
        ("red", "blue"),
    ],
)
def test_every_column_counts_as_content(tmp_path: Path, old: str, new: str) -> None:
    """User, event, time, amount and a property each make rows differ."""
    before = ids(tmp_path, HEADER + ROW)
    assert ids(tmp_path, HEADER + ROW.replace(old, new, 1)) != before


def test_the_time_of_receipt_counts_as_an_instant(tmp_path: Path) -> None:
    """Two spellings of one time of receipt give one id, and another time another."""
    header = "user_id,event,time,received_time\n"
    row = "a,open,2026-03-01,{}\n"
    spellings = ("2026-03-02T10:00:00Z", "2026-03-02 11:00:00+01:00", "2026-03-03")
    rows = "".join(row.format(spelling) for spelling in spellings)
    same, as_well, other = ids(tmp_path, header + rows)
    assert (same == as_well, same == other) == (True, False)


def test_equal_rows_of_one_file_are_different_events(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Three equal rows are three events, numbered from 0, of the file's id."""
    (tmp_path / "events.csv").write_text(HEADER + ROW * 3)
    settings = make_study()
    assert ingest.ingest(settings, NOW, progress=False).n_added == 3
    parts = [event_id.split(":") for event_id in stored_ids(settings)]
    place = staging.file_id("events.csv", str(settings.path("events.csv")))
    assert len({content for content, _ in parts}) == 1
    assert [tail for _, tail in parts] == [f"{k}@{place}" for k in range(3)]
    store = open_filled(settings)
    for table in ("events", "files"):
        assert set(store.scan(table).collect()["file_id"]) == {place}


def test_equal_rows_of_two_files_are_different_events(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A row that two files have is two events, in one ingest as in two."""
    settings = by_files(make_study)
    (tmp_path / "1.csv").write_text(HEADER + ROW)
    (tmp_path / "2.csv").write_text(HEADER + ROW + ROW.replace("buy", "open"))
    assert ingest.ingest(settings, NOW, progress=False).n_added == 3
    (tmp_path / "3.csv").write_text(HEADER + ROW + ROW)
    assert ingest.ingest(settings, NOW, progress=False).n_added == 2


def test_a_file_that_has_grown_adds_only_its_new_rows(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Rows that the file had before stay the same events, wherever they stand now."""
    settings = by_files(make_study)
    (tmp_path / "1.csv").write_text(HEADER + ROW * 2)
    ingest.ingest(settings, NOW, progress=False)
    before = stored_ids(settings)
    grown = ROW.replace("buy", "open") + ROW * 3
    (tmp_path / "1.csv").write_text(HEADER + grown)
    done = ingest.ingest(settings, NOW, progress=False)
    assert (done.n_added, done.n_removed, done.totals["kept"]) == (2, 0, 4)
    assert set(before) < set(stored_ids(settings))


def test_a_stated_id_with_the_same_mark_is_compared_like_any_other(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """An app's own id ``#7`` is one event in all files and at all times."""
    settings = by_files(make_study)
    header = "event_id,user_id,event,time\n"
    (tmp_path / "1.csv").write_text(header + "#7,a,open,2026-03-01\n")
    ingest.ingest(settings, NOW, progress=False)
    (tmp_path / "2.csv").write_text(header + "#7,a,open,2026-03-09\n")
    assert ingest.ingest(settings, NOW, progress=False).n_added == 0
    assert stored_ids(settings) == ["#7"]


def test_the_log_confirms_no_guess_at_data_that_is_not_kept(
    tmp_path: Path, filled: Store
) -> None:
    """The stored id is salted: it is not the one that the reader made of the content."""
    columns = ("user_id", "event", "time", "revenue")
    rows = pl.read_parquet(tmp_path / "events.parquet").select(columns)
    rows.write_parquet(tmp_path / "again.parquet")
    unsalted = read(tmp_path / "again.parquet", TABLE)["event_id"]
    stored = filled.scan("events").collect()["event_id"].str.split(":").list.first()
    assert not set(unsalted) & set(stored)
    salted = pl.DataFrame({"event_id": unsalted}).select(
        content_ids.salted(filled.salt)
    )
    assert set(salted.to_series()) == set(stored)
