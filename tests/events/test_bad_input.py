"""Whatever a file holds, each reader gives one clear sentence, or quarantines and
counts the row.
"""

import csv
import gzip
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time as seconds_now
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import column, dataframes

from churn.errors import InputError
from churn.events import ingest
from churn.events.sources import READERS, SUFFIXES, canonical
from churn.settings import Extract, parse
from churn.store import open_filled

from ..conftest import read

Cells = dict[str, Any]
NOW, NOON = datetime(2026, 3, 25, tzinfo=UTC), datetime(2026, 3, 8, 12, tzinfo=UTC)


def row(number: int = 1, **cells: Any) -> Cells:
    """One event by our own names; each format's helper writes it as its vendor does."""
    usual = {
        "user": f"u{number}",
        "device": f"d{number}",
        "name": "open",
        "time": None,
        "revenue": "",
        "country": "US",
    }
    return usual | {"number": number, "note": "x", "properties": "{}"} | cells


def when(c: Cells, form: Callable[[datetime], Any]) -> Any:
    """The row's time in the vendor's form; by default noon and some minutes."""
    return (
        form(NOON + timedelta(minutes=c["number"])) if c["time"] is None else c["time"]
    )


def pull(c: Cells) -> Cells:
    """A row of AppsFlyer's Pull report."""
    known = {
        "Event Time": when(c, lambda t: f"{t:%F %T}"),
        "Event Name": c["name"],
        "Event Value": c["properties"],
    }
    known |= {
        "Event Revenue": c["revenue"],
        "Customer User ID": c["user"],
        "AppsFlyer ID": c["device"],
    }
    return known | {"Country Code": c["country"], "Campaign ID": c["note"]}


def push(c: Cells) -> Cells:
    """A Push body, which has the names that Data Locker has."""
    return {name.lower().replace(" ", "_"): value for name, value in pull(c).items()}


def adjust(c: Cells) -> Cells:
    """A row of an Adjust upload."""
    known = {
        "{activity_kind}": "event",
        "{created_at}": when(c, lambda t: f"{t.timestamp():.0f}"),
        "{adid}": c["device"],
    }
    known |= {
        "{event_name}": c["name"],
        "{event}": "token",
        "{revenue}": c["revenue"],
        "[user_id]": c["user"],
    }
    return known | {"{country}": c["country"], "{campaign_name}": c["note"]}


def branch(c: Cells) -> Cells:
    """A row of a Branch export."""
    known = {
        "id": f"id-{c['number']}",
        "name": c["name"],
        "timestamp": when(c, lambda t: f"{t.timestamp() * 1e3:.0f}"),
    }
    known |= {
        "user_data_developer_identity": c["user"],
        "event_data_revenue": c["revenue"],
    }
    known |= {
        "user_data_cross_platform_id": c["device"],
        "user_data_geo_country_code": c["country"],
    }
    return known | {
        "custom_data": c["properties"],
        "last_attributed_touch_data_tilde_campaign_id": c["note"],
    }


def amplitude(c: Cells) -> Cells:
    """An Amplitude event."""
    known = {
        "uuid": f"id-{c['number']}",
        "event_type": c["name"],
        "event_time": when(c, lambda t: f"{t:%F %T.%f}"),
    }
    known |= {
        "user_id": c["user"],
        "device_id": c["device"],
        "event_properties": {"$revenue": c["revenue"]},
    }
    return known | {"country": c["country"], "campaign": c["note"]}


def ga4(c: Cells) -> Cells:
    """A row of GA4's daily table."""
    known = {
        "event_timestamp": when(c, lambda t: f"{t.timestamp() * 1e6:.0f}"),
        "event_name": c["name"],
    }
    known |= {
        "user_id": c["user"],
        "user_pseudo_id": c["device"],
        "ecommerce": {"purchase_revenue": c["revenue"]},
    }
    return known | {
        "event_params": [{"key": "n", "value": {"int_value": str(c["number"])}}],
        "campaign": c["note"],
    }


def singular(c: Cells) -> Cells:
    """A row of Singular's events."""
    known = {
        "adjusted_timestamp_unix_utc": when(c, lambda t: f"{t.timestamp():.0f}"),
        "name": c["name"],
        "device_id": c["device"],
        "device_id_type": "SDID",
    }
    known |= {
        "custom_user_id": c["user"],
        "revenue": c["revenue"],
        "arguments": c["properties"],
    }
    return known | {"country": c["country"], "campaign_id": c["note"]}


def kochava(c: Cells) -> Cells:
    """A row of Kochava's event report."""
    known = {
        "timestamp_utc": when(c, lambda t: f"{t:%F %T}"),
        "event_name": c["name"],
        "device_id_kochava": c["device"],
        "device_id_custom": c["user"],
        "dimension_sum": c["revenue"],
    }
    known |= {"dimension_data": c["properties"]}
    return known | {"geo_country": c["country"], "attribution_campaign": c["note"]}


