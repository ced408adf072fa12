"""Readers: extracts become canonical events."""

import json
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import cramjam
import polars as pl
import pytest

from churn.errors import InputError
from churn.events import ingest, sources
from churn.events.sources import cells
from churn.events.sources.find import find
from churn.features import snapshots
from churn.settings import Extract, Settings
from churn.store import open_filled

from ..conftest import SHARED, read

AF = Extract(source="appsflyer", path="x")
TABLE = Extract(source="table", path="x")
HEADER = (
    "Event Time,Event Name,AppsFlyer ID,Customer User ID,Event Value,"
    "Event Revenue,Event Revenue Currency,App ID,"
)
HEADER += "Is Primary Attribution,Country Code\n"


def appsflyer(tmp_path: Path, *lines: str, extract: Extract = AF) -> pl.DataFrame:
    """Read an AppsFlyer report made of the lines."""
    (tmp_path / "report.csv").write_text(
        HEADER + "\n".join(lines) + "\n", encoding="utf-8"
    )
    return read(tmp_path / "report.csv", extract)


def test_appsflyer_ids_stay_text_and_stand_ins_for_missing_become_null(
    tmp_path: Path,
) -> None:
    """User id 0001007 keeps its zeros, country NA is Namibia, the id null is no id."""
    got = appsflyer(
        tmp_path,
        "2026-03-08 02:14:05,af_login,dev-1,0001007,{},,USD,app,true,NA",
        "2026-03-08 02:14:06,af_login,dev-2,null,{},,USD,app,true,US",
    )
    assert got["user_id"].to_list() == ["0001007", None]
    assert got["country"].to_list() == ["NA", "US"]


def test_appsflyer_kind_follows_money_and_name(tmp_path: Path) -> None:
    """A positive amount is a purchase and a negative one a refund; af_purchase is one
    even without an amount.
    """
    got = appsflyer(
        tmp_path,
        "2026-03-08 02:00:00,vip,d,u,{},9.99,EUR,app,true,DE",
        "2026-03-08 02:00:01,cancel_purchase,d,u,{},-4.99,EUR,app,true,DE",
        "2026-03-08 02:00:02, af_purchase ,d,u,{},,EUR,app,true,DE",
        "2026-03-08 02:00:03,Level 5  Complete,d,u,{},,EUR,app,true,DE",
        "2026-03-08 02:00:04,af_uninstall,d,u,{},,,app,true,DE",
    )
    assert got["event_kind"].to_list() == [
        "purchase",
        "refund",
        "purchase",
        "in_app",
        "uninstall",
    ]
    assert got["event"].to_list()[2:4] == ["af_purchase", "level_5_complete"]
    assert got["currency"].to_list() == ["EUR", "EUR", None, None, None]
    assert got["event_time_basis"].to_list()[-1] == "detected"


def test_appsflyer_faults_are_named_per_row(tmp_path: Path) -> None:
    """Second attribution copies, unreadable times and unreadable amounts each have
    their reason, and good rows have none.
    """
    got = appsflyer(
        tmp_path,
        "2026-03-08 02:00:00,a,d,u,{},,,app,false,DE",
        "yesterday,a,d,u,{},,,app,true,DE",
        "2026-03-08 02:00:00,a,d,u,{},ten,,app,true,DE",
        "2026-03-08 02:00:00,,d,u,{},,,app,true,DE",
        "2026-03-08 02:00:00,a,d,u,{},,,app,,DE",
    )
    assert got["fault"].to_list() == [
        "not_primary",
        "unreadable_time",
        "unreadable_revenue",
        "no_event_name",
        None,
    ]


def test_a_report_in_local_time_has_the_same_events(tmp_path: Path) -> None:
    """The same second in the app's zone gives the same instant and event_id, and a time
    in the DST gap is a fault.
    """
    utc = appsflyer(tmp_path, "2026-03-08 10:00:01,a,d,u,{},,,app,true,US")
    zone = Extract(source="appsflyer", path="x", timezone="America/Los_Angeles")
    local = appsflyer(
        tmp_path,
        "2026-03-08 03:00:01,a,d,u,{},,,app,true,US",
        "2026-03-08 02:30:00,a,d,u,{},,,app,true,US",
        extract=zone,
    )
    assert (
        local["event_time"][0]
        == utc["event_time"][0]
        == datetime(2026, 3, 8, 10, 0, 1, tzinfo=UTC)
    )
    assert local["event_id"][0] == utc["event_id"][0]
    assert local["fault"].to_list() == [None, "unreadable_time"]


