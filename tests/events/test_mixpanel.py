"""Mixpanel's raw export, and the JSON of its pipelines."""

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
NOON = int(datetime(2026, 3, 8, 12, tzinfo=UTC).timestamp())
PLAIN = Extract(source="mixpanel", path="x")


def event(number: int, name: str = "Level Up", **properties: Any) -> dict[str, Any]:
    """An event of a device without a user, some minutes after noon, soon processed."""
    time = NOON + 60 * number
    usual = {
        "time": time,
        "distinct_id": "$device:d1",
        "$device_id": "d1",
        "$insert_id": f"i{number}",
        "mp_processing_time_ms": time * 1000 + 5000,
    }
    return {"event": name, "properties": usual | properties}


def written(folder: Path, *lines: dict[str, Any] | str) -> Path:
    """An export file."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "raw").mkdir(exist_ok=True)
    file = folder / "raw/2026-03-08.json"
    file.write_text("\n".join(texts) + "\n")
    return file


def test_seconds_and_milliseconds_are_told_apart(tmp_path: Path) -> None:
    """Both give the same instant and the same event id, and receipt is stated."""
    ms = event(1) | {}
    ms["properties"] = ms["properties"] | {"time": (NOON + 60) * 1000}
    got = read(written(tmp_path, event(1), ms), PLAIN)
    noon = datetime(2026, 3, 8, 12, 1, tzinfo=UTC)
    assert got["event_time"].to_list() == [noon, noon]
    assert got["event_id"].n_unique() == 1
    assert got["received_time"][0] == noon.replace(second=5)
    assert got["event_time_basis"].unique().to_list() == ["exact"]


def test_old_projects_count_the_seconds_of_their_own_clock(tmp_path: Path) -> None:
    """With the project's zone stated, a number that reads 12:01 is 12:01 there; the
    hour that is skipped in spring has no such time; receipt is UTC all the same.
    """
    gap = int(datetime(2026, 3, 8, 2, 30, tzinfo=UTC).timestamp())
    file = written(tmp_path, event(1), event(2, time=gap))
    zone = "America/Los_Angeles"
    got = read(file, Extract(source="mixpanel", path="x", timezone=zone))
    assert got["event_time"].to_list() == [
        datetime(2026, 3, 8, 19, 1, tzinfo=UTC),
        None,
    ]
    assert got["fault"].to_list() == [None, "unreadable_time"]
    assert got["received_time"][0] == datetime(2026, 3, 8, 12, 1, 5, tzinfo=UTC)
    assert got["event_time_basis"].unique().to_list() == ["tz_assumed"]


def test_who_is_who(tmp_path: Path) -> None:
    """Only $user_id names a user; an $identify links its ids to one, and aliases and
    merges hold just the two ids that are one person's.
    """
    user = {"distinct_id": "u-1", "$user_id": "u-1"}
    identify = {"$identified_id": "u-1", "$anon_id": "$device:d1"}
    got = read(
        written(
            tmp_path,
            event(1),
            event(2, **user),
            event(3, "$identify", **identify, distinct_id="u-1"),
            event(4, "$create_alias", distinct_id="d1", alias="u-1"),
            event(5, "$merge", **{"$distinct_ids": ["u-1", "d2"]}),
        ),
        PLAIN,
    )
    assert got["user_id"].to_list() == [None, "u-1", "u-1", None, None]
    assert got["ids"].to_list() == [
        ["mixpanel_id:d1"],
        ["mixpanel_id:d1", "mixpanel_id:u-1"],
        ["mixpanel_id:d1", "mixpanel_id:u-1"],
        ["mixpanel_id:d1", "mixpanel_id:u-1"],
        ["mixpanel_id:u-1", "mixpanel_id:d2"],
    ]
    kinds = ["in_app", "in_app", "other", "merge", "merge"]
    assert got["event_kind"].to_list() == kinds


def test_an_event_exported_again_after_the_log_in_is_the_same(tmp_path: Path) -> None:
    """Mixpanel then states the user's distinct_id, but the event id stays."""
    again = event(1, distinct_id="u-1")
    got = read(written(tmp_path, event(1), again, event(2)), PLAIN)
    first, second, other = got["event_id"].to_list()
    assert first == second != other


