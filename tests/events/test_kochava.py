"""Kochava's event reports."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.errors import InputError
from churn.events import identity, ingest
from churn.guessing import extracts
from churn.receive import postback
from churn.settings import Extract, Settings
from churn.store import open_filled

from ..conftest import read

NOW = datetime(2026, 3, 25, tzinfo=UTC)
IDFA = "AB1D2E3F-0A1B-4C2D-8E3F-4A5B6C7D8E9F"
IDFV = "7C1D2E3F-0A1B-4C2D-8E3F-4A5B6C7D8E9F"
PLAIN = Extract(source="kochava", path="x")


def event(number: int, name: str = "Level Up", **columns: Any) -> dict[str, Any]:
    """A row of an event report, some minutes after noon."""
    usual = {
        "timestamp_utc": f"2026-03-08 12:{number:02d}:00",
        "timestamp_adjusted": f"2026-03-08 05:{number:02d}:00",
        "event_name": name,
        "geo_country": "NA",
        "geo_city": "Gobabis",
        "device_os": "iOS",
        "device_id_idfa": "",
        "device_id_idfv": "",
        "device_id_kochava": "KD1",
        "device_id_custom": "",
        "attribution_network": "restricted",
        "dimension_data": '{"level": 3, "currency": "EUR"}',
        "dimension_sum": "",
    }
    return usual | columns


def written(file: Path, *rows: dict[str, Any], encoding: str = "utf-8") -> Path:
    """The rows as CSV or, by the file's name, as one JSON document."""
    file.parent.mkdir(exist_ok=True)
    frame = pl.DataFrame(rows)
    is_json = file.suffix == ".json"
    text = frame.write_json() if is_json else frame.write_csv()
    file.write_bytes(text.encode(encoding))
    return file


def test_a_report_as_json_holds_the_same_events(tmp_path: Path) -> None:
    """CSV and JSON give equal rows, whose currency is that of the event's data."""
    rows = [
        event(1, device_id_idfa=IDFA, device_id_idfv=IDFV, dimension_sum="9.5"),
        event(2, "_install"),
    ]
    got = read(written(tmp_path / "a.csv", *rows), PLAIN)
    assert got.equals(read(written(tmp_path / "a.json", *rows), PLAIN))
    assert got["event_time"][0] == datetime(2026, 3, 8, 12, 1, tzinfo=UTC)
    assert got["event_kind"].to_list() == ["purchase", "install"]
    assert got["currency"].to_list() == ["EUR", None]
    assert got["country"].to_list() == ["NA", "NA"]
    assert got["received_time"].is_null().all()
    ids = ["kochava_id:KD1", f"idfa:{IDFA.lower()}", f"idfv:{IDFV.lower()}"]
    assert got["ids"].to_list() == [ids, ["kochava_id:KD1"]]


def test_times_of_the_reports_zone_are_read_if_there_are_no_others(
    tmp_path: Path,
) -> None:
    """The extract says which zone that is; the event ids are the same."""
    utc = read(written(tmp_path / "utc.csv", event(1)), PLAIN)
    row = event(1)
    del row["timestamp_utc"]
    file = written(tmp_path / "local.csv", row)
    local = read(file, Extract(source="kochava", path="x", timezone="Etc/GMT+7"))
    assert local["event_id"].equals(utc["event_id"])
    bases = [utc["event_time_basis"][0], local["event_time_basis"][0]]
    assert bases == ["exact", "tz_assumed"]


def test_columns_of_ones_own_can_be_named(tmp_path: Path) -> None:
    """A user id under another name, and a time of receipt, are read."""
    row = event(1, identity_link="u-1", date_received="1772971270")
    named = Extract(source="kochava", path="x", columns={"user_id": "identity_link"})
    got = read(written(tmp_path / "a.csv", row), named)
    assert got["user_id"].to_list() == ["u-1"]
    assert got["received_time"][0] == datetime(2026, 3, 8, 12, 1, 10, tzinfo=UTC)


