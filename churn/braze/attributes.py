"""The value that Braze shall hold of each attribute, and whether it must be sent.

The expressions read a frame of users with the columns segment, score, decile, reason,
attributes (what the ledger holds, as JSON text), unconfirmed and why. Of each attribute
NAME ``before:NAME`` is the value that the ledger holds and ``wanted:NAME`` the value
that Braze shall hold, both as JSON text; ``before:NAME`` is null if there is none.
``recorded:NAME`` says whether the ledger holds a value or a removal.
"""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from churn.settings import Braze

NULL = "null"
SCORED, LAPSED, GONE = "scored", "lapsed", "gone"
"""Why a user is in a plan: scored, no longer scored, or forgotten or opted out."""


def with_held(users: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The users with the columns ``before:NAME`` and ``recorded:NAME`` of each name.

    Texts are read once, however many users have the same.
    """
    texts = users.select(pl.col("attributes").unique()).drop_nulls()
    columns = [column for name in names for column in _held(name)]
    users = users.join(texts.with_columns(columns), on="attributes", how="left")
    recorded = [pl.col(f"recorded:{name}").fill_null(False) for name in names]
    return users.with_columns(recorded)


def _held(name: str) -> tuple[pl.Expr, pl.Expr]:
    """The columns ``before:NAME`` and ``recorded:NAME`` of ``attributes``."""
    attributes = pl.col("attributes").cast(pl.String)
    text = r'"(?:[^"\\]|\\.)*"'
    other = r"[^,}]*"
    value = attributes.str.extract(rf'"{name}":({text}|{other})')
    recorded = attributes.str.contains(f'"{name}":', literal=True)
    before = value.replace(NULL, None)
    return before.alias(f"before:{name}"), recorded.alias(f"recorded:{name}")


def holds_any(names: Sequence[str]) -> pl.Expr:
    """Whether the ledger holds a value of any of the attributes."""
    return pl.any_horizontal(pl.col(f"before:{name}").is_not_null() for name in names)


def wanted(
    braze: Braze,
    former: Sequence[str],
    cutoff: Any,
) -> dict[str, pl.Expr]:
    """The value that Braze shall hold of each attribute; the former ones are null."""
    is_scored = pl.col("why") == SCORED
    null = pl.lit(NULL)
    segment = _wanted_segment(braze)
    values: dict[str, pl.Expr] = {braze.segment_attribute: segment}
    if braze.score_attribute:
        score = pl.when(is_scored).then(pl.col("score"))
        values[braze.score_attribute] = score.otherwise(null)
    if braze.decile_attribute:
        decile = pl.when(is_scored).then(pl.col("decile"))
        values[braze.decile_attribute] = decile.fill_null(NULL)
    if braze.changed_attribute:
        values[braze.changed_attribute] = _wanted_date(braze, segment, cutoff)
    if braze.reason_attribute:
        reason = pl.when(is_scored).then(_quoted("reason"))
        values[braze.reason_attribute] = reason.fill_null(NULL)
    for name in former:
        values[name] = null
    return values


def due(braze: Braze, former: Sequence[str]) -> dict[str, pl.Expr]:
    """Whether each attribute must be sent."""
    flags = {braze.segment_attribute: _differs(braze.segment_attribute)}
    if braze.score_attribute:
        flags[braze.score_attribute] = _score_is_due(braze, braze.score_attribute)
    if braze.decile_attribute:
        flags[braze.decile_attribute] = _differs(braze.decile_attribute)
    if braze.changed_attribute:
        flags[braze.changed_attribute] = _differs(braze.changed_attribute)
    for name in former:
        flags[name] = _differs(name)
    if braze.reason_attribute:
        # A reason never causes a write by itself, except its removal.
        is_removed = pl.col("why") != SCORED
        goes_along = pl.any_horizontal(*flags.values(), is_removed)
        flags[braze.reason_attribute] = _differs(braze.reason_attribute) & goes_along
    return {name: flag | _is_unconfirmed(name) for name, flag in flags.items()}


def _wanted_segment(braze: Braze) -> pl.Expr:
    is_scored = pl.col("why") == SCORED
    is_lapsed = pl.col("why") == LAPSED
    lapsed_value = json.dumps(braze.lapsed_value, ensure_ascii=False)
    return (
        pl.when(is_scored)
        .then(_quoted("segment"))
        .when(is_lapsed)
        .then(pl.lit(lapsed_value))
        .otherwise(pl.lit(NULL))
    )


def _wanted_date(
    braze: Braze,
    segment: pl.Expr,
    cutoff: Any,
) -> pl.Expr:
    """When the segment last changed: the stored date if the segment stays."""
    is_scored = pl.col("why") == SCORED
    is_lapsed = pl.col("why") == LAPSED
    has_segment = is_scored | (is_lapsed & (braze.lapsed_value is not None))
    stays = segment == pl.col(f"before:{braze.segment_attribute}")
    stored = pl.col(f"before:{braze.changed_attribute}")
    today = pl.lit(f'"{cutoff}"')
    date = pl.when(stays).then(stored).otherwise(today)
    return pl.when(has_segment).then(date.fill_null(NULL)).otherwise(pl.lit(NULL))


def _score_is_due(braze: Braze, name: str) -> pl.Expr:
    """A score is sent with the segment, if it is new, or once it moved by a step."""
    difference = _number(f"wanted:{name}") - _number(f"before:{name}")
    is_step = (difference.abs() >= braze.score_step).fill_null(False)
    is_new = pl.col(f"before:{name}").is_null()
    is_removed = pl.col("why") != SCORED
    segment_differs = _differs(braze.segment_attribute)
    return _differs(name) & (segment_differs | is_step | is_new | is_removed)


def _differs(name: str) -> pl.Expr:
    before = pl.col(f"before:{name}").fill_null(NULL)
    return pl.col(f"wanted:{name}") != before


def _is_unconfirmed(name: str) -> pl.Expr:
    """Whether an earlier delivery is unconfirmed, be it a removal of the attribute."""
    has_value = pl.col(f"wanted:{name}") != NULL
    return pl.col("unconfirmed") & (pl.col(f"recorded:{name}") | has_value)


def _quoted(column: str) -> pl.Expr:
    return pl.lit('"') + pl.col(column) + pl.lit('"')


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64, strict=False)
