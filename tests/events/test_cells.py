"""What a single cell means: missing values, ids, times, amounts, bytes and phones."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.events import addresses, ingest, requests
from churn.events.sources import cells
from churn.report import history_sentences
from churn.settings import Extract, Settings
from churn.store import inputs, open_filled

from ..conftest import read
from .replaying import Life, same_as_fresh

TABLE = Extract(source="table", path="x")
NOW = datetime(2026, 3, 25, tzinfo=UTC)
MARKS = [
    "\\N",
    "<NA>",
    "None",
    "NaT",
    "N/A",
    "NA",
    "-",
    "nan",
    "NULL",
    " ",
    "(not set)",
]


def column(values: list, read_cell: Callable[[str], pl.Expr]) -> list:
    """What an expression reads from a column of text."""
    frame = pl.DataFrame({"c": values}, schema={"c": pl.String})
    return frame.select(read_cell("c")).to_series().to_list()


@pytest.mark.parametrize("read_cell", [cells.identifier, cells.event_id, cells.number])
def test_a_null_mark_is_no_id_and_no_amount(
    read_cell: Callable[[str], pl.Expr],
) -> None:
    """However a tool writes a missing value, nothing is read."""
    assert column(MARKS, read_cell) == [None] * len(MARKS)


def test_a_missing_amount_does_not_cost_the_event(tmp_path: Path) -> None:
    """Null marks are blank, also behind a currency sign; other text is a fault."""
    marks = [*MARKS, "$ -"]
    assert column([*marks, "ten", "0"], cells.is_blank) == [True] * len(marks) + [
        False,
        False,
    ]
    lines = "".join(f"u{i},open,2026-03-08,{m}\n" for i, m in enumerate(marks))
    (tmp_path / "x.csv").write_text(f"user_id,event,time,revenue\n{lines}")
    got = read(tmp_path / "x.csv", TABLE)
    assert got.select("revenue", "fault").unique().rows() == [(None, None)]


def test_a_null_mark_as_event_id_is_none(tmp_path: Path) -> None:
    """Two rows whose id is missing stay two events."""
    (tmp_path / "x.csv").write_text(
        "event_id,user_id,event,time\n\\N,u,a,2026-03-08\n-,u,b,2026-03-08\n"
    )
    assert read(tmp_path / "x.csv", TABLE)["event_id"].n_unique() == 2


def test_words_that_tools_write_for_null_are_null_in_any_column(tmp_path: Path) -> None:
    """A country written as null is none, and NA is Namibia."""
    (tmp_path / "x.csv").write_text(
        "user_id,event,time,country,plan\nu,a,2026-03-08,\\N,<NA>\n"
        "u,a,2026-03-08,NA,gold\n"
    )
    got = read(tmp_path / "x.csv", TABLE)
    assert got["country"].to_list() == [None, "NA"]
    assert [json.loads(t)["plan"] for t in got["properties"]] == [None, "gold"]


def test_a_whole_number_with_zeros_behind_its_point_is_that_number() -> None:
    """Floats and decimals write 1.0 and 1.00 for 1; all else stays as it is, and so do
    digits that a float can't hold.
    """
    written = ["1.0", "1", "12.00", "1.5", "007.0", "v1.0", "1.", "0.0", "-3.0"]
    assert column(written, cells.identifier) == [
        "1",
        "1",
        "12",
        "1.5",
        "007.0",
        "v1.0",
        "1.",
        None,
        "-3",
    ]
    large = ["9006999999999999.0", "9007199254740993.0", "90071992547409931.000"]
    assert column(large, cells.identifier) == [
        "9006999999999999",
        "9007199254740993.0",
        "90071992547409931",
    ]


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_a_column_of_ids_with_a_gap_names_the_same_people(
    tmp_path: Path, form: str
) -> None:
    """Ids are floats in the file with a gap and whole in the other: two users."""
    times = ["2026-05-01", "2026-05-02", "2026-05-03"]
    names = ["open"] * 3
    gap = pl.DataFrame({"user_id": [1.0, None, 2.0], "event": names, "time": times})
    whole = pl.DataFrame({"user_id": [1, 2, 2], "event": names, "time": times})
    found: set[str] = set()
    for name, frame in {"may": gap, "june": whole}.items():
        path = tmp_path / f"{name}.{form}"
        getattr(frame, f"write_{form}")(path)
        found |= set(read(path, TABLE)["user_id"].drop_nulls())
    assert found == {"1", "2"}


def test_nanoseconds_are_told_apart_like_the_other_units() -> None:
    """One instant as text, whole number, float and decimal of nanoseconds; a number
    beyond all units is no time.
    """
    nanoseconds = 1_772_936_045_123_456_000
    instant = datetime(2026, 3, 8, 2, 14, 5, 123456, tzinfo=UTC)
    assert column([str(nanoseconds)], lambda c: cells.time(c, "UTC")) == [instant]
    for dtype in (pl.Int64, pl.UInt64, pl.Decimal(38, 0)):
        frame = pl.DataFrame({"t": [nanoseconds]}).cast(dtype)
        time = cells.time("t", "UTC", frame.schema["t"])
        assert frame.select(time).item() == instant
    assert column(["1e21"], lambda c: cells.time(c, "UTC")) == [None]


FORMS = [
    "2026-03-08T12:00:00.000000Z",
    "2026-03-08 12:00:00 UTC",
    "2026-03-08T13:00:00.000+01:00",
    "2026-03-08 12:00:00+00",
    "2026-03-08 12:00:00.000 +0000",
    "1772971200",
    "1772971200000000000",
]


@pytest.mark.parametrize(
    ("source", "header", "row"),
    [
        ("appsflyer", "event_time,event_name,appsflyer_id", "{},a,d"),
        ("adjust", "{created_at},{activity_kind},{adid}", "{},session,d"),
        ("branch", "timestamp,name,id", "{},OPEN,7"),
        ("table", "time,event,user_id", "{},a,u"),
    ],
)
def test_times_that_a_loader_rewrote_are_read_in_every_source(
    tmp_path: Path, source: str, header: str, row: str
) -> None:
    """All forms give noon, and one event id."""
    lines = "".join(row.format(text) + "\n" for text in FORMS)
    (tmp_path / "x.csv").write_text(f"{header}\n{lines}")
    got = read(tmp_path / "x.csv", Extract(source=source, path="x"))  # type: ignore[arg-type]
    assert got["event_time"].unique().to_list() == [
        datetime(2026, 3, 8, 12, tzinfo=UTC)
    ]
    assert got["fault"].null_count() == len(FORMS)
    if source == "appsflyer":
        assert got["event_id"].n_unique() == 1


def test_a_local_time_keeps_its_zone_beside_times_with_an_offset(
    tmp_path: Path,
) -> None:
    """The first is read in the extract's zone, the second as it says."""
    zone = Extract(source="appsflyer", path="x", timezone="America/Los_Angeles")
    (tmp_path / "x.csv").write_text(
        "event_time,event_name,appsflyer_id\n"
        "2026-03-08 05:00:00,a,d\n2026-03-08T12:00:00Z,a,d\n2026-03-08 02:30:00,a,d\n"
    )
    got = read(tmp_path / "x.csv", zone)
    noon = datetime(2026, 3, 8, 12, tzinfo=UTC)
    assert got["event_time"].to_list() == [noon, noon, None]


