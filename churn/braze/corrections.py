"""Plans that don't come from scores: restoring a run, and sending corrected rejects."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl

from churn.braze.attributes import SCORED
from churn.braze.ledger.runs import CHANGES
from churn.braze.plan import NONE, REMOVED, Plan, deliverable, names
from churn.errors import TerminalBrazeError
from churn.settings import Braze
from churn.store.score_schemas import N_DECILES, REASON

DATE = re.compile(r"\d{4}-\d\d-\d\d")
SCHEMA = {
    **CHANGES,
    "why": pl.String,
    "from_segment": pl.String,
    "to_segment": pl.String,
    "replaces_segment": pl.Boolean,
    "n_points": pl.Int64,
}

Values = dict[str, Any]
"""Values by attribute; null removes the attribute."""


def restoring(
    changes: pl.DataFrame,
    synced: pl.DataFrame,
    braze: Braze,
    gone: Sequence[str] = (),
) -> Plan:
    """The plan that restores what users had before a run.

    ``changes``: see ``history.restorable``. Attributes that a user did not have before
    are removed.
    """
    wanted = {}
    for row in changes.iter_rows(named=True):
        before = json.loads(row["before"])
        written = json.loads(row["attributes"])
        wanted[row["identifier"]] = {name: before.get(name) for name in written}
    return _of_values(wanted, synced, braze, gone)


def writing(
    identifier: str,
    values: Values,
    synced: pl.DataFrame,
    braze: Braze,
    gone: Sequence[str] = (),
) -> Plan:
    """The plan that writes values to one user, even if the ledger has them already."""
    is_named = pl.col("identifier") == identifier
    unsure = synced.filter(is_named).with_columns(unconfirmed=pl.lit(True))
    return _of_values({identifier: values}, unsure, braze, gone)


def from_file(
    frame: pl.DataFrame,
    synced: pl.DataFrame,
    braze: Braze,
    segments: Sequence[str],
    gone: Sequence[str] = (),
) -> Plan:
    """The plan that sends a file of rejects: identifier, attributes as JSON text.

    ``segments``: the study's segment names. The plan has the oldest date of the column
    cutoff, if there is one; other columns are ignored. Raises TerminalBrazeError for
    the first row that the study itself could not have written.
    """
    missing = {"identifier", "attributes"} - set(frame.columns)
    if missing:
        raise TerminalBrazeError(
            f"the file lacks the column {' and '.join(sorted(missing))}"
        )
    allowed_segments = {*segments, braze.lapsed_value}
    wanted: dict[str, Values] = {}
    rows = frame.select("identifier", "attributes").iter_rows()
    for number, (identifier, text) in enumerate(rows, start=2):
        if identifier is None:
            raise TerminalBrazeError(f"row {number} has no identifier")
        if identifier in wanted:
            raise TerminalBrazeError(f"row {number} repeats an identifier")
        wanted[identifier] = _attributes(text, number, braze, allowed_segments)
    made = _of_values(wanted, synced, braze, gone)
    return replace(made, cutoff=_oldest_cutoff(frame))


def _oldest_cutoff(frame: pl.DataFrame) -> date | None:
    """The oldest date of the column cutoff; null without the column or a date in it."""
    if "cutoff" not in frame.columns:
        return None
    try:
        days = frame["cutoff"].str.to_date("%Y-%m-%d")
    except pl.exceptions.PolarsError:
        raise TerminalBrazeError(
            "the column cutoff holds something else than dates such as 2026-03-01"
        ) from None
    oldest: Any = days.min()
    return oldest if isinstance(oldest, date) else None


def _of_values(
    wanted: Mapping[str, Values],
    synced: pl.DataFrame,
    braze: Braze,
    gone: Sequence[str],
) -> Plan:
    """A plan of given values by identifier, without the ``gone`` and what is synced.

    If an earlier delivery is unconfirmed, all attributes are sent again.
    """
    names = pl.Series(list(wanted), dtype=pl.String)
    is_wanted = pl.col("identifier").is_in(names.implode())
    held = {
        identifier: (text, unconfirmed)
        for identifier, text, unconfirmed in synced.filter(is_wanted).iter_rows()
    }
    rows = []
    for identifier, values in wanted.items():
        text, unconfirmed = held.get(identifier, ("{}", False))
        before = json.loads(text)
        due = before | values
        if not unconfirmed:
            due = {n: v for n, v in values.items() if before.get(n) != v}
        if due and identifier not in gone:
            row = {"identifier": identifier, "before": text}
            rows.append(row | _row(before, due, braze.segment_attribute))
    changes = pl.DataFrame(rows, schema=SCHEMA)
    written = {name for values in wanted.values() for name in values}
    return deliverable(changes, braze, 0, sorted(written))


def _row(
    before: Values,
    due: Values,
    segment: str,
) -> dict[str, Any]:
    writes_segment = segment in due
    row = {
        "after": _json(before | due),
        "attributes": _json(due),
        "why": SCORED,
        "replaces_segment": writes_segment,
        "n_points": len(due),
    }
    if writes_segment:
        row["from_segment"] = str(before.get(segment) or NONE)
        row["to_segment"] = str(due[segment] or REMOVED)
    return row


def _json(values: Values) -> str:
    return json.dumps(
        values,
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _attributes(
    text: str | None,
    number: int,
    braze: Braze,
    segments: Collection[str | None],
) -> Values:
    """Attributes of a row. Raises TerminalBrazeError if the study can't write them."""
    try:
        values = json.loads(text or "")
    except ValueError:
        values = None
    known = names(braze)
    if not isinstance(values, dict) or not values or not set(values) <= set(known):
        raise TerminalBrazeError(
            f"row {number}: attributes must be a JSON object of {', '.join(known)}"
        )
    for name, value in values.items():
        if value is not None and not _is_possible(name, value, braze, segments):
            raise TerminalBrazeError(
                f"row {number}: the study writes no such value of {name}"
            )
    return values


def _is_possible(
    name: str,
    value: Any,
    braze: Braze,
    segments: Collection[str | None],
) -> bool:
    if name == braze.segment_attribute:
        return isinstance(value, str) and value in segments
    if name == braze.score_attribute:
        return _is_integer(value, 0, 100)
    if name == braze.decile_attribute:
        return _is_integer(value, 1, N_DECILES)
    form = REASON if name == braze.reason_attribute else DATE
    return isinstance(value, str) and re.fullmatch(form, value) is not None


def _is_integer(
    value: Any,
    least: int,
    most: int,
) -> bool:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and least <= value <= most