def mixpanel(c: Cells) -> Cells:
    """An event of Mixpanel's raw export."""
    known = {
        "time": when(c, lambda t: f"{t.timestamp():.0f}"),
        "$insert_id": f"id-{c['number']}",
        "$user_id": c["user"],
        "$device_id": c["device"],
    }
    known |= {"mp_country_code": c["country"], "revenue": c["revenue"], "x": c["note"]}
    return {"event": c["name"], "properties": known}


def segment(c: Cells) -> Cells:
    """A track call in Segment's logs."""
    known = {
        "messageId": f"id-{c['number']}",
        "type": "track",
        "event": c["name"],
        "timestamp": when(c, lambda t: f"{t:%FT%T}.123Z"),
    }
    known |= {
        "userId": c["user"],
        "anonymousId": c["device"],
        "properties": {"revenue": c["revenue"]},
    }
    return known | {"context": {"locale": c["country"], "campaign": {"x": c["note"]}}}


def table(c: Cells) -> Cells:
    """A row of a table with our own column names."""
    known = {
        "user_id": c["user"],
        "event": c["name"],
        "time": when(c, lambda t: f"{t:%FT%T}"),
        "campaign": c["note"],
    }
    known |= {
        "anonymous_id": c["device"],
        "revenue": c["revenue"],
        "country": c["country"],
    }
    return known | {"properties": c["properties"]}


CSV = {
    "appsflyer": pull,
    "adjust": adjust,
    "branch": branch,
    "kochava": kochava,
    "singular": singular,
    "table": table,
}
JSON = {
    "amplitude": amplitude,
    "ga4": ga4,
    "appsflyer": push,
    "mixpanel": mixpanel,
    "segment": segment,
    "table": table,
}
JSON_SUFFIX = {
    "amplitude": ".json",
    "ga4": ".json",
    "appsflyer": ".json",
    "mixpanel": ".json",
    "segment": ".json",
    "table": ".ndjson",
}
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
    """What an ingest made of one file, last changed an hour ago: kept rows and reasons
    of the quarantined; every row is accounted for.
    """

    def __init__(
        self, folder: Path, source: str, name: str, content: bytes | str, **extract: Any
    ) -> None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(
            content.encode() if isinstance(content, str) else content
        )
        an_hour_ago = seconds_now() - 3600
        os.utime(folder / name, (an_hour_ago, an_hour_ago))
        settings = parse(
            {"extracts": [{"source": source, "path": name, **extract}]}, folder
        )
        done = ingest.ingest(settings, NOW, progress=False)
        self.totals = done.totals
        assert self.totals["rows"] == sum(
            self.totals[n] for n in ("kept", "duplicate", "quarantined")
        )
        self.reasons = dict(done.reasons.iter_rows())
        assert self.totals["quarantined"] == sum(self.reasons.values())
        kept = open_filled(settings).scan("events") if self.totals["kept"] else None
        self.kept = (
            pl.DataFrame() if kept is None else kept.sort("source_row").collect()
        )

    def column(self, name: str) -> list[Any]:
        """A column of the kept rows in the file's order."""
        return self.kept[name].to_list()


def refusal(
    folder: Path, source: str, name: str, content: bytes | str, **extract: Any
) -> str:
    """The one sentence with which ingest refuses the file."""
    with pytest.raises(InputError) as caught:
        Result(folder, source, name, content, **extract)
    assert name.split(".")[0] in str(caught.value)
    check(caught.value)
    return str(caught.value)


def check(error: InputError) -> None:
    """Assert that it is one sentence of this package."""
    assert "\n" not in str(error)
    assert len(str(error)) < 600


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


READABLE = {"amplitude": b"PK", ".parquet": b"PA"}


@pytest.mark.parametrize("source", list(READERS))
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, source: str
) -> None:
    """A PNG, Parquet, ZIP or Avro file under every name that a reader accepts, also
    gzipped, is refused in one sentence.
    """
    for suffix in SUFFIXES[source]:
        for content in (
            PNG,
            parquet(),
            zipped({"a": b"x" * 99}),
            b"Obj\x01" + b"\x02" * 30,
        ):
            if content[:2] in {READABLE.get(source), READABLE.get(suffix)}:
                continue
            refusal(
                tmp_path,
                source,
                f"x{suffix}",
                gzip.compress(content) if suffix.endswith(".gz") else content,
            )


