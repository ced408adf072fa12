"""Logs of Segment and RudderStack in a bucket."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from churn.events import identity, ingest
from churn.guessing import extracts
from churn.settings import Extract, Settings
from churn.store import open_filled

from ..conftest import read

NOW = datetime(2026, 3, 25, tzinfo=UTC)
IDFV = "7c1d2e3f-0a1b-4c2d-8e3f-4a5b6c7d8e9f"
IDFA = "1c1d2e3f-0a1b-4c2d-8e3f-4a5b6c7d8e9f"


def call(number: int, **keys: Any) -> dict[str, Any]:
    """A track call of 8 March, received a second after it was made."""
    usual = {
        "type": "track",
        "messageId": f"m{number}",
        "anonymousId": "anon-1",
        "timestamp": f"2026-03-08T02:{number:02d}:05.123Z",
        "receivedAt": f"2026-03-08T02:{number:02d}:06.123Z",
        "originalTimestamp": "2031-01-01T00:00:00Z",
    }
    return usual | keys


def written(folder: Path, *calls: dict[str, Any] | str) -> Path:
    """A log file as Segment names it."""
    file = folder / "raw/segment-logs/src/1772928000000/1772936045123.d41d.1.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [c if isinstance(c, str) else json.dumps(c) for c in calls]
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    return file


def events(folder: Path, *calls: dict[str, Any] | str) -> pl.DataFrame:
    """The calls as canonical events."""
    return read(written(folder, *calls), Extract(source="segment", path="x"))


def test_each_type_of_call_has_a_name_and_a_kind(tmp_path: Path) -> None:
    """A screen is named by its type and name, wherever the library writes that; calls
    about people are passive.
    """
    got = events(
        tmp_path,
        call(1, event="Level Up"),
        call(2, type="screen", name="Home"),
        call(3, type="screen", event="Home", properties={"name": "Home"}),
        call(4, type="page", name=None, properties={"name": "Prices"}),
        call(5, type="page"),
        call(6, type="identify", userId="u-1"),
        call(7, type="group", userId="u-1", groupId="g"),
        call(8, type="alias", userId="u-1", previousId="anon-0"),
        call(9, event="Application Opened"),
        call(10, event="Application Uninstalled"),
        call(11, event="Order Refunded", properties={"revenue": 5}),
    )
    assert got["event"].to_list() == [
        "level_up",
        "screen_home",
        "screen_home",
        "page_prices",
        "page",
        "identify",
        "group",
        "alias",
        "application_opened",
        "application_uninstalled",
        "order_refunded",
    ]
    assert got["event_kind"].to_list() == [
        *["in_app"] * 5,
        *["other"] * 3,
        "session_start",
        "uninstall",
        "refund",
    ]
    assert got["fault"].is_null().all()


def test_the_corrected_time_counts_and_receipt_is_stated(tmp_path: Path) -> None:
    """The event happened at timestamp and was received at receivedAt; an offset, as
    RudderStack writes it, is read; the device's own clock isn't.
    """
    local = {"receivedAt": "2026-03-08T07:32:07.123+05:30"}
    got = events(tmp_path, call(1, event="a"), call(2, event="b", **local))
    assert got["event_time"][0] == datetime(2026, 3, 8, 2, 1, 5, 123000, tzinfo=UTC)
    assert got["received_time"].to_list() == [
        datetime(2026, 3, 8, 2, 1, 6, 123000, tzinfo=UTC),
        datetime(2026, 3, 8, 2, 2, 7, 123000, tzinfo=UTC),
    ]
    assert got["event_time_basis"].unique().to_list() == ["skew_corrected"]


def test_the_ids_of_a_device_follow_its_platform(tmp_path: Path) -> None:
    """On iOS they are vendor and advertising id, on Android the Android id and GAID."""
    ids = {"id": IDFV.upper(), "advertisingId": IDFA, "adTrackingEnabled": False}
    android = {"id": "A1B2", "advertisingId": IDFA, "adTrackingEnabled": True}
    got = events(
        tmp_path,
        call(1, event="a", context={"device": ids, "os": {"name": "iPadOS"}}),
        call(2, event="a", context={"device": android | {"type": "android"}}),
    )
    assert got["ids"].to_list() == [
        ["segment_id:anon-1", f"idfa:{IDFA}", f"idfv:{IDFV}"],
        ["segment_id:anon-1", f"gaid:{IDFA}", "android_id:a1b2"],
    ]
    assert got["platform"].to_list() == ["ios", "android"]
    assert got["limited"].to_list() == [True, None]


def sample(folder: Path) -> Path:
    """Twelve calls of three people in one file, with planted faults.

    One call is there twice (m2), one is cut off, one has no time, one has an amount
    that is none, one a time of receipt that is none, and one no messageId. User u-1
    is known by an identify call, u-2 by an alias of anon-2, and anon-3 by nobody.
    """
    order = {"revenue": 25.5, "currency": "usd"}
    two = {"anonymousId": "anon-2"}
    return written(
        folder,
        call(1, type="identify", userId="u-1", traits={"plan": "pro"}),
        call(2, event="Order Completed", properties=order),
        call(2, event="Order Completed", properties=order),
        call(4, type="screen", name="Home"),
        call(5, event="Level Up", **two),
        call(6, type="alias", userId="u-2", anonymousId="new", previousId="anon-2"),
        call(7, event="Level Up", anonymousId="anon-3"),
        call(8, event="Level Up", timestamp=None),
        call(9, event="Order Completed", properties={"revenue": "much"}),
        call(10, event="Level Up", receivedAt="soon"),
        call(11, event="Level Up", messageId=None),
        '{"type": "track", "event": "Level',
    )


def test_a_log_counts_as_planted(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of twelve rows six are kept, one is a duplicate and five are quarantined; two
    users are known, and one person isn't.
    """
    sample(tmp_path)
    settings = make_study(extracts=[{"source": "segment", "path": "raw"}])
    done = ingest.ingest(settings, NOW, progress=False)
    assert done.totals == {"rows": 12, "kept": 6, "duplicate": 1, "quarantined": 5}
    assert dict(done.reasons.iter_rows()) == {
        "no_event_id": 1,
        "not_json": 1,
        "unreadable_received_time": 1,
        "unreadable_revenue": 1,
        "unreadable_time": 1,
    }
    store = open_filled(settings)
    assert identity.people(store) == {"users": 2, "anonymous": 1}
    rows = store.scan("activity").select("user_id", "event").collect()
    assert sorted(rows.iter_rows()) == [
        ("u-1", "identify"),
        ("u-1", "order_completed"),
        ("u-1", "screen_home"),
        ("u-2", "alias"),
        ("u-2", "level_up"),
    ]


def test_its_folder_is_recognised(tmp_path: Path) -> None:
    """`churn init` takes a folder of logs for Segment's."""
    sample(tmp_path)
    (one,) = extracts.of_folder(tmp_path / "raw").proposals
    assert one.extract.source == "segment"
