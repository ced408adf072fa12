"""The routes: Braze's paths, the page, and paths under /__sandbox__/ for tests."""

import asyncio
from functools import partial

from aiohttp.web import (
    AppKey,
    Application,
    Request,
    Response,
    StreamResponse,
    json_response,
)

from churn.sandbox import broken, page, reads, track
from churn.sandbox.checks import checked, key_refusal, respond, to_text
from churn.sandbox.faults import AFTERWARDS, PARTIAL
from churn.sandbox.instance import Sandbox
from churn.sandbox.options import BULK, EXPORT, PERMISSIONS, STATUS, SYNC, TRACK

SANDBOX = AppKey("sandbox", Sandbox)


def application(sandbox: Sandbox) -> Application:
    """The routes; any other path or method is a 404."""
    options = sandbox.state.options
    largest = max(options.max_body_bytes, options.max_bulk_bytes)
    app = Application(client_max_size=largest)
    app[SANDBOX] = sandbox
    app.on_response_prepare.append(_lower_case)
    routes = app.router
    for path in (TRACK, BULK, SYNC):
        routes.add_post(path, _track)
    routes.add_post(EXPORT, _export)
    routes.add_get(STATUS, _status)
    for path in PERMISSIONS:
        routes.add_route("*", path + "/", _trailing_slash)
    routes.add_post("/__sandbox__/users", _add_users)
    routes.add_post("/__sandbox__/runs", _start_run)
    routes.add_get("/__sandbox__/state", _state)
    routes.add_get("/", _page)
    routes.add_route("*", "/{path:.*}", _not_found)
    return app


async def _lower_case(request: Request, response: StreamResponse) -> None:
    """Give headers lower-case names, as HTTP/2 does, which Braze speaks."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    headers["server"] = "sandbox, not Braze"
    response.headers.clear()
    response.headers.update(headers)


def _received(request: Request) -> Sandbox:
    """The sandbox, after it has counted the request."""
    sandbox = request.app[SANDBOX]
    sandbox.state.settle()
    sandbox.state.n_requests += 1
    sandbox.state.count_agent(request.headers.get("User-Agent", ""))
    return sandbox


async def _track(request: Request) -> StreamResponse:
    sandbox = _received(request)
    state = sandbox.state
    state.n_tracked += 1
    nth = state.n_tracked
    fault = sandbox.faults.of(nth)
    if fault:
        state.faults[fault] += 1
        if fault not in (*AFTERWARDS, *PARTIAL):
            return await broken.before(request, sandbox, fault)
    act = partial(
        track.track,
        state,
        endpoint=request.path,
        nth=nth,
        fault=fault,
    )
    answer = await checked(request, sandbox, act)
    if state.waiting:
        # Delayed writes take effect even if no further request comes.
        delay = state.options.apply_delay + 0.01
        asyncio.get_running_loop().call_later(delay, state.settle)
    if fault in AFTERWARDS:
        return await broken.afterwards(request, sandbox, answer, fault)
    return answer


async def _export(request: Request) -> Response:
    sandbox = _received(request)
    return await checked(request, sandbox, partial(reads.export, sandbox.state))


async def _status(request: Request) -> Response:
    sandbox = _received(request)
    if refusal := key_refusal(request, sandbox):
        return respond(sandbox, refusal)
    group_id = request.query.get("group_id", "")
    return respond(sandbox, reads.status(sandbox.state, group_id))


async def _trailing_slash(request: Request) -> Response:
    sandbox = _received(request)
    status = sandbox.state.options.trailing_slash
    message = "Access Denied" if status == 403 else "Not Found"
    return respond(sandbox, (status, {"message": message}))


async def _not_found(request: Request) -> Response:
    return json_response({"message": "Not Found"}, status=404)


async def _add_users(request: Request) -> Response:
    state = request.app[SANDBOX].state
    state.add_users([str(external_id) for external_id in await request.json()])
    return json_response({"n_profiles": len(state.profiles)})


async def _start_run(request: Request) -> Response:
    state = request.app[SANDBOX].state
    state.start_run(str(await request.json()))
    return json_response({"run": state.run})


async def _state(request: Request) -> Response:
    state = request.app[SANDBOX].state
    state.settle()
    return json_response(reads.state_as_json(state), dumps=to_text)


async def _page(request: Request) -> Response:
    state = request.app[SANDBOX].state
    state.settle()
    # Half a surrogate pair can be in the state but not in UTF-8.
    body = page.render(state, request.query).encode("utf-8", "replace")
    return Response(
        body=body,
        content_type="text/html",
        charset="utf-8",
    )
