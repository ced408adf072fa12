"""GA4's BigQuery export, one table a day, as Parquet or JSON lines.

``event_timestamp`` is the client's, in microseconds UTC. A day's table is rewritten for
up to three days, so it is taken as received at the end of the day after it. JSON writes
integers as text, a parameter may be int on one row and text on the next: both are read.
Rows without any id are kept and counted for nobody; they are never one person. The
table of a day still running (intraday) is passed over once the day's own is there.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import jsonlines, parse, unpack
from churn.settings import Extract

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
EARNING = ("in_app_purchase", "purchase", "ecommerce_purchase")
VALUE = ("whole", "double", "single")
MICROS = 1e6  # in_app_purchase states its value in millionths when it is a whole number
PATHS = {
    "at": "$.event_timestamp",
    "name": "$.event_name",
    "user": "$.user_id",
    "device": "$.user_pseudo_id",
    "stream": "$.stream_id",
    "bundle": "$.event_bundle_sequence_id",
    "properties": "$.event_params",
    "platform": "$.platform",
    "app_version": "$.app_info.version",
    "media_source": "$.traffic_source.source",
    "usd": "$.event_value_in_usd",
    "idfv": "$.device.vendor_id",
    "advertising": "$.device.advertising_id",
    "limited": "$.device.is_limited_ad_tracking",
    "storage": "$.privacy_info.analytics_storage",
    "bought": "$.ecommerce.purchase_revenue",
    "refunded": "$.ecommerce.refund_value",
    "whole": "$.event_params[?(@.key=='value')].value.int_value",
    "double": "$.event_params[?(@.key=='value')].value.double_value",
    "single": "$.event_params[?(@.key=='value')].value.float_value",
    "money": "$.event_params[?(@.key=='currency')].value.string_value",
}
IDENTITY = ("stream", "anonymous_id", "event", "at", "bundle", "values")


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one daily table; event_id from device, name, time, bundle and
    parameters.
    """
    raw = jsonlines.fields(_lines(path, extract, scratch), PATHS, extract)
    on_ios = pl.col("platform").str.to_lowercase() == "ios"
    raw = raw.with_columns(
        event_time=parse.time("at", "UTC"),
        event_time_basis=pl.lit("exact"),
        received_time=parse.moment(_table_day(path)),
        idfa=pl.when(on_ios).then(pl.col("advertising")),
        gaid=pl.when(~on_ios).then(pl.col("advertising")),
        refused=pl.when(
            pl.col("storage").str.to_lowercase().is_in(["no", "false", "0"])
        ).then(pl.lit("1")),
        values=_values(),
        amount=pl.coalesce(
            "bought",
            "refunded",
            pl.when(pl.col("name").is_in(EARNING)).then(pl.coalesce(*VALUE)),
        ),
    )
    return parse.events(
        raw,
        extract,
        kinds=KINDS,
        device="ga_pseudo_id",
        own_id=IDENTITY,
        revenue=parse.number("amount") / _divisor(),
    )


def _lines(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    if unpack.kind(path) != ".parquet":
        return jsonlines.read([path], extract, scratch)
    rows = pl.scan_parquet(path, hive_partitioning=False, glob=False)
    there = rows.collect_schema().names()
    roots = {
        re.sub(r"^\$?(?:\.|\[')?(\w*).*", r"\1", path)
        for path in parse.theirs(PATHS, extract).values()
    }
    used = [c for c in there if c in roots]
    if missing := {"event_timestamp", "event_name"} - set(used):
        raise InputError(
            f"{path} lacks column(s) {', '.join(sorted(missing))}; it has {', '.join(there)[:500]}"
        )
    line = pl.struct(used).struct.json_encode().alias(jsonlines.LINE)
    return rows.select(line).with_row_index("source_row", offset=1)


def _divisor() -> pl.Expr:
    in_micros = (pl.col("name") == "in_app_purchase") & pl.col("whole").is_not_null()
    by_kind = (
        pl.when(pl.col("bought").is_not_null())
        .then(1.0)
        .when(pl.col("refunded").is_not_null())
        .then(-1.0)
    )
    return by_kind.when(in_micros).then(MICROS).otherwise(1.0)


def _values() -> pl.Expr:
    """The parameters' values in order: Parquet and JSON write them differently, this is
    the same in both.
    """
    values = pl.col("properties").str.replace_all(r'"\w+_value":null,?|[\s"{}]', "")
    return (
        values.str.replace_all(r",+", ",")
        .str.replace_all(r",\]", "]")
        .str.replace_all(r"(\d)\.0([,\]])", "${1}${2}")
    )


def _table_day(path: Path) -> datetime | None:
    return parse.period_end(
        path.name, r"events_(?:intraday_)?(\d{8})", "%Y%m%d", timedelta(days=2)
    )


def table(path: str) -> tuple[str, bool] | None:
    """Folder and day of a table, and whether it is that of a day still running; null
    where the name states no day.
    """
    found = re.search(r"^(.*?)events_(intraday_)?(\d{8})[^/]*$", path)
    return (found[1] + found[3], bool(found[2])) if found else None
