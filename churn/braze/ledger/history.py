"""Reads the ledger: what each user has in Braze, and what came of each run."""

import json
from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, and_, case, exists, func, or_, select

from churn.braze.ledger.database import Ledger
from churn.braze.ledger.runs import (
    CHANGES,
    EXPORT,
    NOT_ATTEMPTED,
    ROWS_AT_ONCE,
    SENT,
    UNKNOWN,
)
from churn.braze.ledger.tables import (
    ANSWER_OF_PLAN,
    ANSWERS,
    PLACES,
    PLAN,
    REJECT_OF_PLAN,
    REJECTS,
    RUNS,
    SYNCED,
)
from churn.errors import TerminalBrazeError

N_RUNS_FOR_ANSWER_TIME = 10
REJECTED_CHANGES = REJECTS.join(PLAN, REJECT_OF_PLAN).join(
    RUNS, RUNS.c.run == REJECTS.c.run
)


def names(ledger: Ledger) -> list[str]:
    """Every attribute that was ever written at this place."""
    query = select(PLACES.c.names).where(PLACES.c.place == ledger.place)
    stored: list[str] = json.loads(ledger.connection.scalar(query) or "[]")
    return stored


def kinds(ledger: Ledger) -> list[str]:
    """Every kind of identifier by which users were ever addressed, at any place."""
    return list(ledger.connection.scalars(select(PLACES.c.kind).distinct()))


def sent_cutoff(ledger: Ledger) -> tuple[date, str] | None:
    """Cutoff of the scores that this place was last sent, and the run that sent them.

    Null if no run is known to have sent scores. A run counts if a request of it may
    have arrived, or if it found that nothing had changed.
    """
    has_sent = or_(RUNS.c.n_users == 0, RUNS.c.reserved > 0)
    query = (
        select(RUNS.c.cutoff, RUNS.c.run_id)
        .where(
            RUNS.c.place == ledger.place,
            RUNS.c.what == EXPORT,
            RUNS.c.cutoff.is_not(None),
            has_sent,
        )
        .order_by(RUNS.c.run.desc())
        .limit(1)
    )
    row = ledger.connection.execute(query).first()
    return row and (date.fromisoformat(row.cutoff), row.run_id)


def last_unanswered_at(ledger: Ledger) -> int:
    """When a request to this place last stayed without an answer; 0 if none did."""
    query = select(func.max(RUNS.c.lost_at)).where(RUNS.c.place == ledger.place)
    at = ledger.connection.scalar(query)
    # The caller may sleep, and no transaction shall stay open meanwhile.
    ledger.connection.commit()
    return int(at or 0)


def answer_seconds(ledger: Ledger) -> float | None:
    """Mean time to an answer in the newest run that had any; null before the first."""
    query = (
        select(RUNS.c.summary)
        .where(RUNS.c.place == ledger.place, RUNS.c.summary.is_not(None))
        .order_by(RUNS.c.run.desc())
        .limit(N_RUNS_FOR_ANSWER_TIME)
    )
    for summary in ledger.connection.scalars(query):
        if seconds := json.loads(summary).get("answer_seconds"):
            return float(seconds)
    return None


def restorable(ledger: Ledger, run_id: str) -> pl.DataFrame:
    """Rows of a run's plan (CHANGES) for users that no later run has written to.

    Raises TerminalBrazeError if the run was not to this place, or if its plan has been
    deleted.
    """
    connection = ledger.connection
    here = and_(RUNS.c.run_id == run_id, RUNS.c.place == ledger.place)
    row = connection.execute(select(RUNS.c.run, RUNS.c.n_users).where(here)).first()
    if row is None:
        raise TerminalBrazeError(
            f"the ledger has no run {run_id} to this endpoint and workspace; "
            "`churn braze ledger` lists the runs"
        )
    is_stored = select(exists().where(PLAN.c.run == row.run))
    if row.n_users and not connection.scalar(is_stored):
        raise TerminalBrazeError(
            f"the plan of run {run_id} is no longer kept, so it can't be restored"
        )
    is_newest = and_(
        SYNCED.c.place == ledger.place,
        SYNCED.c.identifier == PLAN.c.identifier,
        SYNCED.c.run == row.run,
    )
    query = (
        select(*[PLAN.c[name] for name in CHANGES])
        .select_from(PLAN.join(SYNCED, is_newest))
        .where(PLAN.c.run == row.run)
        .order_by(PLAN.c.position)
    )
    return _frame(connection, query, CHANGES)


