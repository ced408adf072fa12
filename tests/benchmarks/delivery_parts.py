"""What benchmarks of delivery share: scores, studies, exports, and servers."""

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from churn.braze import export
from churn.braze.delivery import Delivery
from churn.settings import Settings, parse

KEY = "benchmark-key"
PASSED = pl.DataFrame({"gate": ["none"], "passed": [True], "sentence": [""]})
SEGMENTS = ("high", "medium", "low")
SPAWN = multiprocessing.get_context("spawn")


def scores(
    n: int, shift: Callable[[pl.Expr], pl.Expr] = lambda user: pl.lit(0)
) -> pl.DataFrame:
    """Scores of users 0 … n-1, each moved by ``shift`` segments from its first."""
    user = pl.col("user")
    segment = pl.Series(SEGMENTS).gather  # keeps the names in one place
    table = pl.DataFrame({"user": range(n)}).with_columns(step=(user + shift(user)) % 3)
    return table.select(
        user_id=pl.format("user-{}", user.cast(pl.String).str.zfill(9)),
        identifier=pl.format("user-{}", user.cast(pl.String).str.zfill(9)),
        segment=segment(table["step"]),
        score=(pl.col("step") * 30 + 10).cast(pl.Int64),
        cutoff=pl.lit(date(2026, 3, 1)),
    )


def study(folder: Path, endpoint: str, **braze: Any) -> Settings:
    """A study that sends to ``endpoint``; values may lie outside the allowed bounds."""
    made = parse(
        {
            "extracts": [{"source": "table", "path": "x"}],
            "braze": {"endpoint": endpoint},
        },
        folder,
    )
    return made.model_copy(update={"braze": made.braze.model_copy(update=braze)})


def send(
    to: Settings, table: pl.DataFrame, run_id: str, is_sent: bool = True
) -> dict[str, Any]:
    """Export the scores and return the summary."""
    accept = ["change_rate"]
    delivery = Delivery(to, run_id, send=is_sent, accept=accept, progress=False)
    done = export.run(table, PASSED, delivery)
    return done.summary


@contextmanager
def process(serve: Callable[..., None], *args: Any) -> Iterator[str]:
    """The address of a server that runs in a process of its own.

    ``serve`` takes a port and ``args``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = SPAWN.Process(target=serve, args=(port, *args), daemon=True)
    running.start()
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.join()


def _wait_for(port: int, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def know(url: str, users: pl.Series) -> None:
    """Create users in a sandbox."""
    for part in range(0, len(users), 50_000):
        httpx.post(
            f"{url}/__sandbox__/users",
            json=users[part : part + 50_000].to_list(),
            timeout=60,
        )


def state(url: str) -> dict[str, Any]:
    """The state of a sandbox, with each user's attributes in ``held``."""
    found: dict[str, Any] = httpx.get(f"{url}/__sandbox__/state", timeout=120).json()
    return {
        **found,
        "held": {p["external_id"]: p["custom_attributes"] for p in found["profiles"]},
    }
