"""Records outcomes while a run sends, from a thread of its own.

Sending never waits for a commit: the thread commits whatever has come in meanwhile.
"""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from churn.braze.ledger import runs
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.runs import NOT_ATTEMPTED, SENT, UNKNOWN, Result, Run
from churn.braze.payload import Range
from churn.errors import BrazeError, TerminalBrazeError

MAX_ENTRIES = 5000
"""Most results and reservations in one transaction."""

GROUP_SECONDS = 0.05
"""Results wait this long for others, since a transaction costs as much as a request.

After a crash those that were still waiting are unknown, as if unanswered.
"""


@dataclass(frozen=True)
class _Reservation:
    position: int
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[None]"


_Entry = Result | _Reservation | None
"""What the thread reads from its queue; null ends it."""


class Recorder:
    """A ``sending.OutcomeLog`` over the ledger, for one run, as a context manager.

    ``ahead``: how many positions a reservation takes in beyond the one asked for. After
    the block every outcome is committed, or BrazeError was raised.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        ahead: int,
    ) -> None:
        self.results: list[Result] = []
        self._ledger = ledger
        self._run = run
        self._ahead = ahead
        self._reserved = -1
        self._queue: SimpleQueue[_Entry] = SimpleQueue()
        self._error: BrazeError | None = None
        self._thread = threading.Thread(target=self._write_all, name="ledger")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error and error is None:
            raise self._error

    async def reserve(self, position: int) -> None:
        """Return once the ledger knows that positions up to this one may be sent."""
        while position > self._reserved and not self._error:
            await self._commit_reservation(position + self._ahead)
        if self._error:
            raise self._error

    async def confirm_lock(self) -> None:
        """Return once something was committed, so the connection still has the lock."""
        await self._commit_reservation(self._reserved)
        if self._error:
            raise self._error

    async def _commit_reservation(self, position: int) -> None:
        loop = asyncio.get_running_loop()
        reservation = _Reservation(position, loop, loop.create_future())
        self._queue.put(reservation)
        await reservation.done

    def acknowledged(
        self,
        part: Range,
        rejected: dict[int, str],
        *,
        may_be_applied: bool,
    ) -> None:
        """Braze accepted these positions except the rejected, given with reasons."""
        pairs = tuple(rejected.items())
        self._add(
            Result(
                *part,
                SENT,
                "",
                pairs,
                may_be_applied,
            )
        )

    def unacknowledged(
        self,
        part: Range,
        reason: str,
        *,
        attempted: bool,
    ) -> None:
        """The outcome of these positions is unknown or, if not attempted, none."""
        outcome = UNKNOWN if attempted else NOT_ATTEMPTED
        self._add(Result(*part, outcome, reason))

    def _add(self, result: Result) -> None:
        self.results.append(result)
        self._queue.put(result)

    def _write_all(self) -> None:
        is_running = True
        while is_running:
            entries = [*self._group(), *self._queued()]
            is_running = None not in entries
            results = [entry for entry in entries if isinstance(entry, Result)]
            reservations = [e for e in entries if isinstance(e, _Reservation)]
            self._try_to_write(results, reservations)
            for reservation in reservations:
                # The loop may have ended with an error of its own.
                with suppress(RuntimeError):
                    reservation.loop.call_soon_threadsafe(_resolve, reservation.done)

    def _try_to_write(
        self, results: list[Result], reservations: list[_Reservation]
    ) -> None:
        try:
            self._write(results, reservations)
        except BrazeError as error:
            self._error = error
        except Exception as error:  # whatever it is, workers must not wait for ever
            cause = type(error).__name__
            self._error = TerminalBrazeError(f"the ledger can't be written ({cause})")

    def _write(
        self,
        results: list[Result],
        reservations: list[_Reservation],
    ) -> None:
        if self._error or not (results or reservations):
            return
        positions = [reservation.position for reservation in reservations]
        furthest = max([self._reserved, *positions])
        reserve = furthest + 1 if reservations else None
        runs.record(self._ledger, self._run, results, reserve)
        self._reserved = furthest

    def _group(self) -> list[_Entry]:
        """Results of GROUP_SECONDS; a reservation, for which a worker waits, ends it."""
        entries = [self._queue.get()]
        until = time.monotonic() + GROUP_SECONDS
        while isinstance(entries[-1], Result) and len(entries) < MAX_ENTRIES:
            try:
                left = max(0.0, until - time.monotonic())
                entries.append(self._queue.get(timeout=left))
            except Empty:
                break
        return entries

    def _queued(self) -> list[_Entry]:
        entries: list[_Entry] = []
        with suppress(Empty):
            while len(entries) < MAX_ENTRIES:
                entries.append(self._queue.get_nowait())
        return entries


def _resolve(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)
