"""The sandbox over HTTP on loopback: Braze's paths, a page, and /__sandbox__/ paths
that Braze doesn't have.
"""

import asyncio
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from aiohttp import web

from churn.sandbox import faults as injected
from churn.sandbox import limits, page, track
from churn.sandbox.faults import Faults
from churn.sandbox.limits import Limiter
from churn.sandbox.options import (
    BULK,
    EXPORT,
    PERMISSIONS,
    STATUS,
    SYNC,
    TRACK,
    Options,
)
from churn.sandbox.state import State
from churn.sandbox.values import shown

LOOPBACK = "127.0.0.1"
LOUD = "*** This is a local stand-in. It is NOT Braze. ***"
SHUTDOWN_SECONDS = 0.1  # those that hang on purpose are not waited for
to_text = partial(json.dumps, default=shown)
Answer = tuple[int, dict[str, Any]]


@dataclass
class Sandbox:
    """A running sandbox: where it listens, the key it accepts, what it has been
    told.
    """

    key: str = field(repr=False)
    url: str = ""
    # Braze repeats a wrong key in its answer: switch on to prove that a client hides it
    echo_key: bool = False
    state: State = field(default_factory=State)
    faults: Faults = field(default_factory=Faults)
    limiter: Limiter = field(init=False)

    def __post_init__(self) -> None:
        """One set of options serves all parts."""
        self.limiter = Limiter(self.state.options)
        self.echo_key = self.echo_key or self.state.options.echo_key

    def permissions(self, authorization: str) -> frozenset[str] | None:
        """What the bearer of this header may do; None for a key that isn't known."""
        keys = {
            **self.state.options.more_keys,
            self.key: self.state.options.permissions,
        }
        return (
            keys.get(authorization.removeprefix("Bearer "))
            if authorization.startswith("Bearer ")
            else None
        )


RUNNING = web.AppKey("running", Sandbox)


def application(sandbox: Sandbox) -> web.Application:
    """The routes; any other path or method is 404."""
    options = sandbox.state.options
    app = web.Application(
        client_max_size=max(options.max_body_bytes, options.max_bulk_bytes)
    )
    app[RUNNING] = sandbox
    app.on_response_prepare.append(_lower_case)
    for path in (TRACK, BULK, SYNC):
        app.router.add_post(path, _ingest)
    app.router.add_post(EXPORT, _export)
    app.router.add_get(STATUS, _status)
    for path in PERMISSIONS:
        app.router.add_route("*", path + "/", _trailing_slash)
    app.router.add_post("/__sandbox__/users", _add_users)
    app.router.add_post("/__sandbox__/runs", _start_run)
    app.router.add_get("/__sandbox__/state", _state)
    app.router.add_get("/", _page)
    app.router.add_route("*", "/{path:.*}", _not_found)
    return app


async def _lower_case(request: web.Request, response: web.StreamResponse) -> None:
    """Braze speaks HTTP/2, where header names are lower-case."""
    named = {name.lower(): value for name, value in response.headers.items()}
    response.headers.clear()
    response.headers.update({**named, "server": "sandbox, not Braze"})