def test_a_receipt_years_ahead_is_set_aside(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A receipt in 2036 is counted under its reason; one up to three days ahead stays."""
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,received_time\n"
        "u1,a,2026-03-24,2036-03-08\nu2,a,2026-03-24,2026-03-27\nu3,a,2026-03-24,\n"
    )
    settings = make_study()
    done = ingest.ingest(settings, NOW, progress=False)
    assert dict(done.reasons.iter_rows()) == {"received_in_the_future": 1}
    kept = open_filled(settings).scan("events").collect()
    assert set(kept["user_id"]) == {"u2", "u3"}


def test_a_receipt_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    """Taken for missing, the row would count as known when it happened."""
    (tmp_path / "x.csv").write_text(
        "user_id,event,time,received_time\n"
        "u,a,2026-03-08,soon\nu,a,2026-03-08,NaT\nu,a,2026-03-08,2026-03-09\n"
    )
    got = read(tmp_path / "x.csv", TABLE)
    assert got["fault"].to_list() == ["unreadable_received_time", None, None]


INDEXES = ["", "Unnamed: 0", "__index_level_0__", "index", "level_0", "...1"]


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_number_of_a_row_is_no_property(
    tmp_path: Path, name: str, form: str
) -> None:
    """Whatever pandas or R calls it, only the column that means something is left."""
    frame = pl.DataFrame(
        {
            name: [10, 11, 15],
            "user_id": ["a", "b", "c"],
            "event": ["x"] * 3,
            "time": ["2026-03-08"] * 3,
            "level": [3, 1, 2],
        }
    )
    getattr(frame, f"write_{form}")(tmp_path / f"x.{form}")
    got = read(tmp_path / f"x.{form}", TABLE)["properties"]
    assert [json.loads(t) for t in got] == [{"level": n} for n in "312"]


def test_a_column_that_only_looks_like_an_index_is_a_property(tmp_path: Path) -> None:
    """``index`` with numbers that fall, or not in the first place, is an app's own, and
    a column that the study names is read.
    """
    header = "event,time"
    for columns, rows in {
        f"index,user_id,{header}": ("3,a,x,2026-03-08", "1,a,x,2026-03-08"),
        f"user_id,index,{header}": ("a,1,x,2026-03-08", "a,2,x,2026-03-08"),
    }.items():
        (tmp_path / "x.csv").write_text("\n".join([columns, *rows, ""]))
        properties = read(tmp_path / "x.csv", TABLE)["properties"]
        assert all("index" in json.loads(text) for text in properties)
    mapped = Extract(source="table", path="x", columns={"user_id": "index"})
    (tmp_path / "x.csv").write_text("index,event,time\n7,x,2026-03-08\n")
    assert read(tmp_path / "x.csv", mapped)["user_id"].to_list() == ["7"]


def test_sixteen_bytes_are_a_uuid_and_readable_ones_text(tmp_path: Path) -> None:
    """Ids in bytes are read as people write them, and bytes that are neither are set
    aside under the name of their column.
    """
    one = uuid.UUID("4f9c0ce2-6d0f-4f53-9f55-0d1b6a1c7e11")
    texts = ["user-1", "1700000000001-17", "Zoë"]
    values = [one.bytes, *(t.encode() for t in texts), b"\xff\x00", None, bytes(16)]
    frame = pl.DataFrame(
        {"user_id": values, "event": b"op\xc3\xa9n", "time": "2026-03-08"}
    )
    frame.write_parquet(tmp_path / "x.parquet")
    got = read(tmp_path / "x.parquet", TABLE)
    assert got["user_id"].to_list() == [str(one), *texts, None, None, None]
    assert got["fault"].to_list() == [None] * 4 + ["unreadable_user_id", None, None]
    assert got["event"].unique().to_list() == ["opén"]


PHONES = {
    "+1 (724) 123-4567": "+17241234567",
    "7241234567": "+17241234567",
    "1-724-123-4567": "+17241234567",
    "+49 170 / 12 34 56 78": "+4917012345678",
    "020 7183 8750": "02071838750",
    "call me": None,
    "N/A": None,
}


def test_a_phone_number_has_one_form() -> None:
    """Digits and a leading plus sign; ten digits are a number of the USA."""
    assert column(list(PHONES), cells.phone) == list(PHONES.values())
    assert requests.as_stored("phone:724 123 4567") == "phone:+17241234567"
    assert requests.as_stored("email:Ann@Example.org") == "email:ann@example.org"


def test_two_writings_of_a_phone_are_shared_and_not_sent_to(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Where Braze is addressed by phone, two users with one number are both left out."""
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,phone\nu1,a,2026-03-08,+1 (724) 123-4567\n"
        "u2,a,2026-03-08,7241234567\nu3,a,2026-03-08,724-123-9999\n"
    )
    settings = make_study(braze={"identifier": "phone"})
    ingest.ingest(settings, NOW, progress=False)
    users = pl.Series(["u1", "u2", "u3"])
    store = open_filled(settings)
    found = addresses.identifiers(store, users, NOW.date())
    assert found["identifier"].to_list() == [None, None, "+17241239999"]
    assert found["n_sharing"].to_list() == [2, 2, 1]


