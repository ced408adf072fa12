"""Delivery measured: the forecast against what happens, requests a second, and what the
ledger costs.

python tests/benchmarks/delivery.py forecast [--users 200000] [--pace 50 200] [--workers
16] python tests/benchmarks/delivery.py throughput [--users 1500000] [--delays 0 0.05]
[--workers 100]
    [--tasks 100 16 8] [--seconds 12]
python tests/benchmarks/delivery.py ledger [--users 10000000] [--changed 0.01] [--url
postgresql+psycopg://…]

Servers have a process of their own, so that none of their work is counted as ours.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import polars as pl
from aiohttp import web
from httpx_aiohttp import HttpxAiohttpClient

from churn.braze import client, export, payload, plan, sending
from churn.braze.delivery import Delivery
from churn.braze.ledger import database, history, runs
from churn.braze.ledger.recorder import Recorder
from churn.sandbox import server
from churn.settings import Braze, Settings, parse

KEY = "benchmark-key"
PASSED = pl.DataFrame({"gate": ["none"], "passed": [True], "sentence": [""]})
SEGMENTS = ("high", "medium", "low")
ANSWER = json.dumps({"message": "success", "attributes_processed": 75}).encode()
SPAWN = multiprocessing.get_context("spawn")
UNBOUND = 1e9  # requests a second: no pace at all


def main() -> None:
    """Run one of the three measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, function, options in (
        (
            "forecast",
            forecast,
            {"users": 200_000, "pace": [50.0, 200.0], "workers": 16},
        ),
        (
            "throughput",
            throughput,
            {
                "users": 1_500_000,
                "delays": [0.0, 0.05],
                "workers": [100],
                "tasks": [100, 16, 8],
                "seconds": 12.0,
            },
        ),
        (
            "ledger",
            ledgers,
            {
                "users": 10_000_000,
                "changed": 0.01,
                "url": os.environ.get("CHURN_TEST_POSTGRES_URL"),
            },
        ),
    ):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        for option, default in options.items():
            several = {"nargs": "+"} if isinstance(default, list) else {}
            kind = type(default[0] if isinstance(default, list) else default or "")
            command.add_argument(f"--{option}", default=default, type=kind, **several)
    arguments = vars(parser.parse_args())
    os.environ[client.KEY_VARIABLE] = KEY
    with pl.Config(
        fmt_str_lengths=60,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        pl.Config.set_tbl_width_chars(160)
        arguments.pop("function")(**arguments)


def scores(
    n: int, shift: Callable[[pl.Expr], pl.Expr] = lambda user: pl.lit(0)
) -> pl.DataFrame:
    """Scores of users 0 … n-1; ``shift`` says by how many segments each is moved from
    where it begins.
    """
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
    """A study that sends to ``endpoint``; what is out of the study file's bounds is set
    all the same.
    """
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
    """Summary of an export."""
    accept = ["change_rate"]
    delivery = Delivery(to, run_id, send=is_sent, accept=accept, progress=False)
    done = export.run(table, PASSED, delivery)
    return done.summary


@contextmanager
def process(store: Callable[..., None], *args: Any) -> Iterator[str]:
    """A server in a process of its own, up: its address. ``target`` takes a port and
    ``args``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = SPAWN.Process(target=store, args=(port, *args), daemon=True)
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


def bare(port: int, delay: float) -> None:
    """Say success to everything after ``delay`` seconds."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if delay:
            await asyncio.sleep(delay)
        return web.Response(status=201, body=ANSWER, content_type="application/json")

    app = web.Application()
    app.router.add_post("/users/track", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


# --- forecast ---


def forecast(users: int, pace: Sequence[float], workers: int) -> None:
    """All users, then a tenth, then nothing: what the dry run foretells = what the
    sandbox saw.
    """
    rows = []
    for per_second in pace:
        with tempfile.TemporaryDirectory() as folder, process(server.serve, KEY) as url:
            know(url, scores(users)["identifier"])
            to = study(
                Path(folder), url, requests_per_second=per_second, concurrency=workers
            )
            tenth = scores(users, lambda user: (user % 10 == 0).cast(pl.Int64))
            for what, table in (
                ("all", scores(users)),
                ("a tenth", tenth),
                ("the same", tenth),
            ):
                rows.append(
                    {
                        "pace": per_second,
                        "changed": what,
                        **_compared(to, table, url, what),
                    }
                )
    print(pl.DataFrame(rows))


def know(url: str, users: pl.Series) -> None:
    """Make users known to a sandbox."""
    for part in range(0, len(users), 50_000):
        httpx.post(
            f"{url}/__sandbox__/users",
            json=users[part : part + 50_000].to_list(),
            timeout=60,
        )


def state(url: str) -> dict[str, Any]:
    """All that a sandbox knows, and each user's attributes in ``held``."""
    found: dict[str, Any] = httpx.get(f"{url}/__sandbox__/state", timeout=120).json()
    return {
        **found,
        "held": {p["external_id"]: p["custom_attributes"] for p in found["profiles"]},
    }


def _compared(to: Settings, table: pl.DataFrame, url: str, what: str) -> dict[str, Any]:
    before, foretold = state(url), send(to, table, "dry", is_sent=False)
    done, after = send(to, table, what), state(url)
    n_requests, n_points = (
        after[name] - before[name] for name in ("n_requests", "n_data_points")
    )
    n_users = sum(held != before["held"][who] for who, held in after["held"].items())
    return {
        "users": f"{foretold['n_changed']} = {n_users}",
        "requests": f"{foretold['n_requests']} = {n_requests} (by 75: {-(-foretold['n_changed'] // 75)})",
        "points": f"{foretold['n_data_points']} = {n_points}",
        "minutes": f"{foretold['minutes']} ~ {done['minutes_taken']}",
        "off": f"{foretold['minutes'] / done['minutes_taken'] - 1:+.1%}"
        if n_requests
        else "",
        "retries": done["n_retries"],
    }


# --- throughput ---

PARTS = (
    (history, "synced"),
    (plan, "make"),
    (payload, "items"),
    (runs, "start"),
    (sending, "send"),
    (Recorder, "__exit__"),  # what is left to write after the last answer
    (runs, "finish"),
)


@dataclass
class Rate:
    """Requests of somebody, the seconds they took, and those of this process's CPU
    time.
    """

    who: str
    requests: int
    seconds: float
    cpu: float

    def row(self, base: "Rate") -> dict[str, Any]:
        """As shown, beside ``base``."""
        per_second = self.requests / self.seconds
        return {
            "who": self.who,
            "requests": self.requests,
            "seconds": self.seconds,
            "per second": per_second,
            "per CPU second": self.requests / self.cpu,
            "ratio": per_second * base.seconds / base.requests,
        }


def throughput(
    users: int,
    delays: Sequence[float],
    workers: Sequence[int],
    tasks: Sequence[int],
    seconds: float,
) -> None:
    """Requests a second of ours while sending, ledger and all, beside httpx alone; the
    ratio is to its first line.
    """
    table, rows, parts = scores(users), [], []
    for delay in delays:
        with process(bare, delay) as url:
            rates = _others(url, workers[0], tasks, seconds)
            for n, limit in itertools.product(workers, (UNBOUND, 1000.0)):
                rate, took = _ours(url, table, n, limit)
                rates.append(rate)
                parts.append({"delay": delay, "run": rate.who, **took})
        rows += [{"delay": delay, **rate.row(rates[0])} for rate in rates]
    print(pl.DataFrame(rows).with_columns(pl.col(pl.Float64).round(2)))
    print(pl.DataFrame(parts).with_columns(pl.col(pl.Float64).round(2)))


def _ours(
    url: str, table: pl.DataFrame, n: int, limit: float
) -> tuple[Rate, dict[str, float]]:
    """An export of everybody: the rate while sending, and the seconds by part."""
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        to = study(Path(folder), url, concurrency=n, requests_per_second=limit)
        for owner, name in PARTS:
            label = f"{owner.__name__.split('.')[-1]}.{name}"
            patches.enter_context(
                mock.patch.object(
                    owner, name, _clocked(getattr(owner, name), label, took)
                )
            )
        started = time.perf_counter()
        summary = send(to, table, "r")
        took["whole export"] = time.perf_counter() - started
    assert summary["n_sent"] == table.height, summary
    cpu = took.pop("sending.send CPU")
    paced = "" if limit == UNBOUND else f", at most {limit:g}/s"
    return Rate(
        f"churn, {n} workers{paced}",
        summary["n_requests_sent"],
        took["sending.send"],
        cpu,
    ), {name: spent for name, spent in took.items() if not name.endswith("CPU")}


def _clocked(
    function: Callable[..., Any], label: str, took: dict[str, float]
) -> Callable[..., Any]:
    def clocked(*args: Any, **kwargs: Any) -> Any:
        started, cpu = time.perf_counter(), time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            took[label] = time.perf_counter() - started
            took[f"{label} CPU"] = time.process_time() - cpu

    return clocked


def _others(url: str, workers: int, tasks: Sequence[int], seconds: float) -> list[Rate]:
    """Clients that know neither plan nor ledger; their bodies are made beforehand."""
    bodies = _bodies()

    def rate(
        who: str, kind: Callable[..., Any], run: Callable[..., int], n: int
    ) -> Rate:
        limits = httpx.Limits(max_connections=n, max_keepalive_connections=n)
        http = kind(
            base_url=url,
            limits=limits,
            timeout=30,
            headers={"Authorization": f"Bearer {KEY}"},
        )
        started, cpu = time.perf_counter(), time.process_time()
        done = run(http, bodies, n, started + seconds)
        return Rate(
            f"{who} {n}", done, time.perf_counter() - started, time.process_time() - cpu
        )

    return [
        *[
            rate("httpx.AsyncClient, tasks:", httpx.AsyncClient, _tasks, n)
            for n in tasks
        ],
        rate("httpx.Client, threads:", httpx.Client, _threads, 16),
        rate("httpx on aiohttp, tasks:", HttpxAiohttpClient, _tasks, workers),
    ]


def _bodies(n: int = 500) -> list[bytes]:
    segment, score = pl.col("segment"), pl.col("score").cast(pl.String)
    attributes = (
        pl.lit('{"churn_segment":"') + segment + '","churn_score":' + score + "}"
    )
    items = payload.items(
        scores(n * 75).with_columns(attributes=attributes), "external_id", False
    )
    return [payload.body(items[i : i + 75]) for i in range(0, len(items), 75)]


def _tasks(http: httpx.AsyncClient, bodies: list[bytes], n: int, until: float) -> int:
    left = itertools.cycle(bodies)

    async def work() -> int:
        done = 0
        while time.perf_counter() < until:
            response = await http.post("/users/track", content=next(left))
            done += response.status_code == 201
        return done

    async def run() -> int:
        async with http:
            return sum(await asyncio.gather(*[work() for _ in range(n)]))

    return asyncio.run(run())


def _threads(http: httpx.Client, bodies: list[bytes], n: int, until: float) -> int:
    left = itertools.cycle(bodies)

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < until:
            done += http.post("/users/track", content=next(left)).status_code == 201
        return done

    with http, ThreadPoolExecutor(n) as pool:
        return sum(pool.map(work, range(n)))


# --- ledger ---


def ledgers(users: int, changed: float, url: str | None) -> None:
    """Reading what was told and finding what changed, at this many users."""
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
    """Every user told two attributes, written as fast as the database takes it."""
    with _place(url) as ledger:
        database.add_names(ledger.connection, ledger.place, plan.names(Braze()))
        ledger.connection.commit()
        raw: Any = ledger.connection.connection.driver_connection
        write = _insert if ledger.connection.dialect.name == "sqlite" else _copy
        write(raw, itertools.chain.from_iterable(_rows(ledger.place, users)))
        raw.commit()


def _rows(place: int, users: int, step: int = 500_000) -> Iterator[Any]:
    """Rows in parts: what each user was told."""
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
    """Seconds of either step and this process's peak, of which ``scores`` alone need
    the first figure.
    """
    every = round(1 / changed)
    table = scores(users, lambda user: (user % every == 0).cast(pl.Int64))
    peak_before = _peak()
    with _place(url) as ledger:
        started = time.perf_counter()
        synced = history.synced(ledger)
        read, peak_read = time.perf_counter() - started, _peak()
        drafted = plan.make(table, synced, Braze(), synced_names=history.names(ledger))
        made = time.perf_counter() - started - read
    return {
        "users": synced.height,
        "changed": drafted.changes.height,
        "told s": read,
        "make s": made,
        "GB with scores": peak_before,
        "GB after told": peak_read,
        "GB after make": _peak(),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
