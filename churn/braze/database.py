"""Where the ledger is kept: its tables, on SQLite or PostgreSQL, its lock, its
versions, its back-up.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    and_,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from churn.errors import TerminalBrazeError

SCHEMA_VERSION = 2
ADDRESSES = (
    "write sqlite:///FILE or postgresql+psycopg://HOST/DATABASE, "
    "which needs `uv sync --extra postgres`"
)
ADVISORY_LOCK = (
    7_246_113_095  # of PostgreSQL, per database: any number nobody else uses
)

_metadata = MetaData()


def _table(name: str, *columns: Any) -> Table:
    return Table(name, _metadata, *columns, sqlite_with_rowid=False)


def _key(name: str, kind: Any = Integer) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


SCHEMA = Table("churn_schema", _metadata, Column("version", Integer, primary_key=True))
PLACES = Table(
    "churn_places",
    _metadata,
    Column("place", Integer, primary_key=True),
    *[
        Column(name, String, nullable=False)
        for name in ("endpoint", "workspace", "kind")
    ],
    Column(
        "names", String, nullable=False
    ),  # JSON: every attribute that was ever told here
    UniqueConstraint("endpoint", "workspace", "kind"),
)
TOLD = _table(
    "churn_told",
    _key("place"),
    _key("identifier", String),
    Column(
        "attributes", String, nullable=False
    ),  # JSON; null once an attribute was removed
    Column(
        "unsure", Integer, nullable=False
    ),  # 1: sent, and nobody knows whether it arrived
    Column("run", Integer, nullable=False),
)
RUNS = Table(
    "churn_runs",
    _metadata,
    Column("run", Integer, primary_key=True),
    Column("run_id", String, nullable=False, unique=True),
    Column("place", Integer, nullable=False),
    Column("what", String, nullable=False),
    Column(
        "started_at", BigInteger, nullable=False
    ),  # epoch seconds, as all times here
    Column("finished_at", BigInteger),
    Column(
        "reserved", Integer, nullable=False
    ),  # positions before this one may have been sent
    Column("lost_at", BigInteger),  # when a request was last left without an answer
    Column("n_users", Integer, nullable=False),
    Column("summary", String),
)
PLAN = _table(
    "churn_plan",
    _key("run"),
    _key("position"),
    *[
        Column(name, String, nullable=False)
        for name in ("identifier", "before", "after", "attributes")
    ],
)
ANSWERS = _table(
    "churn_answers",
    _key("run"),
    _key("first"),
    Column("last", Integer, nullable=False),
    Column("outcome", String, nullable=False),  # sent, unknown or not attempted
    Column("reason", String, nullable=False),
    Column("at", BigInteger, nullable=False),
)
REJECTS = _table(
    "churn_rejects",
    _key("run"),
    _key("position"),
    Column("reason", String, nullable=False),
    Column(
        "unclear", Integer, nullable=False
    ),  # 1: an earlier try may have been applied
)
FORGOTTEN = _table("churn_forgotten", _key("place"), _key("identifier", String))


@dataclass(frozen=True)
class Ledger:
    """One place of delivery in one database: what a sandbox was told says nothing about
    production.

    All work goes through the one connection, which on PostgreSQL also holds the lock:
    if it breaks, nothing more can be recorded, and so nothing more is sent.
    """

    connection: Connection
    place: int
    kind: str
    is_alone: bool


@contextmanager
def opened(
    url: str,
    endpoint: str,
    workspace: str,
    kind: str,
    wait_seconds: float | None = 60.0,
) -> Iterator[Ledger]:
    """Connect, make or upgrade the tables, and keep every other run out until the end;
    a crash releases the lock too.

    ``wait_seconds``: how long to wait for another run to end before TerminalBrazeError
    is raised; null: don't wait, and go on with ``is_alone`` false, which is enough for
    reading. No message shows the URL's password.
    """
    name = _shown(url)
    engine = _engine(url)
    try:
        with guarded(f"the ledger {name} can't be opened"):
            connection = engine.connect()
        with connection, _lock(url, connection, wait_seconds) as is_alone:
            with guarded(f"the ledger {name} can't be opened"):
                _prepare(connection, url, is_alone)
                place = _place(connection, endpoint, workspace, kind)
                connection.commit()
            with guarded(
                f"the ledger {name} failed; nothing more is sent, and the next export works it out"
            ):
                yield Ledger(connection, place, kind, is_alone)
    finally:
        engine.dispose()


def exists_at(url: str) -> bool:
    """Whether there is a ledger to open: a file of SQLite's, or any other database."""
    address = make_url(url)
    return (
        address.get_backend_name() != "sqlite" or Path(address.database or "").exists()
    )


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """A database that fails stops the run in one sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = type(getattr(error, "orig", None) or error).__name__
        raise TerminalBrazeError(f"{what} ({cause})") from None


def _shown(url: str) -> str:
    """An address for messages: no user, no password, nothing of the query."""
    try:
        address = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise TerminalBrazeError(f"the ledger's address is none; {ADDRESSES}") from None
    at = f"{address.host}:{address.port}/" if address.host else ""
    return f"{address.get_backend_name()}://{at}{address.database}"


def _engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        Path(address.database or "").parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(url, hide_parameters=True)  # which are user ids
    except (SQLAlchemyError, ImportError) as error:
        said = f"the ledger {_shown(url)} can't be opened ({type(error).__name__})"
        raise TerminalBrazeError(f"{said}; {ADDRESSES}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: Any, _: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "busy_timeout=30000",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _lock(
    url: str, connection: Connection, wait_seconds: float | None
) -> Iterator[bool]:
    if connection.dialect.name == "sqlite":
        try:
            held = FileLock(f"{make_url(url).database}.lock").acquire(
                timeout=wait_seconds or 0
            )
        except Timeout:
            yield _not_alone(wait_seconds)
        else:
            with held:
                yield True
    else:
        yield _advisory(connection, wait_seconds)


def _advisory(connection: Connection, wait_seconds: float | None) -> bool:
    """Held until the connection ends, and so by no run that is gone."""
    until = time.monotonic() + (wait_seconds or 0)
    while not connection.scalar(select(func.pg_try_advisory_lock(ADVISORY_LOCK))):
        connection.commit()
        if time.monotonic() >= until:
            return _not_alone(wait_seconds)
        time.sleep(0.2)
    connection.commit()
    return True


def _not_alone(wait_seconds: float | None) -> bool:
    if wait_seconds is None:
        return False
    raise TerminalBrazeError(
        "another export is running with this ledger; one run at a time, try again when it ended"
    )


def _prepare(connection: Connection, url: str, is_alone: bool) -> None:
    there = inspect(connection).has_table("churn_schema")
    version = connection.scalar(select(func.max(SCHEMA.c.version))) if there else None
    if version != SCHEMA_VERSION and not is_alone:
        raise TerminalBrazeError(
            "another export is making the ledger's tables; try again when it ended"
        )
    if version == 1:
        _upgrade_from_1(connection, url)
    elif version is None:
        _metadata.create_all(connection)
        connection.execute(insert(SCHEMA), [{"version": SCHEMA_VERSION}])
    elif version != SCHEMA_VERSION:
        raise TerminalBrazeError(
            f"the ledger has schema version {version}, this program writes {SCHEMA_VERSION}; use the newer program"
        )


def _upgrade_from_1(connection: Connection, url: str) -> None:
    """Version 1 had a row per attribute and no plans: what was told is taken over, a
    copy is left beside it.
    """
    if connection.dialect.name == "sqlite":
        copy = _old_copy(url)
        if not copy.exists():
            backup(connection, copy)
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE"
        )  # else each DROP would be final by itself
    rows = connection.execute(
        text(
            "SELECT endpoint, workspace, kind, identifier, attribute, value FROM churn_told ORDER BY 1, 2, 3, 4"
        )
    ).all()
    waiting = connection.execute(
        text("SELECT endpoint, workspace, kind, identifier FROM churn_forgotten")
    ).all()
    for name in ("told", "runs", "rejects", "forgotten", "schema"):
        connection.execute(text(f"DROP TABLE churn_{name}"))
    _metadata.create_all(connection)
    connection.execute(insert(SCHEMA), [{"version": SCHEMA_VERSION}])
    users: dict[tuple[int, str], dict[str, Any]] = {}
    for endpoint, workspace, kind, who, name, value in rows:
        place = _place(connection, endpoint, workspace, kind)
        users.setdefault((place, who), {})[name] = json.loads(value)
    told = [
        {
            "place": place,
            "identifier": who,
            "attributes": dumps(values),
            "unsure": 0,
            "run": 0,
        }
        for (place, who), values in users.items()
    ]
    if told:
        connection.execute(insert(TOLD), told)
    for place in {place for place, _ in users}:
        add_names(
            connection,
            place,
            {name for (p, _), values in users.items() if p == place for name in values},
        )
    for *where, who in waiting:
        connection.execute(
            insert(FORGOTTEN),
            [{"place": _place(connection, *where), "identifier": who}],
        )


def dumps(values: dict[str, Any]) -> str:
    """Attributes as the ledger and the request hold them."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _old_copy(url: str) -> Path:
    return Path(f"{make_url(url).database}.v1")


