"""One endpoint is one place of the ledger, however it was spelled when it was stored."""

from contextlib import AbstractContextManager

import pytest
from sqlalchemy import func, insert, select, update

from churn.braze.ledger import database, history, places
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.runs import UNKNOWN, Result
from churn.braze.ledger.tables import FORGOTTEN, PLACES

from .ledgers import changes, deliver, synced

ENDPOINT = "https://rest.fra-02.braze.eu"
CAPITALS = "HTTPS://REST.fra-02.braze.eu:443/"


def opened(
    url: str, endpoint: str = ENDPOINT, wait: float | None = 0.0
) -> AbstractContextManager[Ledger]:
    """The ledger at this endpoint."""
    return database.opened(url, endpoint, "w", "external_id", wait)


def respell(url: str, endpoint: str) -> None:
    """Store the newest place as an older version did, which kept the study's words."""
    with opened(url, "https://other.example.com") as ledger:
        newest = select(func.max(PLACES.c.place)).where(PLACES.c.endpoint == ENDPOINT)
        place = ledger.connection.scalar(newest)
        here = PLACES.c.place == place
        ledger.connection.execute(update(PLACES).where(here).values(endpoint=endpoint))
        ledger.connection.commit()


def test_a_place_stored_in_another_spelling_is_found_again(url: str) -> None:
    """Its users, names and runs are those of the endpoint in today's form."""
    with opened(url) as ledger:
        deliver(ledger, "r1", changes("a"))
    respell(url, CAPITALS)
    with opened(url) as ledger:
        assert synced(ledger) == {"a": ({"x": 1}, False)}
        assert history.names(ledger) == ["x"]
        assert history.restorable(ledger, "r1")["identifier"].to_list() == ["a"]


def test_places_of_one_endpoint_become_one(url: str) -> None:
    """Of each attribute the later run's value counts; runs, names and people to be
    forgotten of both spellings stay; an open question stays open.
    """
    with opened(url) as ledger:
        deliver(ledger, "r1", changes("a", "b", "c", x=1, y=1))
        deliver(ledger, "r2", changes("d"), Result(0, 0, UNKNOWN, "?"))
        places.add_names(ledger.connection, ledger.place, ["y"])
        forgotten = {"place": ledger.place, "identifier": "c"}
        ledger.connection.execute(insert(FORGOTTEN), [forgotten])
        ledger.connection.commit()
    respell(url, CAPITALS)
    # Older versions then began a second place under the other spelling.
    with opened(url, "https://later.example.com") as ledger:
        deliver(ledger, "r3", changes("b", "d", "e", x=3))
        forgotten = {"place": ledger.place, "identifier": "c"}
        ledger.connection.execute(insert(FORGOTTEN), [forgotten])
        here = PLACES.c.place == ledger.place
        ledger.connection.execute(update(PLACES).where(here).values(endpoint=ENDPOINT))
        ledger.connection.commit()
    with opened(url) as ledger, opened(url, wait=None) as onlooker:
        assert synced(ledger) == {
            "a": ({"x": 1, "y": 1}, False),
            "b": ({"x": 3, "y": 1}, False),
            "c": ({"x": 1, "y": 1}, False),
            "d": ({"x": 3}, True),
            "e": ({"x": 3}, False),
        }
        assert history.names(ledger) == ["x", "y"]
        assert history.runs(ledger)["run_id"].to_list() == ["r3", "r2", "r1"]
        n_forgotten = ledger.connection.scalar(
            select(func.count()).select_from(FORGOTTEN)
        )
        assert n_forgotten == 1
        assert onlooker.place == ledger.place


def test_an_onlooker_reads_the_spelling_that_was_used_last(url: str) -> None:
    """Only who holds the lock brings places together; a reader changes nothing."""
    with opened(url) as ledger:
        deliver(ledger, "r1", changes("a"))
    respell(url, CAPITALS)
    with opened(url, "https://later.example.com") as ledger:
        deliver(ledger, "r2", changes("b"))
        here = PLACES.c.place == ledger.place
        ledger.connection.execute(update(PLACES).where(here).values(endpoint=ENDPOINT))
        ledger.connection.commit()
        with opened(url, wait=None) as onlooker:
            assert set(synced(onlooker)) == {"b"}


@pytest.mark.parametrize("stored", ["not an address", "https://me:pw@old.example.com"])
def test_an_address_that_is_no_longer_taken_is_another_place(
    url: str, stored: str
) -> None:
    """What an older version stored and none takes now disturbs nobody."""
    with opened(url) as ledger:
        deliver(ledger, "r1", changes("a"))
    respell(url, stored)
    with opened(url) as ledger:
        assert synced(ledger) == {}
