"""Singular's Data Destinations and Export Logs."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.events import identity, ingest
from churn.guessing import extracts
from churn.receive import postback
from churn.settings import Extract, Settings
from churn.store import open_filled

from ..conftest import read

NOW = datetime(2026, 3, 25, tzinfo=UTC)
NOON = int(datetime(2026, 3, 8, 12, tzinfo=UTC).timestamp())
IDFA = "AB1D2E3F-0A1B-4C2D-8E3F-4A5B6C7D8E9F"
IDFV = "7C1D2E3F-0A1B-4C2D-8E3F-4A5B6C7D8E9F"
GAID = "1c1d2e3f-0a1b-4c2d-8e3f-4a5b6c7d8e9f"
PLAIN = Extract(source="singular", path="x")


def event(number: int, name: str = "Level Up", **columns: Any) -> dict[str, Any]:
    """A row of the schema Events, some minutes after noon, processed in that hour."""
    usual = {
        "etl_record_processing_hour_utc": "2026-03-08 12:00:00",
        "device_id": "d1",
        "device_id_type": "SDID",
        "platform": "iOS",
        "adjusted_timestamp": f"2026-03-08 04:{number:02d}:00",
        "adjusted_timestamp_unix_utc": str(NOON + 60 * number),
        "app_longname": "com.example.app",
        "arguments": '{"level": 3}',
        "converted_currency": "USD",
        "converted_revenue": "",
        "country": "NA",
        "currency": "EUR",
        "custom_user_id": "",
        "is_revenue_valid": "",
        "name": name,
        "revenue": "",
    }
    return usual | columns


def written(file: Path, *rows: dict[str, Any]) -> Path:
    """The rows as a file of the format that its name says."""
    file.parent.mkdir(exist_ok=True)
    frame = pl.DataFrame(rows)
    if file.suffix == ".parquet":
        number = pl.col("adjusted_timestamp_unix_utc").cast(pl.Int64)
        frame.with_columns(number).write_parquet(file)
    elif file.suffix == ".json":
        frame.write_ndjson(file)
    else:
        frame.write_csv(file)
    return file


def test_every_format_gives_the_same_events(tmp_path: Path) -> None:
    """CSV, Parquet and JSON lines give equal rows; the hour's end is the receipt."""
    rows = [event(1, revenue="9.5"), event(2, "__SESSION__")]
    names = ("a.csv", "a.parquet", "a.json")
    read_as = [read(written(tmp_path / name, *rows), PLAIN) for name in names]
    assert read_as[0].equals(read_as[1])
    assert read_as[0].equals(read_as[2])
    assert read_as[0]["event_kind"].to_list() == ["purchase", "session_start"]
    assert read_as[0]["event_time"][0] == datetime(2026, 3, 8, 12, 1, tzinfo=UTC)
    assert read_as[0]["received_time"][0] == datetime(2026, 3, 8, 13, tzinfo=UTC)
    assert read_as[0]["event_time_basis"].unique().to_list() == ["exact"]


def test_export_logs_give_the_same_events_too(tmp_path: Path) -> None:
    """Their header has blanks and capitals, and their times are texts in the account's
    zone, of which one says when the server had the row.
    """
    log = {
        "Adjusted Timestamp": "2026-03-08 05:01:00",
        "Server Timestamp": "2026-03-08 05:03:00",
        "Name": "Level Up",
        "Device ID": "d1",
        "Device ID Type": "SDID",
        "App Longname": "com.example.app",
        "Arguments": '{"level":3}',
    }
    zone = Extract(source="singular", path="x", timezone="America/Los_Angeles")
    exported = read(written(tmp_path / "log.csv", log), zone)
    delivered = read(written(tmp_path / "etl.csv", event(1)), PLAIN)
    assert exported["event_time"].to_list() == [datetime(2026, 3, 8, 12, 1, tzinfo=UTC)]
    assert exported["event_id"].equals(delivered["event_id"])
    assert exported["received_time"][0] == datetime(2026, 3, 8, 12, 3, tzinfo=UTC)
    assert exported["event_time_basis"].to_list() == ["tz_assumed"]


@pytest.mark.parametrize(
    ("kind", "value", "ids"),
    [
        ("SDID", "d1", ["singular_id:d1"]),
        ("idfa", IDFA, [f"idfa:{IDFA.lower()}"]),
        ("IDFV", IDFV, [f"idfv:{IDFV.lower()}"]),
        ("AIFA", GAID, [f"gaid:{GAID}"]),
        ("ANDI", "A1B2", ["android_id:a1b2"]),
        ("IDFA", "00000000-0000-0000-0000-000000000000", []),
    ],
)
def test_an_id_is_of_its_type_alone(
    tmp_path: Path, kind: str, value: str, ids: list[str]
) -> None:
    """The study can thus forbid a type; the id of limited tracking is none."""
    row = event(1, device_id=value, device_id_type=kind)
    assert read(written(tmp_path / "a.csv", row), PLAIN)["ids"].to_list() == [ids]


