"""A request as lines of NDJSON, of which each is one postback and when it was received.

    {"received_at": "2026-03-08T02:14:05.123456+00:00", "postback": {"adid": …}}

Ingest decides what a postback means. Here it is only split into single postbacks and
written down. What can't be read becomes a line with a ``fault`` and the text as it came
(``raw``), and is quarantined by ingest.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import NoReturn
from urllib.parse import parse_qsl

MAX_PARAMETERS = 1000

MAX_POSTBACKS = 10_000
"""Longest list of postbacks; a longer one of tiny elements would take much memory."""

MACRO = re.compile(r"\$?\{[^\"]*\}|\[[^\"]*\]|%[^\"]*%")
"""A placeholder that the vendor did not fill in."""


def lines(
    body: bytes,
    query: str,
    received_at: datetime,
) -> bytes:
    """The postbacks of one request, a line each; nothing if it holds none.

    ``query`` is that of the address, still encoded. A body that begins like JSON is
    JSON, and any other is a form, whatever its type is declared to be.
    """
    moment = received_at.isoformat(timespec="microseconds")
    start = f'{{"received_at": "{moment}", '
    return "".join(f"{start}{rest}}}\n" for rest in _records(body, query)).encode()


def _records(body: bytes, query: str) -> Iterable[str]:
    """The members of each line's object, without the time."""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return [_faulty("not_utf8", body.decode("utf-8", "backslashreplace"))]
    if text.startswith(("{", "[")):
        return _of_json(text, query)
    return _of_form("&".join(filter(None, [query, text])))


def _of_json(text: str, query: str) -> list[str]:
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return [_faulty("not_json", text)]
    postbacks = content if isinstance(content, list) else [content]
    if len(postbacks) > MAX_POSTBACKS:
        return [_faulty("too_many_postbacks", text)]
    beside = f', "query": {json.dumps(query)}' if query else ""
    if content is not postbacks and not re.search(r"[\r\n]", text):
        return [f'"postback": {text}{beside}']
    return [
        f'"postback": {json.dumps(postback)}{beside}'
        if isinstance(postback, dict)
        else _faulty("not_an_object", json.dumps(postback))
        for postback in postbacks
    ]


def _refuse(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads but JSON doesn't have."""
    raise ValueError(name)


def _of_form(text: str) -> list[str]:
    if not text:
        return []
    try:
        parameters = _parameters(text)
    except UnicodeDecodeError:
        return [_faulty("not_utf8", text)]
    except ValueError:
        return [_faulty("too_many_parameters", text)]
    if not parameters:
        return [_faulty("not_json", text)] if "=" not in text else []
    return [f'"postback": {json.dumps(parameters)}']


def _parameters(text: str) -> dict[str, str | list[str]]:
    """The parameters of a form that are filled; a list where values contradict.

    >>> _parameters("a=1&a=1&b=x+y&b=%7Bb%7D&c=&d=1&d=2")
    {'a': '1', 'b': 'x y', 'd': ['1', '2']}
    """
    found: dict[str, list[str]] = {}
    pairs = parse_qsl(text, errors="strict", max_num_fields=MAX_PARAMETERS)
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: _one(values) for name, values in found.items()}


def _one(values: list[str]) -> str | list[str]:
    """What a repeated parameter says, placeholders aside; all if they contradict."""
    distinct = list(dict.fromkeys(values))
    filled = [value for value in distinct if not MACRO.fullmatch(value)]
    remaining = filled or distinct[:1]
    return remaining[0] if len(remaining) == 1 else remaining


def _faulty(fault: str, raw: str) -> str:
    return f'"fault": "{fault}", "raw": {json.dumps(raw)}'
