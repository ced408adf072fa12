"""Request bodies, and a client, that the sandbox's tests share."""

import http.client
import json
from typing import Any

from churn.sandbox.instance import Sandbox

TWO_USERS = {"attributes": [{"external_id": "a", "x": 1}, {"external_id": "b", "x": 1}]}
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
