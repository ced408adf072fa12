"""Scores against what Braze was told: who must be told what, what that costs, and
whether it is too much.

Values are JSON text throughout ("high" with its quotes, 87, null); a value that was
never told and one that was removed are the same.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from churn.braze import payload
from churn.braze.ledger import CHANGES
from churn.errors import GateError, TerminalBrazeError
from churn.hashing import stable_hash
from churn.settings import Braze
from churn.store.schemas import REASON

DATE = re.compile(r"\d{4}-\d\d-\d\d")
NONE, REMOVED = "none", "removed"
NULL = "null"
MIN_MOVED = 50  # users who change segment, below which no share of them is too much
MAX_REFUSALS = 5
SCORED, LAPSED, GONE = "scored", "lapsed", "gone"


@dataclass(frozen=True)
class Plan:
    """What one run is to tell.

    ``changes``, in the order of sending: identifier, before, after, attributes (JSON
    text, see ``ledger.CHANGES``), why (scored, lapsed or gone), was, becomes (segments;
    ``none``, ``removed``; null where the segment stays), moved (whether the run changes
    the segment of somebody who had one), n_points. ``undeliverable``: identifiers that
    Braze can't take. ``n_known``: users who hold anything we told. ``names``:
    attributes written. ``held_back``: identifiers whose write was refused too often to
    try it again.
    """

    changes: pl.DataFrame
    undeliverable: pl.Series
    n_known: int
    names: list[str]
    held_back: pl.Series = field(
        default_factory=lambda: pl.Series("identifier", [], pl.String)
    )


def names(braze: Braze) -> list[str]:
    """The attributes a study writes. Raises TerminalBrazeError for such as Braze
    doesn't take.
    """
    wanted = [
        braze.segment_attribute,
        braze.score_attribute,
        braze.changed_attribute,
        braze.reason_attribute,
    ]
    found = [name for name in wanted if name is not None]
    payload.check_names(found)
    if braze.lapsed_value is not None:
        payload.check_text(braze.lapsed_value)
    return found


def make(
    scores: pl.DataFrame,
    told: pl.DataFrame,
    braze: Braze,
    *,
    told_names: Iterable[str] = (),
    gone: Sequence[str] = (),
) -> Plan:
    """The changes that bring Braze from what it was told to the scores.

    A score goes along with a changed segment, or by itself once it has moved by
    ``score_step``; a reason only along with something else. Users who were told a
    segment and are no longer scored get the lapsed value once; ``gone``, the forgotten
    and the opted-out, get null. Attributes that were told and that the study no longer
    names are removed. Whoever may or may not have been reached is told everything
    again.
    """
    current = names(braze)
    former = [name for name in told_names if name not in current]
    at = scores["cutoff"].max()
    users = _users(scores, told, gone).with_columns(
        [
            pl.col("attributes")
            .str.extract(_pattern(name))
            .replace(NULL, None)
            .alias(f"before:{name}")
            for name in current + former
        ]
    )
    # Whoever holds nothing of ours has nothing to lapse from.
    holds = pl.any_horizontal(
        pl.col(f"before:{name}").is_not_null() for name in current + former
    ) | pl.col("unsure")
    users = users.filter((pl.col("why") != LAPSED) | holds)
    users = users.with_columns(
        [
            value.alias(f"wanted:{name}")
            for name, value in _wanted(braze, former, at).items()
        ]
    )
    users = users.with_columns(
        [due.alias(f"send:{name}") for name, due in _due(braze, former).items()]
    )
    return _plan(users, braze, current + former)


def _users(
    scores: pl.DataFrame, told: pl.DataFrame, gone: Sequence[str]
) -> pl.DataFrame:
    """Everybody scored or told: identifier, segment, score, attributes, unsure, why."""
    reason = (
        pl.col("reason_1") if "reason_1" in scores.columns else pl.lit(None, pl.String)
    )
    scored = scores.select(
        "identifier", "segment", pl.col("score").cast(pl.String), reason.alias("reason")
    )
    scored = scored.drop_nulls("identifier")
    left = pl.col("identifier").is_in(pl.Series(gone, dtype=pl.String).implode())
    why = (
        pl.when(left)
        .then(pl.lit(GONE))
        .when(pl.col("segment").is_null())
        .then(pl.lit(LAPSED))
    )
    users = told.join(scored, on="identifier", how="full", coalesce=True)
    users = users.with_columns(
        pl.col("unsure").fill_null(False), why=why.otherwise(pl.lit(SCORED))
    )
    return users.filter(~((pl.col("why") == GONE) & pl.col("attributes").is_null()))


def _pattern(name: str) -> str:
    return rf'"{name}":("(?:[^"\\]|\\.)*"|[^,}}]*)'


def _wanted(braze: Braze, former: Sequence[str], at: Any) -> dict[str, pl.Expr]:
    is_scored, is_lapsed = pl.col("why") == SCORED, pl.col("why") == LAPSED
    lapsed = json.dumps(braze.lapsed_value, ensure_ascii=False)
    segment = (
        pl.when(is_scored)
        .then('"' + pl.col("segment") + '"')
        .when(is_lapsed)
        .then(pl.lit(lapsed))
    )
    values = {braze.segment_attribute: segment.otherwise(pl.lit(NULL))}
    if braze.score_attribute:
        values[braze.score_attribute] = (
            pl.when(is_scored).then(pl.col("score")).otherwise(pl.lit(NULL))
        )
    if braze.changed_attribute:
        # Where the segment stays so does its date.
        stays = segment.otherwise(pl.lit(NULL)) == pl.col(
            f"before:{braze.segment_attribute}"
        )
        holds = is_scored | (is_lapsed & (braze.lapsed_value is not None))
        dated = (
            pl.when(stays)
            .then(pl.col(f"before:{braze.changed_attribute}"))
            .otherwise(pl.lit(f'"{at}"'))
        )
        values[braze.changed_attribute] = (
            pl.when(holds).then(dated.fill_null(NULL)).otherwise(pl.lit(NULL))
        )
    if braze.reason_attribute:
        values[braze.reason_attribute] = (
            pl.when(is_scored).then('"' + pl.col("reason") + '"').fill_null(NULL)
        )
    return values | {name: pl.lit(NULL) for name in former}


def _due(braze: Braze, former: Sequence[str]) -> dict[str, pl.Expr]:
    moved = _differs(braze.segment_attribute)
    due = {braze.segment_attribute: moved}
    if name := braze.score_attribute:
        step = (
            _number(f"wanted:{name}") - _number(f"before:{name}")
        ).abs() >= braze.score_step
        new = pl.col(f"before:{name}").is_null() | (pl.col("why") != SCORED)
        due[name] = _differs(name) & (moved | step.fill_null(False) | new)
    if braze.changed_attribute:
        due[braze.changed_attribute] = _differs(braze.changed_attribute)
    due |= {name: _differs(name) for name in former}
    if name := braze.reason_attribute:
        due[name] = _differs(name) & pl.any_horizontal(
            *due.values(), pl.col("why") != SCORED
        )
    # What was sent and perhaps not taken is sent again, a removal too.
    return {
        name: expr | (pl.col("unsure") & _is_at_stake(name))
        for name, expr in due.items()
    }


def _differs(name: str) -> pl.Expr:
    return pl.col(f"wanted:{name}") != pl.col(f"before:{name}").fill_null(NULL)


def _is_at_stake(name: str) -> pl.Expr:
    held = (
        pl.col("attributes").str.contains(f'"{name}":', literal=True).fill_null(False)
    )
    return held | (pl.col(f"wanted:{name}") != NULL)


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int64, strict=False)


def _plan(users: pl.DataFrame, braze: Braze, written: list[str]) -> Plan:
    holds_any = pl.any_horizontal(
        pl.col(f"before:{name}").is_not_null() for name in written
    )
    segment = braze.segment_attribute
    sends_segment = pl.col(f"send:{segment}")
    sent = {
        name: pl.when(pl.col(f"send:{name}")).then(
            _piece(name, pl.col(f"wanted:{name}"))
        )
        for name in written
    }
    kept = [
        piece.otherwise(_piece(name, pl.col(f"before:{name}")))
        for name, piece in sent.items()
    ]
    small = {braze.score_attribute, braze.changed_attribute, braze.reason_attribute}
    rewritten = pl.any_horizontal(
        pl.col(f"send:{name}") for name in written if name not in small
    )
    changes = users.filter(
        pl.any_horizontal(pl.col(f"send:{name}") for name in written)
    ).select(
        "identifier",
        pl.col("attributes").fill_null("{}").alias("before"),
        _object(kept).alias("after"),
        _object([piece.otherwise(None) for piece in sent.values()]).alias("attributes"),
        "why",
        pl.when(sends_segment).then(_plain(f"before:{segment}", NONE)).alias("was"),
        pl.when(sends_segment)
        .then(_plain(f"wanted:{segment}", REMOVED))
        .alias("becomes"),
        (holds_any & rewritten).alias("moved"),
        pl.sum_horizontal(
            pl.col(f"send:{name}").cast(pl.Int64) for name in written
        ).alias("n_points"),
    )
    changes = (
        changes.with_columns(order=stable_hash("identifier"))
        .sort("order", "identifier")
        .drop("order")
    )
    n_known = int(users.select(holds_any.sum()).item())
    return _of_deliverable(changes, braze, n_known, written)


def _of_deliverable(
    changes: pl.DataFrame, braze: Braze, n_known: int, written: list[str]
) -> Plan:
    fits = payload.is_deliverable(braze.kind)
    return Plan(
        changes.filter(fits), changes.filter(~fits)["identifier"], n_known, written
    )


def _piece(name: str, value: pl.Expr) -> pl.Expr:
    return pl.lit(f'"{name}":') + value


def _object(pieces: Sequence[pl.Expr]) -> pl.Expr:
    return "{" + pl.concat_str(pieces, separator=",", ignore_nulls=True) + "}"


def _plain(column: str, nothing: str) -> pl.Expr:
    return pl.col(column).fill_null(NULL).replace(NULL, nothing).str.strip_chars('"')


def from_values(
    values: Mapping[str, dict[str, Any]],
    told: pl.DataFrame,
    braze: Braze,
    gone: Sequence[str] = (),
) -> Plan:
    """A plan of given writes: attributes by identifier. The ``gone`` are left out, and
    so is what is as it was told.
    """
    held = {
        who: (text, unsure) for who, text, unsure in told.iter_rows() if who in values
    }
    rows = []
    for who, wanted in values.items():
        text, unsure = held.get(who, ("{}", False))
        before = json.loads(text)
        # Of somebody who may or may not have been reached all is told again.
        due = (
            before | wanted
            if unsure
            else {n: v for n, v in wanted.items() if before.get(n) != v}
        )
        if due and who not in gone:
            rows.append(
                _row(who, text, before | due, due, before, braze.segment_attribute)
            )
    schema = {
        **CHANGES,
        **dict.fromkeys(("why", "was", "becomes"), pl.String),
        "moved": pl.Boolean,
        "n_points": pl.Int64,
    }
    changes = pl.DataFrame(rows, schema=schema, orient="row")
    written = sorted({name for wanted in values.values() for name in wanted})
    return _of_deliverable(changes, braze, 0, written)


def _row(
    who: str,
    held: str,
    after: dict[str, Any],
    due: dict[str, Any],
    before: dict[str, Any],
    segment: str,
) -> tuple[Any, ...]:
    moved = segment in due
    was, becomes = (
        str(v.get(segment) or nothing)
        for v, nothing in ((before, NONE), (due, REMOVED))
    )
    texts = [
        json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in (after, due)
    ]
    return (
        who,
        held,
        *texts,
        SCORED,
        was if moved else None,
        becomes if moved else None,
        moved,
        len(due),
    )


def without_refused(plan: Plan, refusals: pl.DataFrame) -> tuple[Plan, int]:
    """Writes refused before come last; what Braze refused MAX_REFUSALS times isn't
    tried again until it changes.

    ``refusals``: see ``ledger.refusals``. Returns the plan, and from which position on
    its writes were refused before.
    """
    known = plan.changes.join(
        refusals, on=["identifier", "attributes"], how="left", maintain_order="left"
    )
    known = known.with_columns(pl.col("n").fill_null(0))
    parts = [
        known.filter(pl.col("n") == 0),
        known.filter(pl.col("n").is_between(1, MAX_REFUSALS - 1)),
    ]
    held_back = known.filter(pl.col("n") >= MAX_REFUSALS)["identifier"]
    return replace(
        plan, changes=pl.concat(parts).drop("n"), held_back=held_back
    ), parts[0].height


def forecast(
    plan: Plan, n_requests: int, braze: Braze, answer_seconds: float
) -> dict[str, Any]:
    """What sending the plan takes: users, requests, data points, minutes at the pace
    set.

    ``answer_seconds``: how long an answer needs, where that and not the pace is the
    limit.
    """
    changes = plan.changes
    why = changes["why"]
    per_second = min(braze.requests_per_second, braze.concurrency / answer_seconds)
    seconds = n_requests / per_second
    if braze.requests_per_hour:
        seconds = max(seconds, 3600.0 * ((n_requests - 1) // braze.requests_per_hour))
    return {
        "n_changed": changes.height,
        "n_moved": int(changes["moved"].sum()),
        "n_lapsed": int((why == LAPSED).sum()),
        "n_gone": int((why == GONE).sum()),
        "n_undeliverable": len(plan.undeliverable),
        "n_requests": n_requests,
        "n_data_points": int(changes["n_points"].sum()),
        "minutes": round(seconds / 60, 3),
    }


def transitions(plan: Plan) -> pl.DataFrame:
    """Users whose segment is written: from, to, n."""
    moved = plan.changes.drop_nulls("becomes").select(
        pl.col("was").alias("from"), pl.col("becomes").alias("to")
    )
    return moved.group_by("from", "to").agg(n=pl.len()).sort("from", "to")


def beyond_limits(plan: Plan, braze: Braze) -> dict[str, str]:
    """Limits of the study that the plan passes, each with a sentence; they are accepted
    by name, as gates are.
    """
    n_moved, found = int(plan.changes["moved"].sum()), {}
    if (
        plan.n_known
        and n_moved > MIN_MOVED
        and n_moved > braze.max_change_rate * plan.n_known
    ):
        found["change_rate"] = (
            f"{n_moved:,} of {plan.n_known:,} users told before ({n_moved / plan.n_known:.0%}) would change segment, "
            f"more than max_change_rate ({braze.max_change_rate:.0%}): did the events, the model or the study change?"
        )
    if braze.max_users is not None and plan.changes.height > braze.max_users:
        found["max_users"] = (
            f"{plan.changes.height:,} users would be written, more than max_users ({braze.max_users:,})"
        )
    return found


def check_limits(beyond: dict[str, str], accept: Sequence[str]) -> None:
    """Raise GateError for every limit passed that isn't accepted."""
    said = [
        f"{name}: {sentence}" for name, sentence in beyond.items() if name not in accept
    ]
    if said:
        raise GateError(
            f"nothing was sent: {'; '.join(said)}. If it is as it should be, accept it by name"
        )


