"""Each export format: its rows as events, their time of receipt, and the errors of
damaged files.
"""

import gzip
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import polars as pl
import pytest

from churn.events import ingest
from churn.settings import Extract, parse
from churn.store import open_filled

from ..conftest import SHARED, read

ADJUST = (
    "{activity_kind},{created_at},{adid},{event},{event_name},{environment},"
    '{revenue},{currency},[user_id],"x"\n'
)


def extract(source: str) -> Extract:
    """An extract of one source with default settings."""
    return Extract(source=source, path="x")  # type: ignore[arg-type]


def adjust(tmp_path: Path, *lines: str) -> pl.DataFrame:
    """An hourly Adjust upload."""
    file = tmp_path / "abc_2026-03-08T020000_hash_part.csv.gz"
    file.write_bytes(gzip.compress((ADJUST + "\n".join(lines) + "\n").encode()))
    return read(file, extract("adjust"))


def test_adjust_keys_are_known_without_their_brackets(tmp_path: Path) -> None:
    """Event labels, sessions, uninstalls on the day of detection, receipt at the end of
    the file's hour, and no test rows.
    """
    got = adjust(
        tmp_path,
        "event,1772936045,d1,tok,purchase,production,9.99,usd,cust-1,x",
        "session,1772936045,d1,,,production,,,cust-1,x",
        "uninstall,1773118800,d1,,,production,,,,x",
        "event,1772936045,d1,tok,purchase,sandbox,0.01,USD,cust-1,x",
    )
    assert got["event_kind"].to_list() == [
        "purchase",
        "session_start",
        "uninstall",
        "purchase",
    ]
    assert got["fault"].to_list() == [None, None, None, "test_environment"]
    assert got["event_time_basis"].to_list()[2] == "detected"
    assert got["currency"].to_list()[:2] == ["USD", None]
    assert got["received_time"].unique().to_list() == [
        datetime(2026, 3, 8, 3, tzinfo=UTC)
    ]


def test_adjust_callbacks_read_like_uploads(tmp_path: Path) -> None:
    """Recorded callbacks give the same event id as the uploaded row."""
    line = (
        "GET /hook?key=k&adid=d1&activity_kind=event&created_at=1772936045"
        "&event_token=tok&event_name=purchase"
    )
    (tmp_path / "callbacks.txt").write_text(
        line + "&revenue=9.99&currency=USD&environment=production&user_id=cust-1\n"
    )
    called = read(tmp_path / "callbacks.txt", extract("adjust"))
    uploaded = adjust(
        tmp_path, "event,1772936045,d1,tok,purchase,production,9.99,USD,cust-1,x"
    )
    assert called["event_id"].to_list() == uploaded["event_id"].to_list()
    assert called["user_id"].to_list() == ["cust-1"]


def test_branch_rows_are_received_when_the_day_is_exported(tmp_path: Path) -> None:
    """Times are epoch milliseconds, ids are Branch's own, NA is Namibia, and receipt is
    at the end of the export's day.
    """
    folder = tmp_path / "y=2026/m=03/d=08"
    folder.mkdir(parents=True)
    header = (
        "id,name,timestamp,user_data_developer_identity,user_data_geo_country_code,"
    )
    header += "event_data_revenue,event_data_currency"
    (folder / "x.csv").write_text(
        f"{header}\n7,OPEN,1772936045644,,NA,,\n8,PURCHASE,1772936045644,0001,US,9.99,USD\n"
    )
    got = read(folder / "x.csv", extract("branch"))
    assert got["event_kind"].to_list() == ["session_start", "purchase"]
    assert got["user_id"].to_list() == [None, "0001"]
    assert got["country"].to_list() == ["NA", "US"]
    assert got["event_time"][0] == datetime(2026, 3, 8, 2, 14, 5, 644000, tzinfo=UTC)
    assert got["received_time"][0] == datetime(2026, 3, 9, tzinfo=UTC)


def amplitude_zip(tmp_path: Path, *rows: dict | str) -> Path:
    """A ZIP of gzipped JSON lines, as the export API gives it."""
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows)
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("1/1_2026-03-08_2#0.json.gz", gzip.compress(text.encode()))
    return tmp_path / "export.zip"


def test_amplitude_repeats_share_an_id_and_nulls_do_not(tmp_path: Path) -> None:
    """Rows with the same $insert_id and device are one event, two rows without it are
    two, and lines that are no JSON are counted.
    """
    one = {
        "event_type": "login",
        "event_time": "2026-03-08 02:00:00.5",
        "device_id": "d",
        "user_id": "u",
    }
    got = read(
        amplitude_zip(
            tmp_path,
            one
            | {
                "$insert_id": "a",
                "uuid": "1",
                "server_upload_time": "2026-03-09 00:00:01",
            },
            one | {"$insert_id": "a", "uuid": "2"},
            one | {"$insert_id": None, "uuid": "3"},
            one | {"$insert_id": None, "uuid": "4"},
            one
            | {
                "event_properties": {"$revenue": "9.5", "$currency": "eur"},
                "uuid": "5",
            },
            "{broken",
        ),
        extract("amplitude"),
    )
    assert got["event_id"].drop_nulls().n_unique() == 4
    assert got["received_time"][0] == datetime(2026, 3, 9, 0, 0, 1, tzinfo=UTC)
    assert (got["event_kind"][4], got["revenue"][4], got["currency"][4]) == (
        "purchase",
        9.5,
        "EUR",
    )
    assert got["fault"].to_list() == [None] * 5 + ["not_json"]


