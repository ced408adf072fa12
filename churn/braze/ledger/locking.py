"""The lock that lets one run at a time write to a ledger.

On SQLite it is a locked file beside the database, on PostgreSQL an advisory lock, which
belongs to a session. Both end with the process that holds them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, func, select

from churn.errors import TerminalBrazeError, TransientBrazeError

ADVISORY_LOCK = 7_246_113_095
"""Number of PostgreSQL's advisory lock: any number that no other program uses."""

LOCK_POLL_SECONDS = 0.2

PROBE = (0, 1, 1, 0, 0, 0, 1)
"""Which of two connections is asked for its session, in turn.

The order is irregular: a pooler that lends its sessions in turn would give each
connection the same session every time if both were asked alternately.
"""

POOLED = (
    "the ledger's address leads to a pooler that lends a session for one transaction "
    "at a time (such as pgbouncer with pool_mode=transaction), where a lock protects "
    "nobody: give the address of PostgreSQL itself, or of a pool with pool_mode=session"
)


@contextmanager
def locked(
    engine: Engine, connection: Connection, wait_seconds: float | None
) -> Iterator[bool]:
    """Hold the lock for the block; yields whether it was free.

    Waits up to ``wait_seconds``, then raises TransientBrazeError; with null it neither
    waits nor raises.
    """
    if engine.dialect.name == "sqlite":
        with _file_lock(engine.url.database or "", wait_seconds) as is_exclusive:
            yield is_exclusive
    else:
        _refuse_pooler(engine, connection)
        yield _advisory_lock(connection, wait_seconds)


@contextmanager
def _file_lock(database: str, wait_seconds: float | None) -> Iterator[bool]:
    file = f"{database}.lock"
    lock = FileLock(file)
    try:
        held = lock.acquire(timeout=wait_seconds or 0)
    except Timeout:
        _raise_if_locked(wait_seconds)
        yield False
        return
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TerminalBrazeError(
            f"the ledger can't be locked by {file} ({reason}): run as the user whose "
            "file it is, or remove it while no export is running"
        ) from None
    with held:
        yield True


def _refuse_pooler(engine: Engine, connection: Connection) -> None:
    """Raise TerminalBrazeError if a session may serve several connections.

    Without a pooler each of two open connections has one session of its own.
    """
    with engine.connect() as other:
        other.detach()
        connections = (connection, other)
        sessions: tuple[set[int], set[int]] = (set(), set())
        for number in PROBE:
            session = connections[number].scalar(select(func.pg_backend_pid()))
            connections[number].commit()
            sessions[number].add(int(session or 0))
    first, second = sessions
    if len(first) > 1 or len(second) > 1 or first & second:
        raise TerminalBrazeError(POOLED)


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
        raise TransientBrazeError(
            "another export is running with this ledger; try again when it has ended"
        )
