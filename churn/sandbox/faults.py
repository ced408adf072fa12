"""Faults that the sandbox injects: at scripted requests, or at random from a seed, so
that the same requests meet the same faults again.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

# Answers, as status and message, that are given before the request is processed.
ANSWERS: dict[str, tuple[int, str]] = {
    "500": (500, "Internal Server Error"),
    "502": (502, "Bad Gateway"),
    "503": (503, "Service Unavailable"),
    "504": (504, "Gateway Timeout"),
    "too_large": (413, "Request Entity Too Large"),
    "not_success": (201, "failure"),
    "drop_401": (401, "Invalid API key"),
    "drop_403": (403, "Access Denied"),
}
# Rate-limit answers; a suffix names their headers, as the option answer_429 does.
LIMITED = ("429", "429_mau", "429_legacy", "429_bare")
# Connections that break before anything is applied.
BROKEN = ("hang", "close_before")
# Connections and answers that break, or say less, after everything was accepted.
AFTERWARDS = ("hang_after", "close_after", "truncated", "not_json", "queued")
# One valid object is refused; the value is the form of its error.
PARTIAL = {
    "partial": "sentence",
    "partial_no_index": "no_index",
    "partial_strings": "strings",
}
NAMES = (*LIMITED, *ANSWERS, *BROKEN, *AFTERWARDS, *PARTIAL)


@dataclass(frozen=True)
class Faults:
    """Which requests to /users/track, /bulk and /sync fail, and how.

    ``script`` maps the number of a request, from 1, to the name of a fault; ``rates``
    gives the share of the other requests that meet each fault. "429" has the headers
    that the option ``answer_429`` names. ``retry_seconds`` is the wait that an injected
    429 asks for, rounded up to whole seconds. An unknown name is a ValueError that
    lists the known ones.

    >>> Faults(script={2: "500"}).of(2), Faults().of(2)
    ('500', None)
    """

    script: Mapping[int, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    hang_seconds: float = 5.0
    retry_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Refuse unknown names, and rates outside 0 to 1."""
        for name in (*self.script.values(), *self.rates):
            if name not in NAMES:
                raise ValueError(
                    f"unknown fault {name!r}, must be one of {', '.join(NAMES)}"
                )
        rates = self.rates.values()
        if any(rate < 0 for rate in rates) or sum(rates) > 1:
            raise ValueError(
                "fault rates must be shares of all requests, from 0 to 1, "
                f"and at most 1 together; they are {dict(self.rates)}"
            )

    def of(self, nth: int) -> str | None:
        """The fault that request number ``nth`` meets."""
        if nth in self.script:
            return self.script[nth]
        if not self.rates:
            return None
        left = random.Random(f"{self.seed}:{nth}:fault").random()
        for name, rate in self.rates.items():
            left -= rate
            if left < 0:
                return name
        return None
