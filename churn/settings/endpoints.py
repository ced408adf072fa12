"""The address of Braze in one form, whichever way a study writes it.

No message repeats the address: it may hold a password, or a key that was pasted into
the wrong line.
"""

import ipaddress
import re
import unicodedata
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80}
EXAMPLE = "https://rest.fra-02.braze.eu"
HOST = re.compile(
    r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"
)
MAX_HOST = 253
INVISIBLE = ("C", "Z")
"""First letters of the Unicode categories of control characters and spaces."""


def endpoint(text: str) -> str:
    """The address with scheme, host and port in one form, without a slash at its end.

    Raises ValueError for all but an https address without a path, or http to this
    machine.

    >>> endpoint("HTTPS://Rest.FRA-02.Braze.eu.:443/")
    'https://rest.fra-02.braze.eu'
    >>> endpoint("http://[0:0:0:0:0:0:0:1]:8600")
    'http://[::1]:8600'
    """
    _check_characters(text)
    parts = _parts(text)
    host = _host(parts)
    is_local = parts.scheme == "http" and is_loopback(host)
    if parts.scheme != "https" and not is_local:
        raise ValueError(
            f"must begin with https://, such as {EXAMPLE} (http:// only for a sandbox "
            "on this machine)"
        )
    if parts.path.strip("/"):
        raise ValueError("must end after the host name; the path is ours to add")
    written_host = f"[{host}]" if ":" in host else host
    port = _port(parts)
    if port in {None, DEFAULT_PORTS[parts.scheme]}:
        return f"{parts.scheme}://{written_host}"
    return f"{parts.scheme}://{written_host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address leads to this machine.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("10.0.0.1")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_on_this_machine(address: str) -> bool:
    """Whether the address leads to this machine, where a sandbox listens."""
    return is_loopback(urlsplit(address).hostname or "")


def _check_characters(text: str) -> None:
    """Refuse what nobody sees, and letters that look like others.

    urlsplit leaves some invisible characters out without a word.
    """
    for character in text:
        name = unicodedata.name(character, "a control character")
        code = f"U+{ord(character):04X} {name}"
        if unicodedata.category(character).startswith(INVISIBLE):
            raise ValueError(f"holds a space or an invisible character ({code})")
        if not character.isascii():
            raise ValueError(
                f"holds a character beyond ASCII ({code}); write an international "
                "name in its ASCII form, which begins with xn--"
            )


def _parts(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("holds brackets that enclose no IPv6 address") from None
    if "@" in text:
        raise ValueError(
            "holds credentials; leave them out, the key is read from CHURN_BRAZE_KEY"
        )
    if "?" in text or "#" in text:
        raise ValueError("must end after the host name, without a query or fragment")
    return parts


def _host(parts: SplitResult) -> str:
    """The host in lower case, an IP address in its shortest form."""
    host = parts.hostname or ""
    if not host:
        raise ValueError(f"has no host; write it like {EXAMPLE}")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        name = host.removesuffix(".")
    is_bracketed = "[" in parts.netloc
    if is_bracketed or len(name) > MAX_HOST or not HOST.fullmatch(name):
        raise ValueError(f"has a host name that none can be; write it like {EXAMPLE}")
    return name


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("has a port that is none: ports are numbers from 1 to 65535")
    return port