@pytest.mark.parametrize("name", ["events.csv", "events.parquet", "events.ndjson"])
def test_a_table_reads_the_same_from_every_format(tmp_path: Path, name: str) -> None:
    """CSV, Parquet and NDJSON of the same rows give the same events through a column
    map.
    """
    frame = pl.DataFrame(
        {
            "who": ["a", "b"],
            "what": ["Open", "Buy It"],
            "when": ["2026-01-01T10:00:00Z", "1767265200"],
            "eur": [None, "5"],
        }
    )
    write = {
        "csv": frame.write_csv,
        "parquet": frame.write_parquet,
        "ndjson": frame.write_ndjson,
    }
    write[name.split(".")[1]](tmp_path / name)
    columns = {"user_id": "who", "event": "what", "time": "when", "revenue": "eur"}
    got = read(tmp_path / name, Extract(source="table", path=name, columns=columns))
    assert got["event"].to_list() == ["open", "buy_it"]
    assert got["event_kind"].to_list() == ["in_app", "purchase"]
    assert got["event_time"].dt.hour().to_list() == [10, 11]
    assert got["fault"].to_list() == [None, None]


@pytest.mark.parametrize("name", ["events.csv", "events.parquet"])
def test_columns_that_are_none_of_ours_are_properties(
    tmp_path: Path, make_study: Callable[..., Settings], name: str
) -> None:
    """Ten and two xp become the feature sum_xp_28d; a word is no number, and a mapped
    column is no property.
    """
    frame = pl.DataFrame(
        {
            "user_id": ["a", "a", "b"],
            "event": ["play", "play", "play"],
            "when": ["2026-01-20", "2026-01-21", "2026-03-01"],
            "platform": ["ios", None, "web"],
            "xp": [10, 2, None],
            "map": ["harbour", 'the "old" one', None],
        }
    )
    {"csv": frame.write_csv, "parquet": frame.write_parquet}[name.split(".")[1]](
        tmp_path / name
    )
    columns = {"time": "when"}
    got = read(tmp_path / name, Extract(source="table", path=name, columns=columns))
    assert [json.loads(text) for text in got["properties"]] == [
        {"xp": "10", "map": "harbour"},
        {"xp": "2", "map": 'the "old" one'},
        {"xp": None, "map": None},
    ]
    settings = make_study(
        extracts=[{"source": "table", "path": name, "columns": columns}]
    )
    ingest.ingest(settings, progress=False)
    target, cutoff = open_filled(settings), date(2026, 2, 17)
    plan = snapshots.plan(target.under(settings), cutoff)
    assert plan.properties == ("xp",)
    assert snapshots.observe(target.under(settings), [cutoff], plan)[
        "sum_xp_28d"
    ].to_list() == [12.0]


@pytest.mark.parametrize("name", ["events.csv", "events.parquet"])
def test_a_column_of_properties_wins_over_the_others(tmp_path: Path, name: str) -> None:
    """If it exists, under its own name or mapped, the other columns are not read."""
    held = ['{"level": 3}', None]
    frame = pl.DataFrame(
        {
            "user_id": ["a", "a"],
            "event": "x",
            "time": "2026-01-01",
            "properties": held,
            "xp": [1, 2],
        }
    )
    {"csv": frame.write_csv, "parquet": frame.write_parquet}[name.split(".")[1]](
        tmp_path / name
    )
    assert read(tmp_path / name, TABLE)["properties"].to_list() == held
    other = Extract(source="table", path="x", columns={"properties": "xp"})
    assert read(tmp_path / name, other)["properties"].to_list() == ["1", "2"]


def test_a_table_of_our_columns_alone_has_no_properties(tmp_path: Path) -> None:
    """Properties are null, not an empty object."""
    (tmp_path / "events.csv").write_text("user_id,event,time\na,x,2026-01-01\n")
    assert read(tmp_path / "events.csv", TABLE)["properties"].to_list() == [None]


def test_columns_of_every_type_are_properties_or_left_out(tmp_path: Path) -> None:
    """Booleans, dates, decimals and nested values are written as text; bytes and
    durations are left out.
    """
    frame = pl.DataFrame(
        {"user_id": ["a"], "event": ["x"], "time": [1767261600]}
    ).with_columns(
        won=pl.lit(True),
        born=pl.lit(date(2026, 1, 1)),
        cost=pl.lit("1.5").cast(pl.Decimal(10, 2)),
        sort=pl.lit("q").cast(pl.Categorical),
        tags=pl.lit([1, 2]),
        raw=pl.lit(b"1"),
        took=pl.duration(days=1),
    )
    frame.write_parquet(tmp_path / "t.parquet")
    found = json.loads(read(tmp_path / "t.parquet", TABLE)["properties"].item())
    assert found.pop("tags")
    assert found == {"won": "true", "born": "2026-01-01", "cost": "1.50", "sort": "q"}


def test_times_of_every_usual_form_are_read() -> None:
    """ISO with T or blank, Z, offsets, dates, and epochs in s, ms and us are read;
    other text is null.
    """
    texts = [
        "2026-01-01 10:00:00",
        "2026-01-01T10:00:00.5Z",
        "2026-01-01T10:00:00+05:30",
        "2026-01-01 10:00:00 UTC",
        "1767261600",
        "1767261600000",
        "1767261600000000",
        "2026-01-01",
        "soon",
        None,
    ]
    frame = pl.DataFrame({"t": texts}).with_columns(cells.time("t", "UTC"))
    hours = [t.hour + t.minute / 60 if t else None for t in frame["t"]]
    assert hours == [10, 10, 4.5, 10, 10, 10, 10, 0, None, None]


