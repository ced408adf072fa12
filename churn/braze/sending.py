"""Sends the batches of a run: concurrent workers, retries, limits."""

import asyncio
import itertools
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import stamina
from tqdm.auto import tqdm

from churn.braze import answers, client, pace, parts
from churn.braze.answers import Answer
from churn.braze.client import Post, Response
from churn.braze.pace import Pace
from churn.braze.parts import Part, Remaining, Tried
from churn.braze.payload import Batches, Range
from churn.errors import BrazeError, TerminalBrazeError, TransientBrazeError
from churn.settings import Braze

log = logging.getLogger(__name__)

CONFIRM_SECONDS = 2.0
"""A request that waited longer confirms first that the run still holds the lock."""

MAX_REJECTED_IN_A_ROW = 150
"""Users rejected one after the other (two full batches) that stop the run."""


class OutcomeLog(Protocol):
    """Records a run while it sends; the two methods without ``async`` don't wait."""

    async def reserve(self, position: int) -> None:
        """Return once it is stored that positions up to this one may be sent.

        Raises BrazeError if it can't be stored.
        """

    async def confirm_lock(self) -> None:
        """Return if this run still holds the lock; raise BrazeError otherwise."""

    def acknowledged(
        self,
        part: Range,
        rejected: dict[int, str],
        *,
        may_be_applied: bool,
    ) -> None:
        """Braze accepted the positions of ``part`` except the rejected.

        ``rejected``: reasons by position in the plan. ``may_be_applied``: an earlier
        attempt, whose answer was lost, may have been applied to the rejected users.
        """

    def unacknowledged(
        self,
        part: Range,
        reason: str,
        *,
        attempted: bool,
    ) -> None:
        """The run stopped before these positions were acknowledged.

        ``attempted``: a request with them may have been applied.
        """


@dataclass(frozen=True)
class Sent:
    """What came of the sending.

    ``error`` stopped it; null if it ended well. ``n_requests``: requests with an answer
    that counts. ``n_retries``: requests sent again. ``n_unanswered``: requests that may
    have been applied without an answer. ``seconds``: the whole time.
    ``answer_seconds``: the mean time to an answer. ``max_users``: users that a request
    may hold, if it is fewer than the study says; otherwise null.
    """

    error: BrazeError | None
    n_requests: int
    n_retries: int
    n_unanswered: int
    seconds: float
    answer_seconds: float
    max_users: int | None


