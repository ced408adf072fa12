"""A server on this machine that speaks S3."""

import logging
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moto.server import ThreadedMotoServer

from churn.store import objects

ROOT = Path(__file__).parents[1]
SERVE = """
import sys
from tests.object_server import Server
server = Server()
print(server.address, flush=True)
sys.stdin.read()
server.stop()
"""


def environment(address: str) -> dict[str, str]:
    """The variables that lead to a server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDVERYSECRET",
        "AWS_SECRET_ACCESS_KEY": "verysecret",
    }


@contextmanager
def in_another_process() -> Iterator[str]:
    """The address of a server that runs in a process of its own.

    deltalake keeps Python's lock during some requests, so that a server in the process
    that asks could not answer them.
    """
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def empty(address: str, bucket: str = "exports") -> None:
    """Remove every object of the server at an address, and give it an empty bucket."""
    urllib.request.urlopen(f"{address}/moto-api/reset", data=b"").close()
    made = urllib.request.Request(f"{address}/{bucket}", method="PUT")
    urllib.request.urlopen(made).close()


class Server:
    """An S3 server with the bucket ``exports``, which can be busy or lose answers.

    Attributes
    ----------
    fetched: keys of the objects that were read.
    n_busy: number of next requests that get 503 and have no effect.
    n_lost: number of next writes that have their effect, but get 503 too.
    """

    def __init__(self) -> None:
        # moto checks a condition and writes in two steps, which a real store does in one.
        self._one_at_a_time = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        assert self._moto._server is not None
        self._application = self._moto._server.app
        self._moto._server.app = self._answer
        self.address = "http://{}:{}".format(*self._moto.get_host_and_port())
        self.empty()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead to the server."""
        return environment(self.address)

    def empty(self) -> None:
        """Remove every object, and forget what was requested."""
        self.n_busy = self.n_lost = 0
        empty(self.address)
        self.fetched: list[str] = []

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        objects.put(f"s3://exports/{key}", content)

    def stop(self) -> None:
        """Answer no longer."""
        assert self._moto._server is not None
        self._moto.stop()
        self._moto._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        method = environ["REQUEST_METHOD"]
        if method == "GET" and "list-type" not in environ["QUERY_STRING"]:
            self.fetched.append(environ["PATH_INFO"].removeprefix("/exports/"))
        if self.n_busy:
            self.n_busy -= 1
        elif self.n_lost and method == "PUT":
            self.n_lost -= 1
            list(self._application(environ, lambda *answer: None))
        else:
            with self._one_at_a_time:
                return list(self._application(environ, start_response))
        start_response("503 Slow Down", [("Content-Type", "text/xml")])
        return [b"<Error><Code>SlowDown</Code></Error>"]
