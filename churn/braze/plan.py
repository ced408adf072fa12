"""Compares scores with the ledger: which attributes of which users must be written.

Values are JSON text ("high" with its quotes, 87, null). An attribute that was never
written and one that was removed are the same.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from churn.braze import payload
from churn.hashing import stable_hash
from churn.settings import Braze

NONE, REMOVED = "none", "removed"
NULL = "null"
MAX_REJECTIONS = 5
"""A change rejected this often isn't sent again until it is another change."""

SCORED, LAPSED, GONE = "scored", "lapsed", "gone"


@dataclass(frozen=True)
class Plan:
    """What a run will send.

    ``changes`` has a row per user in the order of sending: identifier, before, after,
    attributes (see ``runs.CHANGES``), why (scored, lapsed, or gone for the forgotten
    and opted-out), from_segment and to_segment (null if the segment isn't written),
    replaces_segment (whether the user had attributes and its segment is rewritten),
    n_points.

    ``undeliverable``: identifiers that Braze can't take. ``n_synced``: users who have
    attributes of ours. ``names``: attributes written. ``held_back``: identifiers whose
    change was rejected too often. ``retried_from``: first position whose change was
    rejected before; null: no such position.
    """

    changes: pl.DataFrame
    undeliverable: pl.Series
    n_synced: int
    names: list[str]
    held_back: pl.Series = field(
        default_factory=lambda: pl.Series("identifier", [], pl.String)
    )
    retried_from: int | None = None


def names(braze: Braze) -> list[str]:
    """The attributes a study writes.

    Raises TerminalBrazeError if Braze can't take one of the names or ``lapsed_value``.
    """
    optional = [
        braze.segment_attribute,
        braze.score_attribute,
        braze.changed_attribute,
        braze.reason_attribute,
    ]
    chosen = [name for name in optional if name is not None]
    payload.check_names(chosen)
    if braze.lapsed_value is not None:
        payload.check_text(braze.lapsed_value)
    return chosen


def make(
    scores: pl.DataFrame,
    synced: pl.DataFrame,
    braze: Braze,
    *,
    synced_names: Iterable[str] = (),
    gone: Sequence[str] = (),
) -> Plan:
    """The changes that bring Braze from what the ledger holds to the scores.

    A score is sent with a changed segment, or alone once it has moved by
    ``score_step``; a reason only with another attribute. Users who have a segment and
    are no longer scored get the lapsed value once; users in ``gone`` (forgotten or
    opted out) get null. ``synced_names`` that the study no longer uses are removed. If
    an earlier delivery is unconfirmed, all attributes are sent again.
    """
    current = names(braze)
    former = [name for name in synced_names if name not in current]
    written = current + former
    cutoff = scores["cutoff"].max()
    users = _users(scores, synced, gone)
    users = users.with_columns(_held(name) for name in written)
    has_lapsed = pl.col("why") == LAPSED
    users = users.filter(~has_lapsed | _holds_any(written) | pl.col("unconfirmed"))
    wanted = _wanted(braze, former, cutoff)
    users = users.with_columns(v.alias(f"wanted:{n}") for n, v in wanted.items())
    due = _due(braze, former)
    users = users.with_columns(v.alias(f"send:{n}") for n, v in due.items())
    n_synced = int(users.select(_holds_any(written).sum()).item())
    return deliverable(_changes(users, braze, written), braze, n_synced, written)


def deliverable(
    changes: pl.DataFrame, braze: Braze, n_synced: int, written: list[str]
) -> Plan:
    """A plan of these changes, without identifiers that Braze can't take."""
    fits = payload.is_deliverable(braze.kind)
    too_long_or_empty = changes.filter(~fits)["identifier"]
    return Plan(changes.filter(fits), too_long_or_empty, n_synced, written)


