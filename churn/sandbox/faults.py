"""What goes wrong, by script (the nth request) or by chance (from a seed): the same
requests meet the same faults.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

# Answered in place of everything else; nothing is applied.
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
LIMITED = ("429", "429_mau", "429_legacy", "429_bare")
# One object is refused as if it were invalid; the value is the error form it is told
# in.
PARTIAL = {
    "partial": "sentence",
    "partial_no_index": "no_index",
    "partial_strings": "strings",
}
BROKEN = ("hang", "close_before")  # nothing is applied
AFTERWARDS = (
    "hang_after",
    "close_after",
    "truncated",
    "not_json",
)  # everything was applied
NAMES = (*LIMITED, *ANSWERS, *BROKEN, *AFTERWARDS, *PARTIAL)


@dataclass(frozen=True)
class Faults:
    """Which requests to /users/track, /bulk and /sync fail, and how.

    ``script`` maps the 1-based number of a request to a fault's name; ``rates`` is the
    share of the other requests that meet each fault. "429" takes the form that the
    options say. ``retry_seconds`` is the hint of an injected 429, rounded up to whole
    seconds. Unknown names are a ValueError that lists those known.

    >>> Faults(script={2: "500"}).of(2), Faults().of(2)
    ('500', None)
    """

    script: Mapping[int, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    hang_seconds: float = 5.0
    retry_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Refuse unknown names and rates that are no shares."""
        unknown = [
            name for name in (*self.script.values(), *self.rates) if name not in NAMES
        ]
        if unknown:
            raise ValueError(
                f"unknown fault {unknown[0]!r}, must be one of {', '.join(NAMES)}"
            )
        if (
            any(rate < 0 for rate in self.rates.values())
            or sum(self.rates.values()) > 1
        ):
            raise ValueError(
                "fault rates must be shares of all requests, and no more than 1 together"
            )

    def of(self, nth: int) -> str | None:
        """The fault that request number ``nth`` meets."""
        if nth in self.script or not self.rates:
            return self.script.get(nth)
        drawn = self.draw(nth)
        for name, rate in self.rates.items():
            drawn -= rate
            if drawn < 0:
                return name
        return None

    def draw(self, nth: int, what: str = "fault") -> float:
        """A number in [0, 1) that depends on the seed, the request's number and
        ``what`` alone.
        """
        return random.Random(f"{self.seed}:{nth}:{what}").random()
