"""Closes runs: turns their answers into what each user has in Braze.

A run closes itself. If it was killed, the next run closes it, from how far it had
reserved positions.
"""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, case, delete, exists, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from churn.braze.ledger import runs
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.runs import (
    NOT_ATTEMPTED,
    SENT,
    UNKNOWN,
    Result,
    Run,
    update_run,
)
from churn.braze.ledger.tables import (
    ANSWER_OF_PLAN,
    ANSWERS,
    PLAN,
    REJECT_OF_PLAN,
    REJECTS,
    RUNS,
    SYNCED,
)

KEEP_SECONDS = 90 * 86_400
"""Age at which a finished run's plan is deleted; it can't be restored after that."""

INTERRUPTED = "the run was interrupted"
STOPPED = "the run stopped before"


def close_interrupted(ledger: Ledger) -> int:
    """Close the runs that were killed; returns how many users have unknown outcome.

    Users whose request may have been on its way are unconfirmed from now on, so the
    next export sends them all their attributes again.
    """
    unfinished = select(RUNS).where(RUNS.c.finished_at.is_(None))
    n_unknown = 0
    for row in ledger.connection.execute(unfinished).all():
        run = Run(row.run, row.run_id)
        results = []
        for first, last in _unanswered(ledger, run, row.n_users):
            results += _interrupted(first, last, row.reserved)
        runs.record(ledger, run, results)
        n_unknown += sum(r.n_users for r in results if r.outcome == UNKNOWN)
        if row.reserved:
            # A request on its way at the kill may still be applied.
            update_run(ledger, run, lost_at=runs.now())
        _close(ledger, run, row.place, {"error": INTERRUPTED})
    return n_unknown


def _interrupted(
    first: int,
    last: int,
    reserved: int,
) -> list[Result]:
    """Outcome of unanswered positions: unknown if reserved, else not attempted."""
    results = []
    if first < reserved:
        results.append(Result(first, min(last, reserved - 1), UNKNOWN, INTERRUPTED))
    if last >= reserved:
        results.append(Result(max(first, reserved), last, NOT_ATTEMPTED, INTERRUPTED))
    return results


def finish(
    ledger: Ledger,
    run: Run,
    n_users: int,
    summary: dict[str, Any],
    lost: bool,
) -> None:
    """End a run: positions without an answer were not attempted, others are synced.

    ``lost``: a request stayed without an answer, even if its repetition got one.
    """
    results = [
        Result(first, last, NOT_ATTEMPTED, STOPPED)
        for first, last in _unanswered(ledger, run, n_users)
    ]
    runs.record(ledger, run, results)
    if lost:
        update_run(ledger, run, lost_at=runs.now())
    _close(ledger, run, ledger.place, summary)


def _unanswered(
    ledger: Ledger,
    run: Run,
    n_users: int,
) -> Iterator[tuple[int, int]]:
    """Ranges of positions that no answer covers."""
    answered = (
        select(ANSWERS.c.first, ANSWERS.c.last)
        .where(ANSWERS.c.run == run.number)
        .order_by(ANSWERS.c.first)
    )
    expected = 0
    for first, last in [*ledger.connection.execute(answered).all(), (n_users, n_users)]:
        if first > expected:
            yield expected, first - 1
        expected = last + 1


def _close(
    ledger: Ledger,
    run: Run,
    place: int,
    summary: dict[str, Any],
) -> None:
    """Turn a run's answers into synced attributes; delete plans that are too old."""
    connection = ledger.connection
    reached = _reached(run.number).add_columns(literal(place), literal(run.number))
    columns = [
        "identifier",
        "attributes",
        "unsure",
        "place",
        "run",
    ]
    dialects: dict[str, Any] = {"sqlite": sqlite, "postgresql": postgresql}
    dialect = dialects[connection.dialect.name]
    statement = dialect.insert(SYNCED).from_select(columns, reached)
    newest = {
        name: statement.excluded[name] for name in ("attributes", "unsure", "run")
    }
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["place", "identifier"], set_=newest
        )
    )
    if not _has_reached_anybody(ledger, run):
        # Nothing was sent, whatever had been reserved.
        update_run(ledger, run, reserved=0)
    update_run(
        ledger,
        run,
        finished_at=runs.now(),
        summary=json.dumps(summary),
    )
    too_old = select(RUNS.c.run).where(RUNS.c.finished_at < runs.now() - KEEP_SECONDS)
    for table in (PLAN, ANSWERS, REJECTS):
        connection.execute(delete(table).where(table.c.run.in_(too_old)))
    connection.commit()


def _has_reached_anybody(ledger: Ledger, run: Run) -> bool:
    """Whether a request of the run was sent, be it without an answer."""
    answers = exists().where(
        ANSWERS.c.run == run.number, ANSWERS.c.outcome.in_((SENT, UNKNOWN))
    )
    return bool(ledger.connection.scalar(select(answers)))


def _reached(number: int) -> Select[Any]:
    """Users that a run reached or may have: identifier, attributes, unsure.

    They include, as unsure, users who were rejected after an attempt whose answer was
    lost. Sorted as the table is: another order of insertion takes several times longer.
    """
    rejected_but_maybe_applied = func.coalesce(REJECTS.c.unclear, 0)
    unsure = case((ANSWERS.c.outcome == UNKNOWN, 1), else_=rejected_but_maybe_applied)
    return (
        select(PLAN.c.identifier, PLAN.c.after, unsure)
        .select_from(
            ANSWERS.join(PLAN, ANSWER_OF_PLAN).outerjoin(REJECTS, REJECT_OF_PLAN)
        )
        .where(
            ANSWERS.c.run == number,
            ANSWERS.c.outcome.in_((SENT, UNKNOWN)),
            func.coalesce(REJECTS.c.unclear, 1) == 1,
        )
        .order_by(PLAN.c.identifier)
    )
