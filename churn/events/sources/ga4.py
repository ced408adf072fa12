"""GA4's BigQuery export, one table a day, as Parquet or JSON lines.

``event_timestamp`` is the client's, in microseconds UTC. A day's table is rewritten for
up to three days, so its rows count as received at the end of the day after it. JSON
writes integers as text, and a parameter may be an integer in one row and text in the
next; both are read. Rows without any id are kept but belong to nobody; they are not
merged into one person. Of the tables of one day only the most final is read
(``ga4_tables``).
"""

import re
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import (
    canonical,
    cells,
    ga4_tables,
    jsonlines,
    unpack,
    wrapped,
)
from churn.settings import Extract

SUFFIXES = (".parquet", ".json", ".json.gz")
FORMS = ("parquet", "json")
SETTLING_DAYS = 3
PURCHASES = ("in_app_purchase", "purchase", "ecommerce_purchase")
"""Events whose parameter ``value`` is revenue."""

VALUE_FIELDS = ("whole", "double", "single")
"""Our fields for the types that the parameter ``value`` may have."""

REPEATED = "event_params"
"""The column of parameters, which some tools wrap."""

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
    "written": "$.event_params[?(@.key=='value')].value.string_value",
    "money": "$.event_params[?(@.key=='currency')].value.string_value",
}
ID_COLUMNS = ("stream", "anonymous_id", "event", "event_time", "bundle", "values")


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
        received_time=cells.moment(ga4_tables.received_by(path.as_posix())),
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
    if unpack.form(path) == "parquet":
        return _parquet_lines(path, extract)
    lines = jsonlines.read([path], scratch)
    if not wrapped.in_json(path, REPEATED):
        return lines
    return lines.with_columns(wrapped.unwrapped(pl.col(jsonlines.LINE)))


def _parquet_lines(path: Path, extract: Extract) -> pl.LazyFrame:
    rows = pl.scan_parquet(
        path,
        hive_partitioning=False,
        glob=False,
    )
    schema = rows.collect_schema()
    present = schema.names()
    paths = canonical.column_names(PATHS, extract).values()
    roots = {re.sub(r"^\$?(?:\.|\[')?(\w*).*", r"\1", path) for path in paths}
    used = [column for column in present if column in roots]
    missing = {"event_timestamp", "event_name"} - set(used)
    if missing:
        raise InputError(
            f"{path} lacks column(s) {', '.join(sorted(missing))}; "
            f"it has {', '.join(present)[:500]}"
        )
    line = pl.struct(used).struct.json_encode()
    if REPEATED in used and wrapped.in_type(schema[REPEATED]):
        line = wrapped.unwrapped(line)
    numbered = rows.select(line.alias(jsonlines.LINE))
    return numbered.with_row_index("source_row", offset=1)


def _amount() -> pl.Expr:
    """What was bought or refunded, else the value of a purchase, as text."""
    is_purchase = pl.col("name").is_in(PURCHASES)
    # A website's tag may send the value as text, which the SDKs of apps never do.
    is_from_tag = pl.col("name") != "in_app_purchase"
    is_number = cells.number("written").is_not_null()
    written = pl.when(is_from_tag & is_number).then("written")
    value = pl.when(is_purchase).then(pl.coalesce(*VALUE_FIELDS, written))
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
