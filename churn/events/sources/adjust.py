"""Adjust: hourly CSV uploads, recorded callbacks and received ones.

The customer defines the header of the uploads, so column names are compared without
``{}``, ``[]`` and quotes. The hour in a file's name is when its rows arrived. Adjust
dates an uninstall back to the last session; here it counts from the moment Adjust
noticed it (``created_at``). Rows of the test environment are quarantined.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import polars as pl

from churn.errors import InputError
from churn.events.sources import (
    canonical,
    cells,
    columns,
    event_kinds,
    postbacks,
    unpack,
)
from churn.events.sources.csvtext import ROW
from churn.settings import Extract

SUFFIXES = (".csv", ".csv.gz", ".txt", postbacks.SUFFIX)
FORMS = ("csv", "callbacks", "postbacks")
SETTLING_DAYS = 1
NEEDED = ("activity", "time", "device")
KINDS = {
    "session": "session_start",
    "install": "install",
    "reinstall": "reinstall",
    "reattribution": "reattribution",
    "reattribution_reinstall": "reinstall",
    "uninstall": "uninstall",
    "ad_revenue": "ad_revenue",
    "gdpr_forget_device": "erasure",
}
"""Kind by ``activity_kind``; activities not listed, except events, are ``other``."""

FIELDS = {
    "activity": "activity_kind",
    "time": "created_at",
    "device": "adid",
    "user": "user_id",
    "token": "event",
    "label": "event_name",
    "environment": "environment",
    "amount": "revenue",
    "money": "currency",
    "cents": "revenue_usd_cents",
    "transaction": "transaction_id",
    "platform": "os_name",
    "app_version": "app_version_short",
    "media_source": "network_name",
    "country": "country",
    "idfa": "idfa",
    "idfv": "idfv",
    "gaid": "gps_adid",
    "android_id": "android_id",
    "tracking": "tracking_enabled",
}
ELSEWHERE = {"token": "$.event_token"}
"""A name that customers give the parameter as well."""

ID_COLUMNS = ("anonymous_id", "activity", "event", "event_time", "transaction")


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one upload, or of one file of callbacks.

    Adjust has no event id, so one is derived from adid, activity, event, time and
    transaction.
    """
    received = cells.moment(_upload_hour(path))
    if postbacks.are_in(path):
        raw = postbacks.read(path, FIELDS, extract, scratch, ELSEWHERE)
        received = pl.col("received_at")
    elif unpack.form(path) == "callbacks":
        requests = _callbacks(path, extract)
        raw = columns.named(requests, FIELDS, NEEDED, extract, path)
    else:
        raw = columns.read(path, FIELDS, NEEDED, extract, scratch, _bare)
    is_event = pl.col("activity") == "event"
    is_uninstall = pl.col("activity") == "uninstall"
    event_name = pl.coalesce("label", "token")
    usd = (cells.number("cents") / 100).cast(pl.String)
    prepared = raw.with_columns(
        name=pl.when(is_event).then(event_name).otherwise(pl.col("activity")),
        event_time=cells.time("time", extract.timezone),
        event_time_basis=pl.when(is_uninstall)
        .then(pl.lit("detected"))
        .otherwise(pl.lit("exact")),
        received_time=received,
        usd=pl.coalesce(usd, "cents"),
        limited=pl.when(pl.col("tracking") == "0").then(pl.lit("1")),
    )
    by_activity = event_kinds.looked_up(pl.col("activity"), KINDS)
    kind = pl.coalesce(*by_activity, pl.lit("other"))
    is_test = pl.col("environment").str.to_lowercase() == "sandbox"
    return canonical.events(
        prepared,
        extract,
        device_type="adid",
        id_columns=ID_COLUMNS,
        faults={"test_environment": is_test},
        stated_kind=pl.when(~is_event).then(kind),
    )


def _bare(column: str) -> str:
    return re.sub(r"^[{\[\"]+|[}\]\"]+$", "", column)


def _callbacks(path: Path, extract: Extract) -> pl.LazyFrame:
    """Recorded requests, one a line, with the pairs of their queries as columns.

    Customers call the event token by several names, such as event_token; these become
    one. The key that protects the endpoint is dropped.
    """
    unpack.check_text(path)
    rows = []
    with unpack.opened(path) as stream:
        text = stream.read().decode("utf-8-sig")
    for line in text.split("\n"):
        words = line.split()
        if not words:
            continue
        address = words[min(1, len(words) - 1)]
        query = address.partition("?")[2].partition("#")[0]
        pairs = [(name, value) for name, value in parse_qsl(query) if name != "key"]
        rows.append({name.removesuffix("_token"): value for name, value in pairs})
    if not any(rows):
        raise InputError(
            f"{path} holds no recorded callback; expected lines like "
            "GET /path?adid=…&activity_kind=…"
        )
    frame = pl.DataFrame(rows, infer_schema_length=None).cast(pl.String)
    filled = frame.select(cells.unless_placeholder(name) for name in frame.columns)
    return filled.lazy().with_row_index(ROW, offset=1)


def _upload_hour(path: Path) -> datetime | None:
    return cells.period_end(
        path.name, r"_(\d{4}-\d\d-\d\dT\d{6})_", "%Y-%m-%dT%H%M%S", timedelta(hours=1)
    )
