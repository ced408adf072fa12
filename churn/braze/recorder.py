"""Writes down what becomes of a run while it goes on: a thread of its own commits
whatever has come in meanwhile.
"""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from churn.braze import ledger
from churn.braze.database import Ledger
from churn.braze.ledger import NOT_ATTEMPTED, SENT, UNKNOWN, Result, Run
from churn.braze.payload import Range
from churn.errors import BrazeError, TerminalBrazeError

MAX_GROUP = 5000  # results in one transaction


@dataclass(frozen=True)
class _Reserve:
    position: int
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[None]"


class Recorder:
    """A client.Book over the ledger. Sending never waits for a commit, but for a
    reservation further ahead.

    ``ahead``: by how many positions a reservation reaches beyond what is needed now.
    After the block everything is durable, or BrazeError was raised.
    """

    def __init__(self, book: Ledger, run: Run, ahead: int) -> None:
        self.results: list[Result] = []
        self._book, self._run, self._ahead = book, run, ahead
        self._reserved = -1
        self._queue: SimpleQueue[Result | _Reserve | None] = SimpleQueue()
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
        """Return once it is durable that positions up to this one may be under way."""
        while position > self._reserved and not self._error:
            await self._ask(position + self._ahead)
        if self._error:
            raise self._error

    async def confirm(self) -> None:
        """Return once something was written: then the lock that came with the
        connection is still ours.
        """
        await self._ask(self._reserved)
        if self._error:
            raise self._error

    async def _ask(self, position: int) -> None:
        loop = asyncio.get_running_loop()
        asked = _Reserve(position, loop, loop.create_future())
        self._queue.put(asked)
        await asked.done

    def answered(self, part: Range, rejected: dict[int, str], *, unclear: bool) -> None:
        """Braze took these but for the rejected, who were perhaps reached before."""
        self._note(
            Result(*part, SENT, rejected=tuple(rejected.items()), unclear=unclear)
        )

    def lost(self, part: Range, reason: str, *, attempted: bool) -> None:
        """Nobody can tell what became of these, or they were refused whole."""
        self._note(Result(*part, UNKNOWN if attempted else NOT_ATTEMPTED, reason))

    def _note(self, result: Result) -> None:
        self.results.append(result)
        self._queue.put(result)

    def _write_all(self) -> None:
        going_on = True
        while going_on:
            group = [self._queue.get(), *self._waiting()]
            going_on = None not in group
            asked = [entry for entry in group if isinstance(entry, _Reserve)]
            try:
                self._write(
                    [entry for entry in group if isinstance(entry, Result)], asked
                )
            except BrazeError as error:
                self._error = error
            except Exception as error:  # whatever it is, workers must not wait for ever
                self._error = TerminalBrazeError(
                    f"the ledger can't be written ({type(error).__name__})"
                )
            for entry in asked:
                with suppress(
                    RuntimeError
                ):  # the loop may have ended with an error of its own
                    entry.loop.call_soon_threadsafe(_resolve, entry.done)

    def _write(self, results: list[Result], asked: list[_Reserve]) -> None:
        if self._error or not (results or asked):
            return
        furthest = max([self._reserved, *(entry.position for entry in asked)])
        ledger.record(self._book, self._run, results, furthest + 1 if asked else None)
        self._reserved = furthest

    def _waiting(self) -> list[Result | _Reserve | None]:
        found: list[Result | _Reserve | None] = []
        try:
            while len(found) < MAX_GROUP:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        return found


def _resolve(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)