PAID = "user_id,event,time,revenue,currency\nu,a,2026-03-08,5,\nu,b,2026-03-08,7,EUR\n"


def test_amounts_without_a_currency_are_counted_and_can_be_given_one(
    tmp_path: Path,
) -> None:
    """The summary says how many are taken for the study's currency; an extract may
    state another, and then its files are read again.
    """
    life = Life(tmp_path)
    life.write("a.csv", PAID)
    said = "\n".join(history_sentences.ingest(life.ingest()))
    assert "extract raw: 1 of 2 amounts state no currency and are taken for USD" in said
    life.change(currency="GBP")
    done = life.ingest()
    assert (done.n_reread, done.changed) == ({"raw": 1}, {"raw": ["currency"]})
    events = life.store().scan("events").collect().sort("event")
    assert events["currency"].to_list() == ["GBP", "EUR"]
    assert "amounts state no currency" not in "\n".join(history_sentences.ingest(done))
    same_as_fresh(life)


def test_a_store_of_before_the_currency_setting_is_not_read_again(
    make_study: Callable[..., Settings],
) -> None:
    """Its inputs lack the key, which stands for no currency."""
    settings = make_study()
    stored = inputs.all_inputs(settings)
    del stored["events.csv"]["currency"]
    assert inputs.changed_inputs(stored, settings) == {}


@pytest.mark.parametrize("rounded", ["1.74836E+17", "1.2345678901234568e+18", "2E+05"])
@pytest.mark.parametrize("column", ["user_id", "event_id"])
def test_a_rounded_id_is_nobodys(tmp_path: Path, rounded: str, column: str) -> None:
    """Rows of different people, or different events, would become one."""
    other = "event_id" if column == "user_id" else "user_id"
    (tmp_path / "a.csv").write_text(
        f"{column},{other},event,time\n{rounded},a,open,2026-03-01\n"
    )
    got = read(tmp_path / "a.csv", Extract(source="table", path="x"))
    assert got["fault"].to_list() == ["inexact_id"]
    german = rounded.replace(".", ",")
    (tmp_path / "b.csv").write_text(
        f"{column};{other};event;time\n{german};a;open;2026-03-01\n"
    )
    got = read(tmp_path / "b.csv", Extract(source="table", path="x"))
    assert got["fault"].to_list() == ["inexact_id"]
