"""The version of the ledger's tables: creates them, and brings older ones up to date."""

from sqlalchemy import Connection, func, insert, inspect, select, update

from churn.braze.ledger.tables import RUNS, SCHEMA, SCHEMA_VERSION, metadata
from churn.errors import TerminalBrazeError

OLDEST_VERSION = 2
"""The oldest version that is brought up to date in place."""


def prepare(connection: Connection, is_exclusive: bool) -> None:
    """Create the tables of a new ledger, or bring those of an older version up to date.

    Raises TerminalBrazeError if another run is doing so, or for a version that this
    program doesn't know.
    """
    version = _stored_version(connection)
    if version == SCHEMA_VERSION:
        return
    if version is not None and not OLDEST_VERSION <= version < SCHEMA_VERSION:
        raise TerminalBrazeError(
            f"the ledger has schema version {version}, and this program reads versions "
            f"{OLDEST_VERSION} to {SCHEMA_VERSION}: use the program that wrote it, or "
            "another ledger"
        )
    if not is_exclusive:
        raise TerminalBrazeError(
            "another export is creating the ledger's tables or still uses those of an "
            "earlier version; try again when it has ended"
        )
    if version is not None:
        _add_what_version_3_added(connection)
    metadata.create_all(connection)
    if version is None:
        connection.execute(insert(SCHEMA), [{"version": SCHEMA_VERSION}])
    else:
        connection.execute(update(SCHEMA).values(version=SCHEMA_VERSION))
    connection.commit()


def _stored_version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(SCHEMA.name):
        return None
    stored = connection.scalar(select(func.max(SCHEMA.c.version)))
    return None if stored is None else int(stored)


def _add_what_version_3_added(connection: Connection) -> None:
    """Add the runs' cutoff. A killed attempt may have added it without the version."""
    known = inspect(connection).get_columns(RUNS.name)
    if RUNS.c.cutoff.name not in [column["name"] for column in known]:
        connection.exec_driver_sql(
            f"ALTER TABLE {RUNS.name} ADD COLUMN {RUNS.c.cutoff.name} VARCHAR"
        )
