"""A local server that speaks S3, and places to keep files in."""

import logging
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from churn.store import objects
from churn.store.places import Place


class Server:
    """An S3 server with the bucket ``exports`` that can be told to be busy."""

    def __init__(self) -> None:
        self.n_busy = 0
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        assert self._moto._server is not None
        self._application = self._moto._server.app
        self._moto._server.app = self._answer
        self.address = "http://{}:{}".format(*self._moto.get_host_and_port())
        self.empty()

    def empty(self) -> None:
        """Remove every object."""
        urllib.request.urlopen(f"{self.address}/moto-api/reset", data=b"").close()
        bucket = urllib.request.Request(f"{self.address}/exports", method="PUT")
        urllib.request.urlopen(bucket).close()

    def stop(self) -> None:
        """Answer no longer."""
        assert self._moto._server is not None
        self._moto.stop()
        self._moto._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self.n_busy:
            self.n_busy -= 1
            start_response("503 Slow Down", [("Content-Type", "text/xml")])
            return [b"<Error><Code>SlowDown</Code></Error>"]
        return self._application(environ, start_response)


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    """One server for all tests of this folder."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server with an empty bucket, and the environment that leads to it."""
    running.empty()
    for name, value in {
        "AWS_ENDPOINT_URL": running.address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDVERYSECRET",
        "AWS_SECRET_ACCESS_KEY": "verysecret",
    }.items():
        monkeypatch.setenv(name, value)
    objects._client.cache_clear()
    yield running
    running.n_busy = 0
    objects._client.cache_clear()


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place, of each kind."""
    if request.param == "folder":
        return Place(str(tmp_path / "data" / "store"))
    request.getfixturevalue("server")
    return Place("s3://exports/data/store")
