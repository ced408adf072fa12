"""Postbacks as `churn receive` writes them are read like the vendor's other extracts."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.errors import InputError
from churn.events import ingest
from churn.receive import postback
from churn.settings import Settings
from churn.store import Store, open_filled

from ..conftest import SHARED, unavailable

NOW = datetime(2026, 3, 20, tzinfo=UTC)
RECEIVED = datetime(2026, 3, 8, 2, 14, 9, tzinfo=UTC)
STEM = "20260308T02-9f3c01aa-00000.postbacks.ndjson.gz"

Make = Callable[..., Settings]

PUSH = {
    "event_time": "2026-03-08 02:14:05.123",
    "event_name": "af_purchase",
    "event_value": '{"af_revenue": "9.99", "af_order_id": "A-1"}',
    "event_revenue": "9.99",
    "event_revenue_currency": "USD",
    "appsflyer_id": "1767444129504-6468462",
    "customer_user_id": "cust-1001",
    "platform": "ios",
    "app_id": "id1500000001",
    "is_primary_attribution": True,
}
WEBHOOK = {
    "id": "857389",
    "name": "PURCHASE",
    "event_timestamp": 1772936045000,
    "user_data": {"developer_identity": "cust-1001", "os": "IOS"},
    "event_data": {"revenue": 9.99, "currency": "USD"},
    "custom_data": {"colour": "red"},
}
CALLBACK = (
    "adid=d4ccd857&activity_kind=event&event_token=pur5ch&event_name=purchase"
    "&created_at=1772936045&revenue=9.99&currency=USD&user_id=cust-1001"
)


def write(folder: Path, *requests: bytes | str, hour: int = 2) -> None:
    """Bodies and queries as the receiver publishes them."""
    texts = []
    for request in requests:
        is_body = isinstance(request, bytes)
        body, query = (request, "") if is_body else (b"", request)
        texts.append(postback.lines(body, query, RECEIVED))
    hours = folder / f"t=r/dt=2026-03-08/h={hour}"
    hours.mkdir(parents=True, exist_ok=True)
    (hours / STEM).write_bytes(gzip.compress(b"".join(texts)))
    (hours / "_SUCCESS").touch()


def body(content: Any) -> bytes:
    """A JSON body."""
    return json.dumps(content).encode()


def ingested(settings: Settings) -> tuple[ingest.Ingest, Store]:
    """What an ingest counts, and the store."""
    return ingest.ingest(settings, NOW, progress=False), open_filled(settings)


def columns(store: Store, *names: str) -> list[tuple[Any, ...]]:
    """Columns of the event log, in order of event time and name."""
    events = store.scan("events").sort("event_time", "event").select(names)
    return events.collect().rows()


@pytest.mark.parametrize(
    ("source", "request_"),
    [("appsflyer", body(PUSH)), ("branch", body(WEBHOOK)), ("adjust", CALLBACK)],
)
def test_a_postback_is_an_event_known_from_the_moment_of_its_receipt(
    tmp_path: Path, make_study: Make, source: str, request_: bytes | str
) -> None:
    """User, name, time, amount and the second clock are read of every vendor's."""
    write(tmp_path / "raw", request_)
    _, store = ingested(make_study(extracts=[{"source": source, "path": "raw"}]))
    [(user, event, happened, received, revenue)] = columns(
        store, "user_id", "event", "event_time", "received_time", "revenue"
    )
    assert (user, received, revenue) == ("cust-1001", RECEIVED, 9.99)
    assert event in {"af_purchase", "purchase"}
    assert abs(happened - RECEIVED) <= timedelta(seconds=5)


def test_push_and_data_locker_and_pull_count_an_event_once(
    tmp_path: Path, make_study: Make
) -> None:
    """Known from the postback on, which came before the hour of Data Locker ended."""
    seconds = {**PUSH, "event_time": "2026-03-08 02:14:05"}
    locker = tmp_path / "locker/t=inapps/dt=2026-03-08/h=2"
    locker.mkdir(parents=True)
    pl.DataFrame([seconds]).write_csv(locker / "part-00000.csv")
    titles = {name: name.replace("_", " ").title() for name in seconds}
    titles |= {"appsflyer_id": "AppsFlyer ID", "customer_user_id": "Customer User ID"}
    titles |= {"app_id": "App ID"}
    (tmp_path / "pull").mkdir()
    pl.DataFrame([seconds]).rename(titles).write_csv(tmp_path / "pull/events.csv")
    write(tmp_path / "push", body(PUSH), body(PUSH))
    paths = ("pull", "locker", "push")
    extracts = [{"source": "appsflyer", "path": path} for path in paths]
    _, store = ingested(make_study(extracts=extracts))
    assert columns(store, "user_id", "received_time") == [("cust-1001", RECEIVED)]