GA4 = {
    "event_timestamp": 1772964845638000,
    "event_name": "in_app_purchase",
    "user_id": "u",
    "user_pseudo_id": "p",
    "platform": "IOS",
    "event_params": [
        {"key": "value", "value": {"string_value": None, "int_value": 9990000}},
        {"key": "currency", "value": {"string_value": "USD", "int_value": None}},
    ],
}


def test_ga4_parquet_and_json_are_the_same_events(tmp_path: Path) -> None:
    """Integers as text in JSON and typed ones in Parquet give equal ids, times and
    amounts; millionths become units.
    """
    pl.DataFrame([GA4]).write_parquet(tmp_path / "events_20260308.parquet")
    as_text = json.loads(
        json.dumps(GA4)
        .replace("9990000", '"9990000"')
        .replace("1772964845638000", '"1772964845638000"')
    )
    as_text["event_params"] = [
        {"key": "value", "value": {"int_value": "9990000"}},
        {"key": "currency", "value": {"string_value": "USD"}},
    ]
    (tmp_path / "events_20260308.json").write_text(json.dumps(as_text) + "\n")
    one, two = (
        read(tmp_path / f"events_20260308.{s}", extract("ga4"))
        for s in ("parquet", "json")
    )
    columns = [
        "event_id",
        "event_time",
        "received_time",
        "event_kind",
        "revenue",
        "currency",
        "user_id",
    ]
    assert one.select(columns).equals(two.select(columns))
    assert (one["revenue"][0], one["received_time"][0]) == (
        9.99,
        datetime(2026, 3, 10, tzinfo=UTC),
    )


def test_ga4_rows_without_any_id_stay_apart(tmp_path: Path) -> None:
    """Rows of refused consent have no user and no device; they are kept and never
    become one person.
    """
    nobody = {k: v for k, v in GA4.items() if not k.startswith("user")}
    (tmp_path / "events_20260308.json").write_text(
        json.dumps(nobody)
        + "\n"
        + json.dumps(nobody | {"event_timestamp": 1772964845639000})
    )
    got = read(tmp_path / "events_20260308.json", extract("ga4"))
    assert got["event_id"].n_unique() == 2
    assert got.select("user_id", "anonymous_id").null_count().row(0) == (2, 2)


def currents(tmp_path: Path, event: str, *rows: dict) -> pl.DataFrame:
    """One Avro file of an event type in its hour's folder."""
    folder = tmp_path / "date=2026-03-08-02"
    folder.mkdir(exist_ok=True)
    types = {
        "time": "int",
        "price": ["null", "float"],
        "machine_open": ["null", "boolean"],
    }
    names = [
        "id",
        "time",
        "user_id",
        "external_user_id",
        "name",
        "price",
        "currency",
        "machine_open",
    ]
    fields = [{"name": n, "type": types.get(n, ["null", "string"])} for n in names]
    namespace, name = f"dataexport.S3.inner.users.{event}".rsplit(".", 1)
    schema = fastavro.parse_schema(
        {"type": "record", "namespace": namespace, "name": name, "fields": fields}
    )
    with (folder / "x.avro").open("wb") as out:
        fastavro.writer(out, schema, [dict.fromkeys(names) | r for r in rows])
    return read(folder / "x.avro", extract("currents"))


def test_currents_types_prices_and_machines(tmp_path: Path) -> None:
    """The schema names the event, a float price becomes cents, and an open by a machine
    is quarantined.
    """
    bought = currents(
        tmp_path,
        "behaviors.Purchase",
        {"id": "1", "time": 1772936045, "price": 9.99, "external_user_id": "u"},
    )
    assert bought.select("event", "event_kind", "revenue").row(0) == (
        "purchase",
        "purchase",
        9.99,
    )
    assert bought["received_time"][0] == datetime(2026, 3, 8, 3, tzinfo=UTC)
    named = currents(
        tmp_path,
        "behaviors.CustomEvent",
        {"id": "2", "time": 1772936045, "name": "Level Up", "user_id": "b"},
    )
    assert named.select("event", "event_kind", "ids").row(0) == (
        "level_up",
        "in_app",
        ["braze_id:b"],
    )
    opened = currents(
        tmp_path,
        "messages.email.Open",
        {"id": "3", "time": 1772936045},
        {"id": "4", "time": 1772936045, "machine_open": True},
    )
    assert opened["event_kind"].unique().to_list() == ["message_engaged"]
    assert opened["fault"].to_list() == [None, "by_machine"]
    control = currents(
        tmp_path, "campaigns.EnrollInControl", {"id": "5", "time": 1772936045}
    )
    assert control.select("event", "event_kind").row(0) == (
        "campaigns_enroll_in_control",
        "other",
    )