def drop_old_copy(url: str) -> None:
    """Remove what an upgrade left beside the ledger: people who are to be forgotten may
    stand there.
    """
    if make_url(url).get_backend_name() == "sqlite":
        _old_copy(url).unlink(missing_ok=True)


def add_names(connection: Connection, place: int, names: Iterable[str]) -> None:
    """Remember that these attributes were told here."""
    here = PLACES.c.place == place
    known = json.loads(connection.scalar(select(PLACES.c.names).where(here)) or "[]")
    connection.execute(
        update(PLACES).where(here).values(names=json.dumps(sorted({*known, *names})))
    )


def backup(connection: Connection, store: Path) -> None:
    """Copy the whole database to a new file, while it may be in use; SQLite only."""
    if connection.dialect.name != "sqlite":
        raise TerminalBrazeError(
            "a ledger on PostgreSQL is backed up with pg_dump -t 'churn_*'"
        )
    if store.exists():
        raise TerminalBrazeError(
            f"{store} is there already; a back-up overwrites nothing"
        )
    connection.commit()
    raw: Any = connection.connection.driver_connection
    raw.execute("VACUUM INTO ?", (str(store),))


def _place(connection: Connection, endpoint: str, workspace: str, kind: str) -> int:
    key = {"endpoint": endpoint, "workspace": workspace, "kind": kind}
    here = and_(*[PLACES.c[name] == value for name, value in key.items()])
    number = connection.scalar(select(PLACES.c.place).where(here))
    if number is None:
        connection.execute(insert(PLACES).values(**key, names="[]"))
        number = connection.scalar(select(PLACES.c.place).where(here))
    return int(number or 0)