@each_csv
def test_a_cut_off_download_is_refused(tmp_path: Path, source: str) -> None:
    """Truncated gzip, and a plain file whose last row is incomplete, are refused."""
    whole = as_csv(source, *(row(i) for i in range(2000)))
    packed = gzip.compress(whole.encode())
    assert "cut off" in refusal(
        tmp_path, source, "x.csv.gz", packed[: len(packed) // 2]
    )
    assert "cut off" in refusal(
        tmp_path, source, "y.csv", whole.rpartition(",")[0].rpartition(",")[0]
    )


@each_json
def test_a_cut_off_download_of_json_is_refused(tmp_path: Path, source: str) -> None:
    """Truncated gzip is refused, and the whole file is read."""
    name, packed = (
        f"x{JSON_SUFFIX[source]}.gz",
        gzip.compress(as_json(source, *(row(i) for i in range(2000))).encode()),
    )
    assert "cut off" in refusal(tmp_path, source, name, packed[: len(packed) // 2])
    assert Result(tmp_path, source, name, packed).totals["kept"] == 2000


@each_csv
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_other_encodings_are_named_and_can_be_stated(
    tmp_path: Path, source: str, name: str
) -> None:
    """UTF-16 is known by its byte order mark; Latin-1 is refused with the setting to
    change. Both read ü as ü.
    """
    pack = gzip.compress if name.endswith("gz") else bytes
    text = as_csv(source, row(name="für", user="Jürgen"))
    said = refusal(tmp_path, source, name, pack(text.encode("latin-1")))
    assert 'encoding = "latin-1"' in said
    for encoding, stated in {
        "latin-1": {"encoding": "latin-1"},
        "utf-16": {},
        "utf-16-le": {"encoding": "utf-16-le"},
    }.items():
        got = Result(tmp_path, source, name, pack(text.encode(encoding)), **stated)
        assert (got.column("event"), got.column("user_id")) == (["für"], ["Jürgen"])
        shutil.rmtree(tmp_path / "data/store")


@each_json
def test_other_encodings_of_json_too(tmp_path: Path, source: str) -> None:
    """The same holds for JSON lines."""
    text = json.dumps(JSON[source](row(name="für", user="Jürgen")), ensure_ascii=False)
    name = f"x{JSON_SUFFIX[source]}"
    said = refusal(tmp_path, source, name, text.encode("latin-1"))
    assert 'encoding = "latin-1"' in said
    for encoding, stated in {
        "latin-1": {"encoding": "latin-1"},
        "utf-16": {},
    }.items():
        got = Result(tmp_path, source, name, text.encode(encoding), **stated)
        assert got.column("user_id") == ["Jürgen"]
        shutil.rmtree(tmp_path / "data/store")


SAME = ["event_time", "event", "user_id", "revenue", "country", "properties"]


@each_csv
def test_byte_order_mark_line_ends_and_quoted_newlines_change_nothing(
    tmp_path: Path, source: str
) -> None:
    """A BOM, CRLF and blank lines before the header change no row, and a line break in
    a cell stays.
    """
    text = as_csv(
        source, row(1, note="two\nlines", revenue="9.99"), row(2, name="na\nme")
    )
    plain = Result(tmp_path, source, "a.csv", text).kept
    assert plain["event"].to_list() == ["open", "na_me"]
    for name, other in {
        "b": "\ufeff" + text,
        "c": text.replace("\n", "\r\n"),
        "d": "\n\n" + text,
    }.items():
        got = (
            read(tmp_path / f"{name}.csv", Extract(source=source, path="x"))
            # type: ignore[arg-type]
            if ((tmp_path / f"{name}.csv").write_text(other, newline=""))
            else plain
        )
        assert got.select(SAME).equals(plain.select(SAME))


@each_csv
def test_a_header_alone_is_no_rows(tmp_path: Path, source: str) -> None:
    """A header alone gives no rows, with or without a line end, plain or gzipped."""
    header = as_csv(source)
    for name, content in {
        "a.csv": header,
        "b.csv": header.strip(),
        "c.csv.gz": gzip.compress(header.encode()),
    }.items():
        assert Result(tmp_path, source, name, content).totals["rows"] == 0
    assert "no header" in refusal(tmp_path, source, "d.csv", "\n\n")


@each_csv
def test_a_column_twice_is_refused_only_where_it_matters(
    tmp_path: Path, source: str
) -> None:
    """Two columns for the event's name are refused; two campaign columns, which are not
    read, are accepted.
    """
    header, line = as_csv(source, row()).splitlines()
    names = header.split(",")
    event = names[
        list(CSV[source](row())).index(
            next(k for k, v in CSV[source](row(name="§")).items() if v == "§")
        )
    ]
    said = refusal(tmp_path, source, "x.csv", f"{header},{event}\n{line},open\n")
    assert "two columns called" in said
    unread = next(k for k, v in CSV[source](row(note="§")).items() if v == "§")
    assert (
        Result(tmp_path, source, "y.csv", f"{header},{unread}\n{line},z\n").totals[
            "kept"
        ]
        == 1
    )


@each_csv
def test_a_second_header_in_the_middle_is_set_aside(
    tmp_path: Path, source: str
) -> None:
    """If two files were appended to each other, the second header is quarantined and
    the rows are kept.
    """
    one, two = as_csv(source, row(1)), as_csv(source, row(2))
    got = Result(tmp_path, source, "x.csv", one + two)
    assert (got.column("user_id"), got.reasons) == (
        ["u1", "u2"],
        {"repeated_header": 1},
    )


@each_csv
def test_rows_of_other_lengths(tmp_path: Path, source: str) -> None:
    """A row with more cells than columns is quarantined, since cells may have shifted;
    one with fewer is filled with nulls.
    """
    header, first, second = as_csv(source, row(1), row(2)).splitlines()
    short = second.rpartition(",")[0]
    lines = [header, f"{first},more,and more", first, f"{first},more", short]
    got = Result(tmp_path, source, "x.csv", "\n".join(lines) + "\n")
    assert (got.column("user_id"), got.reasons) == (["u1", "u2"], {"extra_cells": 2})


@each_csv
def test_a_stray_quote_refuses_the_file_without_quoting_it(
    tmp_path: Path, source: str
) -> None:
    """A quoted cell that never ends is refused in one sentence that shows nothing of
    the row.
    """
    text = as_csv(source, row(1), row(2, note="secret@example.com")).replace(
        "secret", '"secret'
    )
    said = refusal(tmp_path, source, "x.csv", text)
    assert "quote" in said
    assert "example.com" not in said


def test_a_header_that_swallows_the_file_shows_no_rows(tmp_path: Path) -> None:
    """A quote before the header makes one column name of the file; the message shows
    only the header's own words.
    """
    said = refusal(
        tmp_path, "table", "x.csv", '"' + as_csv("table", row(user="secret"))
    )
    assert "lacks column" in said
    assert "secret" not in said


def test_lines_that_end_in_cr_alone_are_refused(tmp_path: Path) -> None:
    """Line ends of old spreadsheets make one long header, so the file is refused."""
    assert "LF or CRLF" in refusal(
        tmp_path, "table", "x.csv", as_csv("table", row()).replace("\n", "\r")
    )


MONEY = {"9.99": 9.99, "-1": -1.0, "0": 0.0, "": None, "$5.00": 5.0, "NaN": None}
NO_MONEY = ("ten", "1,5", "inf", "-Infinity", "1e400")
every_text = pytest.mark.parametrize(
    ("source", "form"), [*((s, "csv") for s in CSV), *((s, "json") for s in JSON)]
)


def written(source: str, form: str, *rows: Cells) -> tuple[str, str]:
    """File name and content of the rows as CSV or JSON lines."""
    if form == "csv":
        return "x.csv", as_csv(source, *rows)
    return f"x{JSON_SUFFIX[source]}", as_json(source, *rows)


@every_text
def test_amounts_are_read_or_set_aside(tmp_path: Path, source: str, form: str) -> None:
    """Numbers are read, with or without a currency sign; NaN and empty cells are no
    amount; anything else is a counted fault.
    """
    rows = [row(i, revenue=text) for i, text in enumerate([*MONEY, *NO_MONEY])]
    got = Result(tmp_path, source, *written(source, form, *rows))
    assert got.column("revenue") == list(MONEY.values())
    assert got.reasons == {"unreadable_revenue": len(NO_MONEY)}


def test_converted_amounts_are_read_or_set_aside_too(tmp_path: Path) -> None:
    """The same holds for the vendor's dollars and for Adjust's cents."""
    header = "user_id,event,time,revenue_usd\n"
    got = read_bytes(
        tmp_path,
        "table",
        "x.csv",
        f"{header}u,a,2026-03-08,9.5\nu,a,2026-03-08,ten\nu,a,2026-03-08,\n",
    )
    assert (got["revenue_usd"].to_list(), got["fault"].to_list()) == (
        [9.5, None, None],
        [None, "unreadable_revenue", None],
    )
    header = "{activity_kind},{created_at},{adid},{revenue_usd_cents}\n"
    got = read_bytes(
        tmp_path,
        "adjust",
        "y.csv",
        f"{header}session,1772971200,d,950\nsession,1772971201,d,9x\n",
    )
    assert (got["revenue_usd"].to_list(), got["fault"].to_list()) == (
        [9.5, None],
        [None, "unreadable_revenue"],
    )


@every_text
def test_times_out_of_range_are_set_aside(
    tmp_path: Path, source: str, form: str
) -> None:
    """1970, 2999 and unreadable times are each quarantined under their own reason."""
    scale = {"adjust": 1, "branch": 1e3, "ga4": 1e6}.get(source)
    days = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC), NOON]
    texts = [f"{d.timestamp() * scale:.0f}" if scale else f"{d:%F %T}" for d in days]
    rows = [
        row(i, time=text)
        for i, text in enumerate([*texts, "soon", "", "2026-02-30 00:00:00"])
    ]
    got = Result(tmp_path, source, *written(source, form, *rows))
    assert got.column("event_time") == [NOON]
    assert got.reasons == {"before_1990": 1, "in_the_future": 1, "unreadable_time": 3}


@pytest.mark.parametrize("source", ["appsflyer", "table"])
def test_local_times_around_the_clock_change(tmp_path: Path, source: str) -> None:
    """The hour that is skipped in spring is quarantined, and of the repeated one in
    autumn the first pass is taken.
    """
    texts = [
        "2025-03-30 01:59:59",
        "2025-03-30 02:30:00",
        "2025-03-30 03:00:00",
        "2025-10-26 02:30:00",
    ]
    rows = [row(i, time=text) for i, text in enumerate(texts)]
    got = Result(
        tmp_path, source, *written(source, "csv", *rows), timezone="Europe/Berlin"
    )
    read_as = [(3, 30, 0, 59, 59), (3, 30, 1, 0, 0), (10, 26, 0, 30, 0)]
    assert [
        (t.month, t.day, t.hour, t.minute, t.second) for t in got.column("event_time")
    ] == read_as
    assert got.reasons == {"unreadable_time": 1}


IDS = [
    "0001007",
    "23847937048550586",
    "12345678901234567890",
    "1e10",
    "Ü-1",
    " padded ",
]


@every_text
def test_ids_stay_as_they_are(tmp_path: Path, source: str, form: str) -> None:
    """Leading zeros and 17 digits stay text, NA is Namibia, nan is a missing id, and an
    id that lost digits is quarantined.
    """
    rows = [
        row(i, user=user, country="NA")
        for i, user in enumerate([*IDS, "nan", "1.23457E+16"])
    ]
    got = Result(tmp_path, source, *written(source, form, *rows))
    assert got.column("user_id") == [*(i.strip() for i in IDS), None]
    assert set(got.column("country")) == (
        {None} if source in {"amplitude", "ga4", "segment"} else {"NA"}
    )
    assert got.reasons == {"inexact_id": 1}


@each_json
def test_ids_written_as_numbers_in_json(tmp_path: Path, source: str) -> None:
    """Ids of 17 digits are exact; those of 30 are quarantined, since another id would
    read the same.
    """
    got = Result(
        tmp_path,
        source,
        *written(
            source, "json", row(1, user=23847937048550586), row(2, user=10**30 + 1)
        ),
    )
    assert (got.column("user_id"), got.reasons) == (
        ["23847937048550586"],
        {"inexact_id": 1},
    )


@each_json
def test_lines_that_are_no_json_object_are_set_aside(
    tmp_path: Path, source: str
) -> None:
    """One bad line costs one row, not the file; blank lines and a BOM cost nothing."""
    bad = ["{broken", "[1]", '"text"', '{"a": NaN}', '{"a": "\\ud800"}', "{" * 500]
    lines = as_json(source, row(1), row(2)).replace("\n", "\r\n\r\n")
    got = Result(
        tmp_path,
        source,
        f"x{JSON_SUFFIX[source]}",
        "\ufeff" + lines + "\n".join(bad) + "\n",
    )
    assert (got.column("user_id"), got.reasons) == (
        ["u1", "u2"],
        {"not_json": len(bad)},
    )


def test_zip_archives(tmp_path: Path) -> None:
    """Empty ones, damaged members and members of other kinds refuse the file; empty
    members are passed over.
    """
    line = as_json("amplitude", row()).encode()
    whole = zipped({"1/a.json.gz": gzip.compress(line), "1/b.json": b"", "2/": b""})
    assert Result(tmp_path, "amplitude", "a.zip", whole).totals["kept"] == 1
    for name, content in {"b": zipped({}), "c": zipped({"a.json": b""})}.items():
        assert "holds" in refusal(tmp_path, "amplitude", f"{name}.zip", content)
    damaged = zipped({"a.json": line}).replace(b"open", b"shut", 1)
    assert "Bad CRC-32" in refusal(tmp_path, "amplitude", "d.zip", damaged)
    assert "PNG" in refusal(tmp_path, "amplitude", "e.zip", zipped({"a.json": PNG}))
    assert "ZIP" in refusal(
        tmp_path, "amplitude", "f.zip", zipped({"a.json": line})[:60]
    )
    locked = bytearray(zipped({"a.json": line}))
    locked[6] |= 1  # encrypted, says the member's header
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "password" in refusal(tmp_path, "amplitude", "g.zip", bytes(locked))


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path) -> None:
    """Brackets, stars and # in a file's name stand for themselves in every format, and
    case does not matter.
    """
    files = {
        "csv": as_csv("table", row()),
        "NDJSON": as_json("table", row()),
        "Parquet": parquet(table(row())),
    }
    for suffix, content in files.items():
        assert (
            Result(tmp_path / suffix, "table", f"x[1]*?#.{suffix}", content).totals[
                "kept"
            ]
            == 1
        )
    assert (
        Result(tmp_path / "ga4", "ga4", "x[1]*.parquet", parquet(ga4(row()))).totals[
            "kept"
        ]
        == 1
    )


