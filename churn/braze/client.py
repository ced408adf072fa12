"""POST /users/track: workers, retries and their ceilings. The only module that imports
httpx.
"""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import aiohttp
import httpx
import stamina
from httpx_aiohttp import HttpxAiohttpClient
from tqdm.auto import tqdm

from churn import __version__
from churn.braze import answers, pace, payload
from churn.braze.answers import Answer
from churn.braze.pace import Pace
from churn.braze.payload import Range
from churn.errors import BrazeError, TerminalBrazeError, TransientBrazeError
from churn.settings import Braze

log = logging.getLogger(__name__)
KEY_VARIABLE = "CHURN_BRAZE_KEY"
T = TypeVar("T")
POLL_SECONDS = 0.2
CONFIRM_SECONDS = (
    2.0  # a request that waited longer makes sure first that the ledger is still ours
)
MAX_REJECTED_IN_A_ROW = (
    150  # two full batches of which nobody was taken: something is wrong with all of it
)


def key_from_environment() -> str:
    """CHURN_BRAZE_KEY. Raises TerminalBrazeError where it isn't set."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise TerminalBrazeError(
            f"{KEY_VARIABLE} is not set: export a REST key that has the permission users.track"
        )
    if not (key.isascii() and key.isprintable()):
        raise TerminalBrazeError(
            f"{KEY_VARIABLE} holds characters that no key has: copy it again"
        )
    return key


class Book(Protocol):
    """Where a run is written down while it goes on. ``answered`` and ``lost`` return at
    once.
    """

    async def reserve(self, position: int) -> None:
        """Return once it is durable that positions up to this one may be under way;
        BrazeError if it can't be.
        """

    async def confirm(self) -> None:
        """Return once it is sure that the run may still be written down; BrazeError if
        it can't be.
        """

    def answered(self, part: Range, rejected: dict[int, str], *, unclear: bool) -> None:
        """Braze took the positions of ``part`` but for the rejected, whose reasons
        stand by position in the plan.

        ``unclear``: an earlier try, whose answer was lost, may have been applied to
        those too.
        """

    def lost(self, part: Range, reason: str, *, attempted: bool) -> None:
        """Nobody can tell what became of these, or they were refused whole."""


@dataclass(frozen=True)
class Sent:
    """How the sending went: the error that stopped it (null: none), requests answered,
    tried again, and of those lost.

    ``seconds`` in all, ``answer_seconds`` on average until an answer.
    """

    error: BrazeError | None
    n_requests: int
    n_retries: int
    n_lost: int
    seconds: float
    answer_seconds: float


def send(
    ranges: Sequence[Range],
    body: Callable[[Range], bytes],
    braze: Braze,
    key: str,
    book: Book,
    progress: bool = True,
    n_trusted: int | None = None,
) -> Sent:
    """Send every range of the plan; tells ``book`` what became of each.

    ``n_trusted``: positions from this one on were refused before, and are no sign that
    something is wrong; null: none.

    Works where an event loop already runs, as in Jupyter: the sending has a thread and
    loop of its own.
    """
    for name in ("stamina", "httpx"):  # a line for each retry, one for each request
        logging.getLogger(name).setLevel(logging.ERROR)
    bar = tqdm(total=len(ranges), desc="sending", unit="batch", disable=not progress)
    job = _Job(iter(ranges), body, braze, key, book, bar, n_trusted)
    _run_apart(job.run(), job.interrupt)
    return Sent(
        job.error,
        job.n_requests,
        job.n_retries,
        job.n_lost,
        time.monotonic() - job.started,
        job.answering / max(1, job.n_answers),
    )


def probe(braze: Braze, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and content of one request; BrazeError
    where none came.
    """

    async def once() -> tuple[int, dict[str, str], bytes]:
        async with connected(braze, key) as client:
            response = await _post(client, braze, body, is_first=True)
            return response.status_code, _lower(response.headers), response.content

    return _run_apart(once())


