"""Finds the place of a delivery in the ledger: endpoint, workspace, kind of identifier.

The endpoint's spelling doesn't matter: older versions stored it as the study wrote it,
so one endpoint may stand there in several spellings.
"""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from churn.braze.ledger.tables import FORGOTTEN, PLACES, RUNS, SYNCED
from churn.settings import endpoints


def find(
    connection: Connection,
    endpoint: str,
    workspace: str,
    kind: str,
    is_exclusive: bool,
) -> int:
    """The number of the place, which is created if it is new.

    Several places that differ only in the endpoint's spelling become one, if this run
    ``is_exclusive``. Otherwise the one that was used last is taken.
    """
    here = and_(PLACES.c.workspace == workspace, PLACES.c.kind == kind)
    rows = connection.execute(select(PLACES.c.place, PLACES.c.endpoint).where(here))
    same = [int(row.place) for row in rows.all() if _one_form(row.endpoint) == endpoint]
    if not same:
        new = {"endpoint": endpoint, "workspace": workspace, "kind": kind}
        connection.execute(insert(PLACES).values(**new, names="[]"))
        here = and_(here, PLACES.c.endpoint == endpoint)
        return int(connection.scalar(select(PLACES.c.place).where(here)) or 0)
    newest = max(same, key=lambda place: _newest_run(connection, place))
    if is_exclusive:
        for other in same:
            if other != newest:
                _merge(connection, other, newest)
    return newest


def add_names(
    connection: Connection,
    place: int,
    names: Iterable[str],
) -> None:
    """Remember that these attributes were written at the place."""
    here = PLACES.c.place == place
    known = json.loads(connection.scalar(select(PLACES.c.names).where(here)) or "[]")
    merged = json.dumps(sorted({*known, *names}))
    connection.execute(update(PLACES).where(here).values(names=merged))


def _one_form(endpoint: str) -> str:
    try:
        return endpoints.endpoint(endpoint)
    except ValueError:
        # Older versions took addresses that a study may no longer hold.
        return endpoint


def _newest_run(connection: Connection, place: int) -> int:
    query = select(func.max(RUNS.c.run)).where(RUNS.c.place == place)
    return int(connection.scalar(query) or 0)


def _merge(
    connection: Connection,
    old: int,
    kept: int,
) -> None:
    """Move all that is known of the old place to the one that is kept."""
    _merge_synced(connection, old, kept)
    _move(connection, SYNCED, old, kept)
    _move(connection, FORGOTTEN, old, kept)
    of_old = RUNS.c.place == old
    connection.execute(update(RUNS).where(of_old).values(place=kept))
    here = PLACES.c.place == old
    names = json.loads(connection.scalar(select(PLACES.c.names).where(here)) or "[]")
    add_names(connection, kept, names)
    connection.execute(delete(PLACES).where(here))


def _merge_synced(
    connection: Connection,
    old: int,
    kept: int,
) -> None:
    """Bring users of both places together: of each attribute the later value counts."""
    first, second = SYNCED.alias(), SYNCED.alias()
    in_both = and_(
        first.c.identifier == second.c.identifier,
        first.c.place == old,
        second.c.place == kept,
    )
    pairs = select(first, second).join_from(first, second, in_both)
    merged = [_later(row[:5], row[5:]) for row in connection.execute(pairs)]
    if not merged:
        return
    user = and_(SYNCED.c.place == kept, SYNCED.c.identifier == bindparam("user"))
    columns = ("attributes", "unsure", "run")
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns}
    connection.execute(update(SYNCED).where(user).values(values), merged)


def _later(*rows: Any) -> dict[str, Any]:
    """What one user has, from two rows: place, identifier, attributes, unsure, run."""
    (_, user, before, *_), (*_, after, _, run) = sorted(rows, key=lambda row: row[4])
    merged = json.loads(before) | json.loads(after)
    return {
        "user": user,
        "new_attributes": json.dumps(
            merged,
            ensure_ascii=False,
            separators=(",", ":"),
        ),
        "new_unsure": max(row[3] for row in rows),
        "new_run": run,
    }


def _move(
    connection: Connection,
    table: Any,
    old: int,
    kept: int,
) -> None:
    """Give rows of the old place to the kept one, which may have the user already."""
    there = table.alias()
    is_double = exists().where(
        there.c.place == kept, there.c.identifier == table.c.identifier
    )
    of_old = table.c.place == old
    connection.execute(delete(table).where(of_old, is_double))
    connection.execute(update(table).where(of_old).values(place=kept))