def test_callback_and_upload_of_adjust_count_an_event_once(
    tmp_path: Path, make_study: Make
) -> None:
    """The token may be called event_token in the callback, as customers do."""
    name = "app_2026-03-08T020000_551c_8f3a.csv"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_text(
        "{adid},{activity_kind},{event},{event_name},{created_at},[user_id]\n"
        "d4ccd857,event,pur5ch,purchase,1772936045,cust-1001\n"
    )
    write(tmp_path / "raw/callbacks", CALLBACK, CALLBACK)
    _, store = ingested(make_study(extracts=[{"source": "adjust", "path": "raw"}]))
    assert columns(store, "event", "received_time") == [("purchase", RECEIVED)]


def test_webhook_and_daily_export_of_branch_count_an_event_once(
    tmp_path: Path, make_study: Make
) -> None:
    """Branch's own id is in both."""
    export = tmp_path / "raw/y=2026/m=03/d=08/eo_commerce_event.csv"
    export.parent.mkdir(parents=True)
    export.write_text(
        "id,name,timestamp,user_data_developer_identity\n"
        "857389,PURCHASE,1772936045000,cust-1001\n"
    )
    write(
        tmp_path / "raw/webhooks", body(WEBHOOK), "id=857389&name=PURCHASE&timestamp=1"
    )
    _, store = ingested(make_study(extracts=[{"source": "branch", "path": "raw"}]))
    assert columns(store, "event_id", "received_time") == [("857389", RECEIVED)]


def test_placeholders_that_were_not_filled_in_are_nothing(
    tmp_path: Path, make_study: Make
) -> None:
    """The event counts without them, whatever they stand for."""
    open_ones = (
        "&user_id={user_id}&revenue={revenue}&currency=${currency}&idfa={{idfa}}"
    )
    write(
        tmp_path / "raw",
        f"adid=a1&activity_kind=session&created_at=1772936045{open_ones}",
        "adid={adid}&activity_kind=session&created_at={created_at}&user_id=u2",
    )
    done, store = ingested(make_study(extracts=[{"source": "adjust", "path": "raw"}]))
    assert columns(store, "anonymous_id", "user_id", "revenue", "ids") == [
        ("a1", None, None, ["adid:a1"])
    ]
    assert dict(done.reasons.rows()) == {"unreadable_time": 1}


def test_repeated_parameters_count_if_they_agree(
    tmp_path: Path, make_study: Make
) -> None:
    """Also with a placeholder beside the value; contradicting ones are quarantined."""
    usual = "adid=a1&activity_kind=session&created_at=1772936045"
    write(
        tmp_path / "raw",
        f"{usual}&user_id=u1&user_id=u1&user_id={{user_id}}",
        f"{usual}1&user_id=u1&user_id=u2",
    )
    done, store = ingested(make_study(extracts=[{"source": "adjust", "path": "raw"}]))
    assert columns(store, "user_id") == [("u1",)]
    assert dict(done.reasons.rows()) == {"repeated_parameter": 1}


def test_plus_and_percent_20_are_both_a_blank_but_for_offsets(
    tmp_path: Path, make_study: Make
) -> None:
    """``+0100`` in a time that nobody encoded is an offset; ``%2B`` is a plus."""
    times = ["2026-03-08T03:00:00+0100", "2026-03-08T03:00:00%2B01:00"]
    names = ["level+up", "level%20up"]
    write(
        tmp_path / "raw",
        *(
            f"adid=a{i}&activity_kind=event&event_name={name}&created_at={time}"
            for i, (time, name) in enumerate(zip(times, names, strict=True))
        ),
    )
    _, store = ingested(make_study(extracts=[{"source": "adjust", "path": "raw"}]))
    assert (
        columns(store, "event", "event_time")
        == [("level_up", datetime(2026, 3, 8, 2, tzinfo=UTC))] * 2
    )


