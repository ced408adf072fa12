"""Tiny exports in every vendor's shape, written from rows of one form, for laws that
must hold for each source.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import fastavro
import polars as pl

from .conftest import at


@dataclass(frozen=True)
class Row:
    """One event: who (null: not logged in), on which device, when it happened and when
    it was received, in days.
    """

    device: str
    day: float
    received: int
    user: str | None = None
    name: str = "level_up"


def _by_day(rows: Sequence[Row]) -> dict[int, list[Row]]:
    days: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        days[row.received].append(row)
    return days


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return (
        "\n".join(
            [
                ",".join(header),
                *(",".join("" if c is None else str(c) for c in row) for row in rows),
            ]
        )
        + "\n"
    )


def _text(day: float) -> str:
    return at(day).strftime("%Y-%m-%d %H:%M:%S")


def appsflyer(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """Data Locker hours: received at the end of the last hour before the day."""
    header = [
        "event_time",
        "event_name",
        "appsflyer_id",
        "customer_user_id",
        "event_value",
        "app_id",
    ]
    for day, mine in _by_day(rows).items():
        hour = folder / f"t=inapps/dt={at(day - 1).date()}/h=23"
        hour.mkdir(parents=True, exist_ok=True)
        lines = [[_text(r.day), r.name, r.device, r.user, "{}", "app"] for r in mine]
        (hour / f"part-{tag}.gz").write_bytes(
            gzip.compress(_csv(header, lines).encode())
        )


def adjust(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """Hourly uploads named by the hour before the day."""
    header = [
        "{activity_kind}",
        "{created_at}",
        "{adid}",
        "{event_name}",
        "{event}",
        "[user_id]",
    ]
    for day, mine in _by_day(rows).items():
        lines = [
            ["event", int(at(r.day).timestamp()), r.device, r.name, r.name, r.user]
            for r in mine
        ]
        stamp = (at(day) - timedelta(hours=1)).strftime("%Y-%m-%dT%H%M%S")
        (folder / f"app_{stamp}_hash_{tag}.csv.gz").write_bytes(
            gzip.compress(_csv(header, lines).encode())
        )


def branch(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """Daily exports: the folder's day ends when the rows are received."""
    header = [
        "id",
        "name",
        "timestamp",
        "user_data_developer_identity",
        "user_data_cross_platform_id",
    ]
    for day, mine in _by_day(rows).items():
        there = folder / at(day - 1).strftime("y=%Y/m=%m/d=%d")
        there.mkdir(parents=True, exist_ok=True)
        lines = [
            [
                f"{r.device}{r.day}",
                r.name,
                int(at(r.day).timestamp() * 1000),
                r.user,
                r.device,
            ]
            for r in mine
        ]
        (there / f"{tag}.csv").write_text(_csv(header, lines))


def amplitude(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """JSON lines with the server's upload time."""
    lines = [
        {
            "event_type": r.name,
            "event_time": _text(r.day),
            "server_upload_time": _text(r.received - 0.01),
        }
        | {"device_id": r.device, "user_id": r.user, "uuid": f"{r.device}{r.day}"}
        for r in rows
    ]
    (folder / f"{tag}.json").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )


