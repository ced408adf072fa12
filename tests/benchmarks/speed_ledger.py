"""The speed of reading a large ledger and of finding what changed since."""

from collections.abc import Iterator

from churn.braze import plan
from churn.braze.ledger import history, users
from churn.settings import Braze

from . import delivery_ledger
from .delivery_parts import scores
from .speed_measure import Options, Parts, Row, Work, alternately, cost
from .usage import processor_seconds

CHANGED_EVERY = 100
"""One user in so many has another segment than the ledger says."""


def rows(given: Options) -> Iterator[Row]:
    """Both steps on SQLite and, if a database is given, on PostgreSQL.

    What the PostgreSQL server uses is not part of it.
    """
    file = given.folder / f"ledger-{given.known}.db"
    for url in filter(None, (f"sqlite:///{file}", given.url)):
        if url == given.url or not file.exists():
            cost(filled, url, given.known)
        (done,) = alternately(given.repeat, (read_and_compared, url, given.known))
        name = "PostgreSQL" if url == given.url else "SQLite"
        what = f"ledger of {given.known:,} users, {name}"
        yield Row(f"{what}: read", "s", done.parts["read"])
        both = done.parts["both"]
        yield Row(f"{what}: changes", "s", both - done.parts["read"])
        yield Row(f"{what}: both", "s", both, megabytes=done.megabytes)


def filled(url: str, n_users: int) -> Work:
    """Work that writes a ledger of so many users, each with two attributes."""

    def work() -> None:
        delivery_ledger._fill(url, n_users)

    return work


def read_and_compared(url: str, n_users: int) -> Work:
    """Work that reads the ledger, and reads it again to find what scores differ."""
    table = scores(n_users, lambda user: user % CHANGED_EVERY == 0)

    def work() -> Parts:
        with delivery_ledger._place(url) as ledger:
            found = []

            def read() -> None:
                found.append(sum(page.height for page in users.pages(ledger)))

            def compare() -> None:
                names = history.names(ledger)
                pages = users.pages(ledger)
                made = plan.make(table, pages, Braze(), synced_names=names)
                found.append(made.changes.height)

            parts = {
                "read": processor_seconds(read),
                "both": processor_seconds(compare),
            }
        assert found[0] == n_users, "the ledger has other users"
        assert found[1] == -(-n_users // CHANGED_EVERY), "other users changed"
        return parts

    return work
