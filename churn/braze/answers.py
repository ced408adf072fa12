"""What an answer of /users/track means: who was accepted, who was rejected and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from churn.errors import TerminalBrazeError, TransientBrazeError

MAX_MESSAGE = 200
"""Characters of the server's own text that a message or reason repeats."""

MEANINGS = {
    401: "Braze does not accept the key (401): is it of this workspace, "
    "and is the endpoint that of your instance?",
    403: "Braze denies access (403): the key needs the permission users.track, with "
    "bulk = true users.track.bulk, and this machine's address if the key has a list of "
    "allowed IP addresses",
    404: "there is no /users/track at the endpoint (404): "
    "is it the REST endpoint of your instance?",
}


QUEUED = (202, "queued")
"""How Braze has answered while it was under maintenance; it writes the users later."""


@dataclass(frozen=True)
class Answer:
    """What Braze did with the users of one request.

    ``rejected``: reasons by position in the request; all others were accepted.
    ``split``: empty, or how the same users must be sent again: in "smaller" requests
    since none was accepted, or as "singles" since the answer doesn't say which were
    rejected. ``was_taken`` is false if the request was refused as a whole.
    """

    rejected: dict[int, str] = field(default_factory=dict)
    split: Literal["", "smaller", "singles"] = ""
    was_taken: bool = True


def read(
    status: int,
    content: bytes,
    n: int,
    key: str,
) -> Answer:
    """Read the answer to a request with ``n`` users.

    Raises TransientBrazeError if the same request may succeed later, TerminalBrazeError
    if the run must stop. Neither shows the key, which Braze repeats when it refuses it.
    """
    data = _json(content.replace(key.encode(), b"***"))
    if 200 <= status < 300:
        message = data.get("message")
        if message != "success" and (status, message) != QUEUED:
            raise TransientBrazeError(f"Braze answered {status} without saying success")
        return _accepted(data, n)
    if status in {400, 413}:
        return _refused(data, n, status)
    if status in {408, 429} or status >= 500:
        raise TransientBrazeError(f"Braze answered {status}")
    meaning = f"Braze refused the request with {status}: {_message(data)}"
    raise TerminalBrazeError(MEANINGS.get(status, meaning), status)


def _message(data: Mapping[str, Any]) -> str:
    return str(data.get("message", ""))[:MAX_MESSAGE]


def _accepted(data: dict[str, Any], n: int) -> Answer:
    rejected, n_vague = _rejected(data, n)
    if not n_vague:
        return Answer(rejected)
    if n > 1:
        return Answer(split="singles")
    return Answer({0: "; ".join(_reason(error) for error in _errors(data))})


def _refused(
    data: dict[str, Any],
    n: int,
    status: int,
) -> Answer:
    """Too many users, too large, or all invalid: smaller requests tell which."""
    rejected, _ = _rejected(data, n)
    if len(rejected) < n and n > 1:
        return Answer(split="smaller", was_taken=False)
    reasons = rejected or {0: f"{status} {_message(data)}".strip()}
    return Answer(reasons, was_taken=False)


def _rejected(data: dict[str, Any], n: int) -> tuple[dict[int, str], int]:
    """Reasons by position, and how many errors name no position of the request."""
    reasons = {}
    n_vague = 0
    for error in _errors(data):
        if isinstance(error, dict) and _has_position(error, n):
            reasons[error["index"]] = _reason(error)
        else:
            n_vague += 1
    return reasons, n_vague


def _has_position(error: dict[str, Any], n: int) -> bool:
    if error.get("input_array", "attributes") != "attributes":
        return False
    index = error.get("index")
    is_integer = isinstance(index, int) and not isinstance(index, bool)
    return is_integer and index in range(n)


def _reason(error: Any) -> str:
    text = error.get("type", "rejected") if isinstance(error, dict) else error
    return str(text)[:MAX_MESSAGE]


def _errors(data: dict[str, Any]) -> list[Any]:
    errors = data.get("errors") or []
    return errors if isinstance(errors, list) else [errors]


def _json(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