def test_missing_values_written_as_nan_are_missing_and_infinite_ones_are_faults(
    tmp_path: Path,
) -> None:
    """NaN means no revenue, as other tools write it, and infinity is a fault."""
    frame = pl.DataFrame(
        {
            "user_id": ["a", "a"],
            "event": ["x", "x"],
            "time": [1767261600, 1767261601],
            "revenue": [float("nan"), float("inf")],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    got = read(tmp_path / "t.parquet", TABLE)
    assert got["revenue"].to_list() == [None, None]
    assert got["fault"].to_list() == [None, "unreadable_revenue"]


def test_unreadable_files_are_refused_in_one_sentence(
    tmp_path: Path, make_study: "type[Settings]"
) -> None:
    """A missing file, an empty one, one without a needed column, and one that is other
    than its name says are refused.
    """
    (tmp_path / "empty.csv").touch()
    (tmp_path / "short.csv").write_text(
        "Event Time,Event Name\n2026-01-01 00:00:00,x\n"
    )
    (tmp_path / "fake.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path / "empty.csv", AF)
    with pytest.raises(
        InputError,
        match=r"lacks column\(s\) appsflyer_id; it has Event Time, Event Name",
    ):
        read(tmp_path / "short.csv", AF)
    with pytest.raises(InputError, match="can't be read"):
        read(tmp_path / "fake.parquet", TABLE)
    with pytest.raises(InputError, match="no file at"):
        find(Extract(source="table", path="nothing-here"), make_study())


def hadoop(*blocks: bytes) -> bytes:
    """Blocks as Hadoop writes them: length of the plain text, then packed length and
    raw snappy of each piece.
    """
    packed = b""
    for block in blocks:
        packed += struct.pack(">I", len(block))
        for piece in (block[:10], block[10:]):
            raw = bytes(cramjam.snappy.compress_raw(piece))
            packed += struct.pack(">I", len(raw)) + raw
    return packed


@pytest.mark.parametrize("name", ["part-00000.snappy", "part-00000.csv.snappy"])
def test_snappy_files_are_read_framed_and_in_blocks(tmp_path: Path, name: str) -> None:
    """Both forms give the rows of the plain file, received when the folder's hour ends;
    cut off, both are refused.
    """
    text = HEADER + "".join(
        f"2026-03-08 02:00:{i:02d},a,dev-{i},u,{{}},,,app,true,US\n" for i in range(60)
    )
    plain = appsflyer(tmp_path, *text.splitlines()[1:])
    folder = tmp_path / "t=inapps/dt=2026-03-08/h=2"
    folder.mkdir(parents=True)
    half = len(text) // 2
    for packed in (
        bytes(cramjam.snappy.compress(text.encode())),
        hadoop(text[:half].encode(), text[half:].encode()),
    ):
        (folder / name).write_bytes(packed)
        got = read(folder / name, AF)
        assert got.drop("received_time").equals(plain.drop("received_time"))
        assert got["received_time"].unique().to_list() == [
            datetime(2026, 3, 8, 3, tzinfo=UTC)
        ]
        for damaged in (
            packed[:-7],
            packed[:20],
            packed[:30] + b"\xff" * 30 + packed[60:],
        ):
            (folder / name).write_bytes(damaged)
            with pytest.raises(InputError, match=r"part-00000.*can't be read"):
                read(folder / name, AF)


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("t=inapps/dt=2026-03-08/h=2/x.gz", datetime(2026, 3, 8, 3, tzinfo=UTC)),
        (
            "t=inapps/dt=2026-03-08/h=25/app_id=x/x.gz",
            datetime(2026, 3, 9, 2, tzinfo=UTC),
        ),  # seen: not known what for
        ("t=inapps/dt=2026-13-08/h=2/x.gz", None),
        ("t=inapps/h=2/x.gz", None),
    ],
)
def test_a_folder_says_when_its_rows_arrived(path: str, end: datetime | None) -> None:
    """They arrived at the end of its hour, so that nothing counts as known earlier;
    null if no such hour exists.
    """
    assert sources.appsflyer._folder_hour(Path(path)) == end


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
def test_the_sample_report_in_two_time_zones_holds_the_same_events() -> None:
    """All 21 rows of the UTC sample and of its local-time twin are equal; only the twin
    lacks the column ATT.
    """
    folder = SHARED / "samples/appsflyer/pull_api"
    zone = Extract(source="appsflyer", path="x", timezone="America/Los_Angeles")
    utc = read(folder / "in_app_events_report_utc.csv", AF)
    local = read(folder / "in_app_events_report_app_tz.csv", zone)
    assert utc.height == 21
    assert utc.drop("limited").equals(local.drop("limited"))
