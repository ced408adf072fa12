"""GA4's BigQuery export, one table a day, as Parquet or JSON lines.

``event_timestamp`` is the client's, in microseconds UTC. A day's table is rewritten for
up to three days, so its rows count as received at the end of the day after it. JSON
writes integers as text, and a parameter may be an integer in one row and text in the
next; both are read. Rows without any id are kept but belong to nobody; they are not
merged into one person. The table of the current day (intraday) is skipped once the
day's final table exists.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import canonical, cells, jsonlines, unpack
from churn.settings import Extract

SUFFIXES = (".parquet", ".json", ".json.gz")
FORMS = ("parquet", "json")
SETTLING_DAYS = 3
PURCHASES = ("in_app_purchase", "purchase", "ecommerce_purchase")
"""Events whose parameter ``value`` is revenue."""

VALUE_FIELDS = ("whole", "double", "single")
"""Our fields for the types that the parameter ``value`` may have."""

MICROS = 1e6
"""A whole-number value of in_app_purchase is in millionths of the currency."""

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
ID_COLUMNS = ("stream", "anonymous_id", "event", "at", "bundle", "values")


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one daily table.

    GA4 has no event id, so one is derived from stream, device, name, time, bundle and
    parameters.
    """
    raw = jsonlines.fields(_lines(path, extract, scratch), PATHS, extract)
    is_ios = pl.col("platform").str.to_lowercase() == "ios"
    storage = pl.col("storage").str.to_lowercase()
    is_refused = storage.is_in(["no", "false", "0"])
    prepared = raw.with_columns(
        event_time=cells.time("at", "UTC"),
        event_time_basis=pl.lit("exact"),
        received_time=cells.moment(_table_day(path)),
        idfa=pl.when(is_ios).then(pl.col("advertising")),
        gaid=pl.when(~is_ios).then(pl.col("advertising")),
        refused=pl.when(is_refused).then(pl.lit("1")),
        values=_values(),
        amount=_amount(),
    )
    return canonical.events(
        prepared,
        extract,
        device_type="ga_pseudo_id",
        id_columns=ID_COLUMNS,
        revenue=cells.number("amount") / _divisor(),
    )


def _lines(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """The table as JSON lines; of Parquet, only columns that hold a field are read."""
    if unpack.form(path) != "parquet":
        return jsonlines.read([path], scratch)
    rows = pl.scan_parquet(
        path,
        hive_partitioning=False,
        glob=False,
    )
    present = rows.collect_schema().names()
    paths = canonical.column_names(PATHS, extract).values()
    roots = {re.sub(r"^\$?(?:\.|\[')?(\w*).*", r"\1", path) for path in paths}
    used = [column for column in present if column in roots]
    missing = {"event_timestamp", "event_name"} - set(used)
    if missing:
        raise InputError(
            f"{path} lacks column(s) {', '.join(sorted(missing))}; "
            f"it has {', '.join(present)[:500]}"
        )
    line = pl.struct(used).struct.json_encode().alias(jsonlines.LINE)
    return rows.select(line).with_row_index("source_row", offset=1)


def _amount() -> pl.Expr:
    """What was bought or refunded, else the value of a purchase, as text."""
    is_purchase = pl.col("name").is_in(PURCHASES)
    value = pl.when(is_purchase).then(pl.coalesce(*VALUE_FIELDS))
    return pl.coalesce("bought", "refunded", value)


def _divisor() -> pl.Expr:
    """What the amount is divided by: −1 turns a refund into negative revenue."""
    is_micros = (pl.col("name") == "in_app_purchase") & pl.col("whole").is_not_null()
    return (
        pl.when(pl.col("bought").is_not_null())
        .then(1.0)
        .when(pl.col("refunded").is_not_null())
        .then(-1.0)
        .when(is_micros)
        .then(MICROS)
        .otherwise(1.0)
    )


def _values() -> pl.Expr:
    """The parameters in one form, since Parquet and JSON write them differently."""
    values = pl.col("properties").str.replace_all(r'"\w+_value":null,?|[\s"{}]', "")
    one_comma = values.str.replace_all(r",+", ",")
    closed = one_comma.str.replace_all(r",\]", "]")
    return closed.str.replace_all(r"(\d)\.0([,\]])", "${1}${2}")


def _table_day(path: Path) -> datetime | None:
    """The end of the day after the table's, by which its rows had arrived."""
    return cells.period_end(
        path.name, r"events_(?:intraday_)?(\d{8})", "%Y%m%d", timedelta(days=2)
    )


def table(path: str) -> tuple[str, bool] | None:
    """Folder and day of a table, and whether it is an intraday one.

    None if the file's name states no day.
    """
    match = re.search(r"^(.*?)events_(intraday_)?(\d{8})[^/]*$", path)
    if match is None:
        return None
    folder, intraday, day = match.groups()
    return folder + day, bool(intraday)
