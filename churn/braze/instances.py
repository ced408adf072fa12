"""The instances that Braze lists, and which one a mistyped host was meant to be.

Source: the table of instances in Braze's API documentation, read in September 2026.
"""

import difflib
import re

REST_HOSTS = (
    *(f"rest.iad-{number:02}.braze.com" for number in range(1, 9)),
    "rest.us-10.braze.com",
    "rest.fra-01.braze.eu",
    "rest.fra-02.braze.eu",
    "rest.au-01.braze.com",
    "rest.id-01.braze.com",
    "rest.jp-01.braze.com",
    "rest.kr-01.braze.com",
)
OF_BRAZE = re.compile(r"(^|\.)braze\.(com|eu)$")
DASHBOARD = re.compile(
    r"^dashboard(?:[-.](?P<name>[a-z0-9-]+))?\.braze\.(?P<end>com|eu)$"
)
NUMBERED = {"com": "iad", "eu": "fra"}
"""How REST hosts call the instances whose dashboards have only a number."""


def rest_host_of(host: str) -> str | None:
    """The REST host of an instance's dashboard or SDK host; null for any other host.

    >>> rest_host_of("dashboard-02.braze.eu"), rest_host_of("sdk.us-10.braze.com")
    ('rest.fra-02.braze.eu', 'rest.us-10.braze.com')
    """
    guess = host.replace("sdk.", "rest.", 1)
    if match := DASHBOARD.match(host):
        name = match["name"] or "01"
        end = match["end"]
        instance = f"{NUMBERED[end]}-{name}" if name.isdigit() else name
        guess = f"rest.{instance}.braze.{end}"
    return guess if guess != host and guess in REST_HOSTS else None


def nearest(host: str) -> str | None:
    """The listed host that resembles this one most; null if none does.

    A host with the name of an instance and the ending of another is the commonest slip.

    >>> nearest("rest.fra-02.braze.com"), nearest("rest.iad-01.braze.eu")
    ('rest.fra-02.braze.eu', 'rest.iad-01.braze.com')
    """
    stem = host.rpartition(".")[0]
    for listed in REST_HOSTS:
        if listed.rpartition(".")[0] == stem:
            return listed
    close = difflib.get_close_matches(host, REST_HOSTS, n=1, cutoff=0.8)
    return close[0] if close else None


def is_of_braze(host: str) -> bool:
    """Whether a host belongs to Braze, or looks as if it should."""
    return OF_BRAZE.search(host) is not None