def test_an_older_report_is_no_utf_8(tmp_path: Path) -> None:
    """It is refused with the setting that reads it, and `churn init` finds that out."""
    row = event(1, "Gewinn", geo_city="Köln", device_id_custom="Jürgen")
    file = written(tmp_path / "raw/a.csv", row, encoding="latin-1")
    with pytest.raises(InputError, match='encoding = "latin-1"'):
        read(file, PLAIN)
    stated = Extract(source="kochava", path="x", encoding="latin-1")
    assert read(file, stated)["user_id"].to_list() == ["Jürgen"]
    (one,) = extracts.of_folder(tmp_path / "raw").proposals
    assert (one.extract.source, one.extract.encoding) == ("kochava", "cp1252")


def test_a_postback_and_the_report_give_one_event(tmp_path: Path) -> None:
    """Its parameters are named as the report's columns, or shorter; a macro that was
    left is nothing, and a parameter with two values is a fault.
    """
    data = "dimension_data=%7B%22level%22%3A3,%22currency%22%3A%22EUR%22%7D"
    common = f"timestamp_utc=2026-03-08+12:01:00&dimension_sum=9.50&{data}"
    queries = [
        f"event_name=Buy&device_id_kochava=KD1&device_id_custom=u-1&{common}",
        f"event_name=Buy&kochava_device_id=KD1&user_id=u-1&idfa={{idfa}}&{common}",
        f"event_name=Buy&event_name=Sell&device_id_kochava=KD1&{common}",
    ]
    moment = datetime(2026, 3, 8, 12, 1, 4, tzinfo=UTC)
    lines = [postback.lines(b"", query, moment) for query in queries]
    file = tmp_path / "a.postbacks.ndjson.gz"
    file.write_bytes(gzip.compress(b"".join(lines)))
    got = read(file, PLAIN)
    report = written(tmp_path / "a.csv", event(1, "Buy", dimension_sum="9.5"))
    [event_id] = read(report, PLAIN)["event_id"]
    assert got["event_id"].to_list()[:2] == [event_id, event_id]
    assert got["fault"].to_list() == [None, None, "repeated_parameter"]
    assert got["user_id"].to_list()[:2] == ["u-1", "u-1"]
    assert got["ids"].to_list()[:2] == [["kochava_id:KD1"]] * 2
    assert got["received_time"].unique().to_list() == [moment]


def sample(folder: Path) -> None:
    """Two reports with planted faults: ten rows.

    Device KD1 becomes u-1's by a row with both, u-2 buys, and KD3 belongs to nobody.
    One row is in both reports. One has no time, one an amount that is none, one no
    name, and one is a second header.
    """
    header = {name: name for name in event(1)}
    written(
        folder / "raw/monday.csv",
        event(1, "_install"),
        event(2),
        event(3, "Login", device_id_custom="u-1"),
        event(4, "Buy", device_id_kochava="KD2", device_id_custom="u-2"),
        event(5, "Buy", device_id_kochava="KD3", dimension_sum="4"),
    )
    written(
        folder / "raw/tuesday.csv",
        event(2),
        header,
        event(7, timestamp_utc="", timestamp_adjusted=""),
        event(8, dimension_sum="much"),
        event(9, ""),
    )


def test_reports_count_as_planted(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of ten rows five are kept, one is a duplicate and four are quarantined; two users
    are known, and one person isn't.
    """
    sample(tmp_path)
    settings = make_study(extracts=[{"source": "kochava", "path": "raw"}])
    done = ingest.ingest(settings, NOW, progress=False)
    assert done.totals == {"rows": 10, "kept": 5, "duplicate": 1, "quarantined": 4}
    assert dict(done.reasons.iter_rows()) == {
        "no_event_name": 1,
        "repeated_header": 1,
        "unreadable_revenue": 1,
        "unreadable_time": 1,
    }
    store = open_filled(settings)
    assert identity.people(store) == {"users": 2, "anonymous": 1}
    rows = store.scan("activity").filter(user_id="u-1").collect()
    assert sorted(rows["event"]) == ["_install", "level_up", "login"]


def test_its_folder_is_recognised(tmp_path: Path) -> None:
    """`churn init` takes the reports for Kochava's."""
    sample(tmp_path)
    (one,) = extracts.of_folder(tmp_path / "raw").proposals
    assert one.extract.source == "kochava"
