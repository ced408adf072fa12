"""Opens the ledger's database, on SQLite or PostgreSQL, and locks it for one run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import SQLAlchemyError

from churn.braze.ledger import locking, places, schema
from churn.errors import TerminalBrazeError

VALID_ADDRESSES = (
    "write sqlite:///FILE or postgresql+psycopg://HOST/DATABASE, "
    "which needs `uv sync --extra postgres`"
)
SQLITE_REASONS = {
    "SQLITE_CANTOPEN": "it is a folder, or may not be written here",
    "SQLITE_NOTADB": "it is no SQLite database",
    "SQLITE_CORRUPT": "it is damaged; use a backup",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk failed or is full",
    "SQLITE_BUSY": "another program holds it open",
}
"""What SQLite's error codes mean here, by how they begin."""

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
    endpoint: str
    workspace: str
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
        cannot_open = f"the ledger {name} can't be opened"
        with sentence_for_errors(cannot_open):
            connection = engine.connect()
        with (
            connection,
            sentence_for_errors(cannot_open),
            locking.locked(engine, connection, wait_seconds) as is_exclusive,
        ):
            with sentence_for_errors(cannot_open):
                schema.prepare(connection, is_exclusive)
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
                yield Ledger(
                    connection,
                    place,
                    endpoint,
                    workspace,
                    kind,
                    is_exclusive,
                )
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
        raise TerminalBrazeError(f"{sentence} ({_reason(error)})") from None


def _reason(error: SQLAlchemyError) -> str:
    """Why a database refused, in words that hold none of its values."""
    cause = getattr(error, "orig", None) or error
    name = type(cause).__name__
    code = getattr(cause, "sqlite_errorname", "")
    for start, words in SQLITE_REASONS.items():
        if code.startswith(start):
            return f"{name}: {words}"
    return name


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
        _make_folder(Path(address.database or "").parent)
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TerminalBrazeError(
            f"the ledger's folder {folder} can't be made ({reason}): make it, or name "
            "another file as braze.ledger"
        ) from None


def _set_pragmas(connection: Any, _: Any) -> None:
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