def send(
    batches: Batches,
    braze: Braze,
    key: str,
    log: OutcomeLog,
    progress: bool = True,
    retried_from: int | None = None,
) -> Sent:
    """Send all batches and log the outcome of every position.

    Positions from ``retried_from`` on were rejected in earlier runs, so rejecting them
    again does not stop the run. Works inside Jupyter, where an event loop runs already.
    """
    # stamina logs a line for each retry, httpx one for each request.
    for name in ("stamina", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    n_batches = len(batches.ranges)
    bar = tqdm(total=n_batches, desc="sending", unit="batch", disable=not progress)
    sender = _Sender(
        batches,
        Remaining(batches),
        braze,
        key,
        log,
        bar,
        retried_from,
    )
    client.run_in_thread(sender.run(), sender.interrupt)
    return Sent(
        error=sender.error,
        n_requests=sender.n_requests,
        n_retries=sender.n_retries,
        n_unanswered=sender.n_unanswered,
        seconds=time.monotonic() - sender.started_at,
        answer_seconds=sender.waited_seconds / max(1, sender.n_answers),
        max_users=sender.unsent.max_users,
    )


@dataclass
class _Sender:
    batches: Batches
    unsent: Remaining
    braze: Braze
    key: str = field(repr=False)
    log: OutcomeLog
    bar: Any
    retried_from: int | None
    error: BrazeError | None = None
    n_requests: int = 0
    n_retries: int = 0
    n_unanswered: int = 0
    n_rejected_in_a_row: int = 0
    n_answers: int = 0
    waited_seconds: float = 0.0
    started_at: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        braze = self.braze
        self.pace = Pace(
            braze.requests_per_second, braze.requests_per_hour, braze.leave_rate
        )
        async with client.connected(braze, self.key) as post:
            # Alone, so that one request finds out what would stop or shrink them all.
            await self._work(post, itertools.islice(self.unsent, 1))
            workers = [self._work(post, self.unsent) for _ in range(braze.concurrency)]
            await asyncio.gather(*workers)
        self.bar.close()

    def interrupt(self) -> None:
        """Stop after the requests on their way, so that they get an outcome."""
        self.error = self.error or TerminalBrazeError("interrupted by hand")

    async def _work(self, post: Post, ranges: Iterator[Range]) -> None:
        # All workers share the iterator, so each range goes to one of them.
        for part in ranges:
            if self.error:
                return
            try:
                await self.log.reserve(part[1])
                await self._deliver_range(post, part)
            except BrazeError as error:
                self.error = self.error or error
                return
            self.bar.update()

    async def _deliver_range(self, post: Post, part: Range) -> None:
        """Deliver a range, in smaller requests if its own is refused or unclear."""
        tried = Tried()
        waiting = parts.first_parts(part, self.unsent.max_users)
        try:
            while waiting:
                answer = await self._deliver(post, waiting[-1])
                delivered = waiting.pop()
                tried.add(delivered.n_users, answer)
                if answer.split:
                    waiting += reversed(parts.split(delivered, answer))
                else:
                    self._log_answer(delivered, answer)
        except BrazeError as error:
            for left in waiting:
                self.log.unacknowledged(
                    left.range, str(error), attempted=left.may_be_applied
                )
            raise
        if tried.max_users is not None:
            self._shrink(tried.max_users)

    def _shrink(self, max_users: int) -> None:
        """Send no more users at once than Braze has taken."""
        if self.unsent.shrink(max_users):
            self.bar.total = self.bar.n + 1 + len(self.unsent)
            log.warning(
                "Braze refused requests with more users and took those with %d: set "
                "braze.batch_size = %d in the study",
                max_users,
                max_users,
            )

    def _log_answer(self, part: Part, answer: Answer) -> None:
        first = part.range[0]
        rejected = {first + i: reason for i, reason in answer.rejected.items()}
        self.log.acknowledged(part.range, rejected, may_be_applied=part.may_be_applied)
        if self.retried_from is None or part.range[1] < self.retried_from:
            self._stop_if_all_are_rejected(part.n_users, len(rejected))

    def _stop_if_all_are_rejected(self, n_users: int, n_rejected: int) -> None:
        if n_rejected < n_users:
            self.n_rejected_in_a_row = 0
            return
        self.n_rejected_in_a_row += n_users
        if self.n_rejected_in_a_row >= MAX_REJECTED_IN_A_ROW:
            raise TerminalBrazeError(
                f"Braze rejected {self.n_rejected_in_a_row} users in a row; "
                "`churn braze ledger --rejects RUN` shows why"
            )

    async def _deliver(self, post: Post, part: Part) -> Answer:
        """Send a part until Braze answers or ``retry_seconds`` are over."""
        body = self.batches.body(part.range)
        retries = stamina.retry_context(
            on=lambda error: self._retry_wait(error, part), attempts=None, timeout=None
        )
        async for attempt in retries:
            with attempt:
                return await self._send_once(post, body, part)
        raise AssertionError("stamina ends with a result or an error")

    def _retry_wait(self, error: Exception, part: Part) -> bool | float:
        """Seconds until the next attempt; False ends the attempts.

        Only time spent failing counts towards ``retry_seconds``, pauses don't.
        """
        if not isinstance(error, TransientBrazeError):
            return False
        self.n_retries += 1
        self.n_unanswered += error.was_sent
        part.may_be_applied |= error.was_sent
        part.n_failures += 1
        wait = error.wait_seconds
        if wait is None:
            wait = pace.full_jitter(part.n_failures)
        part.failing_seconds += time.monotonic() - part.sent_at + wait
        if self.error or part.failing_seconds >= self.braze.retry_seconds:
            return False
        return wait

    async def _send_once(self, post: Post, body: bytes, part: Part) -> Answer:
        """Send one request until its answer isn't 429, which is not a failure."""
        for n_limited in itertools.count(1):
            await self._wait_turn(part)
            response = await post(body, not self.n_answers)
            self.waited_seconds += time.monotonic() - part.sent_at
            self.n_answers += 1
            self.pace.observe(response.headers)
            if response.status != 429:
                return self._read(response, part.n_users)
            self.n_retries += 1
            wait = pace.stated_wait(response.headers, time.time())
            self.pace.pause(pace.full_jitter(n_limited) if wait is None else wait)
        raise AssertionError("max_run_minutes ends the run before")

    async def _wait_turn(self, part: Part) -> None:
        await self.pace.turn(self._raise_if_stopped)
        if time.monotonic() - part.confirmed_at > CONFIRM_SECONDS:
            await self.log.confirm_lock()
            part.confirmed_at = time.monotonic()
        part.sent_at = time.monotonic()

    def _read(self, response: Response, n_users: int) -> Answer:
        try:
            answer = answers.read(response.status, response.content, n_users, self.key)
        except TransientBrazeError as error:
            wait = pace.stated_wait(response.headers, time.time(), pace.RETRY_AFTER)
            raise TransientBrazeError(str(error), wait) from None
        self.n_requests += 1
        return answer

    def _raise_if_stopped(self) -> None:
        minutes = self.braze.max_run_minutes
        if self.error:
            raise TerminalBrazeError(str(self.error))
        if time.monotonic() - self.started_at > 60 * minutes:
            raise TerminalBrazeError(f"max_run_minutes ({minutes:g}) are over")
