"""Lines of the set-up check."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One point: its name, whether it is right, and what was seen or is to be done."""

    name: str
    is_ok: bool
    message: str