def with_rejected_last(plan: Plan, rejections: pl.DataFrame) -> Plan:
    """Send changes that were rejected before last, and hold back hopeless ones.

    ``rejections``: see ``history.rejections``. A change rejected MAX_REJECTIONS times
    is held back until it is another change.
    """
    counted = plan.changes.join(
        rejections, on=["identifier", "attributes"], how="left", maintain_order="left"
    ).with_columns(pl.col("n").fill_null(0))
    new = counted.filter(pl.col("n") == 0)
    retried = counted.filter(pl.col("n").is_between(1, MAX_REJECTIONS - 1))
    hopeless = counted.filter(pl.col("n") >= MAX_REJECTIONS)
    return replace(
        plan,
        changes=pl.concat([new, retried]).drop("n"),
        held_back=hopeless["identifier"],
        retried_from=new.height,
    )


def transitions(plan: Plan) -> pl.DataFrame:
    """Users whose segment is written: from, to, n."""
    moves = plan.changes.drop_nulls("to_segment").select(
        pl.col("from_segment").alias("from"), pl.col("to_segment").alias("to")
    )
    return moves.group_by("from", "to").agg(n=pl.len()).sort("from", "to")


def _users(
    scores: pl.DataFrame, synced: pl.DataFrame, gone: Sequence[str]
) -> pl.DataFrame:
    """Every user who is scored or synced.

    Columns: identifier, segment, score, reason, attributes, unconfirmed, why.
    """
    reason = pl.lit(None, pl.String)
    if "reason_1" in scores.columns:
        reason = pl.col("reason_1")
    score = pl.col("score").cast(pl.String)
    scored = scores.select("identifier", "segment", score, reason=reason)
    users = synced.join(
        scored.drop_nulls("identifier"), on="identifier", how="full", coalesce=True
    )
    is_gone = pl.col("identifier").is_in(pl.Series(gone, dtype=pl.String).implode())
    is_lapsed = pl.col("segment").is_null()
    why = pl.when(is_gone).then(pl.lit(GONE)).when(is_lapsed).then(pl.lit(LAPSED))
    users = users.with_columns(
        pl.col("unconfirmed").fill_null(False), why=why.otherwise(pl.lit(SCORED))
    )
    was_never_sent = pl.col("attributes").is_null()
    return users.filter(~((pl.col("why") == GONE) & was_never_sent))


def _held(name: str) -> pl.Expr:
    """The value that the ledger holds of an attribute; null if none."""
    value = rf'"{name}":("(?:[^"\\]|\\.)*"|[^,}}]*)'
    held = pl.col("attributes").str.extract(value).replace(NULL, None)
    return held.alias(f"before:{name}")


