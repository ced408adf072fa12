"""Amplitude: exports of JSON lines, gzipped, alone or in a ZIP archive.

``event_time`` is already corrected for the device's clock, and ``server_upload_time``
is when the event arrived. Amplitude drops repeats of (device_id, $insert_id) for a week
only, so later repeats are dropped here; without $insert_id the uuid tells events apart.
A merge record says that one Amplitude id became another, and is an event of kind
``merge``.
"""

from pathlib import Path

import polars as pl

from churn.events.sources import canonical, cells, jsonlines
from churn.events.sources.canonical import SEPARATOR
from churn.settings import Extract

SUFFIXES = (".zip", ".json.gz", ".json")
FORMS = ("json",)
SETTLING_DAYS = 1
PATHS = {
    "insert": "$['$insert_id']",
    "uuid": "$.uuid",
    "merged": "$.merged_amplitude_id",
    "merged_at": "$.merge_time",
    "merge_arrived": "$.merge_server_time",
    "amplitude": "$.amplitude_id",
    "name": "$.event_type",
    "at": "$.event_time",
    "arrived": "$.server_upload_time",
    "user": "$.user_id",
    "device": "$.device_id",
    "idfa": "$.idfa",
    "gaid": "$.adid",
    "amount": "$.event_properties['$revenue']",
    "money": "$.event_properties['$currency']",
    "platform": "$.platform",
    "app_version": "$.version_name",
    "properties": "$.event_properties",
}


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one export file."""
    lines = jsonlines.read([path], scratch)
    raw = jsonlines.fields(lines, PATHS, extract)
    is_merge = pl.col("merged").is_not_null()
    insert_id = pl.concat_str("device", cells.event_id("insert"), separator=SEPARATOR)
    merge_id = canonical.joined(["amplitude", "merged", "merged_at"])
    event_time = cells.time("at", "UTC")
    received_time = cells.time("arrived", "UTC")
    is_unreadable = pl.col("received_time").is_null() & ~cells.is_blank("arrived")
    prepared = raw.with_columns(
        id=pl.coalesce(
            insert_id, cells.event_id("uuid"), pl.when(is_merge).then(merge_id)
        ),
        name=pl.when(is_merge).then(pl.lit("merge")).otherwise(pl.col("name")),
        event_time=event_time.fill_null(cells.time("merged_at", "UTC")),
        event_time_basis=pl.lit("skew_corrected"),
        received_time=received_time.fill_null(cells.time("merge_arrived", "UTC")),
    )
    return canonical.events(
        prepared,
        extract,
        device_type="amplitude_device",
        id_columns=["id"],
        faults={"unreadable_received_time": is_unreadable},
        more_ids=[
            pl.lit("amplitude_id:") + cells.identifier("amplitude"),
            pl.lit("amplitude_id:") + cells.identifier("merged"),
        ],
        stated_kind=pl.when(is_merge).then(pl.lit("merge")),
    )
