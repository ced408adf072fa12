"""The endpoint: one form for all spellings, and a sentence for what can't be one."""

from pathlib import Path

import pytest

from churn.errors import StudyError
from churn.settings import Settings, endpoints, parse

EXTRACTS = [{"source": "table", "path": "events.csv"}]
SECRET = "pass-word-1"


def study(endpoint: str) -> Settings:
    """A study with this endpoint."""
    return parse({"extracts": EXTRACTS, "braze": {"endpoint": endpoint}}, Path())


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("https://rest.fra-02.braze.eu", "https://rest.fra-02.braze.eu"),
        ("HTTPS://REST.Fra-02.braze.EU", "https://rest.fra-02.braze.eu"),
        ("https://rest.fra-02.braze.eu:443", "https://rest.fra-02.braze.eu"),
        ("https://rest.fra-02.braze.eu:0443/", "https://rest.fra-02.braze.eu"),
        ("https://rest.fra-02.braze.eu.", "https://rest.fra-02.braze.eu"),
        ("https://rest.fra-02.braze.eu.:8443//", "https://rest.fra-02.braze.eu:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://127.8.0.1:8600/", "http://127.8.0.1:8600"),
        ("HTTP://LocalHost.:8600", "http://localhost:8600"),
        ("http://[::1]:8600", "http://[::1]:8600"),
        ("http://[0::0001]:8600", "http://[::1]:8600"),
    ],
)
def test_one_address_has_one_form(written: str, form: str) -> None:
    """Capitals, the port that is meant anyway, a dot or slash at the end, and zeros in
    an IP address say nothing.
    """
    assert study(written).braze.endpoint == form


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (f"https://me:{SECRET}@rest.fra-02.braze.eu", "holds credentials"),
        (f"https://{SECRET}@rest.fra-02.braze.eu", "holds credentials"),
        (f"ftp://me:{SECRET}@rest.fra-02.braze.eu", "holds credentials"),
        (f"https://rest.fra-02.braze.eu?api_key={SECRET}", "query or fragment"),
        (f"https://rest.fra-02.braze.eu/#{SECRET}", "query or fragment"),
        ("https://rest.fra-02.braze.eu?", "query or fragment"),
        ("https://rest.fra-02.braze.eu:https", "port that is none"),
        ("https://rest.fra-02.braze.eu:0", "port that is none"),
        ("https://rest.fra-02.braze.eu:65536", "port that is none"),
        ("https://rest.fra-02.braze.eu:-1", "port that is none"),
        ("https://", "no host"),
        ("https://:443", "no host"),
        ("https:///users/track", "no host"),
        ("https://rest.fra-02.braze.eu/users/track", "end after the host name"),
        ("https://[::1", "no IPv6 address"),
        ("https://[rest.fra-02.braze.eu]", "no IPv6 address|none can be"),
        ("https://rest..braze.eu", "none can be"),
        ("https://-rest.braze.eu", "none can be"),
        ("https://" + "a" * 300, "none can be"),
        ("https://rest\\fra-02", "none can be"),
        (" https://rest.fra-02.braze.eu", "U\\+0020 SPACE"),
        ("https://rest.fra-02.braze.eu\n", "U\\+000A a control character"),
        ("https://rest.fra\u200b-02.braze.eu", "U\\+200B ZERO WIDTH SPACE"),
        ("https://rest.fra-02.braze.eu\u00a0", "U\\+00A0 NO-BREAK SPACE"),
        ("\ufeffhttps://rest.fra-02.braze.eu", "U\\+FEFF"),
        ("https://rest.fr\u0430-02.braze.eu", "U\\+0430 CYRILLIC"),
        ("http://rest.fra-02.braze.eu", "must begin with https://"),
        ("http://10.0.0.1:8600", "must begin with https://"),
        (SECRET, "no host"),
    ],
)
def test_what_can_be_no_endpoint_is_said_without_repeating_it(
    written: str, fault: str
) -> None:
    """Each fault has its own words, and none shows the address: it may hold a secret,
    even where the key was pasted in its place.
    """
    with pytest.raises(StudyError, match=fault) as caught:
        study(written)
    assert "braze.endpoint" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "is_here"),
    [
        ("http://localhost:8600", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:8600", True),
        ("https://rest.fra-02.braze.eu", False),
        ("https://localhost.example.com", False),
    ],
)
def test_what_listens_on_this_machine_is_no_braze(endpoint: str, is_here: bool) -> None:
    """Every address of the loopback network counts, and no name that resembles one."""
    assert endpoints.is_on_this_machine(endpoint) is is_here
    assert study(endpoint).braze.is_sandbox is is_here
