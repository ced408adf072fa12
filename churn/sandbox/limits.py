"""The rate limiter: windows that reset on the clock, and the headers of answers."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from churn.sandbox.options import BULK, TRACK, Options

HOUR = 3600.0


class Limit(NamedTuple):
    """A largest number of requests in each window of a length in seconds."""

    name: str
    requests: int
    seconds: float


class Window(NamedTuple):
    """The requests counted in one window of the clock."""

    number: int
    requests: int


@dataclass
class Limiter:
    """The requests counted in the current window of each limit and key."""

    options: Options
    windows: dict[tuple[str, Limit], Window] = field(default_factory=dict)

    def take(
        self,
        endpoint: str,
        key: str,
    ) -> tuple[bool, dict[str, str]]:
        """Whether a request may pass, and the rate-limit headers of its answer.

        A request that may not pass is not counted.
        """
        limits = _limits(endpoint, self.options)
        if not limits:
            return True, {}
        now = self.options.clock()
        owner = key if self.options.limit_scope == "key" else ""
        used = {limit: self._used(owner, limit, now) for limit in limits}
        # The headers are about the limit with the fewest requests left.
        left = {limit: limit.requests - used[limit] for limit in limits}
        tightest = min(limits, key=lambda limit: (left[limit], limit.requests))
        remaining = left[tightest]
        wait = tightest.seconds - now % tightest.seconds
        if remaining <= 0:
            mode = self.options.answer_429
            return False, refusal(self.options, mode, wait, tightest.requests)
        for limit in limits:
            number = int(now // limit.seconds)
            self.windows[owner, limit] = Window(number, used[limit] + 1)
        return True, headers(self.options, tightest.requests, remaining - 1, wait)

    def _used(
        self,
        owner: str,
        limit: Limit,
        now: float,
    ) -> int:
        window = self.windows.get((owner, limit))
        if window is None or window.number != int(now // limit.seconds):
            return 0
        return window.requests


def _limits(endpoint: str, options: Options) -> list[Limit]:
    limits = []
    if endpoint == TRACK:
        if options.burst_limit is not None:
            burst = Limit(
                name=TRACK,
                requests=options.burst_limit,
                seconds=options.burst_seconds,
            )
            limits.append(burst)
    elif endpoint in options.other_limits:
        requests, seconds = options.other_limits[endpoint]
        limits.append(Limit(endpoint, requests, seconds))
    if endpoint in (TRACK, BULK) and options.hourly_limit is not None:
        limits.append(Limit("ingestion", options.hourly_limit, HOUR))
    return limits


def headers(
    options: Options, limit: int, remaining: int, wait: float
) -> dict[str, str]:
    """The three headers; an option makes the reset a time or the seconds left."""
    reset = wait + options.clock() if options.reset_mode == "epoch" else wait
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(math.ceil(reset)),
    }


def refusal(
    options: Options,
    mode: str,
    wait: float,
    limit: int = 0,
) -> dict[str, str]:
    """The headers of a 429: the seconds to wait, the older three headers, or none."""
    if mode == "mau":
        return {"x-ratelimit-retry-after": str(math.ceil(wait))}
    if mode == "legacy":
        return headers(options, limit, 0, wait)
    return {}
