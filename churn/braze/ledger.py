"""What Braze acknowledged, in SQL: the basis for sending only what changed and for resuming after a break."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from churn.errors import TerminalBrazeError

SCHEMA_VERSION = 1
_metadata = MetaData()
_schema = Table("churn_schema", _metadata, Column("version", Integer, primary_key=True))
_told = Table(
    "churn_told",
    _metadata,
    *[Column(n, String, primary_key=True) for n in ("endpoint", "workspace", "kind", "identifier", "attribute")],
    Column("value", String, nullable=False),  # JSON; 'null' once the attribute was removed
    Column("run_id", String, nullable=False),
    Column("acknowledged_at", DateTime(timezone=True), nullable=False),
)
_runs = Table(
    "churn_runs",
    _metadata,
    Column("run_id", String, primary_key=True),
    Column("endpoint", String, nullable=False),
    Column("workspace", String, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("summary", String),
)
_forgotten = Table(
    "churn_forgotten",
    _metadata,
    *[Column(n, String, primary_key=True) for n in ("endpoint", "workspace", "kind", "identifier")],
)
_rejects = Table(
    "churn_rejects",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("identifier", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)


@dataclass(frozen=True)
class Ledger:
    """One place of delivery in one database: what a sandbox was told says nothing about production."""

    engine: Engine
    endpoint: str
    workspace: str
    kind: str


@contextmanager
def opened(url: str, endpoint: str, workspace: str, kind: str) -> Iterator[Ledger]:
    """Connect, make the tables where they are missing, and let go of every connection afterwards.

    Raises TerminalBrazeError, whose message doesn't show the URL's password.
    """
    engine = _connect(url)
    try:
        yield Ledger(engine, endpoint, workspace, kind)
    finally:
        engine.dispose()


def exists(url: str) -> bool:
    """Whether there is a ledger to open: a file of SQLite's, or any other database."""
    address = make_url(url)
    return address.get_backend_name() != "sqlite" or Path(address.database or "").exists()


def _connect(url: str) -> Engine:
    try:
        address = make_url(url)
    except SQLAlchemyError:
        raise TerminalBrazeError("the ledger's address can't be read; write one like sqlite:///ledger.db") from None
    if address.get_backend_name() == "sqlite" and address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(address)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _durable)
        _metadata.create_all(engine)
        _check_version(engine)
    except (SQLAlchemyError, ImportError) as error:
        shown = address.render_as_string(hide_password=True)
        raise TerminalBrazeError(f"the ledger {shown} can't be opened ({type(error).__name__})") from None
    return engine


def _durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _check_version(engine: Engine) -> None:
    with engine.begin() as connection:
        version = connection.execute(select(_schema.c.version)).scalar()
        if version is None:
            connection.execute(insert(_schema).values(version=SCHEMA_VERSION))
        elif version != SCHEMA_VERSION:
            raise TerminalBrazeError(f"the ledger has schema version {version}, this program writes {SCHEMA_VERSION}")


@contextmanager
def _writing(ledger: Ledger) -> Iterator[Connection]:
    """One durable transaction; a database that fails stops the run in one sentence."""
    try:
        with ledger.engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise TerminalBrazeError(
            f"the ledger can't be written ({type(error).__name__}); nothing more is sent"
        ) from None


def told(ledger: Ledger, attributes: Sequence[str]) -> pl.DataFrame:
    """The last acknowledged values: identifier, attribute, value (JSON text).

    Of these attributes only; of users who are to be forgotten, of every attribute they were ever told.
    """
    erased = _told.c.identifier.in_(select(_forgotten.c.identifier).where(_here(_forgotten, ledger)))
    wanted = _here(_told, ledger) & (_told.c.attribute.in_(attributes) | erased)
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(_told.c.identifier, _told.c.attribute, _told.c.value).where(wanted)).all()
    schema = {"identifier": pl.String, "attribute": pl.String, "value": pl.String}
    return pl.DataFrame([tuple(r) for r in rows], schema=schema, orient="row")


