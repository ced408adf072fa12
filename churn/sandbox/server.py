"""The sandbox over HTTP on loopback: POST /users/track, a page, and /__sandbox__/ paths that Braze doesn't have."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiohttp import web

from churn.sandbox import page, rules

LOOPBACK = "127.0.0.1"
MAX_BODY = 4 * 1024 * 1024
LOUD = "*** This is a local stand-in. It is NOT Braze. ***"


@dataclass
class Sandbox:
    """A running sandbox: where it listens, the key it accepts, what it has been told."""

    key: str
    url: str = ""
    echo_key: bool = False  # Braze repeats a wrong key in its answer: switch on to prove that a client hides it
    state: rules.State = field(default_factory=rules.State)


RUNNING = web.AppKey("running", Sandbox)


def application(sandbox: Sandbox) -> web.Application:
    """The routes; any other path is 404."""
    app = web.Application(client_max_size=MAX_BODY)
    app[RUNNING] = sandbox
    app.router.add_post("/users/track", _track)
    app.router.add_post("/users/track/", _trailing_slash)
    app.router.add_post("/__sandbox__/users", _add_users)
    app.router.add_get("/__sandbox__/state", _state)
    app.router.add_get("/", _page)
    return app


def _answer(sandbox: Sandbox, status: int, content: dict[str, Any]) -> web.Response:
    sandbox.state.n_requests += 1
    sandbox.state.n_refused += status >= 300
    return web.json_response(content, status=status)


async def _track(request: web.Request) -> web.Response:
    sandbox = request.app[RUNNING]
    authorization = request.headers.get("Authorization", "")
    if authorization != f"Bearer {sandbox.key}":
        said = f"Invalid API key: {authorization}" if sandbox.echo_key else "Invalid API key"
        return _answer(sandbox, 401, {"message": said})
    if request.content_type != "application/json":
        return _answer(sandbox, 415, {"message": "Unsupported Media Type"})
    try:
        body = json.loads((await request.read()).decode("utf-8"), parse_constant=_refuse_constant)
    except web.HTTPRequestEntityTooLarge:
        return _answer(sandbox, 413, {"message": "Request Entity Too Large"})
    except ValueError:
        body = None
    return _answer(sandbox, *rules.track(sandbox.state, body))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


async def _trailing_slash(request: web.Request) -> web.Response:
    return _answer(request.app[RUNNING], 403, {"message": "Access Denied"})


async def _add_users(request: web.Request) -> web.Response:
    sandbox = request.app[RUNNING]
    sandbox.state.add_users([str(who) for who in await request.json()])
    return web.json_response({"n_profiles": len(sandbox.state.profiles)})


async def _state(request: web.Request) -> web.Response:
    return web.json_response(request.app[RUNNING].state.as_json())


async def _page(request: web.Request) -> web.Response:
    return web.Response(text=page.render(request.app[RUNNING].state, request.query), content_type="text/html")


def serve(port: int, key: str) -> None:
    """Serve on loopback until interrupted."""
    print(f"{LOUD}\nPOST http://{LOOPBACK}:{port}/users/track   page: http://{LOOPBACK}:{port}/")
    web.run_app(application(Sandbox(key)), host=LOOPBACK, port=port, print=None)


@contextmanager
def running(port: int = 0, key: str = "sandbox-key", known_users: list[str] | None = None) -> Iterator[Sandbox]:
    """A sandbox in a thread of its own for as long as the block lasts; port 0 takes a free one."""
    sandbox = Sandbox(key)
    sandbox.state.add_users(known_users or [])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()
    runner = web.AppRunner(application(sandbox))
    try:
        asyncio.run_coroutine_threadsafe(_listen(runner, sandbox, port), loop).result()
        yield sandbox
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _listen(runner: web.AppRunner, sandbox: Sandbox, port: int) -> None:
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, port)
    await site.start()
    sandbox.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
