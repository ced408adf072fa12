"""Writes a run to the ledger: its plan before anything is sent, then each answer.

An answer is one row for a whole range of positions; see ``closing`` for what it means
to each user.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, and_, insert, select, update

from churn.braze.ledger.database import Ledger
from churn.braze.ledger.places import add_names
from churn.braze.ledger.tables import ANSWERS, PLAN, REJECTS, RUNS
from churn.errors import TerminalBrazeError, TransientBrazeError

ROWS_AT_ONCE = 100_000
EXPORT = "export"
"""The step whose runs write scores."""

SENT, UNKNOWN, NOT_ATTEMPTED = "sent", "unknown", "not attempted"
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
    cutoff: date | None = None,
) -> Run:
    """Store a plan, whose rows have the columns CHANGES in the order of sending.

    ``attributes``: the names the plan may write. ``cutoff``: that of its scores. Raises TerminalBrazeError if the run
    id was used before or another run holds the lock.
    """
    connection = ledger.connection
    if not ledger.is_exclusive:
        raise TransientBrazeError("another export is running with this ledger")
    this_run = select(RUNS.c.run).where(RUNS.c.run_id == run_id)
    if connection.scalar(this_run) is not None:
        raise TerminalBrazeError(
            f"run {run_id} is in the ledger already; "
            "every export needs a run id of its own"
        )
    row = {
        "run_id": run_id,
        "place": ledger.place,
        "what": step,
        "reserved": 0,
    }
    row |= {
        "started_at": now(),
        "n_users": changes.height,
        "cutoff": None if cutoff is None else cutoff.isoformat(),
    }
    connection.execute(insert(RUNS).values(**row))
    number = int(connection.scalar(this_run) or 0)
    add_names(connection, ledger.place, attributes)
    rows = changes.select(list(CHANGES)).with_row_index("position")
    for part in rows.iter_slices(ROWS_AT_ONCE):
        _insert_many(connection, PLAN, part.with_columns(run=pl.lit(number)))
    connection.commit()
    return Run(number, run_id)


def record(
    ledger: Ledger,
    run: Run,
    results: Sequence[Result],
    reserve: int | None = None,
) -> None:
    """Commit results and, with ``reserve``, up to where requests may be on their way.

    ``reserve``: requests for positions below it may be sent from now on. Raises
    TerminalBrazeError, and commits nothing, if the run has been closed.
    """
    _raise_if_closed(ledger, run)
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
        update_run(ledger, run, lost_at=at)
    if reserve is not None:
        update_run(ledger, run, reserved=reserve)
    ledger.connection.commit()


def now() -> int:
    """The clock in epoch seconds."""
    return int(time.time())


def update_run(ledger: Ledger, run: Run, **values: Any) -> None:
    """Set columns of the run's row."""
    here = RUNS.c.run == run.number
    ledger.connection.execute(update(RUNS).where(here).values(**values))


def _raise_if_closed(ledger: Ledger, run: Run) -> None:
    """Raise TerminalBrazeError if another process has closed this run.

    That happens where the lock doesn't hold, such as on some network drives: every
    export first closes runs that seem interrupted. The one closed must not go on. The
    row is updated so that nobody can close the run before this transaction ends.
    """
    is_open = and_(RUNS.c.run == run.number, RUNS.c.finished_at.is_(None))
    unchanged = update(RUNS).where(is_open).values(reserved=RUNS.c.reserved)
    if ledger.connection.execute(unchanged).rowcount == 0:
        ledger.connection.rollback()
        raise TerminalBrazeError(
            f"run {run.run_id} was closed by another export that used the ledger at "
            "the same time, so this one stopped: is the ledger on a network drive, "
            "where locks may not hold?"
        )


def _insert_many(
    connection: Connection,
    table: Table,
    rows: pl.DataFrame,
) -> None:
    """Insert rows through the driver: SQLAlchemy's own way takes half as long again."""
    statement = insert(table).compile(
        dialect=connection.dialect, column_keys=rows.columns
    )
    ordered = rows.select(statement.positiontup or rows.columns)
    values: Any = (
        list(ordered.iter_rows()) if statement.positional else ordered.to_dicts()
    )
    connection.exec_driver_sql(statement.string, values)