def ga4(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """Daily tables, received two days after their day begins."""
    for day, mine in _by_day(rows).items():
        table = [
            {"event_timestamp": int(at(r.day).timestamp() * 1e6), "event_name": r.name}
            | {"user_id": r.user, "user_pseudo_id": r.device, "event_params": []}
            for r in mine
        ]
        there = folder / tag
        there.mkdir(exist_ok=True)
        name = f"events_{at(day - 3).strftime('%Y%m%d')}.json"
        (there / name).write_text("".join(json.dumps(line) + "\n" for line in table))


def currents(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """Avro files in the folder of the hour before the day."""
    names = ["id", "user_id", "external_user_id", "name"]
    fields: list[dict[str, Any]] = [
        {"name": n, "type": ["null", "string"]} for n in names
    ]
    fields.append({"name": "time", "type": "int"})
    record = {
        "type": "record",
        "namespace": "x.users.behaviors",
        "name": "CustomEvent",
        "fields": fields,
    }
    for day, mine in _by_day(rows).items():
        there = folder / (at(day) - timedelta(hours=1)).strftime("date=%Y-%m-%d-%H")
        there.mkdir(exist_ok=True)
        lines = [
            {"id": f"{r.device}{r.day}", "time": int(at(r.day).timestamp())}
            | {"user_id": r.device, "external_user_id": r.user, "name": r.name}
            for r in mine
        ]
        with (there / f"{tag}.avro").open("wb") as out:
            fastavro.writer(out, fastavro.parse_schema(record), lines)


def mixpanel(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """JSON lines of the raw export, with the time of processing."""
    lines = [
        {
            "event": r.name,
            "properties": {
                "time": int(at(r.day).timestamp()),
                "distinct_id": r.user or f"$device:{r.device}",
                "$device_id": r.device,
                "$user_id": r.user,
                "$insert_id": f"{r.device}{r.day}",
                "mp_processing_time_ms": int(at(r.received - 0.01).timestamp() * 1000),
            },
        }
        for r in rows
    ]
    (folder / f"{tag}.json").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )


def segment(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """Gzipped logs in the folder of the day on which the calls arrived."""
    for day, mine in _by_day(rows).items():
        received = at(day - 0.01)
        midnight = received.replace(hour=0, minute=0, second=0, microsecond=0)
        there = folder / "segment-logs/src" / f"{midnight.timestamp() * 1000:.0f}"
        there.mkdir(parents=True, exist_ok=True)
        lines = [
            {"type": "track", "event": r.name, "messageId": f"{r.device}{r.day}"}
            | {"anonymousId": r.device, "userId": r.user}
            | {"timestamp": at(r.day).isoformat(), "receivedAt": received.isoformat()}
            for r in mine
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (there / f"{tag}.gz").write_bytes(gzip.compress(text.encode()))


def singular(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """A Data Destination's events, processed in the last hour before the day."""
    header = [
        "etl_record_processing_hour_utc",
        "adjusted_timestamp_unix_utc",
        "name",
        "device_id",
        "device_id_type",
        "custom_user_id",
    ]
    lines = [
        [
            _text(r.received - 1 / 24),
            int(at(r.day).timestamp()),
            r.name,
            r.device,
            "SDID",
            r.user,
        ]
        for r in rows
    ]
    (folder / f"{tag}.csv").write_text(_csv(header, lines))


def kochava(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """An event report with the time of receipt as a column of the customer's choice."""
    header = [
        "timestamp_utc",
        "date_received",
        "event_name",
        "device_id_kochava",
        "device_id_custom",
    ]
    lines = [
        [
            _text(r.day),
            int(at(r.received - 0.01).timestamp()),
            r.name,
            r.device,
            r.user,
        ]
        for r in rows
    ]
    (folder / f"{tag}.csv").write_text(_csv(header, lines))


def table(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """Parquet with received_time and anonymous_id."""
    lines = [(r.user, r.device, r.name, at(r.day), at(r.received - 0.01)) for r in rows]
    columns = ["user_id", "anonymous_id", "event", "time", "received_time"]
    types = {"user_id": pl.String}
    pl.DataFrame(
        lines, schema=columns, schema_overrides=types, orient="row"
    ).write_parquet(folder / f"{tag}.parquet")


def appsflyer_pull(folder: Path, rows: Sequence[Row], tag: str) -> None:
    """A Pull report, which states no receive time: a row is known when it happened."""
    header = [
        "Event Time",
        "Event Name",
        "AppsFlyer ID",
        "Customer User ID",
        "Event Value",
        "App ID",
    ]
    lines = [[_text(r.day), r.name, r.device, r.user, "{}", "app"] for r in rows]
    (folder / f"{tag}.csv").write_text(_csv(header, lines))


WRITERS: dict[str, tuple[str, Callable[[Path, Sequence[Row], str], None]]] = {
    "adjust": ("adjust", adjust),
    "amplitude": ("amplitude", amplitude),
    "appsflyer": ("appsflyer", appsflyer),
    "appsflyer pull": ("appsflyer", appsflyer_pull),
    "branch": ("branch", branch),
    "currents": ("currents", currents),
    "ga4": ("ga4", ga4),
    "kochava": ("kochava", kochava),
    "mixpanel": ("mixpanel", mixpanel),
    "segment": ("segment", segment),
    "singular": ("singular", singular),
    "table": ("table", table),
}
"""What it is called here → the study's source, and who writes it."""