def _run_apart(
    work: Coroutine[Any, Any, T], interrupt: Callable[[], None] = lambda: None
) -> T:
    """Run a coroutine in a thread and loop of its own: in Jupyter a loop runs already.

    On Ctrl-C ``interrupt`` is called, and the end is waited for.
    """
    with ThreadPoolExecutor(1, "braze") as pool:
        running = pool.submit(asyncio.run, work)
        while True:
            try:
                return running.result(
                    timeout=POLL_SECONDS
                )  # a wait without end would not see Ctrl-C
            except TimeoutError:
                if running.done():
                    raise
            except KeyboardInterrupt:
                interrupt()


@asynccontextmanager
async def connected(braze: Braze, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the endpoint that follows no redirect; the key is in its headers
    only.
    """
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    limits = httpx.Limits(
        max_connections=braze.concurrency, max_keepalive_connections=braze.concurrency
    )
    async with HttpxAiohttpClient(
        base_url=braze.endpoint,
        headers={**headers, "User-Agent": f"churn/{__version__}"},
        timeout=braze.timeout_seconds,
        limits=limits,
    ) as client:
        yield client


@dataclass
class _Part:
    """A range on its way. ``unclear``: some of it may have been applied, though nobody
    said so.
    """

    range: Range
    unclear: bool = False
    n_failures: int = 0
    failing_seconds: float = 0.0
    asked_at: float = 0.0
    confirmed_at: float = field(default_factory=time.monotonic)

    @property
    def n(self) -> int:
        return self.range[1] - self.range[0] + 1


@dataclass
class _Job:
    ranges: Iterator[Range]
    body: Callable[[Range], bytes]
    braze: Braze
    key: str = field(repr=False)
    book: Book
    bar: Any
    n_trusted: int | None = None
    error: BrazeError | None = None
    n_requests: int = 0
    n_retries: int = 0
    n_lost: int = 0
    n_rejected_in_a_row: int = 0
    n_answers: int = 0
    answering: float = 0.0  # seconds until answers, added up
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        self.pace = Pace(
            self.braze.requests_per_second,
            self.braze.requests_per_hour,
            self.braze.leave_rate,
        )
        async with connected(self.braze, self.key) as client:
            await asyncio.gather(
                *[self._work(client) for _ in range(self.braze.concurrency)]
            )
        self.bar.close()

    def interrupt(self) -> None:
        """Stop after the requests under way, so that they get an outcome."""
        self.error = self.error or TerminalBrazeError("interrupted by hand")

    async def _work(self, client: httpx.AsyncClient) -> None:
        for part in self.ranges:  # one iterator, shared: each range goes to one worker
            if self.error:
                return
            try:
                await self.book.reserve(part[1])
                await self._deliver_all(client, part)
            except BrazeError as error:
                self.error = self.error or error
                return
            self.bar.update()

    async def _deliver_all(self, client: httpx.AsyncClient, part: Range) -> None:
        """Deliver a range, in parts where its request was refused whole."""
        todo = [_Part(part)]
        try:
            while todo:
                answer = await self._deliver(client, todo[-1])
                one = todo.pop()
                if answer.again:
                    parts = payload.split(
                        one.range, 2 if answer.again == "halves" else one.n
                    )
                    todo += [
                        _Part(r, one.unclear or answer.again == "singly")
                        for r in reversed(parts)
                    ]
                else:
                    rejected = {
                        one.range[0] + i: why for i, why in answer.rejected.items()
                    }
                    self.book.answered(one.range, rejected, unclear=one.unclear)
                    self._stop_if_all_are_refused(answer, one)
        except BrazeError as error:
            for left in todo:
                self.book.lost(left.range, str(error), attempted=left.unclear)
            raise

    def _stop_if_all_are_refused(self, answer: Answer, part: _Part) -> None:
        if self.n_trusted is not None and part.range[1] >= self.n_trusted:
            return
        taken = len(answer.rejected) < part.n
        self.n_rejected_in_a_row = 0 if taken else self.n_rejected_in_a_row + part.n
        if self.n_rejected_in_a_row >= MAX_REJECTED_IN_A_ROW:
            raise TerminalBrazeError(
                f"Braze rejected {self.n_rejected_in_a_row} users in a row"
            )

    async def _deliver(self, client: httpx.AsyncClient, part: _Part) -> Answer:
        body = self.body(part.range)
        retries = stamina.retry_context(
            on=lambda error: self._wait(error, part), attempts=None, timeout=None
        )
        async for attempt in retries:
            with attempt:
                return await self._once(client, body, part)
        raise AssertionError("stamina ends with a result or an error")

    def _wait(self, error: Exception, part: _Part) -> bool | float:
        """How long to wait before the next attempt; False ends it. Only time spent
        failing counts, no pause.
        """
        if not isinstance(error, TransientBrazeError):
            return False
        self.n_retries += 1
        self.n_lost += error.was_sent
        part.unclear |= error.was_sent
        part.n_failures += 1
        wait = (
            pace.full_jitter(part.n_failures)
            if error.wait_seconds is None
            else error.wait_seconds
        )
        part.failing_seconds += time.monotonic() - part.asked_at + wait
        return (
            wait
            if part.failing_seconds < self.braze.retry_seconds and not self.error
            else False
        )

    async def _once(
        self, client: httpx.AsyncClient, body: bytes, part: _Part
    ) -> Answer:
        """One request, again while the answer is 429: that asks all workers to wait,
        and counts as no failure.
        """
        for n_limited in itertools.count(1):
            await self.pace.turn(self._check_going_on)
            if time.monotonic() - part.confirmed_at > CONFIRM_SECONDS:
                await self.book.confirm()
                part.confirmed_at = time.monotonic()
            part.asked_at = time.monotonic()
            response = await _post(
                client, self.braze, body, is_first=not self.n_answers
            )
            self.answering += time.monotonic() - part.asked_at
            self.n_answers += 1
            headers = _lower(response.headers)
            self.pace.note(headers)
            if response.status_code != 429:
                return self._read(response, headers, part.n)
            self.n_retries += 1
            wait = pace.hint(headers, time.time())
            self.pace.hold(pace.full_jitter(n_limited) if wait is None else wait)
        raise AssertionError("the run's time is over before")

    def _read(
        self, response: httpx.Response, headers: dict[str, str], n: int
    ) -> Answer:
        try:
            answer = answers.read(response.status_code, response.content, n, self.key)
        except TransientBrazeError as error:
            raise TransientBrazeError(
                str(error), pace.hint(headers, time.time(), pace.AFTER)
            ) from None
        self.n_requests += 1
        return answer

    def _check_going_on(self) -> None:
        minutes = self.braze.max_run_minutes
        if self.error:
            raise TerminalBrazeError(str(self.error))
        if time.monotonic() - self.started > 60 * minutes:
            raise TerminalBrazeError(f"max_run_minutes ({minutes:g}) are over")


async def _post(
    client: httpx.AsyncClient, braze: Braze, body: bytes, is_first: bool
) -> httpx.Response:
    try:
        return await client.post(braze.path, content=body)
    except (
        httpx.RequestError,
        aiohttp.ClientError,
    ) as error:  # the transport doesn't translate all of its own
        raise _lost(error, braze.endpoint, is_first) from None


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _lost(error: Exception, endpoint: str, is_first: bool) -> BrazeError:
    # The transport calls a lost connection by the same name as a refused one; only what
    # it was made from tells.
    cause = error.__cause__ or error
    if not isinstance(cause, aiohttp.ClientConnectorError):
        return TransientBrazeError(
            f"no answer from {endpoint} ({type(cause).__name__})"
        )
    if httpx.URL(endpoint).host in {"127.0.0.1", "localhost", "::1"}:
        return TerminalBrazeError(
            f"nobody answers at {endpoint}; start the stand-in with `churn sandbox`"
        )
    if is_first and isinstance(
        cause, aiohttp.ClientConnectorDNSError | aiohttp.ClientConnectorCertificateError
    ):
        return TerminalBrazeError(
            f"{endpoint} can't be reached ({type(cause).__name__}): is the endpoint right?"
        )
    return TransientBrazeError(
        f"{endpoint} can't be reached ({type(cause).__name__})", was_sent=False
    )