REFUSED, SECOND, TEST = (
    {"consent_refused": 1},
    {"not_primary": 1},
    {"test_environment": 1},
)
SAMPLES = {
    # path: source, rows, duplicates, quarantined, users with an id of their own, files
    # whose hour isn't whole
    "adjust/cloud_storage": (
        "adjust",
        23,
        2,
        TEST,
        8,
        0,
    ),  # one line twice in file 1, again in file 2; all but U9
    "adjust/callbacks.txt": (
        "adjust",
        4,
        1,
        {},
        1,
        0,
    ),  # one call twice; uninstall and erasure rows name no user
    "amplitude": (
        "amplitude",
        22,
        1,
        {},
        8,
        0,
    ),  # one $insert_id twice; the merge record is kept; all but U9
    "appsflyer/data_locker": (
        "appsflyer",
        10,
        1,
        SECOND,
        5,
        1,
    ),  # h=10 waits; U1–U4 act, U3 and U8 uninstall
    "appsflyer/pull_api/*s_report.csv": (
        "appsflyer",
        6,
        0,
        {},
        4,
        0,
    ),  # installs U5, U7, U9, uninstalls U3, U8, U9
    "appsflyer/push_api": ("appsflyer", 1, 0, {}, 1, 0),
    "branch": ("branch", 22, 1, {}, 8, 0),  # one OPEN twice; all but U9
    "braze_currents": (
        "currents",
        24,
        1,
        {},
        7,
        0,
    ),  # one id in two files; U7 isn't there, U9 has no id
    "ga4/json": (
        "ga4",
        22,
        1,
        REFUSED,
        7,
        0,
    ),  # one row twice; U8 isn't there, U9 has no id
    "ga4/parquet": ("ga4", 22, 1, REFUSED, 7, 0),
}
NOT_RECEIVED = ("callbacks", "pull_api", "push_api")  # state no time of arrival


def ingested(
    path: str, folder: Path, **extract: str
) -> tuple[ingest.Ingest, pl.DataFrame]:
    """The result and the log of a study with one extract."""
    settings = parse({"extracts": [{"path": path, **extract}]}, folder)
    result = ingest.ingest(settings, datetime(2026, 3, 25, tzinfo=UTC), progress=False)
    return result, open_filled(settings).scan("events").collect()


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
@pytest.mark.parametrize("path", list(SAMPLES))
def test_vendor_samples_count_as_planted(tmp_path: Path, path: str) -> None:
    """Every row of each sample is kept, a duplicate or quarantined, in the planted
    numbers.
    """
    source, rows, duplicates, quarantined, n_users, n_waiting = SAMPLES[path]
    result, kept = ingested(str(SHARED / "samples" / path), tmp_path, source=source)
    assert result.totals == {
        "rows": rows,
        "kept": rows - duplicates - sum(quarantined.values()),
        "duplicate": duplicates,
        "quarantined": sum(quarantined.values()),
    }
    assert dict(result.reasons.iter_rows()) == quarantined
    assert (
        kept["user_id"].n_unique() - kept["user_id"].has_nulls(),
        len(result.waiting),
    ) == (n_users, n_waiting)
    assert kept["received_time"].is_null().all() == any(
        name in path for name in NOT_RECEIVED
    )


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
def test_one_event_has_one_id_however_it_was_delivered(tmp_path: Path) -> None:
    """GA4 as JSON and Parquet, and AppsFlyer by Pull, Data Locker and Push, give the
    same events with the same ids.
    """
    ids = {}
    for path, source in {
        "ga4/json": "ga4",
        "ga4/parquet": "ga4",
        **dict.fromkeys(AF_WAYS, "appsflyer"),
    }.items():
        (tmp_path / path).mkdir(parents=True)
        _, kept = ingested(
            str(SHARED / "samples" / path), tmp_path / path, source=source
        )
        ids[path] = set(
            kept.filter(~pl.col("event").str.contains("uninstall"))["event_id"]
        )
    assert ids["ga4/json"] == ids["ga4/parquet"]
    pull, locker, push = (ids[way] for way in AF_WAYS)
    assert (len(push), len(locker), len(pull)) == (1, 5, 18)
    assert push < locker < pull


AF_WAYS = (
    "appsflyer/pull_api/in_app_events_report_utc.csv",
    "appsflyer/data_locker",
    "appsflyer/push_api",
)


def test_a_zip_of_several_files_is_read_whole(tmp_path: Path) -> None:
    """Both members of an export archive are read, plain and gzipped."""
    line = json.dumps(
        {
            "event_type": "x",
            "event_time": "2026-03-08 02:00:00",
            "uuid": "1",
            "device_id": "d",
        }
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", line)
        archive.writestr(
            "b.json.gz", gzip.compress(line.replace('"1"', '"2"').encode())
        )
    (tmp_path / "e.zip").write_bytes(buffer.getvalue())
    assert read(tmp_path / "e.zip", extract("amplitude"))["event_id"].to_list() == [
        "1",
        "2",
    ]
