"""Checks the set-up for Braze, one line per point, without a visible effect there."""

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import polars as pl

from churn.braze import (
    answers,
    client,
    instances,
    pace,
    payload,
    plan,
    profiles,
    surroundings,
)
from churn.braze import key as secret
from churn.braze.client import Response
from churn.braze.delivery import open_ledger
from churn.braze.ledger import samples
from churn.braze.ledger.tables import SCHEMA_VERSION
from churn.braze.lines import Line
from churn.errors import BrazeError, TerminalBrazeError
from churn.settings import Braze, Settings

MAX_CLOCK_SECONDS = 120.0
UNKNOWN_USER = "churn-set-up-check"
RATE_LIMITS = ("limit", "remaining", "reset")


def run(
    settings: Settings,
    findings: pl.DataFrame | None = None,
    n_sample: int = profiles.MAX_IDS,
) -> Iterator[Line]:
    """Check one point after another; stops where the next ones can't be checked.

    ``findings`` of the newest scores hold the match rate; null: nothing was scored.
    ``n_sample``: users whose profiles are read back, if the key may read.
    """
    braze = settings.braze
    yield _endpoint(braze)
    yield _names(braze)
    yield _ledger(settings)
    yield _match_rate(findings)
    try:
        key = secret.from_environment()
    except TerminalBrazeError as error:
        yield Line("key", False, str(error))
        return
    yield _key(key)
    yield from _request(settings, key, n_sample)


def _endpoint(braze: Braze) -> Line:
    host = urlsplit(braze.endpoint).hostname or ""
    seen = f"{braze.endpoint}, workspace {braze.workspace}"
    if host in instances.REST_HOSTS:
        return Line("endpoint", True, f"{seen}, a REST endpoint of Braze")
    if braze.is_sandbox:
        return Line("endpoint", True, f"{seen}: on this machine, so not Braze")
    meant = instances.rest_host_of(host)
    if meant or host.startswith(("dashboard", "sdk.")):
        cure = f"the REST endpoint is https://{meant or 'rest.INSTANCE.braze.com'}"
        return Line("endpoint", False, f"{host} is for people or apps; {cure}")
    return Line("endpoint", True, f"{seen}: {_unlisted(host)}")


def _unlisted(host: str) -> str:
    """A note, no refusal: Braze may have opened an instance since."""
    meant = instances.nearest(host)
    question = f"; did you mean {meant}?" if meant else ""
    if instances.is_of_braze(host):
        return f"not an instance that Braze lists{question}"
    return f"not a host of Braze, but a proxy of yours?{question}"


def _names(braze: Braze) -> Line:
    try:
        return Line("attributes", True, ", ".join(plan.names(braze)))
    except TerminalBrazeError as error:
        return Line("attributes", False, str(error))


def _ledger(settings: Settings) -> Line:
    try:
        with open_ledger(settings, None) as ledger:
            exports = "no export" if ledger.is_exclusive else "an export"
    except BrazeError as error:
        return Line("ledger", False, str(error))
    message = f"schema version {SCHEMA_VERSION}, {exports} is running"
    return Line("ledger", True, message)


def _match_rate(findings: pl.DataFrame | None) -> Line:
    if findings is not None:
        findings = findings.filter(pl.col("gate") == "match_rate")
    if findings is None or findings.is_empty():
        return Line("match rate", True, "not known before `churn run score`")
    is_ok = bool(findings["passed"].all())
    return Line("match rate", is_ok, str(findings["sentence"][0]))


def _key(key: str) -> Line:
    if re.search(r"[\s\"']|^Bearer", key):
        message = (
            f"{secret.KEY_VARIABLE} holds quotes, spaces or the word Bearer: "
            "give the key alone"
        )
        return Line("key", False, message)
    return Line("key", True, f"{secret.KEY_VARIABLE} is set")


def _request(
    settings: Settings,
    key: str,
    n_sample: int,
) -> Iterator[Line]:
    """Write null to a user who can't exist, update-only, so without effect."""
    braze = settings.braze
    sent_at = time.time()
    try:
        response = client.probe(braze, key, _harmless_body(braze))
    except BrazeError as error:
        yield Line("connection", False, str(error))
        return
    yield Line("connection", True, _connection(braze))
    permission = _permission(response, key)
    yield permission
    yield _clock(response.headers, sent_at)
    yield _limits(response.headers)
    if permission.is_ok:
        yield _profiles(settings, key, n_sample)


def _connection(braze: Braze) -> str:
    """How the answer came: with which proxy, and with whose certificates."""
    if not braze.endpoint.startswith("https:"):
        return "http, on loopback only"
    proxy = surroundings.proxy_variable(braze)
    way = f"https through the proxy of {proxy}" if proxy else "https without a proxy"
    if variable := surroundings.certificates_variable():
        return f"{way}, certificates of {variable}"
    return way


def _harmless_body(braze: Braze) -> bytes:
    identifier = f"{UNKNOWN_USER}-{secrets.token_hex(16)}"
    if braze.kind == "email":
        identifier += "@example.invalid"
    if braze.kind == "phone":
        # Braze reads the digits of any text, and no country has the code 999.
        identifier = f"+999{secrets.randbelow(10**12):012}"
    attributes = f'{{"{braze.segment_attribute}":null}}'
    write = pl.DataFrame({"identifier": [identifier], "attributes": [attributes]})
    return payload.body(payload.items(write, braze.kind, create_unknown_users=False))


def _permission(response: Response, key: str) -> Line:
    try:
        answer = answers.read(response.status, response.content, 1, key)
    except BrazeError as error:
        return Line("permission", False, str(error))
    effect = "an update-only write for an unknown user was accepted"
    if answer.rejected:
        effect = f"the trial write was rejected: {answer.rejected[0]}"
    return Line("permission", True, f"the key may write; {effect}")


def _profiles(
    settings: Settings,
    key: str,
    n_sample: int,
) -> Line:
    """A sample of profiles beside the ledger; a key need not be able to read."""
    name = "profiles"
    try:
        with open_ledger(settings, None) as ledger:
            n_synced = samples.n_synced(ledger)
            expected = samples.draw(ledger, n_sample)
        if not expected and n_synced:
            return Line(name, True, "an export runs or was interrupted: not read back")
        if not expected:
            return Line(name, True, "nothing to read back before the first export")
        compared = profiles.compare(settings.braze, key, expected)
    except BrazeError as error:
        unknown = "what Braze holds is known from the ledger alone"
        return Line(name, True, f"not read back, {unknown}: {error}")
    n_requests = compared.n_requests
    requests = "1 request" if n_requests == 1 else f"{n_requests} requests"
    seen = f"{compared.n_asked} of {n_synced:,} synced users read back in {requests}"
    return Line(name, compared.is_ok, f"{seen}: {profiles.sentences(compared)}")


def _clock(headers: Mapping[str, str], sent_at: float) -> Line:
    server_time = pace.server_time(headers)
    if server_time is None:
        return Line("clock", True, "the server states no time")
    apart = abs(server_time - sent_at)
    message = f"{apart:.0f} seconds apart"
    if apart <= MAX_CLOCK_SECONDS:
        return Line("clock", True, message)
    cure = "set this machine's clock, or rate-limit resets are misread"
    return Line("clock", False, f"{message}: {cure}")


def _limits(headers: Mapping[str, str]) -> Line:
    stated = [
        f"{name} {headers[f'x-ratelimit-{name}']}"
        for name in RATE_LIMITS
        if f"x-ratelimit-{name}" in headers
    ]
    message = ", ".join(stated) or "the server states none"
    return Line("limits", True, message)
