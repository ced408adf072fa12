"""From closed journal files to marked hours where ingest looks for them."""

import asyncio
import gzip
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from churn.errors import StoreError
from churn.receive.journal import Journal
from churn.receive.publishing import Publisher
from churn.store import objects
from churn.store.places import Place

from .receiving import SECRET, running

if TYPE_CHECKING:
    from ..object_server import Server

FILE_BYTES = 2**20


def at(time: str) -> datetime:
    """A moment of one day, such as 05:59:59."""
    return datetime.fromisoformat(f"2026-06-01T{time}+00:00")


def line(number: int) -> bytes:
    """A line that says which one it is."""
    return b'{"postback": %d}\n' % number


def publisher(
    folder: Path,
    *times: str,
    close: bool = True,
) -> Publisher:
    """The publisher of a journal with a line received at each of these times."""
    journal = Journal("adjust", folder / "spool", FILE_BYTES)

    async def write() -> None:
        for number, time in enumerate(times):
            await journal.write(line(number), at(time))
        if close:
            await journal.close()

    asyncio.run(write())
    return Publisher("adjust", journal, Place(str(folder / "out")), "one")


def published(folder: Path) -> dict[str, bytes]:
    """Hours by name, such as h=5, with their lines and "marked" if they are marked."""
    found: dict[str, bytes] = {}
    for file in sorted((folder / "out").rglob("*.gz")):
        assert file.parent.parent.name == "dt=2026-06-01"
        hour = file.parent.name
        found[hour] = found.get(hour, b"") + gzip.decompress(file.read_bytes())
    for marker in (folder / "out").rglob("_SUCCESS"):
        found[marker.parent.name] = found.get(marker.parent.name, b"") + b"marked"
    return found


def test_an_hour_is_marked_when_it_is_over_and_all_of_it_is_there(
    tmp_path: Path,
) -> None:
    """Not in the first minute of the next, while requests may be on their way."""
    one = publisher(tmp_path, "05:59:59", "06:00:00")
    one.publish(at("06:00:30"))
    assert published(tmp_path) == {"h=5": line(0), "h=6": line(1)}
    one.publish(at("06:01:30"))
    assert published(tmp_path) == {"h=5": line(0) + b"marked", "h=6": line(1)}


def test_an_hour_whose_file_is_open_is_not_marked(tmp_path: Path) -> None:
    """Its lines are not published yet."""
    one = publisher(tmp_path, "05:59:59", close=False)
    one.publish(at("07:30:00"))
    assert published(tmp_path) == {}


def test_an_hour_that_the_clock_goes_back_to_is_published_too(tmp_path: Path) -> None:
    """A clock that is set back leads to a second file of an earlier hour."""
    one = publisher(tmp_path, "05:10:00", "06:20:00", "05:30:00")
    assert len(one.unpublished()) == 3
    one.publish(at("07:30:00"))
    assert published(tmp_path) == {
        "h=5": line(0) + line(2) + b"marked",
        "h=6": line(1) + b"marked",
    }


def test_what_cannot_be_published_stays_and_its_hour_unmarked(tmp_path: Path) -> None:
    """Once the place is there again, the files and the markers come."""
    one = publisher(tmp_path, "05:10:00")
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(StoreError):
        one.publish(at("06:30:00"))
    assert len(one.unpublished()) == 1
    (tmp_path / "out").unlink()
    one.publish(at("06:31:00"))
    assert published(tmp_path) == {"h=5": line(0) + b"marked"}
    assert one.unpublished() == []


def test_a_quiet_hour_is_marked(tmp_path: Path) -> None:
    """Ingest would wait for it, and with it for the hours before."""
    one = publisher(tmp_path)
    one.publish(at("05:30:00"))
    one.publish(at("06:30:00"))
    assert published(tmp_path) == {"h=5": b"marked"}


def test_publishing_again_after_a_crash_changes_nothing(tmp_path: Path) -> None:
    """The journal was published but is still there: the same name, the same bytes."""
    one = publisher(tmp_path, "05:10:00")
    [journal] = one.unpublished()
    content = journal.read_bytes()
    one.publish(at("05:11:00"))
    [packed] = (tmp_path / "out").rglob("*.gz")
    before = packed.read_bytes()
    journal.write_bytes(content)
    one.publish(at("05:12:00"))
    [packed] = (tmp_path / "out").rglob("*.gz")
    assert packed.read_bytes() == before


def test_a_file_stays_in_the_spool_until_the_object_store_has_it(
    tmp_path: Path, server: "Server", monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store that is away costs nothing but time."""
    journal = publisher(tmp_path, "05:10:00")._journal
    one = Publisher("adjust", journal, Place("s3://exports/in"), "one")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    objects._client.cache_clear()
    with pytest.raises(StoreError):
        one.publish(at("05:11:00"))
    assert len(one.unpublished()) == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    objects._client.cache_clear()
    one.publish(at("05:12:00"), is_last=True)
    assert one.unpublished() == []
    keys = [Path(item["path"]) for item in objects.listed("s3://exports/in")]
    assert sorted(key.name.partition("-")[0] for key in keys) == [
        "20260601T05",
        "_SUCCESS",
    ]


def test_one_spool_belongs_to_one_receiver(tmp_path: Path) -> None:
    """Another one that is started there ends with the code for: try again later."""
    with running(tmp_path):
        second = subprocess.run(
            [sys.executable, "-m", "churn.cli", "receive", "--port", "0"],
            cwd=tmp_path,
            env={"CHURN_RECEIVE_ADJUST": SECRET, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 4
    assert "another receiver" in second.stderr
