"""Kochava: event reports as CSV or JSON, and custom postbacks as received.

The customer chooses the columns of a report and the parameters of a postback.

``timestamp_utc`` is preferred to ``timestamp_adjusted``, which is in the zone that the
report was asked for and that the extract's ``timezone`` states. The data of an event
are JSON. Reports don't say when a row was received, unless they have ``date_received``.
"""

from pathlib import Path

import polars as pl

from churn.events.sources import canonical, cells, columns, jsonlines, postbacks
from churn.settings import Extract

SUFFIXES = (".csv", ".csv.gz", ".json", ".json.gz", ".zip", postbacks.SUFFIX)
FORMS = ("csv", "json", "postbacks")
SETTLING_DAYS = 1
NEEDED = ("name", "device")
FIELDS = {
    "time": "timestamp_utc",
    "local_time": "timestamp_adjusted",
    "arrived": "date_received",
    "name": "event_name",
    "device": "device_id_kochava",
    "user": "device_id_custom",
    "amount": "dimension_sum",
    "money": "currency",
    "properties": "dimension_data",
    "transaction": "transaction_id",
    "platform": "device_os",
    "country": "geo_country",
    "app_version": "app_version",
    "media_source": "attribution_network",
    "idfa": "device_id_idfa",
    "idfv": "device_id_idfv",
    "gaid": "device_id_adid",
    "android_id": "device_id_android_id",
    "limited": "device_limit_tracking",
}
IN_POSTBACKS = {
    "time": "$.event_time",
    "device": "$.kochava_device_id",
    "user": "$.user_id",
    "amount": "$.event_sum",
    "properties": "$.event_data",
    "idfa": "$.idfa",
    "idfv": "$.idfv",
    "gaid": "$.adid",
    "android_id": "$.android_id",
}
"""Further names of parameters that postbacks may have."""

ID_COLUMNS = ("device", "event", "second", "revenue", "properties", "transaction")


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one report, or of one file of received postbacks.

    Kochava has no event id, so one is derived from device, event, second, revenue, data
    and transaction.
    """
    if postbacks.are_in(path):
        raw = postbacks.read(path, FIELDS, extract, scratch, IN_POSTBACKS)
    else:
        report = columns.read(path, FIELDS, NEEDED, extract, scratch)
        raw = report.with_columns(received_at=cells.moment(None))
    is_unreadable = pl.col("received_time").is_null() & ~cells.is_blank("arrived")
    utc = cells.time("time", "UTC", raw.collect_schema()["time"])
    basis = pl.when(utc.is_null()).then(pl.lit("tz_assumed")).otherwise(pl.lit("exact"))
    data = jsonlines.compact("properties")
    timed = raw.with_columns(
        event_time=pl.coalesce(utc, cells.time("local_time", extract.timezone)),
        event_time_basis=basis,
        received_time=pl.coalesce("received_at", cells.time("arrived", "UTC")),
        properties=data,
        money=pl.coalesce("money", data.str.json_path_match("$.currency")),
    )
    return canonical.events(
        timed.with_columns(second=pl.col("event_time").dt.epoch("s")),
        extract,
        device_type="kochava_id",
        id_columns=ID_COLUMNS,
        faults={"unreadable_received_time": is_unreadable},
    )
