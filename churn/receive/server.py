"""The life of the receiver's process: it listens, is asked to end, and drains."""

import asyncio
import logging
import signal
import traceback
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from churn.errors import StoreError
from churn.receive import access
from churn.receive.answering import READ_SECONDS, UNKNOWN, Receiver
from churn.settings import Settings
from churn.store import locks
from churn.store.places import Place

log = logging.getLogger(__name__)

IDLE_SECONDS = 20.0
"""How long a connection may take to send a whole header, or stay without a request."""

MAX_LINE = 64 * 1024
"""Longest request line and header, since all that a GET says is in its address."""


class _Connection(RequestHandler):
    """aiohttp's side of a connection, which repeats nothing that was sent.

    By itself it quotes what it can't parse in its answer and its log, and with it the
    secret in the address. The text of any exception may quote it too.
    """

    def __init__(self, server: "_Server", **options: Any) -> None:
        super().__init__(server, **options)
        self._requests = server.requests

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        self._requests.labels(UNKNOWN, status).inc()
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        response = web.Response(status=status, text=HTTPStatus(status).phrase)
        response.force_close()
        return response

    def log_exception(
        self,
        message: str,
        exc_info: BaseException | None = None,
    ) -> None:
        where = traceback.format_tb(exc_info.__traceback__) if exc_info else []
        log.error("%s: %s\n%s", message, type(exc_info).__name__, "".join(where))


class _Server(web.Server):
    """aiohttp's server with a limit of connections, for a receiver."""

    def __init__(
        self,
        receiver: Receiver,
        max_connections: int,
        request_factory: Any,
        **options: Any,
    ) -> None:
        super().__init__(receiver.answer, request_factory=request_factory)
        self.requests = receiver.metrics.requests
        self._max_connections = max_connections
        self._options = options

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self._max_connections:
            transport.abort()


def serve(
    settings: Settings,
    host: str,
    port: int,
    name: str,
) -> None:
    """Take postbacks until SIGTERM or SIGINT, then write and publish what waits.

    ``name`` tells receivers that publish to the same place apart. Raises StudyError
    without secrets, BusyError if another receiver uses the spool, and StoreError if the
    address can't be listened on.
    """
    secrets = access.from_environment()
    spool = Place(str(settings.spool_path))
    with locks.exclusively(spool, name=locks.RECEIVER):
        asyncio.run(_serve(Receiver(settings, secrets, name), settings, host, port))


async def _serve(
    receiver: Receiver,
    settings: Settings,
    host: str,
    port: int,
) -> None:
    runner = await _listening(receiver, settings, host, port)
    receiver.start()
    is_over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_over.set)
    print(f"listening on http://{host}:{runner.addresses[0][1]}", flush=True)
    looking = asyncio.create_task(receiver.look_after())
    await is_over.wait()
    await runner.cleanup()
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking
    await receiver.close()


async def _listening(
    receiver: Receiver,
    settings: Settings,
    host: str,
    port: int,
) -> web.ServerRunner:
    make_request: Any = partial(
        web.BaseRequest,
        loop=asyncio.get_running_loop(),
        client_max_size=settings.receive.max_body_bytes,
    )
    server = _Server(
        receiver,
        settings.receive.max_connections,
        request_factory=make_request,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=1.0,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
        auto_decompress=False,
    )
    runner = web.ServerRunner(server, shutdown_timeout=READ_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise StoreError(f"{host}:{port} can't be used ({error.strerror})") from None
    return runner