def test_attributions_are_installs_and_reengagements(tmp_path: Path) -> None:
    """Their rows have no name, several ids, and a list of user ids."""
    rows = [
        {
            "device_id": IDFV,
            "device_id_type": "IDFV",
            "event_timestamp_unix_utc": str(NOON + 60 * number),
            "is_reengagement": again,
            "custom_user_ids": users,
            "idfa": IDFA,
            "idfv": IDFV,
        }
        for number, again, users in ((1, "False", '["u-1"]'), (2, "True", "[]"))
    ]
    got = read(written(tmp_path / "a.csv", *rows), PLAIN)
    assert got["event_kind"].to_list() == ["install", "reattribution"]
    assert got["user_id"].to_list() == ["u-1", None]
    assert got["ids"][0].to_list() == [f"idfa:{IDFA.lower()}", f"idfv:{IDFV.lower()}"]


def test_a_postback_and_the_log_give_one_event(tmp_path: Path) -> None:
    """A postback states the ids by their types and was received at once; the log of the
    same event, by IDFA or by Singular's id, has the same event id.
    """
    body = {
        "event_name": "Buy",
        "event_utc_timestamp": NOON + 60,
        "longname": "com.example.app",
        "platform": "iOS",
        "idfa": IDFA,
        "idfv": IDFV,
        "aifa": None,
        "singular_id": "d1",
        "network": "Organic",
        "revenue": 9.5,
        "currency": "EUR",
        "event_attributes": {"level": 3},
        "custom_user_id": "u-1",
    }
    moment = datetime(2026, 3, 8, 12, 1, 4, tzinfo=UTC)
    without_idfa = body | {"idfa": None, "idfv": None}
    lines = [
        postback.lines(json.dumps(one).encode(), "", moment)
        for one in (body, without_idfa)
    ]
    file = tmp_path / "a.postbacks.ndjson.gz"
    file.write_bytes(gzip.compress(b"".join(lines)))
    received = read(file, PLAIN)
    log = [
        event(1, "Buy", revenue="9.50", device_id=IDFA, device_id_type="IDFA"),
        event(1, "Buy", revenue="9.50"),
    ]
    logged = read(written(tmp_path / "a.csv", *log), PLAIN)
    assert received["event_id"].equals(logged["event_id"])
    assert received["received_time"].to_list() == [moment, moment]
    assert received["user_id"].to_list() == ["u-1", "u-1"]
    ids = ["singular_id:d1", f"idfa:{IDFA.lower()}", f"idfv:{IDFV.lower()}"]
    assert received["ids"].to_list() == [ids, ["singular_id:d1"]]
    assert received["fault"].is_null().all()


def sample(folder: Path) -> None:
    """Two deliveries of the schema Events with planted faults: twelve rows.

    Device d1 becomes u-1's by a row with both, u-2 buys on a device whose IDFA is
    known, and d3 belongs to nobody. One row was delivered twice. A purchase has its
    copy __REVENUE__, another one's receipt is not valid. One row has no time, one an
    amount that is none, one an hour that is none, and one no name.
    """
    two = {"device_id": IDFA, "device_id_type": "IDFA", "custom_user_id": "u-2"}
    money = {"revenue": "9.50", "converted_revenue": "10.4"}
    written(
        folder / "raw/2026-03-08-12.csv",
        event(1, "__START__"),
        event(2),
        event(3, "Login", custom_user_id="u-1"),
        event(4, "Buy", **two, **money),
        event(4, "__REVENUE__", **two, **money),
        event(5, "Buy", **two, **money, is_revenue_valid="False"),
    )
    written(
        folder / "raw/2026-03-08-13.csv",
        event(2),
        event(6, device_id="d3"),
        event(7, adjusted_timestamp="", adjusted_timestamp_unix_utc=""),
        event(8, revenue="much"),
        event(9, etl_record_processing_hour_utc="soon"),
        event(10, ""),
    )


def test_deliveries_count_as_planted(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of twelve rows six are kept, one is a duplicate and five are quarantined; two
    users are known, and one person isn't.
    """
    sample(tmp_path)
    settings = make_study(extracts=[{"source": "singular", "path": "raw"}])
    done = ingest.ingest(settings, NOW, progress=False)
    assert done.totals == {"rows": 12, "kept": 6, "duplicate": 1, "quarantined": 5}
    assert dict(done.reasons.iter_rows()) == {
        "no_event_name": 1,
        "not_primary": 1,
        "unreadable_received_time": 1,
        "unreadable_revenue": 1,
        "unreadable_time": 1,
    }
    store = open_filled(settings)
    assert identity.people(store) == {"users": 2, "anonymous": 1}
    events = store.scan("events").filter(user_id="u-2").sort("event_time").collect()
    assert events["revenue"].to_list() == [9.5, None]
    assert events["revenue_usd"].to_list() == [10.4, None]
    assert events["event_kind"].to_list() == ["purchase", "in_app"]


def test_its_folder_is_recognised(tmp_path: Path) -> None:
    """`churn init` takes the deliveries for Singular's."""
    sample(tmp_path)
    (one,) = extracts.of_folder(tmp_path / "raw").proposals
    assert one.extract.source == "singular"
