"""HTTP to Braze: the connection, one request. Only this module uses httpx."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient

from churn import __version__
from churn.braze import surroundings
from churn.braze.key import KEY_VARIABLE as KEY_VARIABLE
from churn.errors import BrazeError, TerminalBrazeError, TransientBrazeError
from churn.settings import Braze

POLL_SECONDS = 0.2
T = TypeVar("T")


@dataclass(frozen=True)
class Response:
    """An answer: status, headers with names in lower case, content."""

    status: int
    headers: dict[str, str]
    content: bytes


Post = Callable[[bytes, bool], Awaitable[Response]]
"""Sends one request body. The flag says whether it is the first of the run.

Raises TransientBrazeError if no answer came, TerminalBrazeError if none can come.
"""


def check_environment(braze: Braze, key: str) -> None:
    """Raise TerminalBrazeError if a proxy or certificate variable can't be used."""
    surroundings.check_proxy(braze)
    _client(braze, key)


@asynccontextmanager
async def connected(
    braze: Braze,
    key: str,
    path: str = "",
) -> AsyncIterator[Post]:
    """Connect to the endpoint. Redirects aren't followed: the key would go along.

    ``path`` that is posted to; by default that of the study's writes.
    """
    surroundings.check_proxy(braze)
    async with _client(braze, key) as http:
        empty = http.build_request("POST", path or braze.path)
        empty.headers.pop("Content-Length")

        async def post(body: bytes, is_first: bool) -> Response:
            return await _post(http, braze, empty, body, is_first)

        yield post


def _client(braze: Braze, key: str) -> HttpxAiohttpClient:
    """A client that asks this machine itself without any proxy."""
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "User-Agent": f"churn/{__version__}",
    }
    limits = httpx.Limits(
        max_connections=braze.concurrency, max_keepalive_connections=braze.concurrency
    )
    try:
        return HttpxAiohttpClient(
            base_url=braze.endpoint,
            headers=headers,
            timeout=braze.timeout_seconds,
            limits=limits,
            verify=surroundings.certificates(braze) or True,
            trust_env=not braze.is_sandbox,
        )
    except (ValueError, httpx.InvalidURL):
        # The address may hold a password.
        raise TerminalBrazeError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY holds an address that no proxy can "
            "have: write it like http://proxy.example.com:8080. Or NO_PROXY holds IPv6 "
            "networks or brackets, which can't be read: leave them out"
        ) from None


def probe(
    braze: Braze,
    key: str,
    body: bytes,
    path: str = "",
) -> Response:
    """Send one request, by default a write. Raises BrazeError if no answer came."""

    async def once() -> Response:
        async with connected(braze, key, path) as post:
            return await post(body, True)

    return run_in_thread(once())


def run_in_thread(
    work: Coroutine[Any, Any, T], interrupt: Callable[[], None] = lambda: None
) -> T:
    """Run a coroutine in a thread and event loop of its own: in Jupyter a loop runs.

    On Ctrl-C ``interrupt`` is called, and the coroutine is still waited for.
    """
    with ThreadPoolExecutor(1, "braze") as pool:
        running = pool.submit(asyncio.run, work)
        while True:
            try:
                # A wait without a timeout would not notice Ctrl-C.
                return running.result(timeout=POLL_SECONDS)
            except TimeoutError:
                if running.done():
                    raise
            except KeyboardInterrupt:
                interrupt()


async def _post(
    http: httpx.AsyncClient,
    braze: Braze,
    empty: httpx.Request,
    body: bytes,
    is_first: bool,
) -> Response:
    """Send an empty request with this body.

    Its address and headers are made once: httpx takes as long for them as to send.
    """
    request = httpx.Request(
        empty.method,
        empty.url,
        headers=empty.headers,
        content=body,
        extensions=empty.extensions,
    )
    try:
        answer = await http.send(request)
    # The transport doesn't translate all of aiohttp's errors.
    except (httpx.RequestError, aiohttp.ClientError) as error:
        raise _no_answer(error, braze, is_first) from None
    headers = {
        name.lower().decode("latin-1"): value.decode("latin-1")
        for name, value in answer.headers.raw
    }
    return Response(answer.status_code, headers, answer.content)


def _no_answer(
    error: Exception,
    braze: Braze,
    is_first: bool,
) -> BrazeError:
    """The error to raise if no answer came.

    The transport names a lost connection and a refused one alike; only the underlying
    error tells whether the request may have been sent. What is wrong at the first
    request of a run stays wrong; later it may be a fault that passes.
    """
    cause = error.__cause__ or error
    endpoint = braze.endpoint
    name = type(cause).__name__
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        message = f"the proxy of {_proxy(braze)} refuses {endpoint} ({cause.status})"
        return _not_sent(message, is_first)
    if not isinstance(cause, aiohttp.ClientConnectorError):
        return TransientBrazeError(f"no answer from {endpoint} ({name})")
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        reason = surroundings.why_untrusted(endpoint, cause.certificate_error)
        return _not_sent(reason, is_first)
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        message = f"the proxy of {_proxy(braze)} can't be reached"
        return _not_sent(message, is_terminal=False)
    if braze.is_sandbox and not isinstance(cause, aiohttp.ClientSSLError):
        return TerminalBrazeError(
            f"nothing listens at {endpoint}: start the sandbox with `churn sandbox`"
        )
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return _not_sent(
            f"{endpoint} can't be found: check its name, or set HTTPS_PROXY if only a "
            "proxy leads there",
            is_first,
        )
    return _not_sent(f"{endpoint} can't be reached ({name})", is_terminal=False)


def _not_sent(message: str, is_terminal: bool) -> BrazeError:
    if is_terminal:
        return TerminalBrazeError(message)
    return TransientBrazeError(message, was_sent=False)


def _proxy(braze: Braze) -> str:
    return surroundings.proxy_variable(braze) or "HTTPS_PROXY"
