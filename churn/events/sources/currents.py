"""Braze Currents: Avro files in folders by event type and queueing hour.

The event type is read from the file's own schema, the time of arrival from the folder's
hour. Deliveries repeat, so the id tells events apart. ``user_id`` there is Braze's own
id; the customer's is ``external_user_id``. An orphaned profile was merged into another
(kind ``merge``); campaign, canvas and control-group fields are kept as properties.
"""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import polars as pl

from churn.errors import InputError
from churn.events.sources import parse
from churn.settings import Extract

SUFFIXES = (".avro",)
SETTLING_DAYS = 1
KINDS = {
    "app.SessionStart": "session_start",
    "app.SessionEnd": "session_end",
    "app.FirstSession": "install",
    "CustomEvent": "in_app",
    "Purchase": "purchase",
    "Uninstall": "uninstall",
    "UserDeleteRequest": "erasure",
    "UserOrphan": "merge",
    "subscription.GlobalStateChange": "subscription_change",
}
ENGAGED = ("Open", "Click")  # of a message: a person did it, unless a machine did
TYPES = {"string", "int", "long", "float", "double", "boolean"}
MACHINE = ("machine_open", "is_suspected_bot_click")
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


def read(path: Path, extract: Extract, scratch: Path) -> pl.LazyFrame:
    """Canonical events of one Avro file; event_id is Braze's own."""
    kind, records = _records(path)
    fields = parse.theirs(FIELDS, extract)
    rows = [_row(r, fields) for r in records]
    schema = dict.fromkeys([*FIELDS, "kept", "machine"], pl.String)
    raw = pl.LazyFrame(rows, schema=schema).with_row_index("source_row", offset=1)
    own_name = re.sub(
        r"(?<=[a-z])(?=[A-Z])", "_", kind.replace("app.", "").replace(".", "_")
    ).lower()
    on_ios = pl.col("platform").str.to_lowercase() == "ios"
    is_idfa = pl.col("ad_type").str.to_lowercase().str.contains("idfa")
    raw = raw.with_columns(
        name=pl.coalesce(
            pl.col("label") if kind == "CustomEvent" else pl.lit(None), pl.lit(own_name)
        ),
        event_time=parse.time("time", "UTC"),
        event_time_basis=pl.lit("detected" if kind == "Uninstall" else "exact"),
        received_time=parse.moment(_folder_hour(path)),
        properties=pl.coalesce("own_properties", "kept"),
        idfv=pl.when(on_ios).then(
            pl.col("device")
        ),  # Braze's device id there is the vendor id
        idfa=pl.when(is_idfa).then(pl.col("ad")),
        gaid=pl.when(~is_idfa).then(pl.col("ad")),
        limited=pl.when(~parse.truth("tracking")).then(pl.lit("1")),
    )
    return parse.events(
        raw,
        extract,
        kinds={},
        device="braze_device",
        own_id=["id"],
        faults={"by_machine": pl.col("machine") == "1"},
        ids=[pl.lit("braze_id:") + parse.identifier(c) for c in ("braze", "into")],
        stated_kind=pl.when(~pl.col("event").is_in(list(extract.kinds))).then(
            pl.lit(_kind(kind))
        ),
        revenue=parse.number("amount").round(
            2
        ),  # a 32-bit float there: 9.99 arrives as 9.98999977
    )


def _records(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The event type without its prefix (app.SessionStart), and the file's rows."""
    try:
        with path.open("rb") as stream:
            reader = fastavro.reader(stream)
            schema: Any = reader.writer_schema
            rows = [dict(row) for row in reader]  # type: ignore[arg-type]
            return re.sub(r"^.*?\busers\.(behaviors\.)?", "", schema["name"]), rows
    except (
        Exception
    ) as error:  # a damaged length or schema ends in many kinds, MemoryError among them
        raise InputError(
            f"{path} is no whole Avro file ({type(error).__name__}); fetch it again"
        ) from error


def _row(record: dict[str, Any], fields: dict[str, str]) -> dict[str, str | None]:
    plain = {name: _plain(value) for name, value in record.items()}
    row = {ours: _text(plain.get(theirs)) for ours, theirs in fields.items()}
    known = {*fields.values(), "app_group_id"}
    kept = {
        name: value
        for name, value in plain.items()
        if name not in known and value is not None
    }
    machine = "1" if any(plain.get(name) for name in MACHINE) else None
    return row | {
        "kept": json.dumps(kept, default=str) if kept else None,
        "machine": machine,
    }


def _plain(value: Any) -> Any:
    """Custom connectors wrap nullable values by type: {"string": "ios"}."""
    return (
        next(iter(value.values()))
        if isinstance(value, dict) and len(value) == 1 and {*value} <= TYPES
        else value
    )


def _text(value: Any) -> str | None:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return None if value is None or value == "" else str(value)


def _kind(kind: str) -> str:
    if kind.startswith("messages."):
        return "message_engaged" if kind.endswith(ENGAGED) else "message_sent"
    return KINDS.get(kind, "other")


def _folder_hour(path: Path) -> datetime | None:
    """The end of the queueing hour in the folder's name."""
    return parse.period_end(
        path.as_posix(),
        r"date=(\d{4}-\d\d-\d\d-\d\d)",
        "%Y-%m-%d-%H",
        timedelta(hours=1),
    )
