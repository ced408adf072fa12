"""The ledger's tables.

A *place* is one endpoint, workspace and kind of identifier: what a sandbox acknowledged
says nothing about production. A *position* is a row of a run's plan, counted from 0 in
the order of sending. All times are epoch seconds.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    and_,
)

SCHEMA_VERSION = 3

metadata = MetaData()


def _table(name: str, *columns: Any) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def _key(name: str, kind: Any = Integer) -> Column[Any]:
    return Column(
        name,
        kind,
        primary_key=True,
        autoincrement=False,
    )


def _required(name: str, kind: Any = String) -> Column[Any]:
    return Column(name, kind, nullable=False)


SCHEMA = Table("churn_schema", metadata, Column("version", Integer, primary_key=True))

PLACES = Table(
    "churn_places",
    metadata,
    Column("place", Integer, primary_key=True),
    _required("endpoint"),
    _required("workspace"),
    _required("kind"),
    # A JSON list of every attribute ever written at this place.
    _required("names"),
    UniqueConstraint("endpoint", "workspace", "kind"),
)

# Keys that a workspace was written with; a fingerprint doesn't show the key.
KEYS = _table(
    "churn_keys",
    _key("endpoint", String),
    _key("workspace", String),
    _key("fingerprint", String),
    _required("salt"),
)

SYNCED = _table(
    "churn_told",
    _key("place"),
    _key("identifier", String),
    # A JSON object; an attribute that was removed is null.
    _required("attributes"),
    # 1 if the values were sent but never acknowledged.
    _required("unsure", Integer),
    _required("run", Integer),
)

RUNS = Table(
    "churn_runs",
    metadata,
    Column("run", Integer, primary_key=True),
    Column(
        "run_id",
        String,
        nullable=False,
        unique=True,
    ),
    _required("place", Integer),
    _required("what"),
    _required("started_at", BigInteger),
    Column("finished_at", BigInteger),
    # Requests for positions below this one may have been sent.
    _required("reserved", Integer),
    # When a request last stayed without an answer.
    Column("lost_at", BigInteger),
    _required("n_users", Integer),
    Column("summary", String),
    # The scores' cutoff as an ISO date; null for a run that wrote no scores, and for
    # runs of ledgers that did not keep it yet.
    Column("cutoff", String),
)

PLAN = _table(
    "churn_plan",
    _key("run"),
    _key("position"),
    _required("identifier"),
    _required("before"),
    _required("after"),
    _required("attributes"),
)

ANSWERS = _table(
    "churn_answers",
    _key("run"),
    _key("first"),
    _required("last", Integer),
    # "sent", "unknown" or "not attempted".
    _required("outcome"),
    _required("reason"),
    _required("at", BigInteger),
)

REJECTS = _table(
    "churn_rejects",
    _key("run"),
    _key("position"),
    _required("reason"),
    # 1 if an earlier attempt, whose answer was lost, may have been applied.
    _required("unclear", Integer),
)

FORGOTTEN = _table("churn_forgotten", _key("place"), _key("identifier", String))

ANSWER_OF_PLAN = and_(
    PLAN.c.run == ANSWERS.c.run,
    PLAN.c.position.between(ANSWERS.c.first, ANSWERS.c.last),
)
"""Joins a row of a plan to the answer whose range holds its position."""

REJECT_OF_PLAN = and_(
    REJECTS.c.run == PLAN.c.run, REJECTS.c.position == PLAN.c.position
)
"""Joins a row of a plan to its rejection."""
