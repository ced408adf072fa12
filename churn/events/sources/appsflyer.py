"""AppsFlyer raw data: Pull and export-page CSV, Data Locker folders, recorded Push
bodies.

Pull and export page write spaced, capitalised column names, Data Locker and Push the
API's own: both are read as the latter. Times carry no zone: the extract's ``timezone``
says it (all UTC, but for the export page, which uses the app's). Pull states no receive
time; in Data Locker it is the end of the hour folder. An event made during a
re-engagement window comes twice; only the copy with ``is_primary_attribution`` is kept.
An uninstall's time is when it was noticed, days after it happened.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from churn.events.sources import columns, parse
from churn.settings import Extract

SUFFIXES = (".csv", ".gz", ".parquet", ".snappy", ".json", ".ndjson", ".jsonl")
SETTLING_DAYS = 2  # final about 48 h after the UTC day
NEEDED = ("time", "name", "device")
FIELDS = {
    "time": "event_time",
    "name": "event_name",
    "device": "appsflyer_id",
    "user": "customer_user_id",
    "amount": "event_revenue",
    "money": "event_revenue_currency",
    "usd": "event_revenue_usd",
    "app": "app_id",
    "primary": "is_primary_attribution",
    "platform": "platform",
    "country": "country_code",
    "app_version": "app_version",
    "media_source": "media_source",
    "properties": "event_value",
    "idfa": "idfa",
    "idfv": "idfv",
    "gaid": "advertising_id",
    "android_id": "android_id",
    "att": "att",
    "lat": "is_lat",
}
KINDS = {
    "install": "install",
    "reinstall": "reinstall",
    "re-attribution": "reattribution",
    "re-engagement": "reattribution",
    "uninstall": "uninstall",
    "af_uninstall": "uninstall",
    "session": "session_start",
    "af_app_opened": "session_start",
    "af_purchase": "purchase",
    "af_ad_revenue": "ad_revenue",
}
IDENTITY = ("anonymous_id", "event", "second", "properties", "app")
DENIED = ("denied", "restricted", "af_unavailable")


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one report; event_id from AppsFlyer ID, event, second, value
    and app.
    """
    raw = columns.read(path, FIELDS, NEEDED, extract, scratch, _api_name)
    dtype = raw.collect_schema()["time"]
    is_text = dtype == pl.String
    raw = raw.with_columns(
        event_time=parse.local_time("time", extract.timezone)
        if is_text
        else parse.time("time", extract.timezone, dtype),
        event_time_basis=pl.when(parse.event_name("name").str.ends_with("uninstall"))
        .then(pl.lit("detected"))
        .otherwise(pl.lit("tz_assumed")),
        received_time=parse.moment(_folder_hour(path)),
        limited=pl.when(
            pl.col("att").str.strip_chars().is_in(DENIED) | parse.truth("lat")
        ).then(pl.lit("1")),
    )
    # Push states milliseconds, the others seconds: the same event must get the same id.
    raw = raw.with_columns(second=pl.col("event_time").dt.epoch("s"))
    refund = pl.when(parse.number("amount") < 0).then(
        pl.lit("refund")
    )  # whatever the event is called
    not_primary = pl.col("primary").str.strip_chars().str.to_lowercase() == "false"
    return parse.events(
        raw,
        extract,
        kinds=KINDS,
        device="appsflyer_id",
        own_id=IDENTITY,
        faults={"not_primary": not_primary},
        stated_kind=refund,
    )


def _api_name(column: str) -> str:
    return re.sub(r"\s+", "_", column.strip().lower())


def _folder_hour(path: Path) -> datetime | None:
    """The end of the hour in a Data Locker folder, t=…/dt=2026-03-08/h=2: when its rows
    had arrived.
    """
    hour = re.search(r"/h=(\d{1,4})/", path.as_posix())
    length = timedelta(hours=int(hour[1]) + 1 if hour else 0)
    return parse.period_end(
        path.as_posix(), r"dt=(\d{4}-\d\d-\d\d)/h=\d{1,4}/", "%Y-%m-%d", length
    )


def topic(path: str) -> tuple[str, int] | None:
    """Data Locker report and hour of a path, to tell hours still being written; null
    outside such folders.
    """
    found = re.search(r"^(.*\bt=[^/]+)/dt=(\d{4})-(\d\d)-(\d\d)/h=(\d+)", path)
    return (
        (found[1], int(found[2] + found[3] + found[4]) * 100 + int(found[5]))
        if found
        else None
    )
