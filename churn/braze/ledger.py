"""What Braze acknowledged: the basis for sending only what changed and for going on
after a break.

A run's plan is frozen here before anything is sent. While it runs, each acknowledgement
adds one row for a whole range of the plan; what it means for the users is worked out at
the end, or by the next run where this one was killed.
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
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from churn.braze.database import (
    ANSWERS,
    FORGOTTEN,
    PLACES,
    PLAN,
    REJECTS,
    RUNS,
    TOLD,
    Ledger,
    add_names,
)
from churn.errors import TerminalBrazeError

ROWS = 100_000  # read and written at once
NAMES = 500  # in one statement
KEEP_SECONDS = (
    90 * 86_400
)  # plans of older runs are dropped: they can't be restored any more
SENT, UNKNOWN, NOT_ATTEMPTED = "sent", "unknown", "not attempted"
CHANGES = {
    "identifier": pl.String,
    "before": pl.String,
    "after": pl.String,
    "attributes": pl.String,
}
INTERRUPTED = "the run was interrupted"
COVERED = and_(
    PLAN.c.run == ANSWERS.c.run,
    PLAN.c.position.between(ANSWERS.c.first, ANSWERS.c.last),
)
REFUSED = and_(REJECTS.c.run == PLAN.c.run, REJECTS.c.position == PLAN.c.position)
REFUSED_WRITES = REJECTS.join(PLAN, REFUSED).join(RUNS, RUNS.c.run == REJECTS.c.run)


@dataclass(frozen=True)
class Result:
    """What became of a range of the plan: ``outcome`` of all but the rejected, whose
    reasons stand by position.

    ``unclear``: the rejected may have been reached by an earlier try, whose answer was
    lost.
    """

    first: int
    last: int
    outcome: str
    reason: str = ""
    rejected: tuple[tuple[int, str], ...] = ()
    unclear: bool = False


@dataclass(frozen=True)
class Run:
    """A run under way: its number in the ledger, and its id."""

    number: int
    run_id: str


def told(book: Ledger) -> pl.DataFrame:
    """What each user of this place was last told: identifier, attributes (JSON text),
    unsure.

    ``unsure``: it was sent, and nobody knows whether it arrived.
    """
    wanted = select(TOLD.c.identifier, TOLD.c.attributes, TOLD.c.unsure).where(
        TOLD.c.place == book.place
    )
    schema = {"identifier": pl.String, "attributes": pl.String, "unsure": pl.Int64}
    return _frame(book.connection, wanted, schema).with_columns(
        pl.col("unsure").cast(pl.Boolean)
    )


def _frame(
    connection: Connection, wanted: Select[Any], schema: dict[str, Any]
) -> pl.DataFrame:
    """Rows as a frame, a part at a time: as Python objects all of them would need many
    times the memory.
    """
    parts = []
    for part in connection.execute(
        wanted.execution_options(stream_results=True, yield_per=ROWS)
    ).partitions():
        columns = zip(schema.items(), zip(*part, strict=True), strict=True)
        parts.append(
            pl.DataFrame(
                [pl.Series(name, values, kind) for (name, kind), values in columns]
            )
        )
    connection.commit()
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def names(book: Ledger) -> list[str]:
    """Every attribute that was ever told here."""
    found: list[str] = json.loads(
        book.connection.scalar(
            select(PLACES.c.names).where(PLACES.c.place == book.place)
        )
        or "[]"
    )
    return found


def start(
    book: Ledger,
    run_id: str,
    what: str,
    changes: pl.DataFrame,
    attributes: Iterable[str],
) -> Run:
    """Freeze a plan: rows of CHANGES in the order of sending. A run id is used once:
    else TerminalBrazeError.
    """
    if not book.is_alone:
        raise TerminalBrazeError("another export is running with this ledger")
    facts = {
        "run_id": run_id,
        "place": book.place,
        "what": what,
        "started_at": _now(),
        "reserved": 0,
    }
    if (
        book.connection.scalar(select(RUNS.c.run).where(RUNS.c.run_id == run_id))
        is not None
    ):
        raise TerminalBrazeError(
            f"run {run_id} is in the ledger already; every export needs a run id of its own"
        )
    book.connection.execute(insert(RUNS).values(**facts, n_users=changes.height))
    number = (
        book.connection.scalar(select(RUNS.c.run).where(RUNS.c.run_id == run_id)) or 0
    )
    add_names(book.connection, book.place, attributes)
    for part in (
        changes.select(list(CHANGES)).with_row_index("position").iter_slices(ROWS)
    ):
        _insert_many(book.connection, PLAN, part.with_columns(run=pl.lit(number)))
    book.connection.commit()
    return Run(int(number), run_id)


def _insert_many(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    """Rows handed to the driver as they are: SQLAlchemy's own way of many rows takes
    half as long again.
    """
    statement = insert(table).compile(
        dialect=connection.dialect, column_keys=rows.columns
    )
    ordered = rows.select(statement.positiontup or rows.columns)
    values: Any = (
        list(ordered.iter_rows()) if statement.positional else ordered.to_dicts()
    )
    connection.exec_driver_sql(statement.string, values)


def record(
    book: Ledger, run: Run, results: Sequence[Result], reserve: int | None = None
) -> None:
    """Make durable, in one transaction, what became of ranges, and up to where the next
    may be under way.
    """
    at = _now()
    answered = [
        {
            "run": run.number,
            "first": r.first,
            "last": r.last,
            "outcome": r.outcome,
            "reason": r.reason,
            "at": at,
        }
        for r in results
    ]
    refused = [
        {"run": run.number, "position": p, "reason": why, "unclear": int(r.unclear)}
        for r in results
        for p, why in r.rejected
    ]
    changed = {"lost_at": at} if any(r.outcome == UNKNOWN for r in results) else {}
    changed |= {"reserved": reserve} if reserve is not None else {}
    for table, rows in ((ANSWERS, answered), (REJECTS, refused)):
        if rows:
            book.connection.execute(insert(table), rows)
    if changed:
        book.connection.execute(
            update(RUNS).where(RUNS.c.run == run.number).values(**changed)
        )
    book.connection.commit()


def settle(book: Ledger) -> int:
    """Close the runs that were killed; returns for how many users nobody knows whether
    they were reached.

    Whoever may have been under way counts as unknown and is told again by the next
    export, whatever it finds.
    """
    open_runs = book.connection.execute(
        select(RUNS).where(RUNS.c.finished_at.is_(None))
    ).all()
    n_unknown = 0
    for row in open_runs:
        run = Run(row.run, row.run_id)
        gaps = list(_gaps(book, run, row.n_users))
        sides = [
            (f, min(t, row.reserved - 1), UNKNOWN) for f, t in gaps if f < row.reserved
        ]
        sides += [
            (max(f, row.reserved), t, NOT_ATTEMPTED)
            for f, t in gaps
            if t >= row.reserved
        ]
        record(
            book, run, [Result(f, t, outcome, INTERRUPTED) for f, t, outcome in sides]
        )
        n_unknown += sum(t - f + 1 for f, t, outcome in sides if outcome == UNKNOWN)
        if row.reserved:  # whatever was under way when it was killed may still arrive
            book.connection.execute(
                update(RUNS).where(RUNS.c.run == row.run).values(lost_at=_now())
            )
        _close(book, run, row.place, {"error": INTERRUPTED})
    return n_unknown


def finish(
    book: Ledger, run: Run, n_users: int, summary: dict[str, Any], lost: bool
) -> None:
    """End a run: what was never sent is noted as such, and what was sent becomes what
    users were told.
    """
    left = [
        Result(first, last, NOT_ATTEMPTED, "the run stopped before")
        for first, last in _gaps(book, run, n_users)
    ]
    record(book, run, left)
    if lost:
        book.connection.execute(
            update(RUNS).where(RUNS.c.run == run.number).values(lost_at=_now())
        )
    _close(book, run, book.place, summary)


def _gaps(book: Ledger, run: Run, n_users: int) -> Iterator[tuple[int, int]]:
    """Ranges of positions that no answer covers."""
    mine = (
        select(ANSWERS.c.first, ANSWERS.c.last)
        .where(ANSWERS.c.run == run.number)
        .order_by(ANSWERS.c.first)
    )
    expected = 0
    for first, last in [*book.connection.execute(mine).all(), (n_users, n_users)]:
        if first > expected:
            yield expected, first - 1
        expected = last + 1


def _close(book: Ledger, run: Run, place: int, summary: dict[str, Any]) -> None:
    """Work the run's answers into what users were told, and drop plans that are too old
    to be restored.
    """
    reached = _reached(run.number).add_columns(literal(place), literal(run.number))
    columns = ["identifier", "attributes", "unsure", "place", "run"]
    dialect: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[
        book.connection.dialect.name
    ]
    statement = dialect(TOLD).from_select(columns, reached)
    new = {name: statement.excluded[name] for name in ("attributes", "unsure", "run")}
    done = {"finished_at": _now(), "summary": json.dumps(summary)}
    old = select(RUNS.c.run).where(RUNS.c.finished_at < _now() - KEEP_SECONDS)
    book.connection.execute(
        statement.on_conflict_do_update(
            index_elements=["place", "identifier"], set_=new
        )
    )
    book.connection.execute(update(RUNS).where(RUNS.c.run == run.number).values(**done))
    for table in (PLAN, ANSWERS, REJECTS):
        book.connection.execute(delete(table).where(table.c.run.in_(old)))
    book.connection.commit()


def _reached(number: int) -> Select[Any]:
    """Users whom a run told something, or may have: identifier, what they were told,
    unsure.

    Those who were rejected after an earlier try are in, as unsure.
    """
    unsure = case(
        (ANSWERS.c.outcome == UNKNOWN, 1), else_=func.coalesce(REJECTS.c.unclear, 0)
    )
    return (
        select(PLAN.c.identifier, PLAN.c.after, unsure)
        .select_from(ANSWERS.join(PLAN, COVERED).outerjoin(REJECTS, REFUSED))
        .where(
            ANSWERS.c.run == number,
            ANSWERS.c.outcome.in_((SENT, UNKNOWN)),
            func.coalesce(REJECTS.c.unclear, 1) == 1,
        )
        .order_by(
            PLAN.c.identifier
        )  # as the table is: rows in another order cost several times as much
    )


def lost_at(book: Ledger) -> int:
    """When a request to this place was last left without an answer, in epoch seconds;
    0: never.
    """
    at = book.connection.scalar(
        select(func.max(RUNS.c.lost_at)).where(RUNS.c.place == book.place)
    )
    book.connection.commit()  # no transaction stays open while somebody waits
    return int(at or 0)


def answer_seconds(book: Ledger) -> float | None:
    """How long an answer took on average in the newest run to this place that had any;
    null before the first.
    """
    mine = select(RUNS.c.summary).where(
        RUNS.c.place == book.place, RUNS.c.summary.is_not(None)
    )
    for summary in book.connection.scalars(mine.order_by(RUNS.c.run.desc()).limit(10)):
        if seconds := json.loads(summary).get("answer_seconds"):
            return float(seconds)
    return None


def restorable(book: Ledger, run_id: str) -> pl.DataFrame:
    """The plan of a run, of those users alone whom no later run has told anything:
    CHANGES.

    Raises TerminalBrazeError for a run that isn't of this place, or whose plan is no
    longer kept.
    """
    here = and_(RUNS.c.run_id == run_id, RUNS.c.place == book.place)
    found = book.connection.execute(
        select(RUNS.c.run, RUNS.c.n_users).where(here)
    ).first()
    if found is None:
        raise TerminalBrazeError(
            f"the ledger knows no run {run_id} to this endpoint and workspace"
        )
    number, n_users = found
    if n_users and not book.connection.scalar(
        select(exists().where(PLAN.c.run == number))
    ):
        raise TerminalBrazeError(
            f"what run {run_id} told is no longer kept; nobody can take it back"
        )
    newest = and_(
        TOLD.c.place == book.place,
        TOLD.c.identifier == PLAN.c.identifier,
        TOLD.c.run == number,
    )
    wanted = select(*[PLAN.c[name] for name in CHANGES]).select_from(
        PLAN.join(TOLD, newest)
    )
    return _frame(
        book.connection,
        wanted.where(PLAN.c.run == number).order_by(PLAN.c.position),
        CHANGES,
    )


def runs(book: Ledger) -> pl.DataFrame:
    """The runs to this place, newest first: run_id, what, started_at, finished_at,
    n_users and how many by outcome.

    ``n_pending``: planned and without an outcome yet, or for good where the run was
    killed and none came after it.
    """
    counted = func.coalesce(func.sum(ANSWERS.c.last - ANSWERS.c.first + 1), 0)
    by_outcome = {
        outcome: select(counted)
        .where(ANSWERS.c.run == RUNS.c.run, ANSWERS.c.outcome == outcome)
        .scalar_subquery()
        for outcome in (SENT, UNKNOWN, NOT_ATTEMPTED)
    }
    n_rejected = (
        select(func.count()).where(REJECTS.c.run == RUNS.c.run).scalar_subquery()
    )
    counts = [column.label(outcome) for outcome, column in by_outcome.items()]
    facts = [
        RUNS.c[name]
        for name in ("run_id", "what", "started_at", "finished_at", "n_users")
    ]
    wanted = select(*facts, *counts, n_rejected.label("rejected")).where(
        RUNS.c.place == book.place
    )
    schema = {"run_id": pl.String, "what": pl.String} | dict.fromkeys(
        [
            "started_at",
            "finished_at",
            "n_users",
            SENT,
            UNKNOWN,
            NOT_ATTEMPTED,
            "rejected",
        ],
        pl.Int64,
    )
    found = _frame(book.connection, wanted.order_by(RUNS.c.run.desc()), schema)
    return found.with_columns(
        pl.from_epoch("started_at"),
        pl.from_epoch("finished_at"),
        pl.col(SENT) - pl.col("rejected"),  # an answered range counts them too
        pending=pl.col("n_users") - pl.sum_horizontal(SENT, UNKNOWN, NOT_ATTEMPTED),
    )


def rejected(book: Ledger, run_id: str) -> pl.DataFrame:
    """Whom Braze refused in a run: identifier, attributes (JSON text), reason."""
    wanted = select(PLAN.c.identifier, PLAN.c.attributes, REJECTS.c.reason).select_from(
        REFUSED_WRITES
    )
    mine = wanted.where(RUNS.c.run_id == run_id, RUNS.c.place == book.place).order_by(
        REJECTS.c.position
    )
    return _frame(
        book.connection,
        mine,
        dict.fromkeys(("identifier", "attributes", "reason"), pl.String),
    )


def refusals(book: Ledger) -> pl.DataFrame:
    """Writes that Braze refused in the runs still kept: identifier, attributes, n (how
    often).
    """
    wanted = select(PLAN.c.identifier, PLAN.c.attributes, func.count()).select_from(
        REFUSED_WRITES
    )
    mine = wanted.where(RUNS.c.place == book.place).group_by(
        PLAN.c.identifier, PLAN.c.attributes
    )
    return _frame(
        book.connection,
        mine,
        {"identifier": pl.String, "attributes": pl.String, "n": pl.Int64},
    )


def kinds(book: Ledger) -> list[str]:
    """Every kind of identifier by which anybody was ever told, wherever."""
    return list(book.connection.scalars(select(PLACES.c.kind).distinct()))


def history(book: Ledger, identifier: str) -> pl.DataFrame:
    """What one user was sent, newest first: run_id, at, before, attributes, outcome,
    reason.
    """
    joined = (
        PLAN.join(RUNS, RUNS.c.run == PLAN.c.run)
        .outerjoin(ANSWERS, COVERED)
        .outerjoin(REJECTS, REFUSED)
    )
    outcome = case(
        (REJECTS.c.reason.is_not(None), "rejected"),
        else_=func.coalesce(ANSWERS.c.outcome, "pending"),
    )
    wanted = select(
        RUNS.c.run_id,
        ANSWERS.c.at,
        PLAN.c.before,
        PLAN.c.attributes,
        outcome,
        func.coalesce(REJECTS.c.reason, ANSWERS.c.reason),
    ).select_from(joined)
    mine = wanted.where(
        RUNS.c.place == book.place, PLAN.c.identifier == identifier
    ).order_by(RUNS.c.run.desc())
    schema = dict.fromkeys(
        ("run_id", "at", "before", "attributes", "outcome", "reason"), pl.String
    )
    return _frame(book.connection, mine, schema | {"at": pl.Int64}).with_columns(
        pl.from_epoch("at")
    )


def forget(book: Ledger, identifiers: Sequence[str], kind: str | None = None) -> int:
    """Forget users everywhere in the database; returns how many of them Braze is yet to
    be told to forget.

    Plans and rejects go at once. What Braze was told, at any endpoint, is kept until a
    null write has taken it back. ``kind`` of the identifiers; null: this place's.
    """
    settle(book)
    places = select(PLACES.c.place).where(PLACES.c.kind == (kind or book.kind))
    n_waiting = 0
    _drop_plans(book, identifiers)
    for who in identifiers:
        mine = and_(TOLD.c.identifier == who, TOLD.c.place.in_(places))
        waiting = [
            row.place
            for row in book.connection.execute(select(TOLD).where(mine))
            if not _is_gone(row)
        ]
        book.connection.execute(delete(TOLD).where(mine, TOLD.c.place.not_in(waiting)))
        book.connection.execute(
            delete(FORGOTTEN).where(
                FORGOTTEN.c.identifier == who, FORGOTTEN.c.place.in_(places)
            )
        )
        if waiting:
            book.connection.execute(
                insert(FORGOTTEN),
                [{"place": place, "identifier": who} for place in waiting],
            )
        n_waiting += bool(waiting)
    book.connection.commit()
    _checkpoint(book)
    return n_waiting


def _drop_plans(book: Ledger, identifiers: Sequence[str]) -> None:
    """Remove people from all plans; that somebody was refused stays, so that a run's
    counts stay right.
    """
    for start in range(0, len(identifiers), NAMES):
        theirs = PLAN.c.identifier.in_(identifiers[start : start + NAMES])
        refused = exists().where(REFUSED, theirs)
        book.connection.execute(
            update(REJECTS).where(refused).values(reason="forgotten")
        )
        book.connection.execute(delete(PLAN).where(theirs))


def _is_gone(row: Any) -> bool:
    return not row.unsure and not any(
        value is not None for value in json.loads(row.attributes).values()
    )


def forgotten(book: Ledger) -> list[str]:
    """Identifiers that this place was told of and is yet to forget."""
    return list(
        book.connection.scalars(
            select(FORGOTTEN.c.identifier).where(FORGOTTEN.c.place == book.place)
        )
    )


def bury(book: Ledger) -> None:
    """Drop whatever is left of forgotten users once Braze has acknowledged that all
    their attributes are gone.
    """
    waiting = forgotten(book)
    buried = []
    for who in waiting:
        mine = and_(TOLD.c.place == book.place, TOLD.c.identifier == who)
        row = book.connection.execute(select(TOLD).where(mine)).first()
        if row is None or _is_gone(row):
            book.connection.execute(delete(TOLD).where(mine))
            gone = and_(FORGOTTEN.c.place == book.place, FORGOTTEN.c.identifier == who)
            book.connection.execute(delete(FORGOTTEN).where(gone))
            buried.append(who)
    _drop_plans(book, buried)
    book.connection.commit()
    if waiting:
        _checkpoint(book)


def _checkpoint(book: Ledger) -> None:
    """Let SQLite's write-ahead log go too, which still holds the deleted rows."""
    if book.connection.dialect.name == "sqlite":
        book.connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _now() -> int:
    return int(time.time())
