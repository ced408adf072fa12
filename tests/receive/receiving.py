"""A receiver in a process of its own, as a service manager starts it."""

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECRET = "s3cret-of-24-characters-x"
SOURCES = ("adjust", "appsflyer", "branch", "kochava", "singular")
STUDY = """
[[extracts]]
source = "adjust"
path = "data/raw/postbacks/adjust"
"""


@dataclass
class Receiver:
    """A running receiver.

    Attributes
    ----------
    folder: folder of its study.
    port: where it listens.
    process: its process.
    """

    folder: Path
    port: int
    process: subprocess.Popen[str]

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Status and text of the answer to a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def end(self, number: int = signal.SIGTERM) -> str:
        """End the process; what it has written to the terminal since its first line."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=60)[0]


@contextlib.contextmanager
def running(folder: Path, study: str = STUDY, **environment: str) -> Iterator[Receiver]:
    """A receiver of a study in ``folder`` while the block lasts, ended if need be."""
    (folder / "churn.toml").write_text(study)
    secrets = {f"CHURN_RECEIVE_{source.upper()}": SECRET for source in SOURCES}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "churn.cli",
            "-v",
            "receive",
            "--port",
            "0",
            "--name",
            "r",
        ],
        cwd=folder,
        env={**os.environ, **secrets, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r":(\d+)$", first.strip())
        assert found, first + process.stdout.read()
        yield Receiver(folder, int(found[1]), process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def written(folder: Path, source: str = "") -> list[dict[str, Any]]:
    """Lines of all published files of a source, or of all, in order of their names."""
    published = folder / "data/raw/postbacks" / source
    files = sorted(published.rglob("*.postbacks.ndjson.gz"))
    texts = [gzip.decompress(file.read_bytes()).decode() for file in files]
    return [json.loads(line) for text in texts for line in text.splitlines()]
