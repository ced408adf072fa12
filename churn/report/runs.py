"""Run ids, and the figures that a notebook records: metrics.json beside it."""

import json
import math
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from churn.report.display import notebook_shell

METRICS_MIME = "application/vnd.churn.metrics+json"
"""Type of the notebook outputs that hold recorded figures."""


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
