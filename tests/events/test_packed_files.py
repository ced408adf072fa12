"""Files are found and read by what they hold, however they are packed and named, and
files that are passed over are told.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cramjam
import polars as pl
import pytest

from churn.errors import InputError
from churn.events import ingest
from churn.events.sources import find, formats
from churn.report import history_sentences as sentences
from churn.settings import Extract, Settings, parse
from churn.store import open_filled

from ..conftest import read

NOW = datetime(2026, 3, 20, tzinfo=UTC)
TABLE = Extract(source="table", path="x")
CSV = b"user_id,event,time\na,open,2026-03-01\nb,open,2026-03-02\n"
LINES = (
    b'{"user_id": "a", "event": "open", "time": "2026-03-01"}\n'
    b'{"user_id": "b", "event": "open", "time": "2026-03-02"}\n'
)


def zipped(**members: bytes) -> bytes:
    """A ZIP archive; two underscores in a member's name stand for its dot."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()


def zstandard(content: bytes) -> bytes:
    """The content packed by Zstandard."""
    return bytes(cramjam.zstd.compress(content))


def parquet() -> bytes:
    """The two rows as Parquet."""
    out = io.BytesIO()
    pl.read_csv(CSV).write_parquet(out)
    return out.getvalue()


def gzipped(content: bytes) -> bytes:
    """The content packed by gzip, without the time at which that was done."""
    return gzip.compress(content, mtime=0)


def snappy(content: bytes) -> bytes:
    """The content packed by framed snappy."""
    return bytes(cramjam.snappy.compress(content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", LINES),
        ("a.json.gz", gzipped(LINES)),
        ("a.gz", gzipped(LINES)),
        ("a.gz", gzipped(CSV)),
        ("a.csv.zst", zstandard(CSV)),
        ("a.json.zst", zstandard(LINES)),
        ("a.zst", zstandard(parquet())),
        ("a.parquet.gz", gzipped(parquet())),
        ("a.jsonl.snappy", snappy(LINES)),
        ("a.csv.zip", zipped(a__csv=CSV)),
        ("a.zip", zipped(part=CSV)),
        ("a.zip", zipped(a__parquet=parquet())),
        ("a.zip", zipped(a__json__gz=gzipped(LINES), readme__txt=b"notes")),
        ("A.JSON", json.dumps([json.loads(x) for x in LINES.splitlines()]).encode()),
    ],
)
def test_a_table_is_found_and_read_in_every_packing(
    tmp_path: Path, make_study: Callable[..., Settings], name: str, content: bytes
) -> None:
    """Each of these is found in a folder and gives the same two events."""
    (tmp_path / "raw").mkdir()
    (tmp_path / f"raw/{name}").write_bytes(content)
    found = find.find(Extract(source="table", path="raw"), make_study()).ready
    assert [file.name for file in found] == [name]
    got = read(tmp_path / f"raw/{name}", TABLE)
    assert got["user_id"].to_list() == ["a", "b"]
    assert got["event_time"].dt.day().to_list() == [1, 2]
    assert got["source_row"].to_list() == [1, 2]


def test_members_of_an_archive_are_one_file(tmp_path: Path) -> None:
    """Rows are numbered throughout, and what a Mac adds is left out."""
    content = zipped(
        b__csv=CSV, **{"x/a__csv": CSV, "__MACOSX/x/._a.csv": b"\x00\x05", "c/": b""}
    )
    (tmp_path / "a.zip").write_bytes(content)
    got = read(tmp_path / "a.zip", TABLE)
    assert got["source_row"].to_list() == [1, 2, 3, 4]
    assert got["user_id"].to_list() == ["a", "b", "a", "b"]


VENDOR_ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "amplitude": (
        "json",
        {"event_type": "x", "event_time": "2026-03-08 02:00:00", "uuid": "1"},
    ),
    "ga4": (
        "json",
        {"event_timestamp": 1772964845638000, "event_name": "x", "user_pseudo_id": "d"},
    ),
    "appsflyer": (
        "csv",
        {"event_time": "2026-03-08 02:00:00", "event_name": "x", "appsflyer_id": "d"},
    ),
    "adjust": (
        "csv",
        {"{activity_kind}": "session", "{created_at}": 1772964845, "{adid}": "d"},
    ),
    "mixpanel": (
        "json",
        {"event": "x", "properties": {"time": 1772964845, "$insert_id": "1"}},
    ),
    "kochava": (
        "csv",
        {
            "timestamp_utc": "2026-03-08 02:00:00",
            "event_name": "x",
            "device_id_kochava": "d",
        },
    ),
    "singular": (
        "csv",
        {
            "adjusted_timestamp_unix_utc": 1772964845,
            "name": "x",
            "device_id": "d",
            "device_id_type": "SDID",
        },
    ),
    "segment": (
        "json",
        {"type": "page", "messageId": "1", "timestamp": "2026-03-08T02:00:00Z"},
    ),
    "branch": ("csv", {"id": "1", "name": "OPEN", "timestamp": 1772964845638}),
}


@pytest.mark.parametrize("source", list(VENDOR_ROWS))
@pytest.mark.parametrize("suffix", [".gz", ".zst", ".zip"])
def test_vendors_files_are_judged_by_content(
    tmp_path: Path, make_study: Callable[..., Settings], source: str, suffix: str
) -> None:
    """A packed file of each vendor is read under a name that states no format, and
    Adjust's braces in a header are no JSON.
    """
    form, row = VENDOR_ROWS[source]
    frame = pl.DataFrame([row])
    text = frame.write_ndjson() if form == "json" else frame.write_csv()
    pack = {".gz": gzipped, ".zst": zstandard, ".zip": lambda b: zipped(part=b)}
    (tmp_path / "raw").mkdir()
    path = tmp_path / f"raw/part-0{suffix}"
    path.write_bytes(pack[suffix](str(text).encode()))
    extract = Extract(source=source, path="raw")  # type: ignore[arg-type]
    assert len(find.find(extract, make_study()).ready) == 1
    got = read(path, extract)
    assert (got.height, got["fault"].to_list()) == (1, [None])


