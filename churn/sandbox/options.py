"""Every switch of the sandbox. Where Braze's documents disagree or depend on the
contract, there is one here.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

TRACK, BULK, SYNC = "/users/track", "/users/track/bulk", "/users/track/sync"
STATUS, EXPORT = "/users/track/status", "/users/export/ids"
PERMISSIONS = {
    TRACK: "users.track",
    BULK: "users.track.bulk",
    SYNC: "users.track.sync",
    STATUS: "users.track.status",
    EXPORT: "users.export.ids",
}
CHOICES: dict[str, tuple[str | int, ...]] = {
    "count_mode": ("combined75", "per_array75", "combined50", "combined5"),
    "body_size_answer": (413, 400),
    "error_form": ("sentence", "enum", "no_index", "strings"),
    "limit_scope": ("company", "key"),
    "reset_mode": ("epoch", "delta"),
    "answer_429": ("mau", "legacy", "bare"),
    "long_text": ("drop", "cut"),
    "trailing_slash": (403, 404),
}
FORCED_TYPES = ("boolean", "number", "string", "datetime")


def _other_limits() -> dict[str, tuple[int, float]]:
    return {BULK: (50, 1.0), SYNC: (500, 60.0), EXPORT: (250, 60.0)}


@dataclass(frozen=True)
class Options:
    """How this Braze behaves.

    ``CHOICES`` lists what a switch may be; an unknown choice is a ValueError. Sizes are
    bytes, times seconds. ``burst_limit`` and ``hourly_limit`` are requests to
    /users/track (the hour also takes /bulk); None is no limit. ``apply_delay`` is the
    longest wait between the answer and its effect, drawn per request from ``seed``;
    with ``reorder`` the draws also decide the order. ``more_keys`` gives further keys
    with their permissions.
    """

    count_mode: str = "combined75"
    bulk_objects: int = 1000
    bulk_objects_per_user: int = 100
    max_body_bytes: int = 4 * 1024 * 1024
    max_bulk_bytes: int = 2 * 1024 * 1024
    body_size_answer: int = 413
    error_form: str = "sentence"
    burst_limit: int | None = 3000
    burst_seconds: float = 3.0
    hourly_limit: int | None = None
    other_limits: Mapping[str, tuple[int, float]] = field(default_factory=_other_limits)
    limit_scope: str = "company"
    reset_mode: str = "epoch"
    answer_429: str = "mau"
    long_text: str = "drop"
    max_text: int = 255
    forced_types: Mapping[str, str] = field(default_factory=dict)
    blocklist: frozenset[str] = frozenset()
    spam_blocked: frozenset[str] = frozenset()
    array_limit: int = 500
    max_nested_bytes: int = 100 * 1024
    apply_delay: float = 0.0
    reorder: bool = False
    gzip: bool = False
    status_endpoint: bool = False
    group_seconds: float = 24 * 3600.0
    trailing_slash: int = 403
    permissions: frozenset[str] = frozenset(PERMISSIONS.values())
    more_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    inactive: bool = False
    echo_key: bool = False
    change_log: int = 10_000
    seed: int = 0
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Refuse a choice that doesn't exist, naming those that do."""
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in CHOICES and value not in CHOICES[f.name]:
                raise ValueError(
                    f"{f.name} is {value!r}, must be one of {', '.join(map(str, CHOICES[f.name]))}"
                )
        if wrong := set(self.forced_types.values()) - set(FORCED_TYPES):
            raise ValueError(
                f"forced type {sorted(wrong)[0]!r}, must be one of {', '.join(FORCED_TYPES)}"
            )
        if self.apply_delay < 0:
            raise ValueError(f"apply_delay is {self.apply_delay}, must not be negative")


def parse(assignments: Sequence[str]) -> dict[str, Any]:
    """Switches written as ``name=value``, by the type of the default; ``none`` is no
    limit. ValueError names the fault.

    >>> parse(["count_mode=combined5", "burst_limit=none", "echo_key=true"])
    {'count_mode': 'combined5', 'burst_limit': None, 'echo_key': True}
    """
    defaults = {
        f.name: f.default
        for f in fields(Options)
        if isinstance(f.default, bool | int | float | str | None)
    }
    found: dict[str, Any] = {}
    for name, _, text in (assignment.partition("=") for assignment in assignments):
        if name not in defaults:
            raise ValueError(
                f"there is no option {name!r}; there are {', '.join(defaults)}"
            )
        kind = type(defaults[name])
        try:
            found[name] = (
                None
                if text == "none"
                else _typed(text, int if kind is type(None) else kind)
            )
        except (KeyError, ValueError):
            raise ValueError(f"{name}={text!r} is no {kind.__name__}") from None
    return found


def _typed(text: str, kind: type) -> Any:
    return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
