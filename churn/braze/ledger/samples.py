"""Draws users at random, to compare what the ledger says of them with Braze."""

import json
from typing import Any

from sqlalchemy import func, select

from churn.braze.ledger.database import Ledger
from churn.braze.ledger.tables import PLAN, RUNS, SYNCED


def n_synced(ledger: Ledger) -> int:
    """How many users of this place the ledger says something about."""
    query = select(func.count()).where(SYNCED.c.place == ledger.place)
    return int(ledger.connection.scalar(query) or 0)


def draw(ledger: Ledger, n: int) -> dict[str, dict[str, Any]]:
    """What up to ``n`` users hold by the ledger: values by attribute, by identifier.

    Users with an unconfirmed delivery are left out, and so are those of a run that is
    not finished: of them the ledger isn't sure.
    """
    here = RUNS.c.place == ledger.place
    unfinished = select(RUNS.c.run).where(here, RUNS.c.finished_at.is_(None))
    planned = select(PLAN.c.identifier).where(PLAN.c.run.in_(unfinished))
    is_planned = SYNCED.c.identifier.in_(planned)
    is_sure = (SYNCED.c.unsure == 0) & ~is_planned
    query = (
        select(SYNCED.c.identifier, SYNCED.c.attributes)
        .where(SYNCED.c.place == ledger.place, is_sure)
        .order_by(func.random())
        .limit(n)
    )
    rows = ledger.connection.execute(query).all()
    # Reading from Braze takes a while, and no transaction shall stay open meanwhile.
    ledger.connection.commit()
    return {row.identifier: json.loads(row.attributes) for row in rows}
