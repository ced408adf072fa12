"""What a night prints: a line of JSON for programs, or a sentence for people, a stage."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from churn.errors import LATER
from churn.nights.record import Night, Stage
from churn.report.runs import plain
from churn.settings import Settings

PAGE = "report.html"


def of_stage(
    settings: Settings,
    night: Night,
    stage: Stage,
) -> dict[str, Any]:
    """A stage as a program reads it; seconds are rounded, and paths are absolute."""
    folder = settings.reports_path / stage.run if stage.run else None
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "night": night.night,
        "stage": stage.name,
        "status": stage.status,
        "seconds": round(stage.seconds, 1),
        "counts": stage.counts,
        "findings": list(stage.findings),
        "warnings": list(stage.warnings),
        "reason": stage.reason,
        "run": folder and str(folder),
    }


def of_night(
    settings: Settings,
    night: Night,
) -> dict[str, Any]:
    """A whole night as a program reads it: its end, and the status of each stage."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "night": night.night,
        "stage": "night",
        "status": night.status,
        "seconds": round(night.seconds, 1),
        "exit_code": night.exit_code,
        "send": night.send,
        "resumes": night.resumes,
        "error": night.error,
        "stages": {name: stage.status for name, stage in night.stages.items()},
        "page": str(settings.reports_path / night.night / PAGE),
    }


def busy(error: str) -> dict[str, Any]:
    """A night that could not begin, as a program reads it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "night": None,
        "stage": "night",
        "status": "later",
        "exit_code": LATER,
        "error": error,
    }


def as_json(content: Mapping[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(plain(content), allow_nan=False)


def in_words(stage: Stage) -> str:
    """A stage as a person reads it.

    >>> in_words(Stage("score", "done", 2.4, {"n_scored": 1370}))
    'score    done     2 s  scored 1,370'
    """
    counted = counts(stage)
    shown = counted if stage.status == "done" and counted else stage.reason
    lines = [f"{stage.name:8} {stage.status:8} {stage.seconds:.0f} s  {shown}".rstrip()]
    lines += [f"  accepted {f['gate']}: {f['sentence']}" for f in stage.findings]
    lines += [f"  warning: {warning}" for warning in stage.warnings]
    return "\n".join(lines)


def counts(stage: Stage) -> str:
    """The counts of a stage in words; empty without any."""
    parts = [_count(name, value) for name, value in stage.counts.items()]
    return ", ".join(part for part in parts if part)


def _count(
    name: str,
    value: Any,
) -> str:
    words = name.removeprefix("n_").replace("_", " ")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {n:,}" for key, n in value.items())
    if isinstance(value, bool):
        return words if value else ""
    return f"{words} {value:,}" if isinstance(value, int) else f"{words} {value}"
