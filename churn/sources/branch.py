"""Branch daily exports: one gzipped CSV per topic and day, flat snake_case columns.

The day in the path is when Branch had the rows, the only receive time there is. Ids are hashed after a week
(``hash_version`` tells), so hashed device ids are not used; there are no uninstalls.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from churn.sources import parse
from churn.study import Extract

SUFFIXES = (".csv", ".csv.gz")
SETTLING_DAYS = 1
NEEDED = ["id", "name", "timestamp"]
KINDS = {"open": "session_start", "web_session_start": "session_start", "install": "install", "reinstall": "reinstall"}
OPTIONAL = {
    "user_data_developer_identity": "user",
    "user_data_cross_platform_id": "device",
    "event_data_revenue": "amount",
    "event_data_currency": "money",
    "user_data_os": "platform",
    "user_data_geo_country_code": "country",
    "user_data_app_version": "app_version",
    "last_attributed_touch_data_tilde_advertising_partner_name": "media_source",
    "custom_data": "properties",
}


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events of one topic's file; event_id is Branch's own."""
    raw = parse.text_csv(path).with_row_index("source_row", offset=1)
    parse.require(raw, NEEDED, path)
    raw = parse.optional(raw, OPTIONAL)
    events = raw.with_columns(
        event_id=pl.col("id"),
        event_time=parse.time("timestamp", pl.String(), "UTC"),
        event_time_basis=pl.lit("exact"),
        received_time=pl.lit(_export_day(path), pl.Datetime("us", "UTC")),
        **parse.who_and_what(),
    )
    return parse.finish(events, {**KINDS, **extract.kinds})


def _export_day(path: Path) -> datetime | None:
    """The end of the day in the path or file name, when the export can be had at the earliest."""
    found = re.search(r"y=(\d{4})/m=(\d\d)/d=(\d\d)", path.as_posix()) or re.search(r"(\d{4})-(\d\d)-(\d\d)", path.name)
    if not found:
        return None
    year, month, day = map(int, found.groups())
    return datetime(year, month, day, tzinfo=UTC) + timedelta(days=1)
