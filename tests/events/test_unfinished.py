"""Files that are still being written wait, and files that are gone are counted."""

import gzip
import io
import os
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.errors import InputError
from churn.events import ingest, missing_files, staging
from churn.events.sources import find
from churn.events.sources.unfinished import is_unfinished
from churn.report import history_sentences as sentences
from churn.settings import Extract, Settings
from churn.store import open_filled

NOW = datetime(2026, 3, 20, tzinfo=UTC)
CSV = b'user_id,event,time\na,open,2026-03-01\nb,"open, ""shut""",2026-03-02\n'
LINES = (
    b'{"user_id": "a", "event": "open", "time": "2026-03-01"}\n'
    b'{"user_id": "b", "event": "open", "time": "2026-03-02"}\n'
)
DOCUMENT = b'[\n {"user_id": "a",\n  "event": "open", "time": "2026-03-01"}\n]'


def parquet() -> bytes:
    """A small table as Parquet."""
    stream = io.BytesIO()
    pl.DataFrame({"user_id": ["a"], "event": ["x"], "time": [NOW]}).write_parquet(
        stream
    )
    return stream.getvalue()


def archive() -> bytes:
    """JSON lines in a ZIP archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as out:
        out.writestr("a.json", LINES)
    return stream.getvalue()


def write(path: Path, content: bytes, age: float = 0) -> Path:
    """A file that was last changed ``age`` seconds ago."""
    path.write_bytes(content)
    changed = time.time() - age
    os.utime(path, (changed, changed))
    return path


def found(path: Path, **settings: str) -> find.Found:
    """The file as it is listed."""
    extract = Extract(source="table", path="x", **settings)  # type: ignore[arg-type]
    return find.Found(extract, str(path), path.name, "", 0)


def by_files(make_study: Callable[..., Settings], pattern: str = "raw") -> Settings:
    """A study over all files of a folder."""
    return make_study(extracts=[{"source": "table", "path": pattern}])


@pytest.mark.parametrize(
    ("name", "whole", "n_missing"),
    [
        ("a.csv", CSV, 12),  # Too few cells.
        ("a.csv", CSV, 15),  # An open quote.
        ("a.csv", CSV, len(CSV) - 10),  # Half the header.
        ("a.csv.gz", gzip.compress(CSV, mtime=0), 5),
        ("a.ndjson.gz", gzip.compress(LINES, mtime=0), 9),
        ("part-00000.gz", gzip.compress(CSV, mtime=0), 1),
        ("a.parquet", parquet(), 3),
        ("a.zip", archive(), 10),
        ("a.ndjson", LINES, 9),
        ("a.json", DOCUMENT, 1),
    ],
)
def test_a_recent_file_without_its_end_is_unfinished(
    tmp_path: Path, name: str, whole: bytes, n_missing: int
) -> None:
    """It is unfinished for ten minutes after its last change; a whole file never is."""
    path = write(tmp_path / name, whole[: len(whole) - n_missing])
    now = path.stat().st_mtime
    assert is_unfinished(found(path), now)
    assert is_unfinished(found(path), now + 599)
    assert not is_unfinished(found(path), now + 600)
    assert not is_unfinished(found(write(path, whole)), time.time())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV.rstrip(b"\n")),
        ("a.csv", b"\xff\xfe\x00a"),
        ("a.csv", b""),
        ("a.ndjson", LINES.rstrip(b"\n")),
        ("a.ndjson", b"\xef\xbb\xbf" + LINES.splitlines()[0]),
        ("a.json", DOCUMENT),
        ("a.parquet", CSV),
        ("a.gz", b"\x1f\x8bno gzip at all, but long enough for its header"),
        ("a.avro", b"Obj\x01"),
    ],
)
def test_other_files_are_read_at_once(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """Whole files without a last line end, damaged files and other formats are no
    unfinished ones.
    """
    assert not is_unfinished(found(write(tmp_path / name, content)), time.time())


def test_text_of_wide_characters_and_objects_are_read_at_once(tmp_path: Path) -> None:
    """Line ends of UTF-16 are not looked for, and an object is always complete."""
    path = write(tmp_path / "a.csv", CSV.decode().encode("utf-16")[:-30])
    assert not is_unfinished(found(path, encoding="utf-16"), time.time())
    assert not is_unfinished(found(tmp_path / "absent.csv"), time.time())
    remote = find.Found(Extract(source="table", path="x"), "s3://b/a.csv", "", "", 0)
    assert not is_unfinished(remote, time.time())
    assert not find.has_changed(remote)


def test_an_unfinished_file_waits_and_is_read_once_it_is_whole(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """The other files are read, the summary counts it, and ten minutes after its last
    change it stops the ingest.
    """
    (tmp_path / "raw").mkdir()
    settings = by_files(make_study)
    write(tmp_path / "raw/a.csv", CSV)
    path = write(tmp_path / "raw/b.csv", CSV.replace(b"a,", b"c,")[:-12])
    first = ingest.ingest(settings, NOW, progress=False)
    assert first.n_added == 2
    assert first.waiting == {str(path): staging.BEING_WRITTEN}
    waits = "1 file(s) wait because they are still being written"
    assert waits in sentences.ingest(first)
    write(path, path.read_bytes(), age=700)
    with pytest.raises(InputError, match="cut off"):
        ingest.ingest(settings, NOW, progress=False)
    write(path, CSV.replace(b"a,", b"c,"))
    second = ingest.ingest(settings, NOW, progress=False)
    assert (second.n_added, second.waiting) == (2, {})


@pytest.mark.parametrize("leaves_whole", [True, False])
def test_a_file_that_changes_while_it_is_read_waits(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    leaves_whole: bool,
) -> None:
    """None of its rows is kept, whether the reader could read it or not, and the other
    files are read.
    """
    (tmp_path / "raw").mkdir()
    settings = by_files(make_study)
    path = write(tmp_path / "raw/a.csv", CSV, age=60)
    write(tmp_path / "raw/b.csv", CSV.replace(b"b,", b"c,"), age=60)
    digest = staging.file_digest
    grown = CSV + (b"c,open,2026-03-03\n" if leaves_whole else b"c,op")

    def grow(read: Path) -> str:
        before = digest(read)
        if read == path:
            write(path, grown)
        return before

    with monkeypatch.context() as patch:
        patch.setattr(staging, "file_digest", grow)
        first = ingest.ingest(settings, NOW, progress=False)
    assert (first.n_added, list(first.waiting)) == (2, [str(path)])
    events = open_filled(settings).scan("events").collect()
    assert set(events["source_file"]) == {"b.csv"}
    write(path, CSV + b"c,open,2026-03-03\n")
    second = ingest.ingest(settings, NOW, progress=False)
    assert (second.n_added, second.waiting) == (3, {})


def test_a_file_that_vanishes_waits(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file that is moved away after it was listed does not stop the ingest."""
    (tmp_path / "raw").mkdir()
    settings = by_files(make_study)
    write(tmp_path / "raw/a.csv", CSV)
    path = write(tmp_path / "raw/b.csv", CSV)
    fetch = find.fetch

    def lose(file: find.Found, scratch: Path) -> Path:
        path.unlink(missing_ok=True)
        return fetch(file, scratch)

    monkeypatch.setattr(find, "fetch", lose)
    done = ingest.ingest(settings, NOW, progress=False)
    assert (done.n_added, list(done.waiting)) == (2, [str(path)])


