"""Writes runs to the ledger: start, record, finish.

A run's plan is stored before anything is sent. While the run sends, each answer adds
one row for a whole range of positions. What the answers mean for each user is worked
out when the run finishes, or by the next run if this one was killed.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import (
    Connection,
    Select,
    Table,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from churn.braze.ledger.database import Ledger, add_names
from churn.braze.ledger.tables import (
    ANSWER_OF_PLAN,
    ANSWERS,
    PLAN,
    REJECT_OF_PLAN,
    REJECTS,
    RUNS,
    SYNCED,
)
from churn.errors import TerminalBrazeError

ROWS_AT_ONCE = 100_000
KEEP_SECONDS = 90 * 86_400
"""Age at which a finished run's plan is deleted; it can't be restored after that."""

SENT, UNKNOWN, NOT_ATTEMPTED = "sent", "unknown", "not attempted"
INTERRUPTED = "the run was interrupted"
STOPPED = "the run stopped before"
CHANGES = {
    "identifier": pl.String,
    "before": pl.String,
    "after": pl.String,
    "attributes": pl.String,
}
"""Columns of a stored plan: who, and as JSON text what Braze had, will have and is
sent.
"""


@dataclass(frozen=True)
class Result:
    """The outcome of the positions ``first`` to ``last``, both included.

    ``rejected`` lists positions inside the range that Braze rejected, with reasons;
    ``outcome`` holds for all others. ``may_be_applied``: an earlier attempt, whose
    answer was lost, may have been applied to the rejected users.
    """

    first: int
    last: int
    outcome: str
    reason: str = ""
    rejected: tuple[tuple[int, str], ...] = ()
    may_be_applied: bool = False

    @property
    def n_users(self) -> int:
        """Positions in the range."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Run:
    """A run in progress: its number in the ledger, and its id."""

    number: int
    run_id: str


def start(
    ledger: Ledger,
    run_id: str,
    step: str,
    changes: pl.DataFrame,
    attributes: Iterable[str],
) -> Run:
    """Store a plan, whose rows have the columns CHANGES in the order of sending.

    ``attributes``: the names the plan may write. Raises TerminalBrazeError if the run
    id was used before or another run holds the lock.
    """
    connection = ledger.connection
    if not ledger.is_exclusive:
        raise TerminalBrazeError("another export is running with this ledger")
    this_run = select(RUNS.c.run).where(RUNS.c.run_id == run_id)
    if connection.scalar(this_run) is not None:
        raise TerminalBrazeError(
            f"run {run_id} is in the ledger already; "
            "every export needs a run id of its own"
        )
    row = {"run_id": run_id, "place": ledger.place, "what": step, "reserved": 0}
    row |= {"started_at": now(), "n_users": changes.height}
    connection.execute(insert(RUNS).values(**row))
    number = int(connection.scalar(this_run) or 0)
    add_names(connection, ledger.place, attributes)
    rows = changes.select(list(CHANGES)).with_row_index("position")
    for part in rows.iter_slices(ROWS_AT_ONCE):
        _insert_many(connection, PLAN, part.with_columns(run=pl.lit(number)))
    connection.commit()
    return Run(number, run_id)


def record(
    ledger: Ledger, run: Run, results: Sequence[Result], reserve: int | None = None
) -> None:
    """Commit results and, with ``reserve``, up to where requests may be on their way.

    ``reserve``: requests for positions below it may be sent from now on.
    """
    at = now()
    answers = [
        {
            "run": run.number,
            "first": result.first,
            "last": result.last,
            "outcome": result.outcome,
            "reason": result.reason,
            "at": at,
        }
        for result in results
    ]
    rejects = [
        {
            "run": run.number,
            "position": position,
            "reason": reason,
            "unclear": int(result.may_be_applied),
        }
        for result in results
        for position, reason in result.rejected
    ]
    for table, rows in ((ANSWERS, answers), (REJECTS, rejects)):
        if rows:
            ledger.connection.execute(insert(table), rows)
    if any(result.outcome == UNKNOWN for result in results):
        _update_run(ledger, run, lost_at=at)
    if reserve is not None:
        _update_run(ledger, run, reserved=reserve)
    ledger.connection.commit()


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
        record(ledger, run, results)
        n_unknown += sum(r.n_users for r in results if r.outcome == UNKNOWN)
        if row.reserved:
            # A request on its way at the kill may still be applied.
            _update_run(ledger, run, lost_at=now())
        _close(ledger, run, row.place, {"error": INTERRUPTED})
    return n_unknown


def _interrupted(first: int, last: int, reserved: int) -> list[Result]:
    """Outcome of unanswered positions: unknown if reserved, else not attempted."""
    results = []
    if first < reserved:
        results.append(Result(first, min(last, reserved - 1), UNKNOWN, INTERRUPTED))
    if last >= reserved:
        results.append(Result(max(first, reserved), last, NOT_ATTEMPTED, INTERRUPTED))
    return results


def finish(
    ledger: Ledger, run: Run, n_users: int, summary: dict[str, Any], lost: bool
) -> None:
    """End a run: positions without an answer were not attempted, others are synced.

    ``lost``: a request stayed without an answer, even if its repetition got one.
    """
    results = [
        Result(first, last, NOT_ATTEMPTED, STOPPED)
        for first, last in _unanswered(ledger, run, n_users)
    ]
    record(ledger, run, results)
    if lost:
        _update_run(ledger, run, lost_at=now())
    _close(ledger, run, ledger.place, summary)


def now() -> int:
    """The clock in epoch seconds."""
    return int(time.time())


def _unanswered(ledger: Ledger, run: Run, n_users: int) -> Iterator[tuple[int, int]]:
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


def _update_run(ledger: Ledger, run: Run, **values: Any) -> None:
    here = RUNS.c.run == run.number
    ledger.connection.execute(update(RUNS).where(here).values(**values))


def _close(ledger: Ledger, run: Run, place: int, summary: dict[str, Any]) -> None:
    """Turn a run's answers into synced attributes; delete plans that are too old."""
    connection = ledger.connection
    reached = _reached(run.number).add_columns(literal(place), literal(run.number))
    columns = ["identifier", "attributes", "unsure", "place", "run"]
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
    _update_run(ledger, run, finished_at=now(), summary=json.dumps(summary))
    too_old = select(RUNS.c.run).where(RUNS.c.finished_at < now() - KEEP_SECONDS)
    for table in (PLAN, ANSWERS, REJECTS):
        connection.execute(delete(table).where(table.c.run.in_(too_old)))
    connection.commit()


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


def _insert_many(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    """Insert rows through the driver: SQLAlchemy's own way takes half as long again."""
    statement = insert(table).compile(
        dialect=connection.dialect, column_keys=rows.columns
    )
    ordered = rows.select(statement.positiontup or rows.columns)
    values: Any = (
        list(ordered.iter_rows()) if statement.positional else ordered.to_dicts()
    )
    connection.exec_driver_sql(statement.string, values)
