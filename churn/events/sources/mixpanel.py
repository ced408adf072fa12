"""Mixpanel: JSON lines of the raw export, and the flat ones of its data pipelines.

``time`` is in seconds or milliseconds, ``mp_processing_time_ms`` is when the event
arrived, and ``$insert_id`` tells events apart. Projects made before 2023 count seconds
of their own time zone, as if its clock were UTC; the extract's ``timezone`` states it.

``distinct_id`` changes when people are identified, so that it is an id like
``$device_id`` (type ``mixpanel_id``), and only ``$user_id`` is the user. An
``$identify`` links a device to its user; ``$create_alias`` and ``$merge`` say that two
ids are of one person (kind ``merge``).
"""

from pathlib import Path

import polars as pl

from churn.events.sources import canonical, cells, jsonlines, times, unpack
from churn.settings import Extract

SUFFIXES = (".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz")
FORMS = ("json",)
SETTLING_DAYS = 1
PATHS = {
    "name": "$.event",
    "at": "$.properties.time",
    "arrived": "$.properties.mp_processing_time_ms",
    "user": "$.properties['$user_id']",
    "device": "$.properties['$device_id']",
    "distinct": "$.properties.distinct_id",
    "insert": "$.properties['$insert_id']",
    "identified": "$.properties['$identified_id']",
    "before": "$.properties['$anon_id']",
    "alias": "$.properties.alias",
    "first": "$.properties['$distinct_ids'][0]",
    "second": "$.properties['$distinct_ids'][1]",
    "amount": "$.properties.revenue",
    "money": "$.properties.currency",
    "platform": "$.properties['$os']",
    "library": "$.properties.mp_lib",
    "country": "$.properties.mp_country_code",
    "app_version": "$.properties['$app_version_string']",
    "media_source": "$.properties.utm_source",
    "properties": "$.properties",
}
PIPELINE_PATHS = {
    "name": "$.event_name",
    "at": "$.time",
    "user": "$.user_id",
    "device": "$.device_id",
    "distinct": "$.distinct_id",
    "insert": "$.insert_id",
}
"""Fields that data pipelines write beside the properties."""

RARE = {
    "identified": "$identified_id",
    "before": "$anon_id",
    "alias": "alias",
    "first": "$distinct_ids",
    "second": "$distinct_ids",
    "amount": "revenue",
    "money": "currency",
    "media_source": "utm_source",
    "library": "mp_lib",
}
"""Keys that many files lack, by field."""

ID_COLUMNS = ("name", "event_time", "device", "insert")
DEVICE_MARK = "$device:"
"""What Mixpanel puts before the ``distinct_id`` of a device that has no user."""

# A pair of a property that Mixpanel adds by itself, in JSON without blanks.
TEXT = r'"(?:[^"\\]|\\.)*"'
OWN_NAME = r'"(?:\$[^"\\]*|mp_[^"\\]*|distinct_id|time|token)"'
OWN_PAIR = rf'{OWN_NAME}:(?:{TEXT}|\[[^\[\]{{}}]*\]|[^",\[\]{{}}]+)'


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one file.

    The event id is derived from event, time, device and ``$insert_id``.
    """
    lines = jsonlines.read([path], scratch)
    unused = jsonlines.unused(lines, RARE, extract)
    raw = jsonlines.fields(lines, _paths(path), extract, unused)
    is_unreadable = pl.col("received_time").is_null() & ~cells.is_blank("arrived")
    is_alias = pl.col("name") == "$create_alias"
    is_merge = is_alias | (pl.col("name") == "$merge")
    linked = raw.with_columns(
        first=pl.when(is_alias).then("distinct").otherwise("first"),
        second=pl.when(is_alias).then("alias").otherwise("second"),
        is_merge=is_merge,
    )
    prepared = linked.with_columns(
        event_time=_time(extract.timezone),
        event_time_basis=pl.lit(_basis(extract.timezone)),
        received_time=cells.time("arrived", "UTC"),
        properties=_own_properties(),
        **_people(),
    )
    # Without an $insert_id, the id of the person takes its place.
    with_id = prepared.with_columns(insert=pl.coalesce("insert", "distinct"))
    return canonical.events(
        with_id,
        extract,
        device_type="mixpanel_id",
        id_columns=ID_COLUMNS,
        faults={"unreadable_received_time": is_unreadable},
        more_ids=_ids(),
        stated_kind=pl.when(pl.col("is_merge")).then(pl.lit("merge")),
    )


def _paths(path: Path) -> dict[str, str]:
    """The keys of a raw export or, if the file begins like that, of a pipeline."""
    is_pipeline = b'"event_name"' in unpack.beginning(path)
    return {**PATHS, **PIPELINE_PATHS} if is_pipeline else PATHS


def _time(zone: str) -> pl.Expr:
    """The time of the event; numbers count the seconds of a clock in ``zone``."""
    instant = cells.time("at", zone)
    clock = instant.dt.replace_time_zone(None)
    is_number = pl.col("at").str.contains(r"^\s*\d+(?:\.\d+)?\s*$")
    return pl.when(is_number).then(times.localised(clock, zone)).otherwise(instant)


def _basis(zone: str) -> str:
    return "exact" if zone == "UTC" else "tz_assumed"


def _people() -> dict[str, pl.Expr]:
    """User, device and platform; records that merge two ids have no others."""
    is_other = ~pl.col("is_merge")
    is_device = pl.col("user").str.starts_with(DEVICE_MARK)
    user = pl.when(~is_device).then("user")
    is_web = pl.col("library") == "web"
    return {
        "user": pl.when(is_other).then(pl.coalesce("identified", user)),
        "device": pl.when(is_other).then("device"),
        "platform": pl.when(is_web).then(pl.lit("web")).otherwise("platform"),
    }


def _ids() -> list[pl.Expr]:
    """The ids of a row beside that of its device, or the two of a merge."""
    is_merge = pl.col("is_merge")
    others = {
        "distinct": ~is_merge & _differs_from_device("distinct"),
        "before": ~is_merge & _differs_from_device("before"),
        "first": is_merge,
        "second": is_merge,
    }
    return [
        pl.when(is_wanted).then(pl.lit("mixpanel_id:") + _bare(name))
        for name, is_wanted in others.items()
    ]


def _differs_from_device(name: str) -> pl.Expr:
    return _bare(name).ne_missing(cells.identifier("device"))


def _bare(name: str) -> pl.Expr:
    return cells.identifier(name).str.strip_prefix(DEVICE_MARK)


def _own_properties() -> pl.Expr:
    """Properties without those that Mixpanel adds by itself, such as ids and screens."""
    later = pl.col("properties").str.replace_all(f",{OWN_PAIR}", "")
    return later.str.replace_all(f"{OWN_PAIR},?", "")
