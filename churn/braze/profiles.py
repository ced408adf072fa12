"""Reads profiles back from Braze, and compares them with what the ledger says.

The ledger knows what Braze acknowledged, not what Braze holds: a profile may have been
deleted or merged since, an attribute blocklisted, its type changed, its value written
by somebody else. Only a read tells, which needs a key with another permission.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from churn.braze import client
from churn.errors import TerminalBrazeError, TransientBrazeError
from churn.settings import Braze

PATH = "/users/export/ids"
PERMISSION = "users.export.ids"
MAX_IDS = 50
"""External ids or aliases in one request (source: Braze's limit for its endpoint)."""

MAX_SINGLE_REQUESTS = 10
"""Users that are read if a request can name only one.

Braze allows some accounts no more than 250 reads a minute, for all their tools.
"""

FIELDS = ("external_id", "user_aliases", "braze_id", "custom_attributes")
SINGLE = {
    "braze_id": "braze_id",
    "email": "email_address",
    "phone": "phone",
}
"""Key of the request's body for kinds of identifiers that come one a request."""

DATE = re.compile(r"\d{4}-\d\d-\d\d")

ABSENT = "is absent"
OTHER_VALUE = "has another value"
OTHER_TYPE = "is of another type"
CAUSES = {
    ABSENT: "blocklisted, removed by somebody else, or ignored for its type",
    OTHER_VALUE: "another study or tool writes it",
    OTHER_TYPE: "its type was changed in Braze's data settings",
}

Values = dict[str, Any]
"""Values by attribute, as parsed from JSON."""


@dataclass
class Compared:
    """What profiles hold beside what the ledger says.

    ``n_asked``: users read for. ``n_missing``: those without a profile. ``n_same``:
    those with all values as the ledger says. ``differences``: how many users have an
    attribute that is one of CAUSES. ``n_requests``: requests that were answered.
    """

    n_asked: int = 0
    n_missing: int = 0
    n_same: int = 0
    n_requests: int = 0
    differences: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, expected: Values, found: Sequence[Values]) -> None:
        """Count one user; of several profiles with one address the best counts."""
        self.n_asked += 1
        if not found:
            self.n_missing += 1
            return
        differences = min((_differences(expected, held) for held in found), key=len)
        self.differences.update(differences.items())
        self.n_same += not differences

    @property
    def is_ok(self) -> bool:
        """Whether there are no differences, and some profile at all."""
        return not self.differences and self.n_missing < max(self.n_asked, 1)


def compare(
    braze: Braze,
    key: str,
    expected: Mapping[str, Values],
) -> Compared:
    """Read these users and compare them; values are given by identifier.

    Raises TerminalBrazeError if the key may not read, TransientBrazeError if Braze
    limits reads or can't be reached. Of kinds of identifiers that come one a request
    only the first MAX_SINGLE_REQUESTS are read.
    """
    compared = Compared()
    for identifiers in _groups(list(expected), braze.kind):
        profiles = _read(braze, key, _body(identifiers, braze.kind))
        compared.n_requests += 1
        for identifier in identifiers:
            found = [
                profile.get("custom_attributes") or {}
                for profile in profiles
                if _is_of(profile, identifier, braze.kind)
            ]
            compared.add(expected[identifier], found)
    return compared


def sentences(compared: Compared) -> str:
    """What was found, each difference with what it may come from."""
    found = [f"{compared.n_same} hold what the ledger says"]
    if compared.n_missing == compared.n_asked:
        found.append("none has a profile: is braze.identifier right?")
    elif compared.n_missing:
        found.append(
            f"{compared.n_missing} have no profile: deleted or merged, or Braze never "
            "knew them"
        )
    for (name, difference), n in sorted(compared.differences.items()):
        found.append(f"{name} {difference} in {n}: {CAUSES[difference]}")
    if compared.differences:
        found.append(
            "Braze applies writes with a delay, so look again some minutes after an "
            "export"
        )
    return ". ".join(found)


def _groups(identifiers: list[str], kind: str) -> Iterator[list[str]]:
    """The identifiers of each request."""
    size = MAX_IDS
    if kind in SINGLE:
        size = 1
        identifiers = identifiers[:MAX_SINGLE_REQUESTS]
    for start in range(0, len(identifiers), size):
        yield identifiers[start : start + size]


def _body(identifiers: list[str], kind: str) -> bytes:
    name, _, label = kind.partition(":")
    body: dict[str, Any] = {"fields_to_export": FIELDS}
    if label:
        body["user_aliases"] = [
            {"alias_name": identifier, "alias_label": label}
            for identifier in identifiers
        ]
    elif name in SINGLE:
        body[SINGLE[name]] = identifiers[0]
    else:
        body["external_ids"] = identifiers
    return json.dumps(body).encode()


def _read(
    braze: Braze,
    key: str,
    body: bytes,
) -> list[Any]:
    """The profiles that Braze answers with."""
    response = client.probe(braze, key, body, PATH)
    status = response.status
    if status in {401, 403}:
        raise TerminalBrazeError(f"the key lacks the permission {PERMISSION}", status)
    if status == 429:
        raise TransientBrazeError("Braze limits reads (429): try again in a minute")
    try:
        answer = json.loads(response.content)
        users = answer["users"] if status in {200, 201} else None
    except (ValueError, LookupError, TypeError):
        users = None
    if not isinstance(users, list):
        raise TransientBrazeError(f"Braze answered {status} without any users")
    return [user for user in users if isinstance(user, dict)]


def _is_of(
    profile: Mapping[str, Any],
    identifier: str,
    kind: str,
) -> bool:
    """Whether a profile is that of the identifier; one asked for alone is."""
    name, _, label = kind.partition(":")
    if label:
        alias = {"alias_name": identifier, "alias_label": label}
        return alias in (profile.get("user_aliases") or [])
    return name in SINGLE or profile.get("external_id") == identifier


def _differences(expected: Values, held: Values) -> dict[str, str]:
    """Attributes in which a profile differs from the ledger, each with one of CAUSES."""
    found = {}
    for name, value in expected.items():
        difference = _difference(value, held.get(name))
        if difference:
            found[name] = difference
    return found


def _difference(expected: Any, held: Any) -> str | None:
    if expected == held and isinstance(expected, bool) == isinstance(held, bool):
        return None
    if held is None:
        return ABSENT
    if expected is None:
        return OTHER_VALUE
    is_date = isinstance(expected, str) and DATE.fullmatch(expected)
    if is_date and isinstance(held, str) and held.startswith(expected):
        return None
    if isinstance(expected, str) != isinstance(held, str) or isinstance(held, bool):
        return OTHER_TYPE
    return OTHER_VALUE