def _holds_any(names: Sequence[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col(f"before:{name}").is_not_null() for name in names)


def _wanted(braze: Braze, former: Sequence[str], cutoff: Any) -> dict[str, pl.Expr]:
    """The value that Braze shall hold of each attribute, as JSON text."""
    is_scored = pl.col("why") == SCORED
    is_lapsed = pl.col("why") == LAPSED
    null = pl.lit(NULL)
    lapsed_value = pl.lit(json.dumps(braze.lapsed_value, ensure_ascii=False))
    scored_segment = pl.when(is_scored).then('"' + pl.col("segment") + '"')
    segment = scored_segment.when(is_lapsed).then(lapsed_value).otherwise(null)
    wanted: dict[str, pl.Expr] = {braze.segment_attribute: segment}
    if braze.score_attribute:
        score = pl.when(is_scored).then(pl.col("score")).otherwise(null)
        wanted[braze.score_attribute] = score
    if braze.changed_attribute:
        has_segment = is_scored | (is_lapsed & (braze.lapsed_value is not None))
        changed = _changed_date(braze, segment, cutoff)
        wanted[braze.changed_attribute] = (
            pl.when(has_segment).then(changed).otherwise(null)
        )
    if braze.reason_attribute:
        reason = pl.when(is_scored).then('"' + pl.col("reason") + '"')
        wanted[braze.reason_attribute] = reason.fill_null(NULL)
    return wanted | dict.fromkeys(former, null)


def _changed_date(braze: Braze, segment: pl.Expr, cutoff: Any) -> pl.Expr:
    """The date of the last change of segment: the stored one if the segment stays."""
    stays = segment == pl.col(f"before:{braze.segment_attribute}")
    stored = pl.col(f"before:{braze.changed_attribute}")
    return pl.when(stays).then(stored).otherwise(pl.lit(f'"{cutoff}"')).fill_null(NULL)


def _due(braze: Braze, former: Sequence[str]) -> dict[str, pl.Expr]:
    """Whether each attribute must be sent."""
    is_scored = pl.col("why") == SCORED
    segment_differs = _differs(braze.segment_attribute)
    due = {braze.segment_attribute: segment_differs}
    if name := braze.score_attribute:
        difference = _number(f"wanted:{name}") - _number(f"before:{name}")
        is_step = (difference.abs() >= braze.score_step).fill_null(False)
        is_new = pl.col(f"before:{name}").is_null() | ~is_scored
        due[name] = _differs(name) & (segment_differs | is_step | is_new)
    if braze.changed_attribute:
        due[braze.changed_attribute] = _differs(braze.changed_attribute)
    for name in former:
        due[name] = _differs(name)
    if name := braze.reason_attribute:
        any_other = pl.any_horizontal(*due.values(), ~is_scored)
        due[name] = _differs(name) & any_other
    # An unconfirmed write is sent again, even one that removed an attribute.
    return {
        name: is_due | (pl.col("unconfirmed") & _is_in_use(name))
        for name, is_due in due.items()
    }


def _differs(name: str) -> pl.Expr:
    return pl.col(f"wanted:{name}") != pl.col(f"before:{name}").fill_null(NULL)


def _is_in_use(name: str) -> pl.Expr:
    """Whether an attribute was ever sent to the user, or now has a value."""
    was_sent = pl.col("attributes").str.contains(f'"{name}":', literal=True)
    return was_sent.fill_null(False) | (pl.col(f"wanted:{name}") != NULL)


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64, strict=False)


def _changes(users: pl.DataFrame, braze: Braze, written: list[str]) -> pl.DataFrame:
    """Rows of ``Plan.changes``, in a random order that is the same in every run."""
    segment = braze.segment_attribute
    is_sent = {name: pl.col(f"send:{name}") for name in written}
    sent = {
        name: pl.when(is_sent[name]).then(_pair(name, pl.col(f"wanted:{name}")))
        for name in written
    }
    held_pairs = {name: _pair(name, pl.col(f"before:{name}")) for name in written}
    after = [sent[name].otherwise(held_pairs[name]) for name in written]
    minor = {braze.score_attribute, braze.changed_attribute, braze.reason_attribute}
    is_rewritten = pl.any_horizontal(is_sent[n] for n in written if n not in minor)
    sends_segment = pl.when(is_sent[segment])
    changes = users.filter(pl.any_horizontal(is_sent.values())).select(
        "identifier",
        pl.col("attributes").fill_null("{}").alias("before"),
        _object(after).alias("after"),
        _object([pair.otherwise(None) for pair in sent.values()]).alias("attributes"),
        "why",
        sends_segment.then(_plain(f"before:{segment}", NONE)).alias("from_segment"),
        sends_segment.then(_plain(f"wanted:{segment}", REMOVED)).alias("to_segment"),
        (_holds_any(written) & is_rewritten).alias("replaces_segment"),
        pl.sum_horizontal(is_sent[n].cast(pl.Int64) for n in written).alias("n_points"),
    )
    ordered = changes.with_columns(order=stable_hash("identifier"))
    return ordered.sort("order", "identifier").drop("order")


def _pair(name: str, value: pl.Expr) -> pl.Expr:
    return pl.lit(f'"{name}":') + value


def _object(pairs: Sequence[pl.Expr]) -> pl.Expr:
    return "{" + pl.concat_str(pairs, separator=",", ignore_nulls=True) + "}"


def _plain(column: str, nothing: str) -> pl.Expr:
    """A JSON text without its quotes; ``nothing`` stands for null."""
    return pl.col(column).fill_null(NULL).replace(NULL, nothing).str.strip_chars('"')