def test_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """Archives and Push bodies of one name in two folders, read in one ingest, are both
    kept.
    """
    for number in (1, 2):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/a.zip").write_bytes(
            zipped({"a.json": as_json("amplitude", row(number)).encode()})
        )
        (tmp_path / f"{number}/a.json").write_text(
            json.dumps(push(row(number + 2)), indent=1)
        )
    extracts = [
        {"source": "amplitude", "path": "*/a.zip"},
        {"source": "appsflyer", "path": "*/a.json"},
    ]
    settings = parse({"extracts": extracts}, tmp_path)
    ingest.ingest(settings, NOW, progress=False)
    kept = open_filled(settings).scan("events").collect()
    assert set(kept["user_id"]) == {"u1", "u2", "u3", "u4"}


def test_what_parquet_knows_is_used(tmp_path: Path) -> None:
    """Typed times, integers, floats, categories, bytes, booleans and nested values are
    read by their type.
    """
    hour = pl.Series([NOON] * 2)
    frame = pl.DataFrame(
        {
            "event": pl.Series(["open", "buy"], dtype=pl.Categorical),
            "user_id": [23847937048550586, 7],
        }
    )
    frame = frame.with_columns(
        pl.Series("platform", [b"iOS", b"iOS"]),
        pl.Series("consent", [True, False]),
        pl.Series("revenue", [None, 9.99], dtype=pl.Float32),
        pl.Series("properties", [{"a": 1, "b": [1, None]}, None]),
    )
    times = {
        "naive": hour.dt.replace_time_zone(None),
        "zoned": hour.dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"),
        "seconds": hour.dt.epoch("s"),
        "millis": hour.dt.epoch("ms").cast(pl.Float64),
        "text": pl.Series(["2026-03-08 12:00:00", "2026-03-08T12:00Z"]),
    }
    for name, time in times.items():
        frame.with_columns(time.alias("time")).write_parquet(tmp_path / "x.parquet")
        got = read(tmp_path / "x.parquet", Extract(source="table", path="x"))
        assert got["fault"].to_list() == [None, None], name
        assert got["event_time"].to_list() == [NOON, NOON]
        assert got["user_id"].to_list() == ["23847937048550586", "7"]
        assert (got["consent"].to_list(), got["platform"].to_list()) == (
            [None, False],
            ["ios", "ios"],
        )
        assert (got["revenue"].to_list(), got["event_kind"].to_list()) == (
            [None, 9.99],
            ["in_app", "purchase"],
        )
        assert got["properties"].to_list() == ['{"a":1,"b":[1,null]}', None]


