"""Adjust: hourly CSV uploads whose header the customer writes, and recorded callback
lines.

Columns are known by their names without ``{}``, ``[]`` and quotes. The hour in a file's
name is when its rows arrived. An uninstall row's own time is back-dated to the last
session, so the row counts from the day Adjust noticed it (``created_at``).
Test-environment rows are quarantined.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import polars as pl

from churn.errors import InputError
from churn.events.sources import columns, parse, unpack
from churn.settings import Extract

SUFFIXES = (".csv", ".csv.gz", ".txt")
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
IDENTITY = ("anonymous_id", "activity", "event", "event_time", "transaction")


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events; event_id from adid, activity, event, time and transaction."""
    if unpack.kind(path) == ".txt":
        raw = columns.named(_callbacks(path, extract), FIELDS, NEEDED, extract, path)
    else:
        raw = columns.read(path, FIELDS, NEEDED, extract, scratch, _bare)
    is_event = pl.col("activity") == "event"
    raw = raw.with_columns(
        name=pl.when(is_event)
        .then(pl.coalesce("label", "token"))
        .otherwise(pl.col("activity")),
        event_time=parse.time("time", extract.timezone),
        event_time_basis=pl.when(pl.col("activity") == "uninstall")
        .then(pl.lit("detected"))
        .otherwise(pl.lit("exact")),
        received_time=parse.moment(_upload_hour(path)),
        usd=pl.coalesce((parse.number("cents") / 100).cast(pl.String), "cents"),
        limited=pl.when(pl.col("tracking") == "0").then(pl.lit("1")),
    )
    by_activity = pl.coalesce(
        *parse.looked_up(pl.col("activity"), KINDS), pl.lit("other")
    )
    in_test = pl.col("environment").str.to_lowercase() == "sandbox"
    return parse.events(
        raw,
        extract,
        kinds={},
        device="adid",
        own_id=IDENTITY,
        faults={"test_environment": in_test},
        stated_kind=pl.when(~is_event).then(by_activity),
    )


def _bare(column: str) -> str:
    return re.sub(r"^[{\[\"]+|[}\]\"]+$", "", column)


def _callbacks(path: Path, extract: Extract) -> pl.LazyFrame:
    """Recorded requests, one a line: the query's pairs as columns, the customer's names
    for token fields made one.
    """
    unpack.check_text(path, extract)
    lines = [line.split() for line in path.read_text("utf-8-sig").split("\n")]
    queries = [
        words[min(1, len(words) - 1)].partition("?")[2].partition("#")[0]
        for words in lines
        if words
    ]
    rows = [
        {k.removesuffix("_token"): v for k, v in parse_qsl(q) if k != "key"}
        for q in queries
    ]
    if not any(rows):
        raise InputError(
            f"{path} holds no recorded callback; expected lines like GET /path?adid=…&activity_kind=…"
        )
    frame = pl.DataFrame(rows, infer_schema_length=None).cast(pl.String)
    return frame.lazy().with_row_index(columns.ROW, offset=1)


def _upload_hour(path: Path) -> datetime | None:
    return parse.period_end(
        path.name, r"_(\d{4}-\d\d-\d\dT\d{6})_", "%Y-%m-%dT%H%M%S", timedelta(hours=1)
    )