def test_what_mixpanel_adds_is_no_property(tmp_path: Path) -> None:
    """Ids, times and facts of the library are left out, wherever they stand; those of
    the app stay as they are, and so does text that looks alike.
    """
    own = {"level": 3, "said": 'a "$x":1, b', "list": [1, {"a": 2}]}
    last = {"$screen_height": 800, "mp_lib": "web", "$tags": ["a", "b"]}
    got = read(written(tmp_path, event(1, **own, **last), event(2, **last)), PLAIN)
    assert [json.loads(text) for text in got["properties"]] == [own, {}]
    assert got["platform"].unique().to_list() == ["web"]


def test_pipelines_give_the_same_events(tmp_path: Path) -> None:
    """Their flat rows have the ids, times and users of the raw export."""
    raw = event(1, **{"$user_id": "u-1", "distinct_id": "u-1"}, level=3)
    flat = {
        "device_id": "d1",
        "distinct_id": "u-1",
        "event_name": "Level Up",
        "insert_id": "i1",
        "properties": {
            "level": 3,
            "mp_processing_time_ms": (NOON + 60) * 1000 + 5000,
        },
        "time": (NOON + 60) * 1000,
        "user_id": "u-1",
    }
    assert read(written(tmp_path, flat), PLAIN).equals(
        read(written(tmp_path, raw), PLAIN)
    )


def test_a_back_end_that_sends_own_ids_alone_can_say_so(tmp_path: Path) -> None:
    """With distinct_id as the user, devices are still no users, and a price is revenue
    if the study says so.
    """
    names = {"user_id": "$.properties.distinct_id", "revenue": "$.properties.price"}
    file = written(tmp_path, event(1), event(2, distinct_id="u-1", price=9.5))
    got = read(file, Extract(source="mixpanel", path="x", columns=names))
    assert got["user_id"].to_list() == [None, "u-1"]
    assert got["revenue"].to_list() == [None, 9.5]


def sample(folder: Path) -> None:
    """Fourteen rows of an export with planted faults, and what Mixpanel writes last if
    it breaks off.

    Device d1 becomes u-1's by an $identify, d2 by a $merge with d1, d3 u-2's by a row
    with both ids, and d4 stays unknown. One event is there twice (i2). One has no
    time, one an amount that is none, one a time of processing that is none, and one
    no name.
    """
    written(
        folder,
        event(1),
        event(2),
        event(2),
        event(
            3,
            "$identify",
            **{"$identified_id": "u-1", "$anon_id": "d1", "distinct_id": "u-1"},
        ),
        event(4, **{"$device_id": "d2", "distinct_id": "$device:d2"}),
        event(5, "$merge", **{"$distinct_ids": ["d1", "d2"]}),
        event(
            6,
            "Buy",
            revenue=9.5,
            distinct_id="u-2",
            **{"$device_id": "d3", "$user_id": "u-2"},
        ),
        event(7, **{"$device_id": "d3", "distinct_id": "$device:d3"}),
        event(8, **{"$device_id": "d4", "distinct_id": "$device:d4"}),
        event(9, time=None),
        event(10, revenue="much"),
        event(11, mp_processing_time_ms="soon"),
        event(12, name=""),
        "terminated early",
    )


def test_an_export_counts_as_planted(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of fourteen rows eight are kept, one is a duplicate and five are quarantined;
    two users are known, and one person isn't.
    """
    sample(tmp_path)
    settings = make_study(extracts=[{"source": "mixpanel", "path": "raw"}])
    done = ingest.ingest(settings, NOW, progress=False)
    assert done.totals == {"rows": 14, "kept": 8, "duplicate": 1, "quarantined": 5}
    assert dict(done.reasons.iter_rows()) == {
        "no_event_name": 1,
        "not_json": 1,
        "unreadable_received_time": 1,
        "unreadable_revenue": 1,
        "unreadable_time": 1,
    }
    store = open_filled(settings)
    assert identity.people(store) == {"users": 2, "anonymous": 1}
    rows = store.scan("activity").filter(pl.col("event") != "$identify")
    counted = rows.group_by("user_id", "event").agg(pl.col("n").sum()).collect()
    assert sorted(counted.iter_rows()) == [
        ("u-1", "level_up", 3),
        ("u-2", "buy", 1),
        ("u-2", "level_up", 1),
    ]


def test_its_file_is_recognised(tmp_path: Path) -> None:
    """`churn init` takes the export for Mixpanel's."""
    sample(tmp_path)
    (one,) = extracts.of_folder(tmp_path / "raw").proposals
    assert one.extract.source == "mixpanel"