def test_ids_in_a_float_column(tmp_path: Path) -> None:
    """1007.0 is read as 1007; from 2⁵³ on, digits are lost: the row is quarantined."""
    ids = [1007.0, None, float(2**53 - 1), 1.2345e16, 9007199254740994.0]
    frame = pl.DataFrame(
        {
            "user_id": ids,
            "event": "open",
            "time": [NOON + timedelta(minutes=i) for i in range(5)],
        }
    )
    got = Result(tmp_path, "table", "x.parquet", parquet(*frame.to_dicts()))
    assert (got.column("user_id"), got.reasons) == (
        ["1007", None, "9007199254740991"],
        {"inexact_id": 2},
    )


def test_columns_that_can_be_no_time_or_text(tmp_path: Path) -> None:
    """Durations, lists and instants beyond the calendar in the time column are refused,
    without a crash.
    """
    good = {"user_id": ["a"], "event": ["open"]}
    far = pl.Series([2**62]).cast(pl.Datetime("ms"))
    for time in (pl.Series([[1]]), pl.Series([True]), far):
        pl.DataFrame(good | {"time": time}).write_parquet(tmp_path / "x.parquet")
        assert "unreadable_time: 1" in refusal(
            tmp_path, "table", "x.parquet", (tmp_path / "x.parquet").read_bytes()
        )
    pl.DataFrame(good | {"time": [timedelta(1)]}).write_parquet(tmp_path / "x.parquet")
    assert "Duration" in refusal(
        tmp_path, "table", "x.parquet", (tmp_path / "x.parquet").read_bytes()
    )
    pl.DataFrame(good).write_parquet(tmp_path / "x.parquet")
    assert "lacks column(s) time" in refusal(
        tmp_path, "table", "x.parquet", (tmp_path / "x.parquet").read_bytes()
    )


