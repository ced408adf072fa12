"""Amplitude exports: JSON lines, gzipped, alone or in a ZIP.

``event_time`` is already corrected for the device's clock, ``server_upload_time`` is
when the event arrived. Amplitude lets repeats of (device_id, $insert_id) through after
a week; without $insert_id the uuid tells events apart. A merge record says that one
Amplitude id became another: it is kept as an event of kind ``merge``.
"""

from pathlib import Path

import polars as pl

from churn.events.sources import jsonlines, parse, unpack
from churn.settings import Extract

SUFFIXES = (".zip", ".json.gz", ".json")
SETTLING_DAYS = 1
KINDS = {
    "session_start": "session_start",
    "session_end": "session_end",
    "[amplitude]_application_opened": "session_start",
    "[amplitude]_application_installed": "install",
    "[amplitude]_application_updated": "other",
    "push_open": "message_engaged",
}
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


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one export file."""
    lines = jsonlines.read(unpack.members(path, scratch), extract, scratch)
    raw = jsonlines.fields(lines, PATHS, extract)
    is_merge = pl.col("merged").is_not_null()
    by_insert = pl.concat_str("device", "insert", separator="\x1f")
    raw = raw.with_columns(
        id=pl.coalesce(
            by_insert,
            "uuid",
            pl.when(is_merge).then(parse.joined(["amplitude", "merged", "merged_at"])),
        ),
        name=pl.when(is_merge).then(pl.lit("merge")).otherwise(pl.col("name")),
        event_time=parse.time("at", "UTC").fill_null(parse.time("merged_at", "UTC")),
        event_time_basis=pl.lit("skew_corrected"),
        received_time=parse.time("arrived", "UTC").fill_null(
            parse.time("merge_arrived", "UTC")
        ),
    )
    ids = [
        pl.lit("amplitude_id:") + parse.identifier(c) for c in ("amplitude", "merged")
    ]
    return parse.events(
        raw,
        extract,
        kinds=KINDS,
        device="amplitude_device",
        own_id=["id"],
        ids=ids,
        stated_kind=pl.when(is_merge).then(pl.lit("merge")),
    )
