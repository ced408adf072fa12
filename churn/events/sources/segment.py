"""Segment's and RudderStack's logs in a bucket: gzipped JSON lines of all calls.

Segment writes ``segment-logs/<source>/<day>/x.gz`` and RudderStack the same objects in
folders of its own. ``timestamp`` is corrected for the device's clock, ``receivedAt`` is
when the call arrived, and ``messageId`` tells calls apart. A screen or page is named by
its type and its own name, which RudderStack's mobile libraries write as ``event``.
Calls that only say who somebody is (identify, group, alias) are passive. They link the
anonymous id to the user, and an alias also its ``previousId``.
"""

from pathlib import Path

import polars as pl

from churn.events.sources import canonical, cells, jsonlines
from churn.settings import Extract

SUFFIXES = (".gz", ".json", ".json.gz", ".jsonl", ".ndjson")
FORMS = ("json",)
SETTLING_DAYS = 1
PATHS = {
    "id": "$.messageId",
    "type": "$.type",
    "name": "$.event",
    "view": "$.name",
    "viewed": "$.properties.name",
    "at": "$.timestamp",
    "arrived": "$.receivedAt",
    "user": "$.userId",
    "device": "$.anonymousId",
    "previous": "$.previousId",
    "amount": "$.properties.revenue",
    "money": "$.properties.currency",
    "platform": "$.context.device.type",
    "os": "$.context.os.name",
    "app_version": "$.context.app.version",
    "media_source": "$.context.campaign.source",
    "ad": "$.context.device.advertisingId",
    "own_device": "$.context.device.id",
    "tracking": "$.context.device.adTrackingEnabled",
    "email": "$.traits.email",
    "own_email": "$.context.traits.email",
    "phone": "$.traits.phone",
    "own_phone": "$.context.traits.phone",
    "properties": "$.properties",
}
RARE = {
    "previous": "previousId",
    "amount": "revenue",
    "money": "currency",
    "media_source": "campaign",
    "ad": "advertisingId",
    "tracking": "adTrackingEnabled",
    "email": "email",
    "own_email": "email",
    "phone": "phone",
    "own_phone": "phone",
}
"""Keys that many files lack, by field."""

VIEWS = ("page", "screen")
ABOUT_PEOPLE = ("identify", "group", "alias", "merge")
"""Types of calls by which nobody does anything."""


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one file; the event id is the ``messageId``."""
    lines = jsonlines.read([path], scratch)
    unused = jsonlines.unused(lines, RARE, extract)
    raw = jsonlines.fields(lines, PATHS, extract, unused)
    is_unreadable = pl.col("received_time").is_null() & ~cells.is_blank("arrived")
    is_about_people = pl.col("type").is_in(ABOUT_PEOPLE)
    prepared = raw.with_columns(
        id=cells.event_id("id"),
        name=_name(),
        event_time=cells.time("at", "UTC"),
        event_time_basis=pl.lit("skew_corrected"),
        received_time=cells.time("arrived", "UTC"),
        limited=pl.when(pl.col("tracking") == "false").then(pl.lit("1")),
        email=pl.coalesce("email", "own_email"),
        phone=pl.coalesce("phone", "own_phone"),
        **_device(),
    )
    return canonical.events(
        prepared,
        extract,
        device_type="segment_id",
        id_columns=["id"],
        faults={"unreadable_received_time": is_unreadable},
        more_ids=[pl.lit("segment_id:") + cells.identifier("previous")],
        stated_kind=pl.when(is_about_people).then(pl.lit("other")),
    )


def _device() -> dict[str, pl.Expr]:
    """The platform and, depending on it, what the ids of the device are."""
    named = pl.coalesce("platform", "os").str.to_lowercase()
    is_ios = named.is_in(["ios", "ipados"])
    is_android = named == "android"
    return {
        "platform": pl.when(is_ios).then(pl.lit("ios")).otherwise(named),
        "idfa": pl.when(is_ios).then(pl.col("ad")),
        "gaid": pl.when(is_android).then(pl.col("ad")),
        # On iOS the libraries take the vendor id as the device's.
        "idfv": pl.when(is_ios).then(pl.col("own_device")),
        "android_id": pl.when(is_android).then(pl.col("own_device")),
    }


def _name() -> pl.Expr:
    """The event; of a view its type and name; of other calls their type."""
    event, call = pl.col("name"), pl.col("type")
    view = pl.concat_str(
        call,
        pl.coalesce("view", event, "viewed"),
        separator=" ",
        ignore_nulls=True,
    )
    return (
        pl.when(call.is_in(VIEWS))
        .then(view)
        .when(call == "track")
        .then(event)
        .otherwise(pl.coalesce(event, call))
    )
