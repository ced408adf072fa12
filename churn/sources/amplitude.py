"""Amplitude exports: JSON lines, gzipped, alone or in a ZIP.

``event_time`` is already corrected for the device's clock, ``server_upload_time`` is when the event arrived. Amplitude
lets repeats of (device_id, $insert_id) through after a week; without $insert_id the uuid tells events apart. Merge
records (one id into another) are counted as quarantined until identities are resolved.
"""

from pathlib import Path

import polars as pl

from churn.sources import jsonlines, parse
from churn.study import Extract

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
    "name": "$.event_type",
    "at": "$.event_time",
    "arrived": "$.server_upload_time",
    "user": "$.user_id",
    "device": "$.device_id",
    "amount": "$.event_properties['$revenue']",
    "money": "$.event_properties['$currency']",
    "platform": "$.platform",
    "app_version": "$.version_name",
    "properties": "$.event_properties",
}


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events of one export file."""
    raw = jsonlines.fields(jsonlines.read(path), PATHS)
    by_insert = pl.concat_str("device", "insert", separator="\x1f")
    events = raw.with_columns(
        event_id=pl.coalesce(by_insert, "uuid"),
        event_time=parse.time("at", pl.String(), "UTC"),
        event_time_basis=pl.lit("skew_corrected"),
        received_time=parse.time("arrived", pl.String(), "UTC"),
        **parse.who_and_what(),
    )
    faults = {"not_json": jsonlines.is_not_json(), "merge_record": pl.col("merged").is_not_null()}
    return parse.finish(events, {**KINDS, **extract.kinds}, faults)
