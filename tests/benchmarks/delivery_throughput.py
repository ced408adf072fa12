"""Requests per second of delivery with its ledger, beside plain HTTP clients."""

import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import polars as pl
from aiohttp import web
from httpx_aiohttp import HttpxAiohttpClient

from churn.braze import payload, plan, sending
from churn.braze.ledger import closing, runs, users
from churn.braze.ledger.recorder import Recorder

from .delivery_parts import KEY, process, scores, send, study

ANSWER = json.dumps({"message": "success", "attributes_processed": 75}).encode()
UNBOUND = 1e9
"""Requests per second that no server reaches, so that delivery never waits."""


def bare(port: int, delay: float) -> None:
    """Answer every request with success after ``delay`` seconds."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if delay:
            await asyncio.sleep(delay)
        return web.Response(status=201, body=ANSWER, content_type="application/json")

    app = web.Application()
    app.router.add_post("/users/track", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


PARTS = (
    (users, "synced"),
    (plan, "make"),
    (payload, "items"),
    (runs, "start"),
    (sending, "send"),
    (Recorder, "__exit__"),
    (closing, "finish"),
)


@dataclass
class Rate:
    """Requests of one client, their seconds, and this process's CPU seconds."""

    who: str
    requests: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def row(self, base: "Rate") -> dict[str, Any]:
        """The row of the table, with the ratio to ``base``."""
        return {
            "who": self.who,
            "requests": self.requests,
            "seconds": self.seconds,
            "per second": self.per_second,
            "per CPU second": self.requests / self.cpu,
            "ratio": self.per_second / base.per_second,
        }


def throughput(
    users: int,
    delays: Sequence[float],
    workers: Sequence[int],
    tasks: Sequence[int],
    seconds: float,
) -> None:
    """Requests per second of delivery with its ledger, beside httpx alone.

    Ratios are to the first row of httpx.
    """
    table, rows, parts = scores(users), [], []
    for delay in delays:
        with process(bare, delay) as url:
            rates = _others(url, workers[0], tasks, seconds)
            for n, limit in itertools.product(workers, (UNBOUND, 1000.0)):
                rate, took = ours(url, table, n, limit)
                rates.append(rate)
                parts.append({"delay": delay, "run": rate.who, **took})
        rows += [{"delay": delay, **rate.row(rates[0])} for rate in rates]
    print(pl.DataFrame(rows).with_columns(pl.col(pl.Float64).round(2)))
    print(pl.DataFrame(parts).with_columns(pl.col(pl.Float64).round(2)))


def ours(
    url: str, table: pl.DataFrame, n: int, limit: float
) -> tuple[Rate, dict[str, float]]:
    """Export all users: the rate while sending, and the seconds by part."""
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
    """Rates of clients without plan or ledger."""
    return [
        *[
            _rate(url, seconds, "httpx.AsyncClient, tasks:", httpx.AsyncClient, n)
            for n in tasks
        ],
        _rate(url, seconds, "httpx.Client, threads:", httpx.Client, 16),
        over_transport(url, workers, seconds),
    ]


def over_transport(url: str, workers: int, seconds: float) -> Rate:
    """The rate of delivery's own transport without plan or ledger."""
    return _rate(url, seconds, "httpx on aiohttp, tasks:", HttpxAiohttpClient, workers)


def _rate(url: str, seconds: float, who: str, kind: Callable[..., Any], n: int) -> Rate:
    """The rate of a client with so many tasks or threads, its bodies made beforehand."""
    bodies = _bodies()
    run = _threads if kind is httpx.Client else _tasks
    limits = httpx.Limits(max_connections=n, max_keepalive_connections=n)
    http = kind(
        base_url=url,
        limits=limits,
        timeout=30,
        headers={"Authorization": f"Bearer {KEY}"},
    )
    started, cpu = time.perf_counter(), time.process_time()
    done = run(http, bodies, n, started + seconds)
    elapsed = time.perf_counter() - started
    return Rate(f"{who} {n}", done, elapsed, time.process_time() - cpu)


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
