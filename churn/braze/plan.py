"""Compares scores with the ledger: which attributes of which users must be written.

Values are JSON text ("high" with its quotes, 87, null). An attribute that was never
written and one that was removed are the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import polars as pl

from churn.braze import attributes, matching, payload
from churn.braze.attributes import LAPSED, NULL
from churn.hashing import stable_hash
from churn.settings import Braze

NONE, REMOVED = "none", "removed"
MAX_REJECTIONS = 5
"""A change rejected this often isn't sent again until it is another change."""


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
    rejected before; null: no such position. ``cutoff`` of the scores behind the changes;
    null: not known.
    """

    changes: pl.DataFrame
    undeliverable: pl.Series
    n_synced: int
    names: list[str]
    held_back: pl.Series = field(
        default_factory=lambda: pl.Series("identifier", [], pl.String)
    )
    retried_from: int | None = None
    cutoff: date | None = None


def names(braze: Braze) -> list[str]:
    """The attributes a study writes.

    Raises TerminalBrazeError if Braze can't take one of the names or ``lapsed_value``.
    """
    optional = [
        braze.segment_attribute,
        braze.score_attribute,
        braze.decile_attribute,
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
    synced: Iterable[pl.DataFrame],
    braze: Braze,
    *,
    synced_names: Iterable[str] = (),
    gone: Sequence[str] = (),
) -> Plan:
    """The changes that bring Braze from what the ledger holds to the scores.

    A score is sent with a changed segment, or alone once it has moved by
    ``score_step``; a decile once it changed; a reason only with another attribute. Users who have a segment and
    are no longer scored get the lapsed value once; users in ``gone`` (forgotten or
    opted out) get null. ``synced_names`` that the study no longer uses are removed. If
    an earlier delivery is unconfirmed, all attributes are sent again. ``synced``: the
    users of the ledger (see ``users.pages``), of which only the changes are kept.
    """
    current = names(braze)
    former = [name for name in synced_names if name not in current]
    written = current + former
    cutoff: Any = scores["cutoff"].max()
    changes = []
    n_synced = 0
    for part in matching.parts(scores, synced, gone):
        users = _compared(part, braze, current, former, cutoff)
        n_synced += int(users.select(attributes.holds_any(written).sum()).item())
        changes.append(_changes(users, braze, written))
    made = deliverable(_in_order(pl.concat(changes)), braze, n_synced, written)
    return replace(made, cutoff=cutoff)


def deliverable(
    changes: pl.DataFrame,
    braze: Braze,
    n_synced: int,
    written: list[str],
) -> Plan:
    """A plan of these changes, without identifiers that Braze can't take."""
    fits = payload.is_deliverable(braze.kind)
    too_long_or_empty = changes.filter(~fits)["identifier"]
    return Plan(changes.filter(fits), too_long_or_empty, n_synced, written)


def with_rejected_last(plan: Plan, rejections: pl.DataFrame) -> Plan:
    """Order changes so that rejected ones come last; hold back the hopeless ones.

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


def _without_empty_lapsed_users(
    users: pl.DataFrame, written: list[str]
) -> pl.DataFrame:
    """Leave out users who are no longer scored and have no attribute to remove."""
    has_lapsed = pl.col("why") == LAPSED
    may_hold_any = attributes.holds_any(written) | pl.col("unconfirmed")
    return users.filter(~has_lapsed | may_hold_any)


def _compared(
    users: pl.DataFrame,
    braze: Braze,
    current: list[str],
    former: list[str],
    cutoff: Any,
) -> pl.DataFrame:
    """Users with ``before:``, ``wanted:`` and ``send:`` of each attribute."""
    written = current + former
    users = attributes.with_held(users, written)
    users = _without_empty_lapsed_users(users, written)
    wanted = attributes.wanted(braze, former, cutoff)
    users = users.with_columns(
        value.alias(f"wanted:{name}") for name, value in wanted.items()
    )
    due = attributes.due(braze, former)
    return users.with_columns(
        is_due.alias(f"send:{name}") for name, is_due in due.items()
    )


def _changes(
    users: pl.DataFrame,
    braze: Braze,
    written: list[str],
) -> pl.DataFrame:
    """Rows of ``Plan.changes``."""
    sends = {name: pl.col(f"send:{name}") for name in written}
    columns = [
        "identifier",
        pl.col("attributes").cast(pl.String).fill_null("{}").alias("before"),
        _after(written).alias("after"),
        _sent(written).alias("attributes"),
        "why",
        *_segment_columns(braze.segment_attribute),
        _replaces_segment(braze, written).alias("replaces_segment"),
        _count(sends.values()).alias("n_points"),
    ]
    return users.filter(pl.any_horizontal(sends.values())).select(columns)


def _in_order(changes: pl.DataFrame) -> pl.DataFrame:
    """The changes in a random order that is the same in every run."""
    ordered = changes.with_columns(order=stable_hash("identifier"))
    return ordered.sort("order", "identifier").drop("order")


def _after(written: list[str]) -> pl.Expr:
    """What Braze holds once the change was acknowledged, as a JSON object."""
    pairs = []
    for name in written:
        sent = _pair(name, f"wanted:{name}")
        held = _pair(name, f"before:{name}")
        pairs.append(pl.when(f"send:{name}").then(sent).otherwise(held))
    return _object(pairs)


def _sent(written: list[str]) -> pl.Expr:
    """The attributes that are sent, as a JSON object."""
    pairs = []
    for name in written:
        sent = _pair(name, f"wanted:{name}")
        pairs.append(pl.when(f"send:{name}").then(sent).otherwise(None))
    return _object(pairs)


def _segment_columns(segment: str) -> list[pl.Expr]:
    sends_segment = pl.when(f"send:{segment}")
    return [
        sends_segment.then(_plain(f"before:{segment}", NONE)).alias("from_segment"),
        sends_segment.then(_plain(f"wanted:{segment}", REMOVED)).alias("to_segment"),
    ]


def _replaces_segment(braze: Braze, written: list[str]) -> pl.Expr:
    minor = names(braze)
    minor.remove(braze.segment_attribute)
    major = [name for name in written if name not in minor]
    is_rewritten = pl.any_horizontal(pl.col(f"send:{name}") for name in major)
    return attributes.holds_any(written) & is_rewritten


def _count(flags: Iterable[pl.Expr]) -> pl.Expr:
    return pl.sum_horizontal(flag.cast(pl.Int64) for flag in flags)


def _pair(name: str, column: str) -> pl.Expr:
    return pl.lit(f'"{name}":') + pl.col(column)


def _object(pairs: Sequence[pl.Expr]) -> pl.Expr:
    """A JSON object of the pairs that aren't null."""
    return (
        "{"
        + pl.concat_str(
            pairs,
            separator=",",
            ignore_nulls=True,
        )
        + "}"
    )


def _plain(column: str, nothing: str) -> pl.Expr:
    """A JSON text without its quotes; ``nothing`` stands for null."""
    value = pl.col(column).fill_null(NULL)
    return value.replace(NULL, nothing).str.strip_chars('"')
