"""Braze Currents: Avro files in folders by event type and queueing hour.

The event type is read from the file's own schema, the time of arrival from the folder's hour. Deliveries repeat, so the
id tells events apart. ``user_id`` there is Braze's own id; the customer's is ``external_user_id``.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import polars as pl

from churn.errors import InputError
from churn.sources import parse
from churn.study import Extract

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
    "subscription.GlobalStateChange": "subscription_change",
}
ENGAGED = ("Open", "Click")  # of a message: a person did it, unless a machine did
FIELDS = ["id", "time", "user_id", "external_user_id", "platform", "price", "currency", "properties", "name"]
MACHINE = ("machine_open", "is_suspected_bot_click")


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events of one Avro file; event_id is Braze's own."""
    kind, records = _records(path)
    rows = [{name: _plain(r.get(name)) for name in FIELDS} | {"machine": _by_machine(r)} for r in records]
    schema = {**dict.fromkeys(FIELDS, pl.String), "time": pl.Int64, "price": pl.Float64, "machine": pl.Boolean}
    raw = pl.DataFrame(rows, schema=schema).with_row_index("source_row", offset=1)
    own_name = pl.lit(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.replace("app.", "").replace(".", "_")).lower())
    events = raw.with_columns(label=pl.coalesce(pl.col("name") if kind == "CustomEvent" else pl.lit(None), own_name))
    events = events.with_columns(
        event_id=pl.col("id"),
        event_time=parse.time("time", pl.Int64(), "UTC"),
        event_time_basis=pl.lit("detected" if kind == "Uninstall" else "exact"),
        received_time=pl.lit(_folder_hour(path), pl.Datetime("us", "UTC")),
        event=parse.event_name("label"),
        anonymous_id=parse.identifier("user_id"),
        user_id=parse.identifier("external_user_id"),
        revenue=pl.col("price").round(2),  # a 32-bit float there: 9.99 arrives as 9.98999977
    )
    named = pl.col("event").replace_strict(extract.kinds, default=None, return_dtype=pl.String)
    return parse.canonical(
        events.with_columns(
            event_kind=pl.coalesce(named if extract.kinds else pl.lit(None), pl.lit(_kind(kind))),
            fault=pl.coalesce(pl.when(pl.col("machine")).then(pl.lit("by_machine")), parse.usual_faults()),
        )
    )


def _records(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The event type without its prefix (app.SessionStart), and the file's rows."""
    try:
        with path.open("rb") as stream:
            reader = fastavro.reader(stream)
            schema: Any = reader.writer_schema
            rows: Any = list(reader)
    except Exception as error:  # a damaged length or schema ends in many kinds, MemoryError among them
        raise InputError(f"{path} is no whole Avro file ({type(error).__name__}); fetch it again") from error
    return re.sub(r"^.*?\busers\.(behaviors\.)?", "", schema["name"]), rows


def _kind(kind: str) -> str:
    if kind.startswith("messages."):
        return "message_engaged" if kind.endswith(ENGAGED) else "message_sent"
    return KINDS.get(kind, "other")


def _plain(value: Any) -> Any:
    """Custom connectors wrap nullable values by type: {"string": "ios"}."""
    return next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else value


def _by_machine(record: dict[str, Any]) -> bool:
    return any(bool(record.get(name)) for name in MACHINE)


def _folder_hour(path: Path) -> datetime | None:
    found = re.search(r"date=(\d{4}-\d\d-\d\d-\d\d)", path.as_posix())
    return datetime.strptime(found[1], "%Y-%m-%d-%H").replace(tzinfo=UTC) if found else None
