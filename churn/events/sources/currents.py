"""Braze Currents: Avro files in folders by event type and queueing hour.

The event type is read from the file's own schema, and the time of receipt from the
folder's hour. Deliveries repeat, so Braze's event id tells events apart. ``user_id`` in
these files is Braze's own id; the customer's is ``external_user_id``. An orphaned
profile is one that was merged into another profile (kind ``merge``). Fields of
campaigns, canvases and control groups are kept as properties.
"""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import polars as pl

from churn.errors import InputError
from churn.events.sources import canonical, cells, message_names
from churn.settings import Extract

SUFFIXES = (".avro",)
FORMS = ("avro",)
SETTLING_DAYS = 1
KINDS = {
    "app.SessionStart": "session_start",
    "app.SessionEnd": "session_end",
    "app.FirstSession": "install",
    "Purchase": "purchase",
    "Uninstall": "uninstall",
    "UserDeleteRequest": "erasure",
    "UserOrphan": "merge",
    "subscription.GlobalStateChange": "subscription_change",
    "subscriptiongroup.StateChange": "subscription_change",
}
AVRO_TYPES = {"string", "int", "long", "float", "double", "boolean"}

BY_MACHINE = ("machine_open", "is_suspected_bot_click")
"""Fields that say that a machine opened or clicked the message."""

FIELDS = {
    "id": "id",
    "time": "time",
    "braze": "user_id",
    "user": "external_user_id",
    "device": "device_id",
    "platform": "platform",
    "country": "country",
    "amount": "price",
    "money": "currency",
    "email": "email_address",
    "label": "name",
    "into": "orphaned_by_id",
    "ad": "ad_id",
    "ad_type": "ad_id_type",
    "tracking": "ad_tracking_enabled",
    "own_properties": "properties",
}


def read(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> pl.LazyFrame:
    """Canonical events of one Avro file; the event id is Braze's own."""
    event_type, records = _records(path)
    fields = canonical.column_names(FIELDS, extract)
    rows = [_row(record, fields) for record in records]
    schema = dict.fromkeys([*FIELDS, "kept", "by_machine"], pl.String)
    raw = pl.LazyFrame(rows, schema=schema).with_row_index("source_row", offset=1)
    own_name = pl.col("label") if event_type == "CustomEvent" else pl.lit(None)
    is_detected = event_type == "Uninstall"
    is_ios = pl.col("platform").str.to_lowercase() == "ios"
    is_idfa = pl.col("ad_type").str.to_lowercase().str.contains("idfa")
    is_limited = ~cells.truth("tracking")
    prepared = raw.with_columns(
        name=pl.coalesce(own_name, pl.lit(_event_name(event_type))),
        event_time=cells.time("time", "UTC"),
        event_time_basis=pl.lit("detected" if is_detected else "exact"),
        received_time=cells.moment(_folder_hour(path)),
        properties=pl.coalesce("own_properties", "kept"),
        # On iOS Braze's device id is the vendor id.
        idfv=pl.when(is_ios).then(pl.col("device")),
        idfa=pl.when(is_idfa).then(pl.col("ad")),
        gaid=pl.when(~is_idfa).then(pl.col("ad")),
        limited=pl.when(is_limited).then(pl.lit("1")),
    )
    return _events(prepared, extract, event_type)


def _events(
    raw: pl.LazyFrame,
    extract: Extract,
    event_type: str,
) -> pl.LazyFrame:
    return canonical.events(
        raw,
        extract,
        device_type="braze_device",
        id_columns=["id"],
        faults={"by_machine": pl.col("by_machine") == "1"},
        more_ids=[
            pl.lit("braze_id:") + cells.identifier("braze"),
            pl.lit("braze_id:") + cells.identifier("into"),
        ],
        stated_kind=pl.lit(_kind(event_type), pl.String),
        # Prices are 32-bit floats there: 9.99 arrives as 9.98999977.
        revenue=cells.number("amount").round(2),
    )


def _records(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The event type without its prefix, such as app.SessionStart, and the rows."""
    try:
        with path.open("rb") as stream:
            reader = fastavro.reader(stream)
            schema: Any = reader.writer_schema
            rows = [dict(row) for row in reader]  # type: ignore[arg-type]
            event_type = re.sub(r"^.*?\busers\.(behaviors\.)?", "", schema["name"])
    except Exception as error:
        # Damage shows as any of many exceptions, MemoryError among them.
        raise InputError(
            f"{path} is a damaged Avro file ({type(error).__name__}); fetch it again"
        ) from error
    return event_type, rows


def _row(record: dict[str, Any], fields: dict[str, str]) -> dict[str, str | None]:
    """A record by our fields, with the values that are no field's as JSON in kept."""
    values = {name: _plain(value) for name, value in record.items()}
    row = {field: _text(values.get(name)) for field, name in fields.items()}
    known = {*fields.values(), "app_group_id"}
    kept = {
        name: value
        for name, value in values.items()
        if name not in known and value is not None
    }
    row["kept"] = json.dumps(kept, default=str) if kept else None
    is_machine = any(values.get(name) for name in BY_MACHINE)
    row["by_machine"] = "1" if is_machine else None
    return row


def _plain(value: Any) -> Any:
    """The value itself, which custom connectors wrap by type: {"string": "ios"}."""
    if isinstance(value, dict) and len(value) == 1 and {*value} <= AVRO_TYPES:
        return next(iter(value.values()))
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return None if value is None or value == "" else str(value)


def _event_name(event_type: str) -> str:
    """The event type as a name: app.SessionStart is session_start."""
    plain = event_type.removeprefix("app.").replace(".", "_")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", plain).lower()


def _kind(event_type: str) -> str | None:
    """The kind of an event type; null for an app's own events, which have a name."""
    if event_type == "CustomEvent":
        return None
    if event_type.startswith("messages."):
        verb = event_type.rpartition(".")[2].lower()
        return message_names.VERBS.get(verb, "other")
    return KINDS.get(event_type, "other")


def _folder_hour(path: Path) -> datetime | None:
    """The end of the queueing hour in the folder's name."""
    return cells.period_end(
        path.as_posix(),
        r"date=(\d{4}-\d\d-\d\d-\d\d)",
        "%Y-%m-%d-%H",
        timedelta(hours=1),
    )
