"""The checks of every request before its content: key, permission, content type, rate
limit, size and JSON.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from aiohttp.web import (
    HTTPRequestEntityTooLarge,
    Request,
    RequestPayloadError,
    Response,
    json_response,
)

from churn.sandbox.instance import Sandbox
from churn.sandbox.messages import Answer
from churn.sandbox.options import BULK, PERMISSIONS, Options
from churn.sandbox.values import shown

to_text = partial(json.dumps, default=shown)


def respond(
    sandbox: Sandbox, answer: Answer, headers: dict[str, str] | None = None
) -> Response:
    """The HTTP response of an answer; refusals are counted."""
    status, content = answer
    sandbox.state.n_refused += status >= 300
    return json_response(
        content,
        status=status,
        headers=headers,
        dumps=to_text,
    )


async def checked(
    request: Request, sandbox: Sandbox, act: Callable[[Any], Answer]
) -> Response:
    """The answer of ``act`` to the parsed body, or the first check's refusal.

    ``act`` is given None for a body that isn't JSON.
    """
    if refusal := key_refusal(request, sandbox):
        return respond(sandbox, refusal)
    if request.content_type != "application/json":
        return respond(sandbox, (415, {"message": "Unsupported Media Type"}))
    key = request.headers["Authorization"]
    passes, headers = sandbox.limiter.take(request.path, key)
    if not passes:
        return respond(sandbox, (429, {"message": "Rate Limited"}), headers)
    body, too_large = await _body(request, sandbox.state.options)
    return respond(sandbox, too_large or act(body), headers)


def key_refusal(request: Request, sandbox: Sandbox) -> Answer | None:
    """The answer to a key that may not use this endpoint, or None."""
    permissions = sandbox.permissions(request.headers.get("Authorization", ""))
    if permissions is None:
        return invalid_key(request, sandbox)
    if sandbox.state.options.inactive:
        return 403, {"message": "Forbidden"}
    if PERMISSIONS[request.path] not in permissions:
        return 403, {"message": "Access Denied"}
    return None


def invalid_key(request: Request, sandbox: Sandbox) -> Answer:
    """The 401; by option it repeats the key that was offered."""
    message = "Invalid API key"
    if sandbox.echo_key:
        message += f": {request.headers.get('Authorization', '')}"
    return 401, {"message": message}


async def _body(request: Request, options: Options) -> tuple[Any, Answer | None]:
    """The parsed body, and the answer to one that is too large."""
    is_bulk = request.path == BULK
    most = options.max_bulk_bytes if is_bulk else options.max_body_bytes
    status = 400 if is_bulk else options.body_size_answer
    too_large = status, {"message": "Request Entity Too Large"}
    try:
        data = await request.read()
    except HTTPRequestEntityTooLarge:
        return None, too_large
    # A body whose compression is broken.
    except RequestPayloadError:
        return None, None
    if len(data) > most:
        return None, too_large
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity" and not options.gzip:
        return None, None
    return _parsed(data), None


def _parsed(data: bytes) -> Any:
    """The JSON, strictly read; None for what isn't JSON."""
    try:
        text = data.decode("utf-8")
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)
