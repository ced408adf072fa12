"""The speed of reading a large ledger and of finding what changed since."""

from collections.abc import Iterator

import polars as pl

from churn.braze import plan
from churn.braze.ledger import history, users
from churn.settings import Braze

from . import delivery_ledger
from .delivery_parts import scores
from .speed_measure import Options, Parts, Row, Work, alternately, cost
from .usage import used_seconds

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
        yield Row(f"{what}: changes", "s", done.parts["changes"])
        yield Row(f"{what}: both", "s", done.seconds, megabytes=done.megabytes)


def filled(url: str, n_users: int) -> Work:
    """Work that writes a ledger of so many users, each with two attributes."""

    def work() -> None:
        delivery_ledger._fill(url, n_users)

    return work


def read_and_compared(url: str, n_users: int) -> Work:
    """Work that reads the ledger and finds what differs from scores made before."""
    table = scores(n_users, lambda user: user % CHANGED_EVERY == 0)

    def work() -> Parts:
        before = used_seconds()
        spent: list[float] = []
        with delivery_ledger._place(url) as ledger:
            names = history.names(ledger)
            pages = _timed(users.pages(ledger), spent)
            made = plan.make(table, pages, Braze(), synced_names=names)
        assert made.n_synced == n_users, "the ledger has other users"
        n_changed = made.changes.height
        assert n_changed == -(-n_users // CHANGED_EVERY), "other users changed"
        read = sum(spent)
        return {"read": read, "changes": used_seconds() - before - read}

    return work


def _timed(pages: Iterator[pl.DataFrame], spent: list[float]) -> Iterator[pl.DataFrame]:
    """The pages, and in ``spent`` the processor seconds that reading each took."""
    while True:
        before = used_seconds()
        page = next(pages, None)
        spent.append(used_seconds() - before)
        if page is None:
            return
        yield page
