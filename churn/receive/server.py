"""The life of the receiver's process: it listens, is asked to end, and drains."""

import asyncio
import signal
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from churn.errors import StoreError
from churn.receive import access, places
from churn.receive.answering import READ_SECONDS, Receiver
from churn.settings import Settings
from churn.store import locks
from churn.store.places import Place

IDLE_SECONDS = 20.0
"""How long a connection may take to send a whole header, or stay without a request."""

MAX_LINE = 64 * 1024
"""Longest request line and header, since all that a GET says is in its address."""


class _Server(web.Server):
    """aiohttp's server with a limit of connections."""

    max_connections = 0

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self.max_connections:
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
    spool = Place(str(places.spool(settings)))
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
        receiver.answer,
        request_factory=make_request,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=1.0,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
        auto_decompress=False,
    )
    server.max_connections = settings.receive.max_connections
    runner = web.ServerRunner(server, shutdown_timeout=READ_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise StoreError(f"{host}:{port} can't be used ({error.strerror})") from None
    return runner
