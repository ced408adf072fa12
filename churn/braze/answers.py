"""What an answer to /users/track means: who was taken, who was refused and why, what to
try again and how.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from churn.errors import TerminalBrazeError, TransientBrazeError


@dataclass(frozen=True)
class Answer:
    """What Braze said of one request.

    ``rejected``: reasons by position in the request; everybody else was taken.
    ``again``: empty, or how the same objects must be sent again: in halves, since
    nobody was taken, or singly, since it isn't known who was.
    """

    rejected: dict[int, str] = field(default_factory=dict)
    again: Literal["", "halves", "singly"] = ""


def read(status: int, content: bytes, n: int, key: str) -> Answer:
    """What one answer to a request with ``n`` objects means.

    Raises TransientBrazeError for what may succeed as it is, TerminalBrazeError for
    what stops the run; neither shows the key, which Braze repeats when it refuses it.
    """
    data = _json(content.replace(key.encode(), b"***"))
    if 200 <= status < 300:
        if data.get("message") != "success":
            raise TransientBrazeError(f"Braze answered {status} without saying success")
        return _taken(data, n)
    if status in {400, 413}:
        return _refused(data, n, status)
    if status in {408, 429} or status >= 500:
        raise TransientBrazeError(f"Braze answered {status}")
    raise TerminalBrazeError(
        REFUSALS.get(status, f"Braze refused with {status}: {said(data)}"), status
    )


REFUSALS = {
    401: "Braze does not accept the key (401): is it of this workspace, and is the endpoint that of your instance?",
    403: "Braze denies access (403): the key needs the permission users.track",
    404: "there is no /users/track at the endpoint (404): is it the REST endpoint of your instance?",
}


def said(data: Mapping[str, Any]) -> str:
    """The answer's own message, cut to a line."""
    return str(data.get("message", ""))[:200]


def _taken(data: dict[str, Any], n: int) -> Answer:
    rejected, n_vague = _placed(data, n)
    if not n_vague:
        return Answer(rejected)
    # Somebody was refused, and nobody says who: one by one each gets an outcome of its
    # own.
    return (
        Answer(again="singly")
        if n > 1
        else Answer({0: "; ".join(map(_reason, _errors(data)))})
    )


def _refused(data: dict[str, Any], n: int, status: int) -> Answer:
    rejected, _ = _placed(data, n)
    if len(rejected) == n:
        return Answer(rejected)
    # Too many, too large, or all of them invalid without saying where: smaller requests
    # tell.
    return (
        Answer(again="halves")
        if n > 1
        else Answer({0: f"{status} {said(data)}".strip()})
    )


def _placed(data: dict[str, Any], n: int) -> tuple[dict[int, str], int]:
    """Reasons by position, and how many errors can't be placed."""
    errors = _errors(data)
    found = {
        e["index"]: _reason(e)
        for e in errors
        if isinstance(e, dict) and _is_placed(e, n)
    }
    return found, sum(not (isinstance(e, dict) and _is_placed(e, n)) for e in errors)


def _is_placed(error: dict[str, Any], n: int) -> bool:
    index = error.get("index")
    ours = error.get("input_array", "attributes") == "attributes"
    return (
        ours
        and isinstance(index, int)
        and not isinstance(index, bool)
        and 0 <= index < n
    )


def _reason(error: Any) -> str:
    return str(error.get("type", "rejected") if isinstance(error, dict) else error)[
        :200
    ]


def _errors(data: dict[str, Any]) -> list[Any]:
    found = data.get("errors") or []
    return found if isinstance(found, list) else [found]


def _json(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
