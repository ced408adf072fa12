"""Starts and stops a sandbox, on loopback only."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from churn.sandbox.faults import Faults
from churn.sandbox.handlers import application
from churn.sandbox.instance import Sandbox
from churn.sandbox.options import TRACK, Options
from churn.sandbox.state import State

LOOPBACK = "127.0.0.1"
WARNING = "*** This is a local stand-in. It is NOT Braze. ***"
# Requests that hang on purpose are not waited for.
SHUTDOWN_SECONDS = 0.1


def serve(
    port: int, key: str, options: Options | None = None, faults: Faults | None = None
) -> None:
    """Serve until interrupted."""
    url = f"http://{LOOPBACK}:{port}"
    print(f"{WARNING}\nPOST {url}{TRACK}   page: {url}/", flush=True)
    web.run_app(
        application(_sandbox(key, options, faults)),
        host=LOOPBACK,
        port=port,
        print=None,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )


@contextmanager
def running(
    port: int = 0,
    key: str = "sandbox-key",
    known_users: list[str] | None = None,
    options: Options | None = None,
    faults: Faults | None = None,
) -> Iterator[Sandbox]:
    """A sandbox in a thread of its own while the block lasts; port 0 takes a free one.

    ``known_users`` are the external ids of profiles that exist from the start.
    """
    sandbox = _sandbox(key, options, faults)
    sandbox.state.add_users(known_users or [])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_forever,
        name="sandbox",
        daemon=True,
    )
    thread.start()
    runner = web.AppRunner(
        application(sandbox), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
    )
    try:
        asyncio.run_coroutine_threadsafe(_listen(runner, sandbox, port), loop).result()
        yield sandbox
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _sandbox(
    key: str,
    options: Options | None,
    faults: Faults | None,
) -> Sandbox:
    state = State(options=options or Options())
    return Sandbox(
        key,
        state=state,
        faults=faults or Faults(),
    )


async def _listen(runner: web.AppRunner, sandbox: Sandbox, port: int) -> None:
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, port)
    await site.start()
    sandbox.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