def test_files_that_are_gone_are_counted_and_keep_their_rows(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A deleted file is gone. A renamed one, a changed one and one without any kept row
    are not.
    """
    (tmp_path / "raw").mkdir()
    settings = by_files(make_study)
    write(tmp_path / "raw/a.csv", CSV)
    write(tmp_path / "raw/b.csv", CSV.replace(b"b,", b"c,"))
    write(tmp_path / "raw/c.csv", CSV.replace(b"b,", b"d,"))
    refused = b"user_id,event,time,consent\na,open,2026-03-01,0\n"
    write(tmp_path / "raw/d.csv", refused)
    first = ingest.ingest(settings, NOW, progress=False)
    assert (first.n_added, first.gone) == (6, [])
    (tmp_path / "raw/a.csv").unlink()
    (tmp_path / "raw/b.csv").rename(tmp_path / "raw/b-renamed.csv")
    write(tmp_path / "raw/c.csv", CSV.replace(b"b,", b"e,"))
    (tmp_path / "raw/d.csv").unlink()
    for _ in range(2):
        done = ingest.ingest(settings, NOW, progress=False)
        assert done.gone == [str(tmp_path / "raw/a.csv")]
        line = "1 file(s) are gone from the extracts; their rows stay"
        assert line in sentences.ingest(done)
    events = open_filled(settings).scan("events").collect()
    assert "a.csv" in set(events["source_file"])


def test_an_intraday_table_may_disappear() -> None:
    """GA4 deletes intraday tables once the day's own table is there."""
    rows = {
        "address": ["g/events_intraday_20260308.json", "g/events_20260307.json"],
        "kept": [5, 5],
        "digest": ["1", "2"],
    }
    assert missing_files.gone(pl.DataFrame(rows), []) == ["g/events_20260307.json"]
