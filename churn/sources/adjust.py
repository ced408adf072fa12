"""Adjust: hourly CSV uploads whose header the customer writes, and recorded callback lines.

Columns are known by their names without ``{}``, ``[]`` and quotes. The hour in a file's name is when its rows arrived.
An uninstall row's own time is back-dated to the last session, so the row counts from the day Adjust noticed it
(``created_at``). Test-environment rows are quarantined.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from churn.errors import InputError
from churn.sources import parse
from churn.study import Extract

SUFFIXES = (".csv", ".csv.gz", ".txt")
SETTLING_DAYS = 1
NEEDED = ["activity_kind", "created_at", "adid"]
KINDS = {
    "session": "session_start",
    "install": "install",
    "reinstall": "reinstall",
    "reattribution": "reattribution",
    "reattribution_reinstall": "reinstall",
    "uninstall": "uninstall",
    "ad_revenue": "ad_revenue",
    "gdpr_forget_device": "erasure",
    "click": "other",
    "impression": "other",
    "install_update": "other",
    "rejected_install": "other",
    "rejected_reattribution": "other",
    "cost_updated": "other",
}
OPTIONAL = {
    "user_id": "user",
    "event": "token",
    "event_name": "label",
    "environment": "environment",
    "revenue": "amount",
    "currency": "money",
    "transaction_id": "transaction",
    "os_name": "platform",
    "app_version_short": "app_version",
    "network_name": "media_source",
    "country": "country",
}


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events; event_id from adid, activity, event token, time and transaction."""
    raw = (_callbacks(path) if path.suffix == ".txt" else _upload(path)).with_row_index("source_row", offset=1)
    parse.require(raw, NEEDED, path)
    raw = parse.optional(raw, OPTIONAL).with_columns(device="adid", activity=_event_kind())
    named = pl.when(pl.col("activity_kind") == "event").then(pl.coalesce("label", "token"))
    events = raw.with_columns(name=named.otherwise(pl.col("activity_kind"))).with_columns(
        event_time=parse.time("created_at", pl.String(), extract.timezone),
        received_time=pl.lit(_upload_hour(path), pl.Datetime("us", "UTC")),
        country=pl.col("country").str.to_uppercase(),
        event_time_basis=pl.when(pl.col("activity") == "uninstall").then(pl.lit("detected")).otherwise(pl.lit("exact")),
        **parse.who_and_what(),
    )
    events = events.with_columns(event_id=parse.digests(events.select(_identity()).to_series()))
    in_test = pl.col("environment").str.to_lowercase() == "sandbox"
    done = parse.finish(events, extract.kinds, {"test_environment": in_test})
    return done.with_columns(event_kind=pl.coalesce(events["activity"], "event_kind"))


def _event_kind() -> pl.Expr:
    """The kind that the activity alone decides; null for in-app events."""
    known = pl.col("activity_kind").replace_strict(KINDS, default="other", return_dtype=pl.String)
    return pl.when(pl.col("activity_kind") != "event").then(known)


def _identity() -> pl.Expr:
    time = pl.col("event_time").dt.epoch("us").cast(pl.String)
    texts = [pl.col("anonymous_id", "activity_kind", "event"), time, pl.col("transaction")]
    return pl.concat_str([t.fill_null("") for t in texts], separator="\x1f").alias("event_id")


def _upload(path: Path) -> pl.DataFrame:
    raw = parse.text_csv(path)
    return raw.rename({c: re.sub(r"^[{\[\"]+|[}\]\"]+$", "", c) for c in raw.columns})


def _callbacks(path: Path) -> pl.DataFrame:
    """Recorded requests, one a line: the query's pairs as columns, the customer's names for token fields made one."""
    queries = [
        urlsplit(line.split()[1]).query for line in path.read_text("utf-8").splitlines() if len(line.split()) > 1
    ]
    rows = [{k.removesuffix("_token"): v for k, v in parse_qsl(q) if k != "key"} for q in queries]
    if not rows:
        raise InputError(f"{path} holds no recorded callback; expected lines like GET /path?adid=…&activity_kind=…")
    return pl.DataFrame(rows, infer_schema_length=None).cast(pl.String)


def _upload_hour(path: Path) -> datetime | None:
    found = re.search(r"_(\d{4}-\d\d-\d\dT\d{6})_", path.name)
    return datetime.strptime(found[1], "%Y-%m-%dT%H%M%S").replace(tzinfo=UTC) if found else None
