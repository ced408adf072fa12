"""Request bodies, and a client, that the sandbox's tests share."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from churn.sandbox.instance import Sandbox
from churn.sandbox.options import TRACK

TWO_USERS = {"attributes": [{"external_id": "a", "x": 1}, {"external_id": "b", "x": 1}]}
JSON = "application/json"
ALIAS = {"alias_name": "n", "alias_label": "l"}


def one(**values: Any) -> dict[str, Any]:
    """A request with one attributes object."""
    return {"attributes": [values]}


def many(n: int, user: str = "a") -> list[dict[str, Any]]:
    """N attributes objects for one user, numbered in x."""
    return [{"external_id": user, "x": i} for i in range(n)]


def post(
    sandbox: Sandbox,
    body: Any = TWO_USERS,
    path: str = "/users/track",
    timeout: float = 5,
) -> tuple[int, dict[str, str], str]:
    """Send a body with the right key; status, headers and text of the answer."""
    address = sandbox.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=timeout)
    headers = {
        "Authorization": f"Bearer {sandbox.key}",
        "Content-Type": "application/json",
    }
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def call(
    sandbox: Sandbox,
    body: Any,
    path: str = TRACK,
    key: str = "Bearer k",
    kind: str = JSON,
    method: str = "POST",
    **more: str,
) -> tuple[int, dict[str, Any]]:
    """Send a body; status and parsed answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "Authorization": key,
        "Content-Type": kind,
        **{k.replace("_", "-"): v for k, v in more.items()},
    }
    request = urllib.request.Request(
        sandbox.url + path, data if method == "POST" else None, headers, method=method
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
