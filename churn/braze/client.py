"""POST /users/track: pace, retries, and what an answer means. The only module that imports httpx."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import stamina
from httpx_aiohttp import HttpxAiohttpClient
from tqdm.auto import tqdm

from churn import __version__
from churn.braze import payload
from churn.errors import BrazeError, TerminalBrazeError, TransientBrazeError

log = logging.getLogger(__name__)
KEY_VARIABLE = "CHURN_BRAZE_KEY"
TIMEOUT_SECONDS = 30.0
MAX_ATTEMPTS = 8
MAX_RETRY_SECONDS = 900.0  # for one batch, waits included
EPOCH = 1e9  # a larger rate-limit reset is a point in time, a smaller one the seconds left

Batch = list[dict[str, Any]]


@dataclass(frozen=True)
class Acknowledgement:
    """What Braze said of one batch: reasons by position, and whether some error could not be placed."""

    rejected: dict[int, str]
    unplaced: str | None = None


@dataclass(frozen=True)
class Target:
    """Where to send and how fast. The key never appears in a repr."""

    endpoint: str
    key: str = field(repr=False)
    requests_per_second: float = 50.0
    concurrency: int = 16


def key_from_environment() -> str:
    """CHURN_BRAZE_KEY. Raises TerminalBrazeError where it isn't set."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise TerminalBrazeError(f"{KEY_VARIABLE} is not set: export a REST key that has the permission users.track")
    return key


def send(
    batches: Sequence[Batch],
    target: Target,
    on_answer: Callable[[Batch, Acknowledgement], None],
    on_lost: Callable[[Batch, BrazeError], None],
    progress: bool = True,
) -> BrazeError | None:
    """Send every batch; returns the error that stopped the run, null if none did.

    ``on_answer`` is called for each batch Braze acknowledged, ``on_lost`` for each whose fate is unknown or that was
    refused whole. Works where an event loop already runs, as in Jupyter: the sending has a thread and loop of its own.
    """
    job = _Job(
        iter(batches), target, on_answer, on_lost, tqdm(total=len(batches), desc="sending", disable=not progress)
    )
    with ThreadPoolExecutor(1, "braze") as pool:
        pool.submit(asyncio.run, job.run()).result()
    return job.error


@dataclass
class _Job:
    batches: Iterator[Batch]
    target: Target
    on_answer: Callable[[Batch, Acknowledgement], None]
    on_lost: Callable[[Batch, BrazeError], None]
    bar: Any
    error: BrazeError | None = None
    next_at: float = 0.0

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.target.key}", "Content-Type": "application/json"}
        headers["User-Agent"] = f"churn/{__version__}"
        async with HttpxAiohttpClient(
            base_url=self.target.endpoint, headers=headers, timeout=TIMEOUT_SECONDS
        ) as client:
            await asyncio.gather(*[self._work(client) for _ in range(self.target.concurrency)])
        self.bar.close()

    async def _work(self, client: httpx.AsyncClient) -> None:
        for batch in self.batches:  # one iterator, shared: each batch goes to one worker
            if self.error:
                return
            try:
                answer = await self._deliver(client, payload.body(batch))
            except BrazeError as error:
                self.error = self.error or error
                self.on_lost(batch, error)
                return
            try:
                self.on_answer(batch, answer)
            except BrazeError as error:  # acknowledged, but the ledger could not keep it: the next run tells it again
                self.error = self.error or error
                return
            self.bar.update()

    async def _deliver(self, client: httpx.AsyncClient, body: bytes) -> Acknowledgement:
        retries = stamina.retry_context(
            on=_wait, attempts=MAX_ATTEMPTS, timeout=MAX_RETRY_SECONDS, wait_initial=1, wait_max=60, wait_jitter=5
        )
        async for attempt in retries:
            with attempt:
                await self._pace()
                return await _track(client, body, self.target)
        raise AssertionError("stamina ends with a result or an error")

    async def _pace(self) -> None:
        now = time.monotonic()
        self.next_at = max(now, self.next_at + 1 / self.target.requests_per_second)
        await asyncio.sleep(self.next_at - now)


def _wait(error: Exception) -> bool | float:
    if isinstance(error, TransientBrazeError):
        return True if error.wait_seconds is None else error.wait_seconds
    return False


async def _track(client: httpx.AsyncClient, body: bytes, target: Target) -> Acknowledgement:
    try:
        response = await client.post("/users/track", content=body)
    except httpx.TransportError as error:
        raise _lost(error, target) from None
    return read(response.status_code, dict(response.headers), response.content, target)


def _lost(error: httpx.TransportError, target: Target) -> BrazeError:
    loopback = httpx.URL(target.endpoint).host in {"127.0.0.1", "localhost", "::1"}
    if loopback and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return TerminalBrazeError(f"nobody answers at {target.endpoint}; start the stand-in with `churn sandbox`")
    return TransientBrazeError(f"no answer from {target.endpoint} ({type(error).__name__})")


def read(status: int, headers: dict[str, str], content: bytes, target: Target) -> Acknowledgement:
    """What one answer means. Raises TransientBrazeError or TerminalBrazeError, never showing the key."""
    data = _json(content)
    if 200 <= status < 300:
        if data.get("message") != "success":
            raise TransientBrazeError(f"Braze answered {status} without saying success", _hint(headers))
        return _acknowledgement(data)
    if status == 400 and _placed(data):
        return _acknowledgement(data)  # every object was invalid: as many outcomes as objects
    if status == 429 or status >= 500 or status == 408:
        raise TransientBrazeError(f"Braze answered {status}", _hint(headers))
    said = str(data.get("message", "")).replace(target.key, "***")[:200]
    raise TerminalBrazeError(_REFUSALS.get(status, f"Braze refused the request with {status}: {said}"), status)


_REFUSALS = {
    401: "Braze does not accept the key (401): is it of this workspace, and is the endpoint that of your instance?",
    403: "Braze denies access (403): the key needs the permission users.track",
    404: "there is no /users/track at the endpoint (404): is it the REST endpoint of your instance?",
    413: "the request is too large for Braze (413): lower braze.batch_size",
}


def _json(content: bytes) -> dict[str, Any]:
    try:
        data = httpx.Response(200, content=content).json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _errors(data: dict[str, Any]) -> list[Any]:
    found = data.get("errors", [])
    return found if isinstance(found, list) else [found]


def _placed(data: dict[str, Any]) -> dict[int, str]:
    return {
        error["index"]: str(error.get("type", "rejected"))
        for error in _errors(data)
        if isinstance(error, dict)
        and isinstance(error.get("index"), int)
        and error.get("input_array", "attributes") == "attributes"
    }


def _acknowledgement(data: dict[str, Any]) -> Acknowledgement:
    placed = _placed(data)
    unplaced = len(_errors(data)) - len(placed)
    return Acknowledgement(placed, f"{unplaced} error(s) without a position" if unplaced else None)


def _hint(headers: dict[str, str]) -> float | None:
    """Seconds the server asks us to wait, from whichever header came; null without any."""
    for name in ("x-ratelimit-retry-after", "retry-after", "x-ratelimit-reset"):
        try:
            value = float(headers[name])
        except (KeyError, ValueError):
            continue
        return max(0.0, value - time.time() if value > EPOCH else value)
    return None
