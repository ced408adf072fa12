"""The REST key, which only the environment holds. Loads no HTTP client."""

import os

from churn.errors import TerminalBrazeError

KEY_VARIABLE = "CHURN_BRAZE_KEY"


def from_environment() -> str:
    """The REST key in CHURN_BRAZE_KEY. Raises TerminalBrazeError if there is none."""
    key = if_given()
    if not key:
        raise TerminalBrazeError(
            f"{KEY_VARIABLE} is not set: "
            "export a REST key that has the permission users.track"
        )
    if not (key.isascii() and key.isprintable()):
        raise TerminalBrazeError(
            f"{KEY_VARIABLE} holds characters that no key has: copy it again"
        )
    return key


def if_given() -> str:
    """The same key as it stands there, unchecked; empty if there is none."""
    return os.environ.get(KEY_VARIABLE, "").strip()