def test_arrays_nulls_and_what_cannot_be_read(tmp_path: Path, make_study: Make) -> None:
    """Each element counts; a single unreadable postback doesn't stop the ingest."""
    nulls = dict.fromkeys(("customer_user_id", "event_value", "att"))
    write(tmp_path / "raw", body([PUSH, {**PUSH, "event_name": "b", **nulls}, "x"]))
    write(tmp_path / "raw", b"\xff", hour=3)
    write(tmp_path / "raw", b"{", hour=4)
    write(tmp_path / "raw", body({"event_name": "nothing else"}), hour=5)
    done, store = ingested(
        make_study(extracts=[{"source": "appsflyer", "path": "raw"}])
    )
    assert columns(store, "event") == [("af_purchase",), ("b",)]
    assert dict(done.reasons.rows()) == {
        "not_an_object": 1,
        "not_json": 1,
        "not_utf8": 1,
        "unreadable_time": 1,
    }


def test_an_hour_that_is_going_on_waits(tmp_path: Path, make_study: Make) -> None:
    """By each receiver's markers; another receiver's hour doesn't end it."""
    write(tmp_path / "raw", body(PUSH))
    going_on = tmp_path / "raw/t=r/dt=2026-03-08/h=3"
    going_on.mkdir()
    (going_on / STEM).write_bytes(b"")
    done, _ = ingested(make_study(extracts=[{"source": "appsflyer", "path": "raw"}]))
    assert (done.n_added, len(done.waiting)) == (1, 1)


def test_the_vendors_own_samples(make_study: Make, tmp_path: Path) -> None:
    """AppsFlyer's Push body, and the event in Pull and Data Locker, are one event."""
    if not SHARED.exists():
        unavailable("the vendors' samples aren't here")
    samples = SHARED / "samples/appsflyer"
    write(
        tmp_path / "raw",
        (samples / "push_api/post_body_in_app_event.json").read_bytes(),
    )
    extracts = [
        {"source": "appsflyer", "path": "raw"},
        {"source": "appsflyer", "path": f"{samples}/data_locker"},
        {
            "source": "appsflyer",
            "path": f"{samples}/pull_api/in_app_events_report_utc.csv",
        },
    ]
    _, store = ingested(make_study(extracts=extracts))
    events = store.scan("events").filter(pl.col("properties").str.contains("A-1"))
    assert events.collect().height == 1


def test_the_study_may_name_nested_values(tmp_path: Path, make_study: Make) -> None:
    """As a path from the postback inward; what is no path is refused with a sentence."""
    nested = {**PUSH, "custom": {"member id": "m-1"}}
    write(tmp_path / "raw", body(nested), body({**PUSH, "event_name": "b"}))
    extract = {"source": "appsflyer", "path": "raw"}
    columns_ = {"user_id": "$.custom['member id']"}
    _, store = ingested(make_study(extracts=[{**extract, "columns": columns_}]))
    assert columns(store, "event", "user_id") == [("af_purchase", "m-1"), ("b", None)]
    odd = make_study(extracts=[{**extract, "columns": {"user_id": "$.a[*]"}}])
    with pytest.raises(InputError, match=r"neither a parameter nor a path"):
        ingest.ingest(odd, NOW, progress=False)


def test_values_of_any_json_type_are_text(tmp_path: Path, make_study: Make) -> None:
    """Also in other scripts; half a character is replaced, and long numbers stay whole."""
    odd = {
        **PUSH,
        "customer_user_id": 12345678901234567890123,
        "event_value": {"é": [1]},
    }
    write(
        tmp_path / "raw",
        body(odd),
        b'{"event_name": "\\ud800", "appsflyer_id": "1-1",'
        b' "event_time": "2026-03-08 02:14:09", "event_revenue": 1.50}',
    )
    _, store = ingested(make_study(extracts=[{"source": "appsflyer", "path": "raw"}]))
    assert columns(store, "event", "user_id", "properties", "revenue") == [
        ("af_purchase", "12345678901234567890123", '{"é":[1]}', 9.99),
        ("?", None, None, 1.5),
    ]
