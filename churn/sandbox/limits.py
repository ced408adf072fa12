"""The rate limiter: windows that reset on the clock, and the headers that tell of
them.
"""

import math
from dataclasses import dataclass, field

from churn.sandbox.options import BULK, TRACK, Options

HOUR = 3600.0


@dataclass
class Limiter:
    """Requests counted in the current window of every limit."""

    options: Options
    counted: dict[tuple[str, str, float], tuple[int, int]] = field(
        default_factory=dict
    )  # window's number, requests

    def take(self, endpoint: str, key: str) -> tuple[bool, dict[str, str]]:
        """Whether a request may pass, and the headers of its answer; one that may not
        is not counted.
        """
        now = self.options.clock()
        owner = key if self.options.limit_scope == "key" else ""
        windows = [
            ((owner, name, seconds), limit)
            for name, limit, seconds in _limits(endpoint, self.options)
        ]
        if not windows:
            return True, {}
        left = [
            (limit - self._used(slot, now), limit, slot[2]) for slot, limit in windows
        ]
        passes = all(remaining > 0 for remaining, _, _ in left)
        for slot, _ in windows if passes else ():
            self.counted[slot] = (int(now // slot[2]), self._used(slot, now) + 1)
        remaining, limit, seconds = min(left)
        wait = seconds - now % seconds
        told = headers(self.options, limit, remaining - passes, wait)
        return passes, told if passes else refusal(
            self.options, self.options.answer_429, wait, limit
        )

    def _used(self, slot: tuple[str, str, float], now: float) -> int:
        window, used = self.counted.get(slot, (0, 0))
        return used if window == int(now // slot[2]) else 0


def _limits(endpoint: str, options: Options) -> list[tuple[str, int, float]]:
    own: list[tuple[str, int | None, float]] = [
        (endpoint, *options.other_limits.get(endpoint, (None, 1.0)))
    ]
    if endpoint == TRACK:
        own = [(TRACK, options.burst_limit, options.burst_seconds)]
    if endpoint in (TRACK, BULK):
        own.append(("ingestion", options.hourly_limit, HOUR))
    return [(name, limit, seconds) for name, limit, seconds in own if limit is not None]


def headers(
    options: Options, limit: int, remaining: int, wait: float
) -> dict[str, str]:
    """The triple of headers; the reset is a moment or the seconds left, by switch."""
    reset = (
        math.ceil(options.clock() + wait)
        if options.reset_mode == "epoch"
        else math.ceil(wait)
    )
    told = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{name}": str(n) for name, n in told.items()}


def refusal(options: Options, mode: str, wait: float, limit: int = 0) -> dict[str, str]:
    """The headers of a 429: whole seconds to wait, or the old triple, or none at
    all.
    """
    if mode == "mau":
        return {"x-ratelimit-retry-after": str(math.ceil(wait))}
    return headers(options, limit, 0, wait) if mode == "legacy" else {}
