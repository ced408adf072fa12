"""Is everything set up to tell Braze? Each line is fine or says what to do. Writes
nothing that anybody could see.
"""

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import polars as pl

from churn.braze import answers, client, database, export, payload, plan
from churn.errors import BrazeError, TerminalBrazeError
from churn.settings import Braze, Settings

REST_HOST = re.compile(r"^rest\.[a-z0-9-]+\.braze\.(com|eu)$")
MAX_CLOCK_SECONDS = 120.0
NOBODY = "churn-set-up-check"


@dataclass(frozen=True)
class Line:
    """One thing looked at: its name, whether it is fine, what was seen or what to
    do.
    """

    name: str
    is_fine: bool
    said: str


def run(settings: Settings, findings: pl.DataFrame | None = None) -> Iterator[Line]:
    """Look at one thing after the other; ends early where the next ones can't be tried.

    ``findings``: of the newest scores, for the match rate; null: nobody was scored yet.
    """
    braze = settings.braze
    yield _endpoint(braze)
    yield _names(braze)
    yield _ledger(settings)
    yield _match_rate(findings)
    try:
        key = client.key_from_environment()
    except TerminalBrazeError as error:
        yield Line("key", False, str(error))
        return
    yield _key(key)
    yield from _answer(braze, key)


def _endpoint(braze: Braze) -> Line:
    host = urlsplit(braze.endpoint).hostname or ""
    if host.startswith(("dashboard", "sdk.")):
        return Line(
            "endpoint",
            False,
            f"{host} is not the REST endpoint; that of your instance begins with rest.",
        )
    kind = (
        "a REST endpoint of Braze"
        if REST_HOST.match(host)
        else "no host of Braze's: a stand-in or a proxy of yours?"
    )
    return Line("endpoint", True, f"{braze.endpoint}, {kind}")


def _names(braze: Braze) -> Line:
    try:
        return Line("attributes", True, ", ".join(plan.names(braze)))
    except TerminalBrazeError as error:
        return Line("attributes", False, str(error))


def _ledger(settings: Settings) -> Line:
    try:
        with export.opened(settings, None) as book:
            return Line(
                "ledger",
                True,
                f"schema version {database.SCHEMA_VERSION}, {_running(book.is_alone)}",
            )
    except BrazeError as error:
        return Line("ledger", False, str(error))


def _running(is_alone: bool) -> str:
    return "no export is running" if is_alone else "an export is running"


def _match_rate(findings: pl.DataFrame | None) -> Line:
    found = (
        None if findings is None else findings.filter(pl.col("gate") == "match_rate")
    )
    if found is None or found.is_empty():
        return Line("match rate", True, "not known before `churn run score`")
    return Line("match rate", bool(found["passed"].all()), str(found["sentence"][0]))


def _key(key: str) -> Line:
    if re.search(r"[\s\"']|^Bearer", key):
        return Line(
            "key",
            False,
            f"{client.KEY_VARIABLE} holds quotes, spaces or the word Bearer: give the key alone",
        )
    return Line("key", True, f"{client.KEY_VARIABLE} is set")


def _answer(braze: Braze, key: str) -> Iterator[Line]:
    """Write to a user who can't exist: update-only, and only a removal, so nothing can
    come of it.
    """
    kind = braze.kind
    who = f"{NOBODY}-{secrets.token_hex(16)}" + (
        "@example.invalid" if kind == "email" else ""
    )
    write = pl.DataFrame(
        {"identifier": [who], "attributes": [f'{{"{braze.segment_attribute}":null}}']}
    )
    body = payload.body(payload.items(write, kind, create_unknown_users=False))
    sent_at = time.time()
    try:
        status, headers, content = client.probe(braze, key, body)
    except BrazeError as error:
        yield Line("connection", False, f"{error}: name, firewall or certificate")
        return
    yield Line(
        "connection",
        True,
        "https" if braze.endpoint.startswith("https:") else "http, on loopback only",
    )
    yield _permission(status, content, key)
    yield _clock(headers, sent_at)
    yield _limits(headers)


def _permission(status: int, content: bytes, key: str) -> Line:
    try:
        answer = answers.read(status, content, 1, key)
    except BrazeError as error:
        return Line("permission", False, str(error))
    if answer.rejected:
        return Line(
            "permission",
            True,
            f"the key may write; the trial write was refused: {answer.rejected[0]}",
        )
    return Line(
        "permission",
        True,
        "the key may write; an update-only write for nobody was accepted",
    )


def _clock(headers: Mapping[str, str], sent_at: float) -> Line:
    try:
        theirs = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return Line("clock", True, "the server states no time")
    apart = abs(theirs - sent_at)
    cure = (
        ""
        if apart <= MAX_CLOCK_SECONDS
        else ": set this machine's clock, or rate-limit resets are misread"
    )
    return Line("clock", not cure, f"{apart:.0f} seconds apart{cure}")


def _limits(headers: Mapping[str, str]) -> Line:
    found = {
        name: headers[f"x-ratelimit-{name}"]
        for name in ("limit", "remaining", "reset")
        if f"x-ratelimit-{name}" in headers
    }
    return Line(
        "limits",
        True,
        ", ".join(f"{k} {v}" for k, v in found.items()) or "the server states none",
    )
