"""The sandbox's options, for behaviour that depends on the customer's contract, or on
which Braze's documents disagree.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

TRACK = "/users/track"
BULK = "/users/track/bulk"
SYNC = "/users/track/sync"
STATUS = "/users/track/status"
EXPORT = "/users/export/ids"

# The permission that a key needs for each endpoint.
PERMISSIONS = {
    TRACK: "users.track",
    BULK: "users.track.bulk",
    SYNC: "users.track.sync",
    STATUS: "users.track.status",
    EXPORT: "users.export.ids",
}
# The values that these options may take; the README explains them.
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
# Requests per so many seconds for the endpoints other than /users/track.
OTHER_LIMITS = {
    BULK: (50, 1.0),
    SYNC: (500, 60.0),
    EXPORT: (250, 60.0),
}


@dataclass(frozen=True)
class Options:
    """The behaviour of one sandbox. Sizes are bytes and times are seconds.

    A value that isn't in ``CHOICES``, an unknown forced type and a negative delay are
    a ValueError.
    """

    # Objects per request.
    count_mode: str = "combined75"
    bulk_objects: int = 1000
    bulk_objects_per_user: int = 100

    # Size of a body, and the status that answers one that is too large.
    max_body_bytes: int = 4 * 1024 * 1024
    max_bulk_bytes: int = 2 * 1024 * 1024
    body_size_answer: int = 413

    # Rate limits, in requests; None is no limit. The hour counts /bulk as well.
    burst_limit: int | None = 3000
    burst_seconds: float = 3.0
    hourly_limit: int | None = None
    other_limits: Mapping[str, tuple[int, float]] = field(
        default_factory=OTHER_LIMITS.copy
    )
    limit_scope: str = "company"
    reset_mode: str = "epoch"
    answer_429: str = "mau"

    # How values are stored.
    error_form: str = "sentence"
    long_text: str = "drop"
    max_text: int = 255
    array_limit: int = 500
    max_nested_bytes: int = 100 * 1024
    # Attribute name to one of FORCED_TYPES.
    forced_types: Mapping[str, str] = field(default_factory=dict)
    # Names of attributes that are dropped, and external ids that are refused.
    blocklist: frozenset[str] = frozenset()
    spam_blocked: frozenset[str] = frozenset()

    # Longest wait between the answer and its effect, drawn per request from the seed.
    # With ``reorder`` the draws also decide the order in which requests take effect.
    apply_delay: float = 0.0
    reorder: bool = False

    # Requests and endpoints.
    gzip: bool = False
    status_endpoint: bool = False
    group_seconds: float = 24 * 3600.0
    trailing_slash: int = 403

    # Keys: what the main key may do, and further keys with their permissions.
    permissions: frozenset[str] = frozenset(PERMISSIONS.values())
    more_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    inactive: bool = False
    # Braze repeats a wrong key in its 401; a test can prove that a client hides it.
    echo_key: bool = False

    # Number of newest attribute changes that are kept.
    change_log: int = 10_000
    seed: int = 0
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Refuse unknown values with a message that lists the known ones."""
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(
                    f"{name} is {value!r}, must be one of "
                    f"{', '.join(map(str, choices))}"
                )
        for name, forced in self.forced_types.items():
            if forced not in FORCED_TYPES:
                raise ValueError(
                    f"forced type of {name} is {forced!r}, must be one of "
                    f"{', '.join(FORCED_TYPES)}"
                )
        if self.apply_delay < 0:
            raise ValueError(f"apply_delay is {self.apply_delay}, must not be negative")


def parse(assignments: Sequence[str]) -> dict[str, Any]:
    """Options written as ``name=value``, converted to the type of the default.

    ``none`` is no limit. An unknown name and a value of the wrong type are a
    ValueError. Options that hold collections can't be written this way.

    >>> parse(["count_mode=combined5", "burst_limit=none", "echo_key=true"])
    {'count_mode': 'combined5', 'burst_limit': None, 'echo_key': True}
    """
    types = _scalar_types()
    parsed: dict[str, Any] = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in types:
            raise ValueError(
                f"there is no option {name!r}; the options are {', '.join(types)}"
            )
        try:
            parsed[name] = _value(text, types[name])
        except (KeyError, ValueError):
            raise ValueError(
                f"{name} is {text!r}, must be {types[name].__name__}"
            ) from None
    return parsed


def _scalar_types() -> dict[str, type]:
    types: dict[str, type] = {}
    for option in fields(Options):
        if option.default is None:
            types[option.name] = int
        elif isinstance(option.default, bool | int | float | str):
            types[option.name] = type(option.default)
    return types


def _value(text: str, kind: type) -> Any:
    if text == "none":
        return None
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    return kind(text)
