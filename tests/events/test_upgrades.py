"""A store of an earlier version, and files that it took, after an update of churn."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.events import coverage, deriving, erasure, ingest, nothing_kept, requests
from churn.settings import Settings
from churn.store import inputs, open_filled
from churn.store.schemas import Volume

NOW = datetime(2026, 3, 20, tzinfo=UTC)
HEADER = "user_id,event,time\n"
GOOD = f"{HEADER}a,open,2026-03-01\n"
ODD = f"{HEADER}a,open,\n"

Make = Callable[..., Settings]


def study(folder: Path, make_study: Make, **extract: Any) -> Settings:
    """A study over the CSV files in raw."""
    return make_study(extracts=[{"source": "table", "path": "raw", **extract}])


def write(folder: Path, **files: str) -> None:
    """Write CSV files of these names into raw."""
    (folder / "raw").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"raw/{name}.csv").write_text(text)


@pytest.mark.parametrize("earlier", ["1.0", "1.00"])
def test_people_stay_erased_whose_id_had_a_point_and_zeros(earlier: str) -> None:
    """They were erased as 1.0, and their rows now come back as those of 1."""
    tombstones = erasure.new_tombstones("salt", [f"user_id:{earlier}"])["subject"]
    rows = pl.DataFrame(
        {"user_id": ["1", "2", "v1"], "ids": [[], ["x:2"], []]},
        schema={"user_id": pl.String, "ids": pl.List(pl.String)},
    )
    found = rows.select(erasure.intersects(erasure.subjects("salt"), tombstones))
    assert found.to_series().to_list() == [True, False, False]


def test_a_request_may_write_an_id_as_the_file_does() -> None:
    """The log holds 1 for both, and 1.5 as it is."""
    tags = ["user_id:1.0", "user_id:1", "user_id:1.5"]
    assert [requests.as_stored(tag) for tag in tags] == [
        "user_id:1",
        "user_id:1",
        "user_id:1.5",
    ]


def test_an_ingest_by_another_version_makes_all_tables_anew(
    tmp_path: Path, make_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if no event has changed: it may count what the earlier one didn't."""
    write(tmp_path, a=GOOD)
    settings = study(tmp_path, make_study)
    monkeypatch.setattr(inputs, "READERS_VERSION", 1)
    ingest.ingest(settings, NOW, progress=False)
    monkeypatch.undo()
    rebuilt = []
    rebuild = deriving.rebuild
    monkeypatch.setattr(
        deriving, "rebuild", lambda *given: rebuilt.append(1) or rebuild(*given)
    )
    done = ingest.ingest(settings, NOW, progress=False)
    assert (done.n_added, done.n_replaced, len(rebuilt)) == (0, 0, 1)
    ingest.ingest(settings, NOW, progress=False)
    assert len(rebuilt) == 1


@pytest.fixture
def with_odd_file(
    tmp_path: Path, make_study: Make, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A store whose version took a file of which no row can be kept."""
    write(tmp_path, good=GOOD, odd=ODD)
    monkeypatch.setattr(nothing_kept, "check", lambda *_: None)
    ingest.ingest(study(tmp_path, make_study), NOW, progress=False)
    monkeypatch.undo()
    return tmp_path


@pytest.mark.parametrize("is_gone", [False, True])
def test_an_odd_file_that_was_taken_does_not_stop_a_changed_setting(
    with_odd_file: Path, make_study: Make, is_gone: bool
) -> None:
    """Neither while it is there, nor once it is gone: nothing of it could be lost."""
    if is_gone:
        (with_odd_file / "raw/odd.csv").unlink()
    settings = study(with_odd_file, make_study, kinds={"open": "session_start"})
    ingest.ingest(settings, NOW, progress=False)
    events = open_filled(settings).scan("events").collect()
    assert events["event_kind"].to_list() == ["session_start"]


def test_missing_files_take_todays_form_of_ids(
    tmp_path: Path, make_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file of user 1.0 is gone, the other is read again: it is one person."""
    write(
        tmp_path,
        a=f"{HEADER}1.0,open,2026-03-01\n",
        b=f"{HEADER}1.0,open,2026-03-02\n",
    )
    settings = study(tmp_path, make_study)
    monkeypatch.setattr(inputs, "READERS_VERSION", 1)
    monkeypatch.setattr("churn.events.sources.cells.WHOLE_NUMBER", "^never$")
    ingest.ingest(settings, NOW, progress=False)
    assert open_filled(settings).scan("users").collect()["user_id"].to_list() == ["1.0"]
    monkeypatch.undo()
    (tmp_path / "raw/a.csv").unlink()
    ingest.ingest(settings, NOW, progress=False)
    users = open_filled(settings).scan("users").collect()
    assert users["user_id"].to_list() == ["1"]
    assert users["first_at"].dt.date().to_list() == [date(2026, 3, 1)]


def test_one_row_of_a_person_moves_no_coverage_of_messages(make_study: Make) -> None:
    """An extract of messages with a single purchase is complete as its messages are."""
    days = [date(2026, 1, 1) + timedelta(days=k) for k in range(60)]
    rows = [("raw", "", day, None, "mail", "message_sent", 1000, 0) for day in days]
    rows.append(("raw", "", days[10], None, "buy", "purchase", 1, 0))
    volume = pl.DataFrame(rows, schema=Volume.create_empty().schema, orient="row")
    settings = study(Path(), make_study)
    assert coverage.covered_until(volume, settings) == days[-1]
