"""Reads what every user of a place was last sent, a page of users at a time.

The database joins the users of a page into a few long texts, and polars takes these
apart. A Python object for each value of ten million users would cost several times as
much.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, String, cast, func, literal, select

from churn.braze.ledger.database import Ledger
from churn.braze.ledger.tables import SYNCED

USERS_IN_A_PAGE = 100_000

SEPARATOR = "\n"
"""Stands between the attributes of two users; inside JSON text it is escaped."""

JSON_ARRAY = {"sqlite": func.json_group_array, "postgresql": func.json_agg}
"""The function that makes a JSON array of a column, by database."""

SCHEMA = {
    "identifier": pl.String,
    "attributes": pl.Categorical,
    "unconfirmed": pl.Boolean,
}


def synced(ledger: Ledger) -> pl.DataFrame:
    """What each user of this place was last sent, see ``pages``, as one frame."""
    return pl.concat([pl.DataFrame(schema=SCHEMA), *pages(ledger)], rechunk=True)


def pages(ledger: Ledger) -> Iterator[pl.DataFrame]:
    """What each user of this place was last sent: identifier, attributes, unconfirmed.

    ``attributes`` is JSON text, stored once for all users who have the same.
    ``unconfirmed``: it was sent but never acknowledged. If another run ends while this
    one reads, each user is as before or as after it.
    """
    after = None
    while True:
        last = _last_of_page(ledger, after)
        yield from _page(ledger, after, last)
        if last is None:
            break
        after = last
    ledger.connection.commit()


def _last_of_page(ledger: Ledger, after: str | None) -> str | None:
    """Identifier of the last user of the page that follows ``after``.

    Null for the last page, which takes all that remains.
    """
    query = (
        select(SYNCED.c.identifier)
        .where(*_between(ledger, after, None))
        .order_by(SYNCED.c.identifier)
        .offset(USERS_IN_A_PAGE - 1)
        .limit(1)
    )
    return ledger.connection.scalar(query)


def _between(
    ledger: Ledger, after: str | None, last: str | None
) -> list[ColumnElement[bool]]:
    """The users after the first identifier up to the second; null: no such bound."""
    conditions = [SYNCED.c.place == ledger.place]
    if after is not None:
        conditions.append(SYNCED.c.identifier > after)
    if last is not None:
        conditions.append(SYNCED.c.identifier <= last)
    return conditions


def _page(
    ledger: Ledger, after: str | None, last: str | None
) -> Iterator[pl.DataFrame]:
    """The users between the bounds as a frame of SCHEMA; nothing if there are none."""
    connection = ledger.connection
    json_array = JSON_ARRAY[connection.dialect.name]
    identifiers = json_array(SYNCED.c.identifier)
    unsure = json_array(SYNCED.c.identifier).filter(SYNCED.c.unsure == 1)
    # As part of the statement: SQLite reads a parameter anew for every row.
    separator: Any = literal(SEPARATOR, literal_execute=True)
    query = select(
        # As text, since the driver would make Python objects of a JSON array.
        cast(identifiers, String).label("identifiers"),
        func.aggregate_strings(SYNCED.c.attributes, separator).label("attributes"),
        func.coalesce(cast(unsure, String), "[]").label("unsure"),
    ).where(*_between(ledger, after, last))
    row = connection.execute(query).one()
    if row.attributes is not None:
        yield _frame(row)


def _frame(row: Any) -> pl.DataFrame:
    texts = pl.DataFrame(
        [row], schema=["identifier", "attributes", "unsure"], orient="row"
    )
    identifiers = pl.List(pl.String)
    lists = texts.select(
        pl.col("identifier", "unsure").str.json_decode(identifiers),
        pl.col("attributes").str.split(SEPARATOR),
    )
    users = lists.select("identifier", "attributes").explode("identifier", "attributes")
    is_unsure = pl.col("identifier").is_in(lists["unsure"].item())
    return users.select(
        "identifier", pl.col("attributes").cast(pl.Categorical), unconfirmed=is_unsure
    )
