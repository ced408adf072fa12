"""Bad input: whatever a file holds, each reader answers with one clear sentence or a counted, quarantined row."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn import events, sources, store
from churn.errors import InputError
from churn.sources import READERS, SUFFIXES
from churn.study import Extract, parse

from .conftest import read

Cells = dict[str, Any]
NOW, NOON = datetime(2026, 3, 25, tzinfo=UTC), datetime(2026, 3, 8, 12, tzinfo=UTC)


def row(number: int = 1, **cells: Any) -> Cells:
    """One event in our own words; each form below writes it as its vendor does."""
    usual = {"user": f"u{number}", "device": f"d{number}", "name": "open", "time": None, "revenue": "", "country": "US"}
    return usual | {"number": number, "note": "x", "properties": "{}"} | cells


def when(c: Cells, form: Callable[[datetime], Any]) -> Any:
    """The row's time as written: what the test says, or noon and so many minutes in the vendor's form."""
    return form(NOON + timedelta(minutes=c["number"])) if c["time"] is None else c["time"]


def pull(c: Cells) -> Cells:
    """A row of AppsFlyer's Pull report."""
    known = {"Event Time": when(c, lambda t: f"{t:%F %T}"), "Event Name": c["name"], "Event Value": c["properties"]}
    known |= {"Event Revenue": c["revenue"], "Customer User ID": c["user"], "AppsFlyer ID": c["device"]}
    return known | {"Country Code": c["country"], "Campaign ID": c["note"]}


def push(c: Cells) -> Cells:
    """A Push body, which has the names that Data Locker has."""
    return {name.lower().replace(" ", "_"): value for name, value in pull(c).items()}


def adjust(c: Cells) -> Cells:
    """A row of an Adjust upload."""
    known = {"{activity_kind}": "event", "{created_at}": when(c, lambda t: f"{t.timestamp():.0f}"), "{adid}": c["device"]}
    known |= {"{event_name}": c["name"], "{event}": "token", "{revenue}": c["revenue"], "[user_id]": c["user"]}
    return known | {"{country}": c["country"], "{campaign_name}": c["note"]}


def branch(c: Cells) -> Cells:
    """A row of a Branch export."""
    known = {"id": f"id-{c['number']}", "name": c["name"], "timestamp": when(c, lambda t: f"{t.timestamp() * 1e3:.0f}")}
    known |= {"user_data_developer_identity": c["user"], "event_data_revenue": c["revenue"]}
    known |= {"user_data_cross_platform_id": c["device"], "user_data_geo_country_code": c["country"]}
    return known | {"custom_data": c["properties"], "last_attributed_touch_data_tilde_campaign_id": c["note"]}


def amplitude(c: Cells) -> Cells:
    """An Amplitude event."""
    known = {"uuid": f"id-{c['number']}", "event_type": c["name"], "event_time": when(c, lambda t: f"{t:%F %T.%f}")}
    known |= {"user_id": c["user"], "device_id": c["device"], "event_properties": {"$revenue": c["revenue"]}}
    return known | {"country": c["country"], "campaign": c["note"]}


def ga4(c: Cells) -> Cells:
    """A row of GA4's daily table."""
    known = {"event_timestamp": when(c, lambda t: f"{t.timestamp() * 1e6:.0f}"), "event_name": c["name"]}
    known |= {"user_id": c["user"], "user_pseudo_id": c["device"], "ecommerce": {"purchase_revenue": c["revenue"]}}
    return known | {"event_params": [{"key": "n", "value": {"int_value": str(c["number"])}}], "campaign": c["note"]}


def table(c: Cells) -> Cells:
    """A row of a table with our own column names."""
    known = {"user_id": c["user"], "event": c["name"], "time": when(c, lambda t: f"{t:%FT%T}"), "campaign": c["note"]}
    known |= {"anonymous_id": c["device"], "revenue": c["revenue"], "country": c["country"]}
    return known | {"properties": c["properties"]}


CSV = {"appsflyer": pull, "adjust": adjust, "branch": branch, "table": table}
JSON = {"amplitude": amplitude, "ga4": ga4, "appsflyer": push, "table": table}
JSON_SUFFIX = {"amplitude": ".json", "ga4": ".json", "appsflyer": ".json", "table": ".ndjson"}
each_csv = pytest.mark.parametrize("source", list(CSV))
each_json = pytest.mark.parametrize("source", list(JSON))


