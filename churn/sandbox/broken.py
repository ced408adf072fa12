"""Injected faults over HTTP: refusals, waits, closed connections, broken answers."""

import asyncio
import math
from http import HTTPStatus

from aiohttp.web import Request, Response, StreamResponse, json_response

from churn.sandbox import limits
from churn.sandbox.checks import invalid_key, respond
from churn.sandbox.faults import ANSWERS
from churn.sandbox.instance import Sandbox


async def before(request: Request, sandbox: Sandbox, fault: str) -> StreamResponse:
    """A fault that occurs before the request is processed; nothing is applied."""
    if fault == "close_before":
        return _closed(request)
    if fault == "hang":
        await asyncio.sleep(sandbox.faults.hang_seconds)
        fault = "504"
    if fault == "drop_401":
        return respond(sandbox, invalid_key(request, sandbox))
    if fault in ANSWERS:
        status, message = ANSWERS[fault]
        return respond(sandbox, (status, {"message": message}))
    return _rate_limited(sandbox, fault)


def _rate_limited(sandbox: Sandbox, fault: str) -> Response:
    options = sandbox.state.options
    mode = options.answer_429 if fault == "429" else fault.removeprefix("429_")
    wait = math.ceil(sandbox.faults.retry_seconds)
    headers = limits.refusal(options, mode, wait, options.burst_limit or 0)
    return respond(sandbox, (429, {"message": "Rate Limited"}), headers)


async def afterwards(
    request: Request, sandbox: Sandbox, answer: Response, fault: str
) -> StreamResponse:
    """A fault that occurs in the answer; all valid objects have been accepted."""
    if fault == "queued":
        return _queued(answer)
    if fault == "close_after":
        return _closed(request)
    if fault == "truncated":
        return await _truncated(request, answer)
    if fault == "not_json":
        text = "<html>Created</html>"
        return Response(
            text=text,
            status=answer.status,
            content_type="text/html",
        )
    await asyncio.sleep(sandbox.faults.hang_seconds)
    return answer


def _queued(answer: Response) -> Response:
    """The answer during maintenance: accepted, and nothing said about the objects."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return answer
    return json_response({"message": "queued"}, status=HTTPStatus.ACCEPTED)


def _closed(request: Request) -> Response:
    if request.transport:
        request.transport.close()
    return Response()


async def _truncated(request: Request, answer: Response) -> StreamResponse:
    """Half of the body that the length announces, then the connection ends."""
    text = answer.text or ""
    answer.headers["content-length"] = str(len(text))
    half = StreamResponse(status=answer.status, headers=answer.headers)
    half.force_close()
    await half.prepare(request)
    await half.write(text[: len(text) // 2].encode())
    return half