def test_names_and_beginnings_state_a_format() -> None:
    """The suffix before the packing decides, and otherwise the first bytes."""
    names = {
        "a.CSV": "csv",
        "a.tsv.gz": "csv",
        "a.jsonl.zst": "json",
        "a.parquet.snappy": "parquet",
        "a.gz": "unstated",
        "1772936045123.d41d8cd9.1.2.3.gz": "unstated",
        "a": "",
        "a.xlsx": "",
        "a.csv.bak": "",
    }
    assert {name: formats.of_name(name) for name in names} == names
    starts = {
        b'{"a": 1}': "json",
        b'\xef\xbb\xbf [\n {"a"': "json",
        b"[]": "json",
        b"{activity_kind},{adid}\n": "csv",
        b"[user_id],x\n": "csv",
        b"PAR1": "parquet",
    }
    assert {start: formats.of_start(start) for start in starts} == starts


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"<!DOCTYPE html><html><body>Log in</body></html>", "HTML or XML"),
        ("a.json", b'\xef\xbb\xbf\n<?xml version="1.0"?><Error/>', "HTML or XML"),
        ("a.gz", gzipped(b"<Error><Code>AccessDenied</Code>"), "HTML or XML"),
        ("a.csv", b'{"error": {"code": 429}}', "holds JSON, not CSV"),
        ("a.json", b'{"error": {"code": 429}}', "lacks column(s) user_id"),
        ("a.csv", zipped(**{"xl/workbook__xml": b"x"}), "Excel workbook; save it"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office"),
        ("a.csv.zip", zipped(notes__txt=b"x"), "holds no file"),
        ("a.zst", zstandard(CSV)[:-9], "cut off"),
    ],
)
def test_what_is_no_export_is_refused_by_its_name(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    """Error pages, workbooks and cut-off downloads say what they are."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said.replace("(", r"\(").replace(")", r"\)")):
        read(tmp_path / name, TABLE)


def listing(
    folder: Path, source: str, *names: str, ignore: tuple[str, ...] = ()
) -> tuple[list[str], list[str]]:
    """Names of the files that are read and that are passed over."""
    for name in names:
        path = folder / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    extract = Extract(source=source, path="raw", ignore=ignore)  # type: ignore[arg-type]
    found = find.find(extract, parse({"extracts": [extract]}, folder))
    return [f.name for f in found.ready], [f.name for f in found.passed_over]


def test_beside_files_of_one_format_those_of_another_are_passed_over(
    tmp_path: Path,
) -> None:
    """A .json beside CSV may be a note about it, but beside .ndjson it is data."""
    names = ("a.csv", "b.csv.zip", "c.tsv", "d.gz", "manifest.json", "e.xlsx", ".f.x")
    assert listing(tmp_path / "1", "table", *names) == (
        ["a.csv", "b.csv.zip", "c.tsv", "d.gz"],
        ["e.xlsx", "manifest.json"],
    )
    lines = ("a.ndjson", "b.json", "c.json.gz")
    assert listing(tmp_path / "2", "table", *lines) == (list(lines), [])
    assert listing(tmp_path / "3", "table", "y/b.json")[0] == ["y/b.json"]
    avro = ("a.avro", "b.json", "c.gz")
    assert listing(tmp_path / "4", "currents", *avro) == (
        ["a.avro"],
        ["b.json", "c.gz"],
    )


def test_what_the_study_ignores_is_neither_read_nor_told(tmp_path: Path) -> None:
    """A name stands for every folder, and a path with * for one level."""
    names = ("a.csv", "x/a.csv", "x/b.csv", "y/b.csv", "y/z/b.csv", "c.xlsx")
    ignore = ("a.csv", "y/*.csv", "*.xlsx")
    assert listing(tmp_path, "table", *names, ignore=ignore) == (
        ["x/b.csv", "y/z/b.csv"],
        [],
    )


def test_the_summary_tells_what_was_passed_over(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """They are counted by suffix and named; what another extract reads is not among
    them.
    """
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.csv").write_bytes(CSV)
    line = json.dumps(VENDOR_ROWS["amplitude"][1] | {"device_id": "d"})
    (raw / "b.json").write_text(line)
    for number in range(5):
        (raw / f"{number}.xlsx").write_text("x")
    for sources in (("amplitude", "table"), ("table", "amplitude")):
        extracts = [{"source": source, "path": "raw"} for source in sources]
        settings = make_study(extracts=extracts, store=f"store-{sources[0]}")
        done = ingest.ingest(settings, NOW, progress=False)
        assert (done.n_added, len(done.passed_over)) == (3, 5)
        told = (
            "5 file(s) passed over for their names: 5 .xlsx (0.xlsx, 1.xlsx, 2.xlsx …)"
        )
        assert any(text.startswith(told) for text in sentences.ingest(done))
        events = open_filled(settings).scan("events").collect()
        assert sorted(events["source"]) == ["amplitude", "table", "table"]


def test_what_is_there_is_named_if_nothing_can_be_read(tmp_path: Path) -> None:
    """The error counts what it found instead."""
    with pytest.raises(InputError, match=r"there are 2 \.xlsx \(a\.xlsx, b\.xlsx\)"):
        listing(tmp_path, "table", "a.xlsx", "b.xlsx")