def runs(ledger: Ledger) -> pl.DataFrame:
    """Runs to this place, newest first, with their users by outcome.

    Columns: run_id, what (the step), cutoff (of the scores, an ISO date; null if not
    known), started_at, finished_at, n_users, sent, unknown, not attempted, rejected,
    pending. ``pending``: planned and still without an outcome.
    """
    texts = ("run_id", "what", "cutoff")
    facts = (*texts, "started_at", "finished_at", "n_users")
    outcomes = (SENT, UNKNOWN, NOT_ATTEMPTED)
    n_rejected = (
        select(func.count()).where(REJECTS.c.run == RUNS.c.run).scalar_subquery()
    )
    query = (
        select(
            *[RUNS.c[name] for name in facts],
            *[_n_with_outcome(outcome).label(outcome) for outcome in outcomes],
            n_rejected.label("rejected"),
        )
        .where(RUNS.c.place == ledger.place)
        .order_by(RUNS.c.run.desc())
    )
    schema: dict[str, Any] = dict.fromkeys((*facts, *outcomes, "rejected"), pl.Int64)
    schema |= dict.fromkeys(texts, pl.String)
    frame = _frame(ledger.connection, query, schema)
    return frame.with_columns(
        pl.from_epoch("started_at"),
        pl.from_epoch("finished_at"),
        # An acknowledged range includes the users in it that were rejected.
        pl.col(SENT) - pl.col("rejected"),
        pending=pl.col("n_users") - pl.sum_horizontal(outcomes),
    )


def _n_with_outcome(outcome: str) -> Any:
    n_users = func.coalesce(func.sum(ANSWERS.c.last - ANSWERS.c.first + 1), 0)
    of_run = and_(ANSWERS.c.run == RUNS.c.run, ANSWERS.c.outcome == outcome)
    return select(n_users).where(of_run).scalar_subquery()


def rejected(ledger: Ledger, run_id: str) -> pl.DataFrame:
    """Users that Braze rejected in a run.

    Columns: identifier, attributes (JSON text), reason, cutoff (an ISO date; null if
    the run did not write scores).
    """
    query = (
        select(
            PLAN.c.identifier,
            PLAN.c.attributes,
            REJECTS.c.reason,
            RUNS.c.cutoff,
        )
        .select_from(REJECTED_CHANGES)
        .where(RUNS.c.run_id == run_id, RUNS.c.place == ledger.place)
        .order_by(REJECTS.c.position)
    )
    columns = ("identifier", "attributes", "reason", "cutoff")
    schema = dict.fromkeys(columns, pl.String)
    return _frame(ledger.connection, query, schema)


def rejections(ledger: Ledger) -> pl.DataFrame:
    """How often Braze rejected each change in the runs still stored.

    Columns: identifier, attributes (JSON text), n.
    """
    query = (
        select(PLAN.c.identifier, PLAN.c.attributes, func.count())
        .select_from(REJECTED_CHANGES)
        .where(RUNS.c.place == ledger.place)
        .group_by(PLAN.c.identifier, PLAN.c.attributes)
    )
    schema = {
        "identifier": pl.String,
        "attributes": pl.String,
        "n": pl.Int64,
    }
    return _frame(ledger.connection, query, schema)


def history(ledger: Ledger, identifier: str) -> pl.DataFrame:
    """What one user was sent, newest first.

    Columns: run_id, at, before, attributes (JSON text), outcome, reason.
    """
    joined = (
        PLAN.join(RUNS, RUNS.c.run == PLAN.c.run)
        .outerjoin(ANSWERS, ANSWER_OF_PLAN)
        .outerjoin(REJECTS, REJECT_OF_PLAN)
    )
    of_range = func.coalesce(ANSWERS.c.outcome, "pending")
    is_rejected = REJECTS.c.reason.is_not(None)
    query = (
        select(
            RUNS.c.run_id,
            ANSWERS.c.at,
            PLAN.c.before,
            PLAN.c.attributes,
            case((is_rejected, "rejected"), else_=of_range),
            func.coalesce(REJECTS.c.reason, ANSWERS.c.reason),
        )
        .select_from(joined)
        .where(RUNS.c.place == ledger.place, PLAN.c.identifier == identifier)
        .order_by(RUNS.c.run.desc())
    )
    columns = ("run_id", "at", "before", "attributes", "outcome", "reason")
    schema = dict.fromkeys(columns, pl.String) | {"at": pl.Int64}
    frame = _frame(ledger.connection, query, schema)
    return frame.with_columns(pl.from_epoch("at"))


def _frame(
    connection: Connection,
    query: Select[Any],
    schema: dict[str, Any],
) -> pl.DataFrame:
    """Rows as a frame, read in parts: all of them as Python objects would not fit."""
    parts = [pl.DataFrame(schema=schema)]
    streamed = query.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE)
    for rows in connection.execute(streamed).partitions():
        columns = zip(*rows, strict=True)
        series = [
            pl.Series(name, values, dtype)
            for (name, dtype), values in zip(schema.items(), columns, strict=True)
        ]
        parts.append(pl.DataFrame(series))
    connection.commit()
    return pl.concat(parts)