def record(ledger: Ledger, run_id: str, objects: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Keep what one acknowledged batch told, in one transaction: pairs of identifier and its attributes."""
    now = datetime.now(UTC)
    place = {"endpoint": ledger.endpoint, "workspace": ledger.workspace, "kind": ledger.kind}
    rows = [
        {
            **place,
            "identifier": who,
            "attribute": name,
            "value": json.dumps(value),
            "run_id": run_id,
            "acknowledged_at": now,
        }
        for who, values in objects
        for name, value in values.items()
    ]
    if not rows:
        return
    statement: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[ledger.engine.dialect.name](_told)
    changed = {name: statement.excluded[name] for name in ("value", "run_id", "acknowledged_at")}
    upsert = statement.on_conflict_do_update(index_elements=list(_told.primary_key), set_=changed)
    with _writing(ledger) as connection:
        connection.execute(upsert, rows)


def reject(ledger: Ledger, run_id: str, refused: Sequence[tuple[str, str]]) -> None:
    """Keep who was refused and why: pairs of identifier and reason."""
    now = datetime.now(UTC)
    rows = [{"run_id": run_id, "identifier": who, "reason": why, "at": now} for who, why in refused]
    if rows:
        with _writing(ledger) as connection:
            connection.execute(insert(_rejects), rows)


def start_run(ledger: Ledger, run_id: str) -> None:
    """Note that a run began. A run id is used once: a second start raises TerminalBrazeError."""
    row = {
        "run_id": run_id,
        "endpoint": ledger.endpoint,
        "workspace": ledger.workspace,
        "started_at": datetime.now(UTC),
    }
    try:
        with ledger.engine.begin() as connection:
            connection.execute(insert(_runs), [row])
    except IntegrityError:
        raise TerminalBrazeError(
            f"run {run_id} is in the ledger already; every export needs a run id of its own"
        ) from None


def finish_run(ledger: Ledger, run_id: str, summary: dict[str, Any]) -> None:
    """Note that a run ended, with its counts."""
    done = {"finished_at": datetime.now(UTC), "summary": json.dumps(summary)}
    with _writing(ledger) as connection:
        connection.execute(update(_runs).where(_runs.c.run_id == run_id).values(**done))


def forget(ledger: Ledger, identifiers: Sequence[str]) -> int:
    """Forget users everywhere in the database; returns how many of them Braze is yet to be told to forget.

    Rejects go at once. What Braze was told, at any endpoint, is kept until a null write has taken it back.
    """
    place = (_told.c.endpoint, _told.c.workspace, _told.c.kind, _told.c.identifier)
    n_waiting = 0
    with _writing(ledger) as connection:
        for who in identifiers:
            mine = (_told.c.identifier == who) & (_told.c.kind == ledger.kind)
            connection.execute(delete(_rejects).where(_rejects.c.identifier == who))
            connection.execute(delete(_forgotten).where(_forgotten.c.identifier == who))
            told = connection.execute(select(*place).where(mine & (_told.c.value != "null")).distinct()).all()
            if told:
                connection.execute(insert(_forgotten), [dict(row._mapping) for row in told])
            else:
                connection.execute(delete(_told).where(mine))
            n_waiting += bool(told)
    _settle(ledger)
    return n_waiting


def forgotten(ledger: Ledger) -> list[str]:
    """Identifiers that this place was told of and is yet to forget."""
    with ledger.engine.connect() as connection:
        return [who for (who,) in connection.execute(select(_forgotten.c.identifier).where(_here(_forgotten, ledger)))]


def bury(ledger: Ledger) -> None:
    """Drop whatever is left of forgotten users once Braze has acknowledged that all their attributes are gone."""
    waiting = forgotten(ledger)
    with _writing(ledger) as connection:
        for who in waiting:
            mine = _here(_told, ledger) & (_told.c.identifier == who)
            buried = _here(_forgotten, ledger) & (_forgotten.c.identifier == who)
            if connection.execute(select(_told.c.attribute).where(mine & (_told.c.value != "null"))).first() is None:
                connection.execute(delete(_told).where(mine))
                connection.execute(delete(_rejects).where(_rejects.c.identifier == who))
                connection.execute(delete(_forgotten).where(buried))
    if waiting:
        _settle(ledger)


def _here(table: Table, ledger: Ledger) -> Any:
    here = (table.c.endpoint == ledger.endpoint) & (table.c.workspace == ledger.workspace)
    return here & (table.c.kind == ledger.kind)


def _settle(ledger: Ledger) -> None:
    """Let SQLite's write-ahead log go too, which still holds the deleted rows."""
    if ledger.engine.dialect.name == "sqlite":
        with ledger.engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
