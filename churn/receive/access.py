"""Secrets by which the receiver knows its senders; only the environment holds them.

None of the vendors documents a signature of its postbacks, so a sender is known by a
secret in the address or in a header.
"""

import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from churn.errors import StudyError

PREFIX = "CHURN_RECEIVE_"
"""Beginning of the names of the variables; the vendor's name follows."""

METHODS = {
    "adjust": ("GET", "POST"),
    "appsflyer": ("GET", "POST"),
    "branch": ("GET", "POST"),
    "kochava": ("GET", "POST"),
    "singular": ("POST",),
}
"""Vendors that send postbacks, and the methods that they use."""

FORM = r"[A-Za-z0-9_.~-]{20,200}"
"""A secret that is long enough, and that may stand in an address as it is."""


@dataclass(frozen=True)
class Secrets:
    """The secrets of each source; a source that has none is not served.

    A source may have several, so that they can be changed without a gap.
    """

    by_source: Mapping[str, tuple[str, ...]] = field(repr=False)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are served."""
        return tuple(sorted(self.by_source))

    def is_right(self, source: str, given: str) -> bool:
        """Whether the secret that a request gives is one of its source's.

        The time that this takes doesn't depend on how much of it is right.
        """
        matches = [
            hmac.compare_digest(secret.encode(), given.encode())
            for secret in self.by_source.get(source, ())
        ]
        return any(matches)


def from_environment() -> Secrets:
    """The secrets in the environment, several of one source separated by commas.

    Raises StudyError if there are none, if one can't be used, or if a variable names no
    source that sends postbacks. The message quotes no secret.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and value.strip()
    }
    if not given:
        raise StudyError(
            f"no source has a secret; set one of at least 20 characters, such as "
            f"{PREFIX}ADJUST=$(openssl rand -hex 24), for each vendor that sends "
            f"postbacks: {', '.join(METHODS)}"
        )
    faults = []
    found = {}
    for source, value in given.items():
        variable = PREFIX + source.upper()
        secrets = tuple(filter(None, map(str.strip, value.split(","))))
        if source not in METHODS:
            faults.append(f"{variable} names no vendor; there are {', '.join(METHODS)}")
        if not all(re.fullmatch(FORM, secret) for secret in secrets):
            faults.append(
                f"{variable} must be 20 to 200 letters, digits and - _ . ~; "
                "make one with `openssl rand -hex 24`"
            )
        found[source] = secrets
    if faults:
        raise StudyError("; ".join(faults))
    return Secrets(found)
