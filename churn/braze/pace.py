"""How fast requests go out: the study's limits, the server's, and shared pauses."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

EPOCH = 1e9
"""A rate-limit reset above this is a point in time, below it the seconds left."""

HOUR = 3600.0
"""Longest pause: Braze's windows begin anew on the clock hour."""

CATCH_UP_SECONDS = 0.1
"""How much of a late turn the next ones make up for: timers are coarse."""

POLL_SECONDS = 0.5
"""A waiting worker checks this often whether the run has stopped."""

RETRY_AFTER = ("x-ratelimit-retry-after", "retry-after")
RESET = "x-ratelimit-reset"
BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 60.0


def stated_wait(
    headers: Mapping[str, str],
    now: float,
    names: Sequence[str] = (*RETRY_AFTER, RESET),
) -> float | None:
    """Seconds the server asks to wait, from the first of these headers; null if none.

    Every answer carries the reset of the limit, so after an answer that isn't 429 only
    RETRY_AFTER says when to try again. A point in time is compared with the server's
    own clock, if it states one, and else with ``now``.

    >>> stated_wait({"x-ratelimit-reset": "1700000007"}, now=1700000000.0)
    7.0
    >>> slow_clock = {"date": "Tue, 14 Nov 2023 22:13:18 GMT"}
    >>> stated_wait({"x-ratelimit-reset": "1700000007", **slow_clock}, now=1.6e9)
    9.0
    >>> both = {"x-ratelimit-retry-after": "3", "x-ratelimit-reset": "1700000007"}
    >>> stated_wait(both, now=1700000000.0)
    3.0
    """
    for name in names:
        value = _number(headers, name)
        if value is not None:
            seconds = value
            if value > EPOCH:
                seconds = value - (server_time(headers) or now)
            return min(HOUR, max(0.0, seconds))
    return None


def server_time(headers: Mapping[str, str]) -> float | None:
    """The server's clock in epoch seconds, from the header date; null without one."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def full_jitter(attempt: int) -> float:
    """Seconds to wait after the nth failure: random, up to a bound that doubles."""
    bound = BACKOFF_SECONDS * 2.0 ** min(attempt, 30)
    return random.uniform(0, min(MAX_BACKOFF_SECONDS, bound))


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(headers[name])
    except (KeyError, ValueError):
        return None
    return value if abs(value) < float("inf") else None


@dataclass
class Pace:
    """Turns for requests, shared by all workers of a run.

    ``per_hour`` counts by clock hours, each of which is measured from its first turn,
    so that a clock that is set meanwhile changes nothing; null: no limit. ``leave_rate`` is the share of
    the server's limit left to other senders: once less remains, all workers wait for
    the reset.
    """

    per_second: float
    per_hour: int | None = None
    leave_rate: float = 0.0
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    n_this_hour: int = 0
    _hour_ends: float = 0.0
    _next_at: float = 0.0
    _paused_until: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def turn(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait for the next turn; over times longer than CATCH_UP_SECONDS limits hold.

        ``check`` is called while waiting; it raises to end the wait.
        """
        async with self._lock:
            check()
            while (wait := self._wait()) > 0:
                await self.sleep(min(wait, POLL_SECONDS))
                check()
            now = self.clock()
            due = now
            if self._next_at > 0:
                due = max(self._next_at, now - CATCH_UP_SECONDS)
            self._next_at = due + 1 / self.per_second
            self.n_this_hour += 1

    def pause(self, seconds: float) -> None:
        """Give no turns for that long."""
        self._paused_until = max(self._paused_until, self.clock() + seconds)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Pause until the reset if no more remains than is left to other senders."""
        limit = _number(headers, "x-ratelimit-limit") or 0.0
        remaining = _number(headers, "x-ratelimit-remaining")
        wait = stated_wait(headers, self.wall())
        if remaining is None or wait is None:
            return
        if remaining <= self.leave_rate * limit:
            self.pause(wait)

    def _wait(self) -> float:
        now = self.clock()
        if now >= self._hour_ends:
            self._hour_ends = now + HOUR - self.wall() % HOUR
            self.n_this_hour = 0
        if self.per_hour is not None and self.n_this_hour >= self.per_hour:
            return self._hour_ends - now
        return max(self._next_at, self._paused_until) - now