def avro(*rows: dict[str, Any], **types: Any) -> bytes:
    """A Currents file of purchases; types of single fields can be changed."""
    usual = {
        "id": "string",
        "time": "long",
        "external_user_id": ["null", "string"],
        "price": ["null", "double"],
    }
    fields = [{"name": name, "type": kind} for name, kind in {**usual, **types}.items()]
    schema = {
        "type": "record",
        "name": "Purchase",
        "namespace": "x.users.behaviors",
        "fields": fields,
    }
    out = io.BytesIO()
    filler = {
        "id": "1",
        "time": int(NOON.timestamp()),
        "external_user_id": "u",
        "price": None,
    }
    fastavro.writer(
        out,
        fastavro.parse_schema(schema),
        [filler | {"id": f"{i}"} | r for i, r in enumerate(rows)],
    )
    return out.getvalue()


def test_hostile_avro(tmp_path: Path) -> None:
    """Impossible amounts and times are counted, wrapped and nested values are read, and
    other files are refused.
    """
    prices = [{"price": p} for p in (9.989999771118164, float("nan"), float("inf"))]
    times = [{"time": t} for t in (0, 2**62, 32503680000)]
    got = Result(tmp_path, "currents", "a.avro", avro(*prices, *times))
    assert got.column("revenue") == [9.99, None]
    assert got.reasons == {
        "unreadable_revenue": 1,
        "before_1990": 1,
        "in_the_future": 2,
    }
    nested = avro(
        {"properties": {"int": 1}},
        {"properties": {"size": 1}},
        properties={"type": "map", "values": "int"},
    )
    assert read_bytes(tmp_path, "currents", "b.avro", nested)[
        "properties"
    ].to_list() == ["1", '{"size": 1}']
    numbers = avro({"external_user_id": 23847937048550586}, external_user_id="long")
    assert read_bytes(tmp_path, "currents", "c.avro", numbers)["user_id"].to_list() == [
        "23847937048550586"
    ]
    assert read_bytes(tmp_path, "currents", "d.avro", avro()).is_empty()
    whole, bare = avro(*prices), io.BytesIO()
    fastavro.writer(bare, {"type": "string"}, ["x"])
    for content in (
        whole[: len(whole) - 20],
        whole.replace(b'"record"', b'"rexord"'),
        bare.getvalue(),
    ):
        assert "a damaged Avro file" in refusal(tmp_path, "currents", "e.avro", content)


