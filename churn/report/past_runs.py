"""The runs whose folders are kept, the newest first, and how two of them differ."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from churn.errors import ParameterError
from churn.report import manifests

COLUMNS = {
    "run": pl.String,
    "status": pl.String,
    "verdict": pl.String,
    "started_at": pl.String,
    "minutes": pl.Float64,
    "reason": pl.String,
}
"""Columns of ``listed``."""

UNCOMPARED = ("error", "finished_at", "process", "run_id", "started_at", "status")
"""What every two runs differ in, which says nothing."""


@dataclass(frozen=True)
class Run:
    """A run folder. ``facts``: its manifest; null if that is missing or damaged."""

    folder: Path
    facts: dict[str, Any] | None

    @property
    def run_id(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def step(self) -> str:
        """The notebook's name as the run id has it, such as score."""
        parts = self.run_id.split("-")
        return "-".join(parts[1:-1]) or self.run_id

    @property
    def is_damaged(self) -> bool:
        """Whether there is a manifest that can't be read."""
        return self.facts is None and (self.folder / manifests.FILE).exists()

    @property
    def status(self) -> str:
        """Done, failed, running, interrupted, or damaged."""
        if self.facts is None:
            return "damaged" if self.is_damaged else "interrupted"
        return manifests.status(self.facts)

    @property
    def began(self) -> datetime | None:
        """When it began; null while that isn't known."""
        return _instant((self.facts or {}).get("started_at"))

    @property
    def minutes(self) -> float | None:
        """How long it took; null while that isn't known."""
        ended = _instant((self.facts or {}).get("finished_at"))
        if ended is None or self.began is None:
            return None
        return (ended - self.began).total_seconds() / 60

    @property
    def reason(self) -> str | None:
        """Why it failed, without where on this machine its files are."""
        stated = (self.facts or {}).get("error")
        return None if stated is None else str(stated).split(" (executed copy: ")[0]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The figures that it recorded; empty without any."""
        try:
            found = json.loads((self.folder / "metrics.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def verdict(self) -> dict[str, Any] | None:
        """The fields of its Verdict; null for a run without one."""
        found = self.metrics.get("verdict")
        return found if isinstance(found, dict) and "word" in found else None


def _instant(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def folders(reports: Path) -> list[Path]:
    """The folders of all runs, the newest first."""
    found = {file.parent for file in reports.glob("*/notebook.ipynb")}
    found |= {file.parent for file in reports.glob(f"*/{manifests.FILE}")}
    return sorted(found, reverse=True)


def every(reports: Path) -> Iterator[Run]:
    """All runs whose folders lie in ``reports``, the newest first.

    Run ids sort by time. A folder without a notebook or manifest is none of a run. Only
    the manifests of the runs that are taken are read.
    """
    for folder in folders(reports):
        try:
            facts = manifests.read(folder)
        except (OSError, ValueError, TypeError):
            yield Run(folder, None)
        else:
            yield Run(folder, facts)


def listed(runs: Sequence[Run]) -> pl.DataFrame:
    """Runs as a table.

    Columns: run, status, verdict (its word), started_at (UTC), minutes, and reason (of
    a failure); null where it isn't known.
    """
    rows = [
        {
            "run": run.run_id,
            "status": run.status,
            "verdict": run.verdict and run.verdict["word"],
            "started_at": f"{run.began:%Y-%m-%d %H:%M}" if run.began else None,
            "minutes": None if run.minutes is None else round(run.minutes, 1),
            "reason": run.reason,
        }
        for run in runs
    ]
    return pl.DataFrame(rows, schema=COLUMNS)


def named(
    reports: Path,
    name: str,
) -> Run:
    """A run by its id, the beginning of one, or `STEP:latest` and `STEP:previous`.

    Raises ParameterError if none or several are meant.
    """
    step, _, which = name.partition(":")
    runs = list(every(reports))
    if which in ("latest", "previous"):
        done = [run for run in runs if run.step == step and run.status == "done"]
        found = done[:1] if which == "latest" else done[1:2]
    else:
        found = [run for run in runs if run.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} runs begin with" if found else "there is no run"
    raise ParameterError(
        f"{what} {name!r}; `churn runs` lists them, and evaluate:latest or "
        "evaluate:previous mean the newest done ones of a step"
    )


def differences(
    one: Run,
    other: Run,
) -> pl.DataFrame:
    """What differs between two runs: what, one, other, and the change of numbers.

    Compared are parameters, study, versions, notebook, store and recorded figures.
    """
    before, after = _flat(one), _flat(other)
    names = [*before, *(name for name in after if name not in before)]
    rows = []
    for name in names:
        a, b = before.get(name), after.get(name)
        if a != b:
            rows.append((name, _text(a), _text(b), _change(a, b)))
    schema = ["what", one.run_id, other.run_id, "change"]
    types = dict.fromkeys(schema, pl.String) | {"change": pl.Float64}
    return pl.DataFrame(rows, schema=types, orient="row")


def _flat(run: Run) -> dict[str, Any]:
    """All facts and figures of a run by dotted names."""
    facts = {k: v for k, v in (run.facts or {}).items() if k not in UNCOMPARED}
    parameters = {k: v for k, v in facts.get("parameters", {}).items() if k != "run_id"}
    figures = {k: v for k, v in run.metrics.items() if k != "verdict"}
    whole = {**facts, "parameters": parameters, "figures": figures}
    return dict(_leaves("", whole))


def _leaves(
    prefix: str,
    value: Any,
) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _leaves(f"{prefix}.{key}" if prefix else str(key), inner)


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:.6g}" if _is_number(value) else str(value)


def _change(
    a: Any,
    b: Any,
) -> float | None:
    return float(b) - float(a) if _is_number(a) and _is_number(b) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def remove_old(
    reports: Path,
    keep_days: int,
    now: datetime | None = None,
) -> int:
    """Remove the folders of runs that began more than ``keep_days`` ago.

    Kept are the newest run of each step, its newest one that is done, those that go on,
    and folders whose manifest can't be read. Returns how many were removed.
    """
    oldest = (now or datetime.now(UTC)) - timedelta(days=keep_days)
    seen: set[tuple[str, str]] = set()
    removed = 0
    for run in every(reports):
        marks = {(run.step, "any"), (run.step, run.status)}
        is_newest = not marks <= seen and run.status in ("done", "failed")
        seen |= marks
        is_over = run.status in ("done", "failed", "interrupted")
        if run.began and run.began < oldest and is_over and not is_newest:
            shutil.rmtree(run.folder, ignore_errors=True)
            removed += 1
    return removed


def unfinished(
    reports: Path,
    pid: int,
    since: datetime,
) -> list[Path]:
    """Folders of the runs that say running of a process on this machine.

    The oldest comes first. Runs from before ``since`` are those of an earlier process
    with the same number.
    """
    process = manifests.process(pid)
    found = [
        (run.began, run.folder)
        for run in every(reports)
        if run.facts
        and run.began
        and run.began >= since
        and (run.facts.get("status"), run.facts.get("process")) == ("running", process)
    ]
    return [folder for _, folder in sorted(found)]
