"""The receiver as a process of its own, over real sockets and a real disk."""

import gzip
import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.receive.receiving import SECRET, SOURCES, running, written


def test_an_acknowledged_postback_is_published_when_the_receiver_ends(
    tmp_path: Path,
) -> None:
    """It stands in the hour's folder with the moment of receipt, and the hour is marked."""
    before = datetime.now(UTC)
    with running(tmp_path) as receiver:
        status, _ = receiver.send("GET", f"/adjust/{SECRET}?adid=a&activity_kind=event")
        output = receiver.end()
    assert (status, receiver.process.returncode) == (200, 0), output
    [line] = written(tmp_path, "adjust")
    assert line["postback"] == {"adid": "a", "activity_kind": "event"}
    assert before <= datetime.fromisoformat(line["received_at"]) <= datetime.now(UTC)
    [marker] = tmp_path.glob("data/raw/postbacks/adjust/t=r/dt=*/h=*/_SUCCESS")
    assert list(marker.parent.glob("*.postbacks.ndjson.gz"))
    assert not list(tmp_path.glob("data/receive/*/*.ndjson"))


def test_an_acknowledged_postback_outlasts_a_kill(tmp_path: Path) -> None:
    """After kill -9 the next start publishes it once; half a line at the end goes."""
    with running(tmp_path) as receiver:
        status, _ = receiver.send("POST", f"/branch/{SECRET}", b'{"id": "1"}')
        receiver.end(signal.SIGKILL)
    [journal] = tmp_path.glob("data/receive/branch/*.ndjson")
    with journal.open("ab") as file:
        file.write(b'{"received_at": "2026-')
    assert (status, written(tmp_path)) == (200, [])
    with running(tmp_path) as receiver:
        receiver.end()
    assert [line["postback"] for line in written(tmp_path)] == [{"id": "1"}]


@pytest.mark.parametrize("source", SOURCES)
def test_only_who_knows_the_secret_is_heard(tmp_path: Path, source: str) -> None:
    """In the address or as a bearer; it is then in no file and no line of the log."""
    with running(tmp_path) as receiver:
        bearer = {"Authorization": f"Bearer {SECRET}"}
        body = b'{"a": 1}'
        answers = [
            receiver.send("POST", f"/{source}/{SECRET}", body)[0],
            receiver.send("POST", f"/{source}", body, bearer)[0],
            receiver.send("POST", f"/{source}/{SECRET[:-1]}", body)[0],
            receiver.send("POST", f"/{source}", body)[0],
            receiver.send("POST", f"/nobody/{SECRET}", body)[0],
            receiver.send("DELETE", f"/{source}/{SECRET}", body)[0],
        ]
        figures = receiver.send("GET", "/metrics")[1]
        output = receiver.end()
    assert answers == [200, 200, 403, 403, 404, 405]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    texts = [gzip.decompress(f.read_bytes()) for f in files if f.suffix == ".gz"]
    texts += [f.read_bytes() for f in files if f.suffix != ".gz"]
    assert not any(SECRET.encode() in text for text in texts)
    assert SECRET not in output + figures
    assert f'requests_total{{source="{source}",status="200"}} 2.0' in figures
    assert 'requests_total{source="unknown",status="404"} 1.0' in figures


def test_a_list_is_several_postbacks(tmp_path: Path) -> None:
    """Each element that is an object counts; another is kept with its fault."""
    body = json.dumps([{"event_name": "a"}, {"event_name": "b"}, 3]).encode()
    with running(tmp_path) as receiver:
        receiver.send("POST", f"/appsflyer/{SECRET}", body)
        receiver.end()
    lines = written(tmp_path, "appsflyer")
    assert [line.get("postback") for line in lines[:2]] == [
        {"event_name": "a"},
        {"event_name": "b"},
    ]
    assert (lines[2]["fault"], lines[2]["raw"]) == ("not_an_object", "3")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"a": "\xff"}', "not_utf8"),
        (b'{"a": ', "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"nonsense", "not_json"),
    ],
)
def test_what_cannot_be_read_is_kept_and_acknowledged(
    tmp_path: Path, body: bytes, fault: str
) -> None:
    """A vendor would only send it again, so ingest quarantines it instead."""
    with running(tmp_path) as receiver:
        status, _ = receiver.send("POST", f"/singular/{SECRET}", body)
        receiver.end()
    [line] = written(tmp_path, "singular")
    assert (status, line["fault"]) == (200, fault)


def test_a_full_disk_is_answered_with_503_until_there_is_room(tmp_path: Path) -> None:
    """Nothing that was not acknowledged with 200 is needed, and nothing else is lost."""
    blocked = tmp_path / "data/receive/kochava"
    with running(tmp_path) as receiver:
        blocked.parent.mkdir(parents=True, exist_ok=True)
        blocked.write_text("a file where the journal's folder should be")
        refused, _ = receiver.send("GET", f"/kochava/{SECRET}?event_name=a")
        health, _ = receiver.send("GET", "/healthz")
        other, _ = receiver.send("GET", f"/adjust/{SECRET}?adid=a")
        blocked.unlink()
        taken, _ = receiver.send("GET", f"/kochava/{SECRET}?event_name=b")
        receiver.end()
    assert (refused, health, other, taken) == (503, 503, 200, 200)
    assert [line["postback"] for line in written(tmp_path, "kochava")] == [
        {"event_name": "b"}
    ]
