"""Singular: Data Destinations, Export Logs, and internal BI postbacks as received.

Data Destinations have API names, Export Logs capitalised ones with spaces, which are
converted. A log of events has one device id and its type; a log of attributions has a
column per type, and its rows are installs or re-engagements. The ``_unix_utc`` twin of
a time is preferred, since the text is in the zone of the account, which the extract's
``timezone`` states. Rows had arrived at the end of ``etl_record_processing_hour_utc``
or, in Export Logs, at ``Server Timestamp``. A postback states a device id of each type,
and its time in UTC. Revenue whose receipt is not valid is none.
"""

import re
from pathlib import Path

import polars as pl

from churn.events.sources import (
    canonical,
    cells,
    columns,
    event_kinds,
    jsonlines,
    postbacks,
)
from churn.settings import Extract

SUFFIXES = (".csv", ".gz", ".parquet", ".json", ".ndjson", ".jsonl")
FORMS = ("csv", "parquet", "json", "postbacks")
SETTLING_DAYS = 1
NEEDED = ("device", "device_type")
FIELDS = {
    "time": "adjusted_timestamp_unix_utc",
    "local_time": "adjusted_timestamp",
    "attributed": "event_timestamp_unix_utc",
    "attributed_local": "event_timestamp",
    "hour": "etl_record_processing_hour_utc",
    "server_time": "server_timestamp",
    "name": "name",
    "long_name": "event_name",
    "user": "custom_user_id",
    "users": "custom_user_ids",
    "device": "device_id",
    "device_type": "device_id_type",
    "amount": "revenue",
    "money": "currency",
    "converted": "converted_revenue",
    "converted_money": "converted_currency",
    "valid": "is_revenue_valid",
    "reengaged": "is_reengagement",
    "platform": "platform",
    "country": "country",
    "app": "app_longname",
    "app_version": "app_version",
    "media_source": "partner",
    "properties": "arguments",
    "idfa": "idfa",
    "idfv": "idfv",
    "gaid": "gaid",
    "android_id": "android_id",
}
IN_POSTBACKS = {
    "time": "$.event_utc_timestamp",
    "name": "$.event_name",
    "user": "$.user_id",
    "device": "$.singular_id",
    "gaid": "$.aifa",
    "app": "$.longname",
    "media_source": "$.network",
    "properties": "$.event_attributes",
}
"""Where fields of a postback stand if not under the name that exports have."""

ID_COLUMNS = ("device_key", "event", "second", "revenue", "properties", "app")
DEVICE_TYPES = {
    "idfa": "idfa",
    "idfv": "idfv",
    "aifa": "gaid",
    "gaid": "gaid",
    "andi": "android_id",
    "android_id": "android_id",
}
"""Our field by the type of a device id, in lower case; other types are Singular's."""

DEVICE_FIELDS = tuple(dict.fromkeys(DEVICE_TYPES.values()))
ANY_REVENUE = "__revenue__"
"""An event that Singular adds to every other one that has revenue."""

UNINSTALL = "__uninstall__"
"""An event at the time at which Singular noticed it."""

SINGLE = r'^[\["\s]*([^",\[\]]+)[\]"\s]*$'
"""The only member of a list, or a text that is no list."""


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one log, or of one file of received postbacks.

    Singular has no event id, so one is derived from device, event, second, revenue,
    arguments and app.
    """
    if postbacks.are_in(path):
        raw = postbacks.read(path, FIELDS, extract, scratch, IN_POSTBACKS)
    else:
        log = columns.read(path, FIELDS, NEEDED, extract, scratch, _api_name)
        raw = log.with_columns(received_at=cells.moment(None))
    timed = raw.with_columns(_times(extract.timezone, raw.collect_schema()["time"]))
    prepared = timed.with_columns(**_fields(), **_device())
    keyed = prepared.with_columns(
        second=pl.col("event_time").dt.epoch("s"),
        device_key=_device_key(),
    )
    return canonical.events(
        keyed,
        extract,
        device_type="singular_id",
        id_columns=ID_COLUMNS,
        faults=_faults(),
    )


def _faults() -> dict[str, pl.Expr]:
    """Rows whose time of receipt can't be read, and copies of other events."""
    states_receipt = ~(cells.is_blank("hour") & cells.is_blank("server_time"))
    return {
        "unreadable_received_time": pl.col("received_time").is_null() & states_receipt,
        "not_primary": pl.col("name").str.to_lowercase() == ANY_REVENUE,
    }


def _times(zone: str, time_type: pl.DataType) -> list[pl.Expr]:
    """Event time and its basis, and the time of receipt."""
    utc = pl.coalesce(
        cells.time("time", "UTC", time_type),
        cells.time("attributed", "UTC"),
    )
    local = pl.coalesce(
        cells.time("local_time", zone),
        cells.time("attributed_local", zone),
    )
    is_uninstall = pl.col("name").str.to_lowercase() == UNINSTALL
    basis = (
        pl.when(is_uninstall)
        .then(pl.lit("detected"))
        .when(utc.is_null())
        .then(pl.lit("tz_assumed"))
        .otherwise(pl.lit("exact"))
    )
    hour_end = cells.time("hour", "UTC").dt.offset_by("1h")
    server_time = cells.time("server_time", zone)
    received = pl.coalesce("received_at", hour_end, server_time)
    return [
        pl.coalesce(utc, local).alias("event_time"),
        basis.alias("event_time_basis"),
        received.alias("received_time"),
    ]


def _fields() -> dict[str, pl.Expr]:
    """Name, user and amounts as one field each."""
    is_valid = ~pl.col("valid").str.to_lowercase().is_in(["false", "0"])
    is_counted = is_valid.fill_null(True)
    is_dollar = pl.col("converted_money").str.to_uppercase() == "USD"
    single_user = pl.col("users").str.extract(SINGLE)
    return {
        "name": pl.coalesce("name", "long_name", _attribution()),
        "user": pl.coalesce("user", single_user),
        "amount": pl.when(is_counted).then("amount"),
        "usd": pl.when(is_counted & is_dollar).then("converted"),
        "properties": jsonlines.compact("properties"),
    }


def _attribution() -> pl.Expr:
    """The name of a row in a log of attributions; null for other rows."""
    is_again = cells.truth("reengaged").fill_null(False)
    name = pl.when(is_again).then(pl.lit("reengagement")).otherwise(pl.lit("install"))
    is_attribution = ~(
        cells.is_blank("attributed") & cells.is_blank("attributed_local")
    )
    return pl.when(is_attribution).then(name)


def _device() -> dict[str, pl.Expr]:
    """The ids of the device by their type.

    An id of a known type is kept as such alone, because the study may forbid it.
    """
    own_type = pl.col("device_type").str.strip_chars().str.to_lowercase()
    field = pl.coalesce(*event_kinds.looked_up(own_type, DEVICE_TYPES))
    of_type = {
        name: pl.coalesce(name, pl.when(field == name).then("device"))
        for name in DEVICE_FIELDS
    }
    return {"device": pl.when(field.is_null()).then("device"), **of_type}


def _device_key() -> pl.Expr:
    """The id that tells devices apart, whichever of them a log or a postback states."""
    uuids = [cells.uuid(name) for name in ("idfa", "gaid", "idfv")]
    others = [cells.identifier(name) for name in ("android_id", "device", "user")]
    return pl.coalesce(*uuids, *others)


def _api_name(column: str) -> str:
    return re.sub(r"\s+", "_", column.strip().lower())