def read_bytes(
    folder: Path, source: str, name: str, content: bytes | str, **extract: Any
) -> pl.DataFrame:
    """The canonical rows of a file with that content."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(
        content.encode() if isinstance(content, str) else content
    )
    return read(folder / name, Extract(source=source, path="x", **extract))  # type: ignore[arg-type]


def test_recorded_callbacks_count_line_by_line(tmp_path: Path) -> None:
    """Each line that is not blank is a row; a line that is no request, or lacks its
    time, is quarantined.
    """
    good = (
        "GET /hook?key=secret&adid=d1&activity_kind=event&created_at=1772936045"
        "&event_token=t&event_name=buy%20it&a=1"
    )
    lines = [
        good,
        good.replace("d1", "{adid}").replace("1772936045", "soon"),
        "",
        "noise",
        "GET //[?x=%zz&adid=&=&&",
    ]
    got = Result(tmp_path, "adjust", "calls.txt", "\r\n".join(lines))
    assert (got.column("event"), got.reasons) == (["buy_it"], {"unreadable_time": 3})
    assert "holds no recorded callback" in refusal(
        tmp_path, "adjust", "none.txt", "noise\n"
    )
    assert "lacks column(s) adid" in refusal(
        tmp_path, "adjust", "less.txt", good.replace("adid=d1&", "")
    )
    assert "PNG" in refusal(tmp_path, "adjust", "png.txt", PNG)


def test_a_name_that_the_study_maps_must_exist(tmp_path: Path) -> None:
    """A mapped field and a mapped column must exist, in CSV, Parquet and JSON, and a
    JSONPath must be valid.
    """
    for name, content in {
        "a.csv": as_csv("table", row()),
        "b.ndjson": as_json("table", row()),
    }.items():
        assert "lacks column(s) who" in refusal(
            tmp_path, "table", name, content, columns={"user_id": "who"}
        )
        assert "userid unknown" in refusal(
            tmp_path, "table", name, content, columns={"userid": "user_id"}
        )
    assert "userid unknown" in refusal(
        tmp_path, "currents", "c.avro", avro(), columns={"userid": "x"}
    )
    assert "JSONPath" in refusal(
        tmp_path,
        "amplitude",
        "d.json",
        as_json("amplitude", row()),
        columns={"event": "$["},
    )
    mapped = read_bytes(
        tmp_path,
        "amplitude",
        "e.json",
        as_json("amplitude", row()),
        columns={"user_id": "device_id"},
    )
    assert mapped["user_id"].to_list() == ["d1"]
    mapped = read_bytes(
        tmp_path,
        "appsflyer",
        "f.json",
        as_json("appsflyer", row()),
        columns={"user_id": "campaign_id"},
    )
    assert mapped["user_id"].to_list() == ["x"]


@pytest.mark.parametrize(
    "case", ["appsflyer csv properties", "table csv note", "amplitude json note"]
)
def test_a_cell_of_100_megabytes_does_no_harm(tmp_path: Path, case: str) -> None:
    """It is read, whether its column is needed or not, and other rows are kept."""
    source, form, cell = case.split()
    name, content = written(
        source, form, row(1), row(2, **{cell: "x" * 100_000_000}), row(3)
    )
    got = read_bytes(tmp_path, source, name, content)
    assert got["user_id"].to_list() == ["u1", "u2", "u3"]
    assert got["fault"].null_count() == 3


fuzz = settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NASTY = [
    *(
        " ",
        "null",
        "NaN",
        "-0",
        "1e999",
        "\ufeff",
        '"',
        '""',
        "'",
        "a\nb",
        "a\r\nb",
        "\r",
        ",",
        "\x1f",
        "\\",
        "NA",
        "[]",
    ),
    *(
        "0001007",
        "1.5E+16",
        "9" * 40,
        "2026-13-01",
        "2026-03-08 02:30:00",
        "1772971200",
        "{",
        '{"a":{"b":[1,null]}}',
    ),
    *(
        "{adid}",
        "00000000-0000-0000-0000-000000000000",
        "\u2028",
        "ﷺ" * 9,
        "merge",
        "erasure",
        "false",
        "Event Name",
    ),
]
CELL = st.sampled_from(NASTY) | TEXT
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | CELL
NESTED = st.lists(SCALAR, max_size=3) | st.dictionaries(
    CELL, SCALAR | st.lists(SCALAR, max_size=2), max_size=3
)
VALUE = SCALAR | NESTED
SLOTS = ("user", "device", "name", "time", "revenue", "country", "note", "properties")


def hostile(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Cells]]:
    """Rows of which some cells hold unexpected content."""
    cells = st.dictionaries(st.sampled_from(SLOTS), values, max_size=len(SLOTS))
    return st.lists(cells, max_size=20).map(
        lambda rows: [row(i, **c) for i, c in enumerate(rows)]
    )


@fuzz
@each_csv
@given(rows=hostile(CELL))
def test_no_cells_of_a_csv_get_lost(
    tmp_path_factory: pytest.TempPathFactory, source: str, rows: list[Cells]
) -> None:
    """As many rows come out, kept or quarantined, as went in, or the file is refused in
    one sentence.
    """
    text = as_csv(source, row(99), *rows)
    try:
        got = Result(tmp_path_factory.mktemp("x"), source, "x.csv", text)
    except InputError as error:
        check(error)
    else:
        assert got.totals["rows"] == len(rows) + 1


@fuzz
@each_json
@given(rows=hostile(VALUE))
def test_no_json_values_get_lost(
    tmp_path_factory: pytest.TempPathFactory, source: str, rows: list[Cells]
) -> None:
    """As many rows come out, kept or quarantined, as went in, whatever the types and
    nesting of their values.
    """
    folder = tmp_path_factory.mktemp("x")
    try:
        got = Result(folder, source, *written(source, "json", row(99), *rows))
    except InputError as error:
        check(error)
    else:
        assert got.totals["rows"] == len(rows) + 1


@fuzz
@pytest.mark.parametrize("source", ["table", "appsflyer", "ga4"])
@given(data=st.data())
def test_no_parquet_column_of_any_type_gets_lost(
    tmp_path_factory: pytest.TempPathFactory, source: str, data: st.DataObject
) -> None:
    """With columns of any type, every row is accounted for, or the file is refused in
    one sentence.
    """
    names = {"table": table, "appsflyer": push, "ga4": ga4}[source](row())
    columns = [column(name, dtype=data.draw(st.sampled_from(TYPES))) for name in names]
    frame = data.draw(dataframes(columns, min_size=1, max_size=5, allow_infinity=True))
    out = io.BytesIO()
    frame.write_parquet(out)
    try:
        got = Result(tmp_path_factory.mktemp("x"), source, "x.parquet", out.getvalue())
    except InputError as error:
        check(error)
    else:
        assert got.totals["rows"] == frame.height


TYPES = [
    pl.String,
    pl.Int64,
    pl.UInt64,
    pl.Int8,
    pl.Float64,
    pl.Float32,
    pl.Boolean,
    pl.Binary,
    pl.Categorical,
    pl.Null,
]
TYPES += [
    pl.Date,
    pl.Time,
    pl.Duration,
    pl.Datetime("ns"),
    pl.Datetime("ms", "Asia/Tokyo"),
    pl.Decimal(38, 2),
]
TYPES += [pl.List(pl.String), pl.Struct({"a": pl.Int64, "b": pl.List(pl.Float64)})]


def samples() -> dict[str, tuple[str, bytes]]:
    """A sound file of each kind: source and content by name."""
    rows = [row(i) for i in range(30)]
    files = {
        f"{source}.csv": (source, as_csv(source, *rows).encode()) for source in CSV
    }
    files |= {
        f"{source}{JSON_SUFFIX[source]}": (source, as_json(source, *rows).encode())
        for source in JSON
    }
    files |= {f"{s}.csv.gz": (s, gzip.compress(files[f"{s}.csv"][1])) for s in CSV}
    files["amplitude.zip"] = (
        "amplitude",
        zipped({"a.json": files["amplitude.json"][1]}),
    )
    files["currents.avro"] = ("currents", avro(*({} for _ in rows)))
    files["table.parquet"] = ("table", parquet(*(table(c) for c in rows)))
    return files


@settings(fuzz, max_examples=60)
@pytest.mark.parametrize("name", list(samples()))
@given(data=st.data())
def test_damage_is_told_or_counted(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """A sound file in which bytes were cut out and replaced gives canonical rows or an
    error of this package.
    """
    source, content = samples()[name]
    start = data.draw(st.integers(0, len(content)))
    cut, put = data.draw(st.integers(0, 40)), data.draw(st.binary(max_size=8))
    try:
        got = read_bytes(
            tmp_path, source, name, content[:start] + put + content[start + cut :]
        )
    except InputError as error:
        check(error)
    else:
        assert got.columns == list(canonical.COLUMNS)


@pytest.mark.parametrize("source", list(READERS))
@settings(fuzz, max_examples=40)
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_end_in_a_stack_trace(
    tmp_path: Path, source: str, data: bytes
) -> None:
    """Whatever a file holds, reading it gives canonical rows or an error of this
    package.
    """
    for suffix in SUFFIXES[source]:
        try:
            got = read_bytes(tmp_path, source, f"x{suffix}", data)
        except InputError as error:
            check(error)
        else:
            assert got.columns == list(canonical.COLUMNS)
