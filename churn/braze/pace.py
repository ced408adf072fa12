"""How fast requests go out: our own ceilings, what the server's headers say, and pauses
that all workers keep.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

EPOCH = (
    1e9  # a larger rate-limit reset is a point in time, a smaller one the seconds left
)
HOUR = (
    3600.0  # Braze's windows start anew on the clock hour, so no pause need be longer
)
CATCH_UP_SECONDS = (
    0.1  # by so much a turn may come early after one that came late: timers are coarse
)
AFTER, RESET = ("x-ratelimit-retry-after", "retry-after"), "x-ratelimit-reset"
SLICE_SECONDS = 0.5  # of a wait, after which it is asked whether to go on at all
BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 60.0


def hint(
    headers: Mapping[str, str], now: float, names: Sequence[str] = (*AFTER, RESET)
) -> float | None:
    """Seconds the server asks us to wait, from whichever of these headers came; null
    without any.

    The reset of a limit comes with every answer, so of one that isn't 429 only AFTER
    tells when to try again.

    >>> hint({"x-ratelimit-reset": "1700000007"}, now=1700000000.0)
    7.0
    >>> hint({"x-ratelimit-retry-after": "3", "x-ratelimit-reset": "1700000007"}, now=1700000000.0)
    3.0
    """
    for name in names:
        value = _number(headers, name)
        if value is not None:
            return min(HOUR, max(0.0, value - now if value > EPOCH else value))
    return None


def full_jitter(attempt: int) -> float:
    """Seconds to wait after the nth failure: anything up to an exponentially growing
    bound.
    """
    return random.uniform(
        0, min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** min(attempt, 30))
    )


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(headers[name])
    except (KeyError, ValueError):
        return None
    return value if abs(value) < float("inf") else None


@dataclass
class Pace:
    """Turns for requests, one after the other, shared by all workers of a run.

    ``per_hour`` counts by clock hours, null: no ceiling. ``leave_rate`` is the share of
    the server's own limit that is left to other senders: once less remains, all wait
    for the reset.
    """

    per_second: float
    per_hour: int | None = None
    leave_rate: float = 0.0
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    n_this_hour: int = 0
    _hour: float = -1.0
    _next_at: float = 0.0
    _held_until: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def turn(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait for the next turn; over any time longer than CATCH_UP_SECONDS the
        ceilings hold.

        ``check`` is called again and again meanwhile, and raises to end the waiting.
        """
        async with self._lock:
            check()
            while (wait := self._wait()) > 0:
                await self.sleep(min(wait, SLICE_SECONDS))
                check()
            now = self.clock()
            due = (
                max(self._next_at, now - CATCH_UP_SECONDS) if self._next_at > 0 else now
            )
            self._next_at = due + 1 / self.per_second
            self.n_this_hour += 1

    def hold(self, seconds: float) -> None:
        """Let nobody go for that long."""
        self._held_until = max(self._held_until, self.clock() + seconds)

    def note(self, headers: Mapping[str, str]) -> None:
        """Heed what the server says of its limit: with no more left than is due to
        others, wait for the reset.
        """
        limit, remaining = (
            _number(headers, f"x-ratelimit-{name}") for name in ("limit", "remaining")
        )
        wait = hint(headers, self.wall())
        if (
            remaining is not None
            and wait is not None
            and remaining <= self.leave_rate * (limit or 0.0)
        ):
            self.hold(wait)

    def _wait(self) -> float:
        hour, into = divmod(self.wall(), HOUR)
        if hour != self._hour:
            self._hour, self.n_this_hour = hour, 0
        if self.per_hour is not None and self.n_this_hour >= self.per_hour:
            return HOUR - into
        return max(self._next_at, self._held_until) - self.clock()
