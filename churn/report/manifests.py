"""The manifest of a run: what produces it, and whether it goes on or how it ended.

``manifest.json`` is written before a run starts, with the status running, and again
when it has ended, with the status done or failed. A process that is killed can't write
the second one; then the manifest says running of a process that is gone.
"""

import contextlib
import hashlib
import json
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from churn import __version__
from churn.errors import StoreError
from churn.report import runs
from churn.settings import Settings
from churn.store import Place, write_atomically

FILE = "manifest.json"

PACKAGES = ("polars", "scikit-learn", "skops", "papermill", "numpy")
"""Libraries whose version a manifest states."""

SLACK_SECONDS = 60
"""How much later than the run a process may seem to have begun, as clocks are set."""


def started(
    run_id: str,
    notebook: Path | None,
    settings: Settings,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """What produces a run: parameters, the whole study, digests, versions, process.

    ``notebook`` is null for a night, which is made of the runs of several. Nothing is
    taken from the environment, where the secrets are.
    """
    versions = {name: version(name) for name in PACKAGES}
    return {
        "run_id": run_id,
        "status": "running",
        "error": None,
        "notebook": notebook and notebook.name,
        "notebook_sha256": notebook and _digest(notebook.read_bytes()),
        "store_sha256": _store_digest(settings),
        "started_at": datetime.now(UTC).isoformat(),
        "finished_at": None,
        "process": process(os.getpid()),
        "parameters": runs.plain(parameters),
        "study": settings.model_dump(mode="json"),
        "python": platform.python_version(),
        "packages": {"churn": __version__, **versions},
    }


def process(pid: int) -> dict[str, Any]:
    """How a manifest names a process of this machine."""
    return {"host": socket.gethostname(), "pid": pid}


@contextmanager
def recorded(
    folder: Path,
    facts: Mapping[str, Any],
    settings: Settings,
) -> Iterator[None]:
    """Keep a run's manifest while it goes on; ``facts`` are those of ``started``.

    ``store_sha256`` is that of the store as the run leaves it.
    """
    write(folder, facts)
    try:
        yield
    except BaseException as error:
        failed(folder, facts, settings, str(error) or type(error).__name__)
        raise
    ended(folder, facts, settings, None)


def ended(
    folder: Path,
    facts: Mapping[str, Any],
    settings: Settings,
    error: str | None,
) -> None:
    """Write into a run's manifest that it is done or, with an error, that it failed."""
    status = "failed" if error else "done"
    write(folder, {**facts, **_end(status, error, settings)})


def failed(
    folder: Path,
    facts: Mapping[str, Any],
    settings: Settings,
    reason: str,
) -> None:
    """Write into a run's manifest that it has failed, and why.

    Nothing is written if that can't be: a full disk may be the reason.
    """
    with contextlib.suppress(OSError):
        ended(folder, facts, settings, reason)


def _end(
    status: str,
    error: str | None,
    settings: Settings,
) -> dict[str, Any]:
    return {
        "status": status,
        "error": error,
        "store_sha256": _store_digest(settings),
        "finished_at": datetime.now(UTC).isoformat(),
    }


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace the manifest of a run folder."""
    write_atomically(folder / FILE, runs.dump(facts))


def _store_digest(settings: Settings) -> str | None:
    """SHA-256 of the store's last commit; null without one, or if it can't be read."""
    try:
        content = Place(settings.store_address).read("store.json")
    except StoreError:
        return None
    return None if content is None else _digest(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def status(facts: Mapping[str, Any]) -> str:
    """Whether a run is done, failed, running or interrupted: its process is gone.

    Of a process on another machine, or in another container, this one can't know.
    """
    stated = str(facts.get("status"))
    process = facts.get("process")
    if stated != "running" or process is None:
        return stated
    if process["host"] != socket.gethostname():
        return f"running or interrupted on {process['host']}"
    began = datetime.fromisoformat(facts["started_at"]).timestamp()
    return "running" if _goes_on(process["pid"], began) else "interrupted"


def _goes_on(pid: int, began: float) -> bool:
    """Whether a process with this id lives that was there when the run began."""
    try:
        process = psutil.Process(pid)
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return not is_dead and process.create_time() <= began + SLACK_SECONDS
    except psutil.NoSuchProcess:
        return False


def read(folder: Path) -> dict[str, Any]:
    """What the manifest of a run folder says; raises OSError, or ValueError."""
    return dict(json.loads((folder / FILE).read_bytes()))
