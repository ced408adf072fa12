"""The guide's nginx, started as the guide says, in front of a receiver."""

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.receive.receiving import SECRET, running, written

from .pages import fenced

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")


def configured(folder: Path, port: int) -> str:
    """The guide's configuration, with free ports and a certificate of its own."""
    [block] = fenced("churn/receive/README.md", "nginx")
    subject = ["-subj", "/CN=events.example.com", "-days", "2"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    own = block.replace("127.0.0.1:8377", f"127.0.0.1:{port}").replace(
        "listen 443 ssl;",
        f"listen unix:{folder}/tls.sock ssl; ssl_certificate {folder}/cert.pem; "
        f"ssl_certificate_key {folder}/key.pem;",
    )
    assert own.count(str(folder)) == 3
    return (
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log debug; "
        f"events {{}} http {{ {own} }}"
    )


class Connection(http.client.HTTPSConnection):
    """HTTPS over a socket file."""

    def __init__(self, path: Path) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__("events.example.com", context=context)
        self._path, self._own = path, context

    def connect(self) -> None:
        """Connect to the socket file."""
        plain = socket.socket(socket.AF_UNIX)
        plain.connect(str(self._path))
        self.sock = self._own.wrap_socket(plain)


def status(path: Path, address: str) -> int:
    """Status of the answer to a GET."""
    with contextlib.closing(Connection(path)) as connection:
        connection.request("GET", address)
        with connection.getresponse() as response:
            return response.status


@pytest.mark.skipif(NGINX is None, reason="SKIPPED LOUDLY: nginx isn't installed")
def test_postbacks_pass_the_proxy_and_figures_do_not(tmp_path: Path) -> None:
    """Over TLS, with long addresses, and without the secret in any log of nginx."""
    assert NGINX is not None
    with running(tmp_path) as receiver:
        (tmp_path / "nginx.conf").write_text(configured(tmp_path, receiver.port))
        command = [NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        proxy = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        door = tmp_path / "tls.sock"
        deadline = time.monotonic() + 30
        while not door.exists() and time.monotonic() < deadline:
            assert proxy.poll() is None
        try:
            long = "x" * 20_000
            assert status(door, f"/adjust/{SECRET}?adid=a&note={long}") == 200
            assert status(door, "/adjust/wrong?adid=a") == 403
            assert status(door, "/metrics") in {403, 404}
            assert status(door, "/healthz") in {403, 404}
        finally:
            proxy.terminate()
            proxy.wait()
        receiver.end()
    assert [line["postback"]["note"] for line in written(tmp_path)] == [long]
    logs = [path for path in tmp_path.glob("*.log") if path.name != "error.log"]
    assert not any(SECRET in path.read_text() for path in logs)
    assert re.search(r"access_log off", (tmp_path / "nginx.conf").read_text())