def as_csv(source: str, *rows: Cells) -> str:
    """A whole CSV file of the source; with no rows at all, its header."""
    lines = [CSV[source](c) for c in rows or [row()]]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines[: len(rows)])
    return out.getvalue()


def as_json(source: str, *rows: Cells) -> str:
    """JSON lines of the source."""
    return "".join(json.dumps(JSON[source](c)) + "\n" for c in rows)


class Result:
    """What ingest made of one file: kept rows, reasons of the quarantined ones; every row read is accounted for."""

    def __init__(self, folder: Path, source: str, name: str, content: bytes | str, **extract: Any) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        study = parse({"extracts": [{"source": source, "path": name, **extract}]}, folder)
        done = events.ingest(study, NOW, progress=False)
        self.totals = done.totals
        assert self.totals["rows"] == sum(self.totals[n] for n in ("kept", "duplicate", "quarantined"))
        self.reasons = dict(done.reasons.iter_rows())
        assert self.totals["quarantined"] == sum(self.reasons.values())
        kept = store.scan(store.open_filled(study), "events") if self.totals["kept"] else None
        self.kept = pl.DataFrame() if kept is None else kept.sort("source_row").collect()

    def column(self, name: str) -> list[Any]:
        """A column of the kept rows in the file's order."""
        return self.kept[name].to_list()


def refusal(folder: Path, source: str, name: str, content: bytes | str, **extract: Any) -> str:
    """The one sentence with which ingest refuses the file."""
    with pytest.raises(InputError) as caught:
        Result(folder, source, name, content, **extract)
    said = str(caught.value)
    assert name.split(".")[0] in said
    assert "\n" not in said
    assert len(said) < 600
    return said


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 8


def parquet(*rows: Cells) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pl.DataFrame(rows or [{"a": 1}]).write_parquet(out)
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """A ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("source", list(READERS))
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, source: str) -> None:
    """A PNG, Parquet, ZIP or Avro file under every name a reader takes, also gzipped: one sentence each."""
    for suffix in SUFFIXES[source]:
        for content in (PNG, parquet(), zipped({"a": b"x" * 99}), b"Obj\x01" + b"\x02" * 30):
            if source == "amplitude" and content.startswith(b"PK") or suffix == ".parquet" and content.startswith(b"PAR1"):
                continue
            refusal(tmp_path, source, f"x{suffix}", gzip.compress(content) if suffix.endswith(".gz") else content)


@each_csv
def test_a_cut_off_download_is_refused(tmp_path: Path, source: str) -> None:
    """Gzip that ends early, and a plain file whose last row ends inside."""
    whole = as_csv(source, *(row(i) for i in range(2000)))
    packed = gzip.compress(whole.encode())
    assert "cut off" in refusal(tmp_path, source, "x.csv.gz", packed[: len(packed) // 2])
    assert "cut off" in refusal(tmp_path, source, "y.csv", whole.rpartition(",")[0].rpartition(",")[0])


@each_csv
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_other_encodings_are_named_and_can_be_stated(tmp_path: Path, source: str, name: str) -> None:
    """Latin-1 and UTF-16 are refused with what to say in the study; said so, ü is read as ü."""
    pack = gzip.compress if name.endswith("gz") else bytes
    text = as_csv(source, row(name="für", user="Jürgen"))
    for encoding in ("latin-1", "utf-16"):
        said = refusal(tmp_path, source, name, pack(text.encode(encoding)))
        assert f'encoding = "{encoding}"' in said
        stated = Result(tmp_path, source, name, pack(text.encode(encoding)), encoding=encoding)
        assert (stated.column("event"), stated.column("user_id")) == (["für"], ["Jürgen"])
        (tmp_path / "data/store/store.json").unlink()


@each_json
def test_other_encodings_of_json_too(tmp_path: Path, source: str) -> None:
    """The same for JSON lines, gzipped or not."""
    text = json.dumps(JSON[source](row(name="für", user="Jürgen")), ensure_ascii=False)
    for encoding in ("latin-1", "utf-16"):
        name = f"{encoding}{JSON_SUFFIX[source]}"
        assert f'encoding = "{encoding}"' in refusal(tmp_path, source, name, text.encode(encoding))
        assert Result(tmp_path, source, name, text.encode(encoding), encoding=encoding).column("user_id") == ["Jürgen"]
        (tmp_path / "data/store/store.json").unlink()
