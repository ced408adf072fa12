"""Canonical events: the columns that every reader returns, and how they are made.

A reader names the columns of its format (``column_names``), renames them to our field
names and calls ``events``, which parses the cells, builds ids, event id and kind, and
marks every row that cannot be kept with a fault.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from churn.errors import InputError
from churn.events.sources import cells, event_kinds
from churn.events.sources.faults import seen
from churn.hashing import digest
from churn.kinds import EVENT_KINDS
from churn.settings import Extract
from churn.store.schemas import UTC_TIME

COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "source_row": pl.Int64,
    "event_id": pl.String,
    "event_time": UTC_TIME,
    "event_time_basis": pl.String,
    "received_time": UTC_TIME,
    "event_kind": pl.String,
    "event": pl.String,
    "user_id": pl.String,
    "anonymous_id": pl.String,
    "ids": pl.List(pl.String),
    "platform": pl.String,
    "country": pl.String,
    "app_version": pl.String,
    "revenue": pl.Float64,
    "currency": pl.String,
    "revenue_usd": pl.Float64,
    "media_source": pl.String,
    "properties": pl.String,
    # Whether the person consented to analytics; null if not stated.
    "consent": pl.Boolean,
    # Whether ad tracking is limited; null if not stated.
    "limited": pl.Boolean,
    # Why the row cannot be kept; null if it can.
    "fault": pl.String,
    # What the cell at fault holds; null for cells that may name a person.
    "seen": pl.String,
}
"""The columns of canonical events with their types, in order."""

FIELDS = (
    "user",
    "device",
    "idfa",
    "idfv",
    "gaid",
    "android_id",
    "email",
    "phone",
    "name",
    "amount",
    "money",
    "usd",
    "platform",
    "country",
    "app_version",
    "media_source",
    "properties",
    "refused",
    "limited",
)
"""Our field names that ``events`` reads; a format need not have all of them."""

STUDY_NAMES = {
    "user": "user_id",
    "device": "anonymous_id",
    "name": "event",
    "at": "time",
    "amount": "revenue",
    "money": "currency",
    "usd": "revenue_usd",
}
"""Names of fields under ``columns`` in the study, if they differ from ours."""

INEXACT_ID = r"^-?(?:\d[.,]\d+[eE]\+?\d+|\d[eE]\+\d+|\d{16,}[.,]0)$"
"""A number whose last digits a spreadsheet or a float has lost."""

SEPARATOR = "\x1f"

INSTANTS = ("event_time", "received_time")


def column_names(fields: Mapping[str, str], extract: Extract) -> dict[str, str]:
    """The column of each field: the study's name for it, else that of the format.

    Raises InputError if the study names a field that does not exist.
    """
    by_study_name = {STUDY_NAMES.get(field, field): field for field in fields}
    unknown = sorted(set(extract.columns) - set(by_study_name))
    if unknown:
        raise InputError(
            f"extracts.columns: {', '.join(unknown)} unknown; "
            f"there are {', '.join(by_study_name)}"
        )
    names = dict(fields)
    for study_name, column in extract.columns.items():
        names[by_study_name[study_name]] = column
    return names


def events(
    raw: pl.LazyFrame,
    extract: Extract,
    *,
    device_type: str,
    id_columns: Sequence[str] = (),
    faults: Mapping[str, pl.Expr] | None = None,
    more_ids: Sequence[pl.Expr] = (),
    stated_kind: pl.Expr | None = None,
    revenue: pl.Expr | None = None,
) -> pl.LazyFrame:
    """Canonical events from a frame of text columns named by our fields.

    ``raw`` has source_row and, already parsed, event_time, event_time_basis and
    received_time. The first fault that applies is stated: the column ``damage`` if
    there is one, then the ``faults`` of the format (name to condition), then general
    faults.

    device_type: type of the id in the field ``device``, such as "adid".
    id_columns: columns that tell events apart; one is taken as the event id itself,
        several are hashed.
    more_ids: further ids of a row as "type:value"; null where there is none.
    stated_kind: kind that the vendor states besides the name; null where it doesn't.
    revenue: the revenue, if it is not just the number in the field ``amount``.
    """
    schema = raw.collect_schema()
    absent = [
        pl.lit(None, pl.String).alias(field)
        for field in (*FIELDS, "damage")
        if field not in schema
    ]
    parsed = raw.with_columns(absent).with_columns(
        event=cells.event_name("name"),
        user_id=cells.identifier("user"),
        anonymous_id=cells.identifier("device"),
        revenue=cells.number("amount") if revenue is None else revenue,
        revenue_usd=cells.number("usd"),
        platform=pl.col("platform").str.to_lowercase(),
        country=pl.col("country").str.to_uppercase(),
        consent=~cells.truth("refused"),
        limited=cells.truth("limited"),
        ids=_joined_ids(device_type, more_ids),
    )
    complete = parsed.with_columns(
        ids=_ids(),
        event_id=_event_id(id_columns),
        event_kind=event_kinds.kind(extract, stated_kind),
        currency=_currency(extract),
    ).with_columns(
        event_kind=event_kinds.with_refunds(),
        fault=_fault(faults or {}),
    )
    shown = complete.with_columns(seen=seen(schema))
    return shown.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())


def _event_id(id_columns: Sequence[str]) -> pl.Expr:
    if len(id_columns) == 1:
        return pl.col(id_columns[0])
    return digest(joined(id_columns))


def joined(names: Sequence[str]) -> pl.Expr:
    """Columns as one text, instants in microseconds, null as the empty text.

    The separator keeps different tuples apart.
    """
    parts = []
    for name in names:
        part = pl.col(name)
        if name in INSTANTS:
            part = part.dt.epoch("us")
        parts.append(part.cast(pl.String).fill_null(""))
    return pl.concat_str(parts, separator=SEPARATOR)


def _joined_ids(device_type: str, more_ids: Sequence[pl.Expr]) -> pl.Expr:
    """The row's ids as one text of several "type:value"; empty without any."""
    values = {
        device_type: cells.identifier("device"),
        "idfa": cells.uuid("idfa"),
        "idfv": cells.uuid("idfv"),
        "gaid": cells.uuid("gaid"),
        "android_id": cells.identifier("android_id").str.to_lowercase(),
        "email": cells.identifier("email").str.to_lowercase(),
        "phone": cells.phone("phone"),
    }
    ids = [pl.lit(f"{id_type}:") + value for id_type, value in values.items()]
    return pl.concat_str(
        *ids,
        *more_ids,
        separator=SEPARATOR,
        ignore_nulls=True,
    )


