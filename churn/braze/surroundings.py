"""What a company's network puts between this machine and Braze, as the environment says.

That is a proxy, and a certificate authority of the company's own. The variables are
those that other programs read too: HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and
SSL_CERT_DIR. Neither matters for a sandbox on this machine.
"""

import os
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from churn.errors import TerminalBrazeError
from churn.settings import Braze

CERTIFICATES = "SSL_CERT_FILE"
CERTIFICATES_FOLDER = "SSL_CERT_DIR"
PROXY_VARIABLES = {"https": "HTTPS_PROXY", "all": "ALL_PROXY"}
UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's codes for a certificate whose signer isn't among the trusted ones."""


def certificates(braze: Braze) -> ssl.SSLContext | None:
    """The authorities that the environment trusts; null: those that httpx trusts.

    Raises TerminalBrazeError if a variable names what can't be used.
    """
    if braze.endpoint.startswith("http:"):
        # Nothing is encrypted, so a wrong variable shall stop nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file = os.environ.get(CERTIFICATES)
    folder = os.environ.get(CERTIFICATES_FOLDER)
    if file:
        return _of_file(file)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise TerminalBrazeError(
            f"{CERTIFICATES_FOLDER} names {folder}, which is no folder: correct or "
            "unset it"
        )
    return ssl.create_default_context(capath=folder)


def _of_file(file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        fault = "which holds no certificate that can be read"
    except OSError as error:
        fault = f"which can't be read ({error.strerror or type(error).__name__})"
    raise TerminalBrazeError(
        f"{CERTIFICATES} names {file}, {fault}: name a file of certificates in PEM "
        "form, or unset it"
    )


def certificates_variable() -> str | None:
    """The variable whose certificates are trusted in place of httpx's own."""
    for variable in (CERTIFICATES, CERTIFICATES_FOLDER):
        if os.environ.get(variable):
            return variable
    return None


def why_untrusted(endpoint: str, error: Exception) -> str:
    """A sentence about a certificate that was refused, with what cures it."""
    reason = getattr(error, "verify_message", None) or type(error).__name__
    if getattr(error, "verify_code", None) not in UNKNOWN_AUTHORITY:
        return (
            f"the certificate of {endpoint} isn't valid ({reason}): check the endpoint "
            "and this machine's clock"
        )
    refused = f"the certificate of {endpoint} isn't trusted ({reason})"
    if file := os.environ.get(CERTIFICATES):
        return (
            f"{refused}: {CERTIFICATES} names {file}, which doesn't hold the authority "
            "that signed it"
        )
    return (
        f"{refused}: if your company's network reads encrypted traffic, set "
        f"{CERTIFICATES} to a file with the certificate of its authority, in PEM form"
    )


def proxy_variable(braze: Braze) -> str | None:
    """The variable whose proxy carries the requests; null if there is no proxy."""
    host = urlsplit(braze.endpoint).hostname or ""
    if braze.is_sandbox or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    for scheme, variable in PROXY_VARIABLES.items():
        if proxies.get(scheme):
            return variable
    return None


def check_proxy(braze: Braze) -> None:
    """Raise TerminalBrazeError for a proxy that speaks SOCKS, which isn't supported."""
    variable = proxy_variable(braze)
    if variable is None:
        return
    address = urllib.request.getproxies()[variable.removesuffix("_PROXY").lower()]
    if address.lower().startswith("socks"):
        raise TerminalBrazeError(
            f"{variable} names a SOCKS proxy; only HTTP proxies are supported: set "
            "HTTPS_PROXY to one, or NO_PROXY to the endpoint's host"
        )