def _answer(
    sandbox: Sandbox,
    status: int,
    content: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> web.Response:
    sandbox.state.n_refused += status >= 300
    return web.json_response(content, status=status, headers=headers, dumps=to_text)


def _arrived(request: web.Request) -> Sandbox:
    sandbox = request.app[RUNNING]
    sandbox.state.settle()
    sandbox.state.n_requests += 1
    sandbox.state.count_agent(request.headers.get("User-Agent", ""))
    return sandbox


async def _ingest(request: web.Request) -> web.StreamResponse:
    sandbox = _arrived(request)
    state, faults = sandbox.state, sandbox.faults
    state.n_tracked += 1
    nth = state.n_tracked
    if fault := faults.of(nth):
        state.faults[fault] += 1
        if fault not in injected.AFTERWARDS and fault not in injected.PARTIAL:
            return await _instead(request, sandbox, fault)
    act = partial(track.track, state, endpoint=request.path, nth=nth, fault=fault)
    answer = await _checked(request, sandbox, act)
    if state.waiting:  # so that delayed writes land without a further request
        asyncio.get_running_loop().call_later(
            state.options.apply_delay + 0.01, state.settle
        )
    return (
        await _afterwards(request, sandbox, answer, fault)
        if fault in injected.AFTERWARDS
        else answer
    )


async def _instead(
    request: web.Request, sandbox: Sandbox, fault: str
) -> web.StreamResponse:
    """A fault that comes before anything is looked at."""
    if fault == "close_before":
        return _closed(request)
    if fault == "hang":
        await asyncio.sleep(sandbox.faults.hang_seconds)
        fault = "504"
    if fault in injected.ANSWERS:
        status, message = injected.ANSWERS[fault]
        return _answer(
            sandbox,
            status,
            _no_key(request, sandbox) if status == 401 else {"message": message},
        )
    options = sandbox.state.options
    mode = options.answer_429 if fault == "429" else fault.removeprefix("429_")
    hint = limits.refusal(
        options, mode, math.ceil(sandbox.faults.retry_seconds), options.burst_limit or 0
    )
    return _answer(sandbox, 429, {"message": "Rate Limited"}, hint)


async def _afterwards(
    request: web.Request, sandbox: Sandbox, answer: web.Response, fault: str | None
) -> web.StreamResponse:
    """A fault on the way back: everything valid has been taken."""
    if fault == "close_after":
        return _closed(request)
    if fault == "hang_after":
        await asyncio.sleep(sandbox.faults.hang_seconds)
    if fault == "not_json":
        return web.Response(
            text="<html>Created</html>", status=answer.status, content_type="text/html"
        )
    return await _cut(request, answer) if fault == "truncated" else answer


def _closed(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.close()
    return web.Response()


async def _cut(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Half of the body that the length announces, then the connection ends."""
    text = answer.text or ""
    answer.headers["content-length"] = str(len(text))
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.force_close()
    await half.prepare(request)
    await half.write(text[: len(text) // 2].encode())
    return half


def _no_key(request: web.Request, sandbox: Sandbox) -> dict[str, str]:
    offered = (
        f": {request.headers.get('Authorization', '')}" if sandbox.echo_key else ""
    )
    return {"message": f"Invalid API key{offered}"}


def _unwelcome(request: web.Request, sandbox: Sandbox) -> Answer | None:
    permissions = sandbox.permissions(request.headers.get("Authorization", ""))
    if permissions is None:
        return 401, _no_key(request, sandbox)
    if sandbox.state.options.inactive:
        return 403, {"message": "Forbidden"}
    return (
        None
        if PERMISSIONS[request.path] in permissions
        else (403, {"message": "Access Denied"})
    )


async def _checked(
    request: web.Request, sandbox: Sandbox, act: Callable[[Any], Answer]
) -> web.Response:
    """What every POST passes before its body counts: key, permission, content type,
    rate limit, size, JSON.
    """
    if refusal := _unwelcome(request, sandbox):
        return _answer(sandbox, *refusal)
    if request.content_type != "application/json":
        return _answer(sandbox, 415, {"message": "Unsupported Media Type"})
    passes, headers = sandbox.limiter.take(
        request.path, request.headers["Authorization"]
    )
    if not passes:
        return _answer(sandbox, 429, {"message": "Rate Limited"}, headers)
    body, refusal = await _body(request, sandbox.state.options)
    return _answer(sandbox, *(refusal or act(body)), headers)


async def _body(request: web.Request, options: Options) -> tuple[Any, Answer | None]:
    """The parsed body, or the answer to one that can't be read; what is no JSON is
    None.
    """
    bulk = request.path == BULK
    status = 400 if bulk else options.body_size_answer
    too_large = status, {"message": "Request Entity Too Large"}
    try:
        data = await request.read()
        if len(data) > (options.max_bulk_bytes if bulk else options.max_body_bytes):
            return None, too_large
        if (
            request.headers.get("Content-Encoding", "identity") != "identity"
            and not options.gzip
        ):
            return None, None
        text = data.decode("utf-8")
        return json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite
        ), None
    except web.HTTPRequestEntityTooLarge:
        return None, too_large
    except (ValueError, RecursionError, web.RequestPayloadError):
        return None, None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


async def _export(request: web.Request) -> web.Response:
    sandbox = _arrived(request)
    return await _checked(request, sandbox, partial(track.export, sandbox.state))


async def _status(request: web.Request) -> web.Response:
    sandbox = _arrived(request)
    if refusal := _unwelcome(request, sandbox):
        return _answer(sandbox, *refusal)
    return _answer(
        sandbox, *track.status(sandbox.state, request.query.get("group_id", ""))
    )


async def _trailing_slash(request: web.Request) -> web.Response:
    sandbox = _arrived(request)
    status = sandbox.state.options.trailing_slash
    return _answer(
        sandbox, status, {"message": "Access Denied" if status == 403 else "Not Found"}
    )


async def _not_found(request: web.Request) -> web.Response:
    return web.json_response({"message": "Not Found"}, status=404)


async def _add_users(request: web.Request) -> web.Response:
    state = request.app[RUNNING].state
    state.add_users([str(who) for who in await request.json()])
    return web.json_response({"n_profiles": len(state.profiles)})


async def _start_run(request: web.Request) -> web.Response:
    request.app[RUNNING].state.start_run(str(await request.json()))
    return web.json_response({"run": request.app[RUNNING].state.run})


async def _state(request: web.Request) -> web.Response:
    request.app[RUNNING].state.settle()
    return web.json_response(track.told(request.app[RUNNING].state), dumps=to_text)


async def _page(request: web.Request) -> web.Response:
    state = request.app[RUNNING].state
    state.settle()
    text = page.render(state, request.query)
    return web.Response(
        body=text.encode("utf-8", "replace"), content_type="text/html", charset="utf-8"
    )


def serve(
    port: int, key: str, options: Options | None = None, faults: Faults | None = None
) -> None:
    """Serve on loopback until interrupted."""
    print(
        f"{LOUD}\nPOST http://{LOOPBACK}:{port}{TRACK}   page: http://{LOOPBACK}:{port}/",
        flush=True,
    )
    app = application(_sandbox(key, options, faults))
    web.run_app(
        app,
        host=LOOPBACK,
        port=port,
        print=None,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )


def _sandbox(key: str, options: Options | None, faults: Faults | None) -> Sandbox:
    return Sandbox(
        key, state=State(options=options or Options()), faults=faults or Faults()
    )


@contextmanager
def running(
    port: int = 0,
    key: str = "sandbox-key",
    known_users: list[str] | None = None,
    options: Options | None = None,
    faults: Faults | None = None,
) -> Iterator[Sandbox]:
    """A sandbox in a thread of its own for as long as the block lasts; port 0 takes a
    free one.
    """
    sandbox = _sandbox(key, options, faults)
    sandbox.state.add_users(known_users or [])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
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


async def _listen(runner: web.AppRunner, sandbox: Sandbox, port: int) -> None:
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, port)
    await site.start()
    sandbox.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