def _ids() -> pl.Expr:
    """The column ``ids``, of one text, as a list.

    To join and to split again is several times faster than to make a list of columns.
    They are two steps, because polars computes an expression anew wherever it stands.
    """
    nothing = pl.lit([], pl.List(pl.String))
    is_there = pl.col("ids") != ""
    return pl.when(is_there).then(pl.col("ids").str.split(SEPARATOR)).otherwise(nothing)


def _currency(extract: Extract) -> pl.Expr:
    """The currency of an amount: the row's, else that which the extract states."""
    code = cells.filled("money").str.to_uppercase()
    stated = pl.coalesce(code, pl.lit(extract.currency, pl.String))
    return pl.when(pl.col("revenue").is_not_null()).then(stated)


def _fault(faults: Mapping[str, pl.Expr]) -> pl.Expr:
    ids = pl.col("user_id", "anonymous_id", "event_id")
    amount_is_unreadable = _unreadable("revenue", "amount")
    usd_is_unreadable = _unreadable("revenue_usd", "usd")
    conditions = {
        **faults,
        "unreadable_time": pl.col("event_time").is_null(),
        "no_event_name": pl.col("event").is_null(),
        "unreadable_revenue": amount_is_unreadable | usd_is_unreadable,
        "inexact_id": pl.any_horizontal(ids.str.contains(INEXACT_ID)),
        "no_event_id": pl.col("event_id").is_null(),
        "unknown_kind": ~pl.col("event_kind").is_in(EVENT_KINDS),
    }
    reasons = [
        pl.when(condition).then(pl.lit(reason))
        for reason, condition in conditions.items()
    ]
    return pl.coalesce("damage", *reasons)


def _unreadable(parsed: str, cell: str) -> pl.Expr:
    return pl.col(parsed).is_null() & ~cells.is_blank(cell)
