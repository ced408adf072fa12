"""Run ids, and the files beside a run's notebook: metrics.json and manifest.json."""

import hashlib
import json
import math
import platform
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from churn import __version__
from churn.errors import StoreError
from churn.report.display import notebook_shell
from churn.settings import Settings
from churn.store import Place

METRICS_MIME = "application/vnd.churn.metrics+json"
"""Type of the notebook outputs that hold recorded figures."""

PACKAGES = ("polars", "scikit-learn", "skops", "papermill", "numpy")
"""Libraries whose version a manifest states."""


def new_run_id(name: str, now: datetime | None = None) -> str:
    """A unique run id that sorts by time, such as 20260301T010203Z-score-3fa9.

    ``name`` is that of the notebook, ``now`` by default the clock.
    """
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}-{secrets.token_hex(2)}"


def record(**metrics: Any) -> None:
    """Put figures into the output of a notebook's cell; outside a notebook do nothing.

    The executed notebook carries them, and its run writes them to metrics.json. Values
    are numbers, texts, dates, lists and dicts; NaN becomes null.
    """
    if notebook_shell() is None:
        return
    from IPython.display import publish_display_data

    publish_display_data({METRICS_MIME: plain(metrics), "text/plain": ""})


def plain(value: Any) -> Any:
    """A value as JSON can hold it.

    Dates become ISO texts, numpy's numbers plain numbers, NaN and infinity null.

    >>> plain({"a": float("nan"), "b": date(2026, 1, 2), "c": (1, 2)})
    {'a': None, 'b': '2026-01-02', 'c': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "item"):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def metrics_of(outputs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All figures recorded in a notebook's outputs; later ones replace earlier ones."""
    merged: dict[str, Any] = {}
    for output in outputs:
        merged |= output.get("data", {}).get(METRICS_MIME, {})
    return merged


def manifest(
    run_id: str,
    notebook: Path,
    settings: Settings,
    parameters: Mapping[str, Any],
    started_at: datetime,
    error: str | None,
) -> dict[str, Any]:
    """What produced a run: parameters, the whole study, digests and versions.

    ``error`` is null for a run that is done. Nothing is taken from the environment,
    where the secrets are.
    """
    versions = {name: version(name) for name in PACKAGES}
    return {
        "run_id": run_id,
        "status": "failed" if error else "done",
        "error": error,
        "notebook": notebook.name,
        "notebook_sha256": hashlib.sha256(notebook.read_bytes()).hexdigest(),
        "store_sha256": _store_digest(settings),
        "started_at": started_at.isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "parameters": plain(parameters),
        "study": settings.model_dump(mode="json"),
        "python": platform.python_version(),
        "packages": {"churn": __version__, **versions},
    }


def _store_digest(settings: Settings) -> str | None:
    """SHA-256 of the store's last commit; null without one, or if it can't be read."""
    try:
        content = Place(settings.store_address).read("store.json")
    except StoreError:
        return None
    return None if content is None else hashlib.sha256(content).hexdigest()


def dump(content: Mapping[str, Any]) -> bytes:
    """Indented JSON with a final newline."""
    return (
        json.dumps(
            content,
            indent=1,
            allow_nan=False,
        )
        + "\n"
    ).encode()


def read_metrics(folder: Path) -> dict[str, Any]:
    """The figures that a run recorded, from its folder."""
    text = (folder / "metrics.json").read_text(encoding="utf-8")
    metrics: dict[str, Any] = json.loads(text)
    return metrics
