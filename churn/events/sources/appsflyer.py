"""AppsFlyer raw data: Pull API, export page, Data Locker, and Push as received.

Pull API and export page write capitalised column names with spaces, Data Locker and
Push write API names; the former are converted to the latter. Times carry no zone, so
the extract's ``timezone`` states it: UTC, except for the export page, which uses the
app's; Push states UTC. The Pull API states no time of receipt; in Data Locker it is the
end of the folder's hour. An event made during a re-engagement window is exported twice, and only
the copy with ``is_primary_attribution`` is kept. The time of an uninstall is when
AppsFlyer noticed it, days after it happened.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from churn.events.sources import canonical, cells, columns, postbacks
from churn.settings import Extract

SUFFIXES = (".csv", ".gz", ".parquet", ".snappy", ".json", ".ndjson", ".jsonl")
FORMS = ("csv", "parquet", "json", "postbacks")
SETTLING_DAYS = 2
"""A day is final about 48 hours after its end (UTC)."""

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
ID_COLUMNS = ("anonymous_id", "event", "second", "properties", "app")
DENIED = ("denied", "restricted", "af_unavailable")
"""Values of ``att`` that limit tracking."""


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one report, or of one file of received postbacks.

    AppsFlyer has no event id, so one is derived from AppsFlyer ID, event, second, value
    and app.
    """
    if postbacks.are_in(path):
        raw = postbacks.read(path, FIELDS, extract, scratch)
        zone, received = "UTC", pl.col("received_at")
    else:
        raw = columns.read(path, FIELDS, NEEDED, extract, scratch, _api_name)
        zone, received = extract.timezone, cells.moment(_folder_hour(path))
    name = pl.col("name").str.strip_chars().str.to_lowercase()
    is_denied = pl.col("att").str.strip_chars().is_in(DENIED)
    dtype = raw.collect_schema()["time"]
    timed = raw.with_columns(
        event_time=cells.time("time", zone, dtype),
        event_time_basis=pl.when(name.str.ends_with("uninstall"))
        .then(pl.lit("detected"))
        .otherwise(pl.lit("tz_assumed")),
        received_time=received,
        limited=pl.when(is_denied | cells.truth("lat")).then(pl.lit("1")),
    )
    # Push states milliseconds and the others seconds, but the ids have to be equal.
    prepared = timed.with_columns(second=pl.col("event_time").dt.epoch("s"))
    is_primary = pl.col("primary").str.strip_chars().str.to_lowercase()
    return canonical.events(
        prepared,
        extract,
        device_type="appsflyer_id",
        id_columns=ID_COLUMNS,
        faults={"not_primary": is_primary == "false"},
    )


def _api_name(column: str) -> str:
    return re.sub(r"\s+", "_", column.strip().lower())


def _folder_hour(path: Path) -> datetime | None:
    """The end of the hour of a Data Locker folder, by which its rows had arrived.

    The folders are t=…/dt=2026-03-08/h=2.
    """
    hour = re.search(r"/h=(\d{1,4})/", path.as_posix())
    length = timedelta(hours=int(hour[1]) + 1 if hour else 0)
    return cells.period_end(
        path.as_posix(), r"dt=(\d{4}-\d\d-\d\d)/h=\d{1,4}/", "%Y-%m-%d", length
    )


def report_hour(path: str) -> tuple[str, int] | None:
    """Data Locker's report folder of a path, and its hour as a number that sorts.

    None for a path outside such folders.
    """
    match = re.search(r"^(.*\bt=[^/]+)/dt=(\d{4})-(\d\d)-(\d\d)/h=(\d+)", path)
    if match is None:
        return None
    report, year, month, day, hour = match.groups()
    return report, int(year + month + day) * 100 + int(hour)
