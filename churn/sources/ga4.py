"""GA4's BigQuery export, one table a day, as Parquet or JSON lines.

``event_timestamp`` is the client's, in microseconds UTC. A day's table is rewritten for up to three days, so it is
taken as received at the end of the day after it. JSON writes integers as text, a parameter may be int on one row and
text on the next: both are read. Rows without any id are kept and counted for nobody; they are never one person.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from churn.sources import jsonlines, parse
from churn.study import Extract

SUFFIXES = (".parquet", ".json", ".json.gz")
SETTLING_DAYS = 3
KINDS = {
    "session_start": "session_start",
    "first_open": "install",
    "app_remove": "uninstall",
    "app_update": "other",
    "app_clear_data": "other",
    "os_update": "other",
    "notification_receive": "message_sent",
    "notification_dismiss": "message_sent",
    "notification_open": "message_engaged",
    "in_app_purchase": "purchase",
    "purchase": "purchase",
    "refund": "refund",
    "ad_impression": "ad_revenue",
}
MICROS = 1e6  # in_app_purchase states its value in millionths when it is a whole number
PATHS = {
    "at": "$.event_timestamp",
    "name": "$.event_name",
    "user": "$.user_id",
    "device": "$.user_pseudo_id",
    "stream": "$.stream_id",
    "bundle": "$.event_bundle_sequence_id",
    "params": "$.event_params",
    "platform": "$.platform",
    "app_version": "$.app_info.version",
    "media_source": "$.traffic_source.source",
    "bought": "$.ecommerce.purchase_revenue",
    "refunded": "$.ecommerce.refund_value",
    "whole": "$.event_params[?(@.key=='value')].value.int_value",
    "double": "$.event_params[?(@.key=='value')].value.double_value",
    "single": "$.event_params[?(@.key=='value')].value.float_value",
    "money": "$.event_params[?(@.key=='currency')].value.string_value",
}


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events of one daily table; event_id from device, name, time, bundle and parameters."""
    raw = jsonlines.fields(_lines(path), PATHS)
    events = raw.with_columns(
        event_time=parse.time("at", pl.String(), "UTC"),
        event_time_basis=pl.lit("exact"),
        received_time=pl.lit(_table_day(path), pl.Datetime("us", "UTC")),
        properties=pl.col("params"),
        **parse.who_and_what(_revenue()),
    )
    events = events.with_columns(event_id=parse.digests(events.select(_identity()).to_series()))
    return parse.finish(events, {**KINDS, **extract.kinds}, {"not_json": jsonlines.is_not_json()}, amount=None)


def _lines(path: Path) -> pl.DataFrame:
    """JSON lines as they are; Parquet turned into them, so that both are read by one set of paths."""
    if path.suffix != ".parquet":
        return jsonlines.read(path)
    text = pl.read_parquet(path).write_ndjson()
    return pl.DataFrame({jsonlines.LINE: text.splitlines()}).with_row_index("source_row", offset=1)


def _revenue() -> pl.Expr:
    whole = parse.number("whole") / pl.when(pl.col("name") == "in_app_purchase").then(MICROS).otherwise(1.0)
    stated = pl.coalesce(whole, parse.number("double"), parse.number("single"))
    earns = pl.col("name").is_in(["in_app_purchase", "purchase", "ecommerce_purchase"])
    return pl.coalesce(parse.number("bought"), -parse.number("refunded"), pl.when(earns).then(stated))


def _identity() -> pl.Expr:
    parts = ["stream", "anonymous_id", "event", "at", "bundle"]
    # Parquet and JSON write the same parameters differently; their values in order are the same in both.
    values = pl.col("params").str.replace_all(r'"\w+_value":null,?|[\s"{}]', "")
    values = values.str.replace_all(r",+", ",").str.replace_all(",]", "]", literal=True)
    return pl.concat_str([pl.col(p).fill_null("") for p in parts] + [values.fill_null("")], separator="\x1f")


def _table_day(path: Path) -> datetime | None:
    found = re.search(r"events_(\d{8})", path.name)
    return datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=2) if found else None
