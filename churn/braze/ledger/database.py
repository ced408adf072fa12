"""Opens the ledger's database, on SQLite or PostgreSQL, and locks it for one run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from churn.braze.ledger import places
from churn.braze.ledger.tables import SCHEMA, SCHEMA_VERSION, metadata
from churn.errors import TerminalBrazeError

VALID_ADDRESSES = (
    "write sqlite:///FILE or postgresql+psycopg://HOST/DATABASE, "
    "which needs `uv sync --extra postgres`"
)
ADVISORY_LOCK = 7_246_113_095
"""Number of PostgreSQL's advisory lock: any number that no other program uses."""

LOCK_POLL_SECONDS = 0.2
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "busy_timeout=30000",
    "cache_size=-65536",
)


@dataclass(frozen=True)
class Ledger:
    """An open ledger, seen from one place.

    On PostgreSQL its only connection also holds the lock: if the connection breaks,
    nothing more can be recorded, and so nothing more is sent. ``is_exclusive`` is false
    if another run holds the lock; the ledger can then only be read.
    """

    connection: Connection
    place: int
    kind: str
    is_exclusive: bool


@contextmanager
def opened(
    url: str,
    endpoint: str,
    workspace: str,
    kind: str,
    wait_seconds: float | None = 60.0,
) -> Iterator[Ledger]:
    """Open the ledger, create its tables if need be, and lock it against other runs.

    Waits up to ``wait_seconds`` for the lock, then raises TerminalBrazeError. With null
    it does not wait, and opens for reading while another run holds the lock. A crash
    releases the lock. No message shows the password in the URL.
    """
    name = _without_password(url)
    engine = _engine(url)
    try:
        with sentence_for_errors(f"the ledger {name} can't be opened"):
            connection = engine.connect()
        with connection, _lock(url, connection, wait_seconds) as is_exclusive:
            with sentence_for_errors(f"the ledger {name} can't be opened"):
                _check_schema(connection, is_exclusive)
                place = places.find(
                    connection,
                    endpoint,
                    workspace,
                    kind,
                    is_exclusive,
                )
                connection.commit()
            with sentence_for_errors(
                f"the ledger {name} failed and nothing more is sent; "
                "once it works, run the export again"
            ):
                yield Ledger(connection, place, kind, is_exclusive)
    finally:
        engine.dispose()


def exists_at(url: str) -> bool:
    """Whether a ledger may exist: a SQLite file that is there, or any PostgreSQL."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return True
    return Path(address.database or "").exists()


@contextmanager
def sentence_for_errors(sentence: str) -> Iterator[None]:
    """Turn a database error into TerminalBrazeError without its statement's values."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = type(getattr(error, "orig", None) or error).__name__
        raise TerminalBrazeError(f"{sentence} ({cause})") from None


def backup(connection: Connection, file: Path) -> None:
    """Copy the whole database to a new file, even while it is in use; SQLite only."""
    if connection.dialect.name != "sqlite":
        raise TerminalBrazeError(
            "a ledger on PostgreSQL is backed up with pg_dump -t 'churn_*'"
        )
    if file.exists():
        raise TerminalBrazeError(
            f"{file} exists, and a backup overwrites nothing: name a new file"
        )
    connection.commit()
    raw: Any = connection.connection.driver_connection
    raw.execute("VACUUM INTO ?", (str(file),))


def _without_password(url: str) -> str:
    """The address for messages: no user, no password, no query."""
    try:
        address = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise TerminalBrazeError(
            f"the ledger's address can't be read; {VALID_ADDRESSES}"
        ) from None
    host = f"{address.host}:{address.port}/" if address.host else ""
    return f"{address.get_backend_name()}://{host}{address.database}"


def _engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        Path(address.database or "").parent.mkdir(parents=True, exist_ok=True)
    try:
        # The parameters are user ids, which no message may show.
        engine = create_engine(url, hide_parameters=True)
    except (SQLAlchemyError, ImportError) as error:
        cause = type(error).__name__
        raise TerminalBrazeError(
            f"the ledger {_without_password(url)} can't be opened ({cause}); "
            f"{VALID_ADDRESSES}"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, _: Any) -> None:
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _lock(
    url: str,
    connection: Connection,
    wait_seconds: float | None,
) -> Iterator[bool]:
    """Hold the lock for the block; yields whether it was free."""
    if connection.dialect.name != "sqlite":
        yield _advisory_lock(connection, wait_seconds)
        return
    lock = FileLock(f"{make_url(url).database}.lock")
    try:
        held = lock.acquire(timeout=wait_seconds or 0)
    except Timeout:
        _raise_if_locked(wait_seconds)
        yield False
    else:
        with held:
            yield True


def _advisory_lock(connection: Connection, wait_seconds: float | None) -> bool:
    """Take PostgreSQL's lock, which ends with the connection that holds it."""
    deadline = time.monotonic() + (wait_seconds or 0)
    while not connection.scalar(select(func.pg_try_advisory_lock(ADVISORY_LOCK))):
        connection.commit()
        if time.monotonic() >= deadline:
            _raise_if_locked(wait_seconds)
            return False
        time.sleep(LOCK_POLL_SECONDS)
    connection.commit()
    return True


def _raise_if_locked(wait_seconds: float | None) -> None:
    if wait_seconds is not None:
        raise TerminalBrazeError(
            "another export is running with this ledger; try again when it has ended"
        )


def _check_schema(connection: Connection, is_exclusive: bool) -> None:
    """Create the tables of a new ledger; refuse one of another schema version."""
    version = None
    if inspect(connection).has_table("churn_schema"):
        version = connection.scalar(select(func.max(SCHEMA.c.version)))
    if version is None and not is_exclusive:
        raise TerminalBrazeError(
            "another export is creating the ledger's tables; "
            "try again when it has ended"
        )
    if version is None:
        metadata.create_all(connection)
        connection.execute(insert(SCHEMA), [{"version": SCHEMA_VERSION}])
    elif version != SCHEMA_VERSION:
        raise TerminalBrazeError(
            f"the ledger has schema version {version}, and this program reads version "
            f"{SCHEMA_VERSION} only: use the program that wrote it, or another ledger"
        )