def restored(
    changes: pl.DataFrame, told: pl.DataFrame, braze: Braze, gone: Sequence[str] = ()
) -> Plan:
    """The plan that takes a run back: what each user held before it, removals where
    there was nothing.
    """
    values = {}
    for who, before, attributes in changes.select(
        "identifier", "before", "attributes"
    ).iter_rows():
        was = json.loads(before)
        values[who] = {name: was.get(name) for name in json.loads(attributes)}
    return from_values(values, told, braze, gone)


def read_file(
    frame: pl.DataFrame,
    told: pl.DataFrame,
    braze: Braze,
    segments: Sequence[str],
    gone: Sequence[str] = (),
) -> Plan:
    """The plan that sends a (mended) file of rejects: identifier, attributes as JSON
    text; other columns are ignored.

    ``segments``: the names there are. Raises TerminalBrazeError naming the row of the
    first fault.
    """
    missing = {"identifier", "attributes"} - set(frame.columns)
    if missing:
        raise TerminalBrazeError(
            f"the file lacks the column {' and '.join(sorted(missing))}"
        )
    values: dict[str, dict[str, Any]] = {}
    for number, (who, text) in enumerate(
        frame.select("identifier", "attributes").iter_rows(), start=2
    ):
        if who is None or who in values:
            raise TerminalBrazeError(
                f"row {number}: {'no identifier' if who is None else 'an identifier comes twice'}"
            )
        values[who] = _attributes(text, number, braze, {*segments, braze.lapsed_value})
    return from_values(values, told, braze, gone)


def _attributes(
    text: str | None, number: int, braze: Braze, segments: Collection[str | None]
) -> dict[str, Any]:
    """Attributes of one row, if they are such as the study itself could write."""
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
    name: str, value: Any, braze: Braze, segments: Collection[str | None]
) -> bool:
    if name == braze.segment_attribute:
        return isinstance(value, str) and value in segments
    if name == braze.score_attribute:
        return (
            isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100
        )
    form = REASON if name == braze.reason_attribute else DATE
    return isinstance(value, str) and re.fullmatch(form, value) is not None
