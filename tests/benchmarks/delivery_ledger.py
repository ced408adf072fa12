"""Processor time and memory to read a large ledger and to find what changed."""

import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from churn.braze import plan
from churn.braze.ledger import database, history, places
from churn.braze.ledger import users as synced
from churn.settings import Braze

from .delivery_parts import SPAWN, scores


def ledgers(users: int, changed: float, url: str | None) -> None:
    """Cost of reading the ledger and finding the changes, by kind of database."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for where in filter(None, (f"sqlite:///{folder}/ledger.db", url)):
            started = time.perf_counter()
            _in_a_process(_fill, where, users)
            filled = time.perf_counter() - started
            rows.append(
                {
                    "ledger": where.split(":")[0],
                    "fill": filled,
                    **_in_a_process(_diff, where, users, changed),
                }
            )
    print(pl.DataFrame(rows).with_columns(pl.col(pl.Float64).round(2)))


def _in_a_process(function: Callable[..., Any], *args: Any) -> Any:
    with SPAWN.Pool(1) as pool:
        return pool.apply(function, args)


def _place(url: str) -> Any:
    return database.opened(url, "https://benchmark", "benchmark", "external_id")


def _fill(url: str, users: int) -> None:
    """Fill a ledger with two attributes per user, as fast as the database can."""
    with _place(url) as ledger:
        places.add_names(ledger.connection, ledger.place, plan.names(Braze()))
        ledger.connection.commit()
        raw: Any = ledger.connection.connection.driver_connection
        write = _insert if ledger.connection.dialect.name == "sqlite" else _copy
        write(raw, itertools.chain.from_iterable(_rows(ledger.place, users)))
        raw.commit()


def _rows(place: int, users: int, step: int = 500_000) -> Iterator[Any]:
    """Rows of the ledger in parts: what each user holds."""
    score = pl.col("score").cast(pl.String)
    told = (
        pl.lit('{"churn_segment":"')
        + pl.col("segment")
        + '","churn_score":'
        + score
        + "}"
    )
    zero = pl.lit(0)
    table = scores(users).select(
        pl.lit(place).alias("place"),
        "identifier",
        told.alias("told"),
        unsure=zero,
        run=zero,
    )
    for part in table.iter_slices(step):
        yield part.iter_rows()


def _insert(raw: Any, rows: Iterator[Any]) -> None:
    raw.execute("PRAGMA synchronous=OFF")
    raw.execute("DELETE FROM churn_told")
    raw.executemany("INSERT INTO churn_told VALUES (?, ?, ?, ?, ?)", rows)


def _copy(raw: Any, rows: Iterator[Any]) -> None:
    with raw.cursor() as cursor:
        cursor.execute("TRUNCATE churn_told")
        with cursor.copy(
            "COPY churn_told (place, identifier, attributes, unsure, run) FROM STDIN"
        ) as into:
            for row in rows:
                into.write_row(row)


def _diff(url: str, users: int, changed: float) -> dict[str, float]:
    """Processor seconds of both steps, and this process's peak memory in GB after each.

    The first figure of memory is what the scores alone need. A server's own seconds
    aren't among them.
    """
    every = round(1 / changed)
    table = scores(users, lambda user: (user % every == 0).cast(pl.Int64))
    peak_before = _peak()
    with _place(url) as ledger:
        started = time.process_time()
        n_users = sum(page.height for page in synced.pages(ledger))
        read = time.process_time() - started
        names = history.names(ledger)
        pages = synced.pages(ledger)
        drafted = plan.make(table, pages, Braze(), synced_names=names)
        made = time.process_time() - started - read
    return {
        "users": n_users,
        "changed": drafted.changes.height,
        "read s": read,
        "read and make s": made,
        "GB with scores": peak_before,
        "GB after make": _peak(),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
