"""Forgets users in the ledger.

A user whose attributes Braze may still hold stays in the ledger until the next export
has removed them there; only then is the last row about the user deleted.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, exists, insert, select, update

from churn.braze.ledger import closing
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.tables import (
    FORGOTTEN,
    PLACES,
    PLAN,
    REJECT_OF_PLAN,
    REJECTS,
    SYNCED,
)

NAMES_IN_A_STATEMENT = 500


def forget(
    ledger: Ledger,
    identifiers: Sequence[str],
    kind: str | None = None,
) -> int:
    """Forget users at every place; returns how many wait for Braze's acknowledgement.

    Their plans and rejections are deleted at once. What Braze was sent is kept until a
    null write was acknowledged. ``kind`` of the identifiers; null: the ledger's own.
    """
    closing.close_interrupted(ledger)
    _delete_from_plans(ledger, identifiers)
    n_waiting = sum(
        _forget_one(ledger, who, kind or ledger.kind) for who in identifiers
    )
    ledger.connection.commit()
    _truncate_log(ledger)
    return n_waiting


def _forget_one(
    ledger: Ledger,
    identifier: str,
    kind: str,
) -> bool:
    """Forget one user; returns whether Braze may still hold attributes somewhere."""
    connection = ledger.connection
    places = select(PLACES.c.place).where(PLACES.c.kind == kind)
    of_user = and_(SYNCED.c.identifier == identifier, SYNCED.c.place.in_(places))
    rows = connection.execute(select(SYNCED).where(of_user))
    waiting = [row.place for row in rows if not _is_removed(row)]
    connection.execute(delete(SYNCED).where(of_user, SYNCED.c.place.not_in(waiting)))
    connection.execute(
        delete(FORGOTTEN).where(
            FORGOTTEN.c.identifier == identifier, FORGOTTEN.c.place.in_(places)
        )
    )
    if waiting:
        new = [{"place": place, "identifier": identifier} for place in waiting]
        connection.execute(insert(FORGOTTEN), new)
    return bool(waiting)


def waiting(ledger: Ledger) -> list[str]:
    """Forgotten users whose attributes this place has yet to remove."""
    query = select(FORGOTTEN.c.identifier).where(FORGOTTEN.c.place == ledger.place)
    return list(ledger.connection.scalars(query))


def complete(ledger: Ledger) -> None:
    """Delete the forgotten users whose null write was acknowledged."""
    connection = ledger.connection
    forgotten = waiting(ledger)
    removed = []
    for identifier in forgotten:
        of_user = and_(
            SYNCED.c.place == ledger.place, SYNCED.c.identifier == identifier
        )
        row = connection.execute(select(SYNCED).where(of_user)).first()
        if row is not None and not _is_removed(row):
            continue
        connection.execute(delete(SYNCED).where(of_user))
        connection.execute(
            delete(FORGOTTEN).where(
                FORGOTTEN.c.place == ledger.place, FORGOTTEN.c.identifier == identifier
            )
        )
        removed.append(identifier)
    _delete_from_plans(ledger, removed)
    connection.commit()
    if forgotten:
        _truncate_log(ledger)


def _is_removed(row: Any) -> bool:
    """Whether Braze acknowledged that every attribute of a synced user is null."""
    values = json.loads(row.attributes).values()
    return not row.unsure and all(value is None for value in values)


def _delete_from_plans(ledger: Ledger, identifiers: Sequence[str]) -> None:
    """Delete users from all plans; rejections stay, so that a run's counts hold."""
    connection = ledger.connection
    for start in range(0, len(identifiers), NAMES_IN_A_STATEMENT):
        names = identifiers[start : start + NAMES_IN_A_STATEMENT]
        is_named = PLAN.c.identifier.in_(names)
        is_rejected = exists().where(REJECT_OF_PLAN, is_named)
        connection.execute(
            update(REJECTS).where(is_rejected).values(reason="forgotten")
        )
        connection.execute(delete(PLAN).where(is_named))


def _truncate_log(ledger: Ledger) -> None:
    """Empty SQLite's write-ahead log, which still holds the deleted rows."""
    if ledger.connection.dialect.name == "sqlite":
        ledger.connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
