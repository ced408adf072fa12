"""An empty ledger on SQLite and, if there is a server, on PostgreSQL."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from churn.braze.ledger import database

from ..conftest import unavailable
from .ledgers import Open


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh ledger's address."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    address: str = request.getfixturevalue("postgres")
    return address


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of an empty database on the PostgreSQL server."""
    server = os.environ.get("CHURN_TEST_POSTGRES_URL")
    if not server:
        unavailable(
            "CHURN_TEST_POSTGRES_URL names no PostgreSQL server, "
            "the shared ledger was not tried"
        )
    import psycopg

    name = f"churn_{secrets.token_hex(6)}"
    address = server.replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def opened(url: str) -> Open:
    """Open the ledger at a place; by default always the same one."""

    def open_at(
        workspace: str = "w", kind: str = "external_id", wait: float | None = 0.0
    ) -> Any:
        return database.opened(url, "https://rest.example.com", workspace, kind, wait)

    return open_at
