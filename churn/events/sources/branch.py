"""Branch daily exports, gzipped CSV per topic and day, and webhooks as received.

Both have the same fields: an export and the query of a webhook flat, in snake_case; the
default body of a webhook nested by the beginnings of these names.

The day in the path, on which Branch had the rows, is the only known time of receipt.
Branch hashes advertising ids after a week, which ``hash_version`` shows; hashed ids are
not used. There are no uninstalls.
"""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from churn.events.sources import canonical, cells, columns, postbacks
from churn.settings import Extract

SUFFIXES = (".csv", ".csv.gz", postbacks.SUFFIX)
FORMS = ("csv", "postbacks")
SETTLING_DAYS = 1
NEEDED = ("id", "name", "time")
FIELDS = {
    "id": "id",
    "name": "name",
    "time": "timestamp",
    "user": "user_data_developer_identity",
    "device": "user_data_cross_platform_id",
    "amount": "event_data_revenue",
    "money": "event_data_currency",
    "usd": "event_data_revenue_in_usd",
    "platform": "user_data_os",
    "country": "user_data_geo_country_code",
    "app_version": "user_data_app_version",
    "media_source": "last_attributed_touch_data_tilde_advertising_partner_name",
    "properties": "custom_data",
    "idfa": "user_data_idfa",
    "idfv": "user_data_idfv",
    "gaid": "user_data_aaid",
    "android_id": "user_data_android_id",
    "hashed": "hash_version",
    "limited": "user_data_limit_ad_tracking",
}
NESTED = {
    "time": "$.event_timestamp",
    "user": "$.user_data.developer_identity",
    "device": "$.user_data.cross_platform_id",
    "amount": "$.event_data.revenue",
    "money": "$.event_data.currency",
    "usd": "$.event_data.revenue_in_usd",
    "platform": "$.user_data.os",
    "country": "$.user_data.geo_country_code",
    "app_version": "$.user_data.app_version",
    "media_source": "$.last_attributed_touch_data['~advertising_partner_name']",
    "idfa": "$.user_data.idfa",
    "idfv": "$.user_data.idfv",
    "gaid": "$.user_data.aaid",
    "android_id": "$.user_data.android_id",
    "limited": "$.user_data.limit_ad_tracking",
}
"""Where fields stand in the default body of a webhook."""

DEVICE_IDS = ("idfa", "idfv", "gaid", "android_id")


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one topic's file, or of one file of received webhooks.

    The event id is Branch's own.
    """
    if postbacks.are_in(path):
        raw = postbacks.read(path, FIELDS, extract, scratch, NESTED)
        received = pl.col("received_at")
    else:
        raw = columns.read(path, FIELDS, NEEDED, extract, scratch)
        received = cells.moment(_export_day(path))
    is_plain = pl.col("hashed").is_null()
    device_ids = [
        pl.when(is_plain).then(pl.col(name)).alias(name) for name in DEVICE_IDS
    ]
    prepared = raw.with_columns(
        *device_ids,
        event_time=cells.time("time", "UTC"),
        event_time_basis=pl.lit("exact"),
        received_time=received,
        id=cells.event_id("id"),
    )
    return canonical.events(
        prepared,
        extract,
        device_type="branch_id",
        id_columns=["id"],
    )


def _export_day(path: Path) -> datetime | None:
    """The end of the day in the path or file name, the earliest time of the export."""
    pattern = r"y=(\d{4})/m=(\d\d)/d=(\d\d)|(\d{4}-\d\d-\d\d)[^/]*$"
    return cells.period_end(path.as_posix(), pattern, "%Y-%m-%d", timedelta(days=1))
