"""The stages of a night: what each depends on, and how it is done."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from churn.errors import GateError, NotebookError
from churn.events import discovery
from churn.features import cutoffs
from churn.model import champion, due
from churn.nights.record import Stage
from churn.report import runner, runs
from churn.report.parameters import of_notebook
from churn.scoring import age_gate, gates, scores
from churn.scoring.gate import stopping
from churn.settings import Settings
from churn.store import Place, Store, create_or_open, open_filled
from churn.store.state import STATE

COUNTS = {
    "ingest": ("n_new_files", "rows", "kept", "duplicate", "quarantined"),
    "train": ("n_rows", "n_churned", "model_id", "promoted"),
    "score": ("cutoff", "n_scored", "segments", "n_changed", "model_id"),
    "export": ("dry_run", "n_scored", "n_changed", "n_sent", "n_rejected"),
    "monitor": ("n_closed", "n_open", "decision"),
}
"""Figures of each notebook that a night reports, if the notebook recorded them."""


@dataclass(frozen=True)
class Asked:
    """What a person or a scheduler asked of a night.

    ``now``: the time by which the data's age is judged; null for the clock.
    """

    study_file: Path
    settings: Settings
    send: bool = False
    accept: Sequence[str] = ()
    why: str = ""
    now: datetime | None = None
    progress: bool = False

    @property
    def place(self) -> Place:
        """Where the store is."""
        return Place(self.settings.store_address)

    @property
    def store(self) -> Store:
        """The store as it is now; raises StoreError while it holds no events."""
        return open_filled(self.settings)


@dataclass(frozen=True)
class Work:
    """What a stage of every night is.

    - ``do``: does it; returns what came of it.
    - ``inputs``: plain values of all that its result depends on.
    - ``why``: why it is to be done; empty if there is no need, for which ``idle`` is
      the reason.
    - ``lasts``: whether its result serves later nights with the same inputs too, and
      not only a night that goes on; null if it never does.
    """

    do: Callable[[Asked], Stage]
    inputs: Callable[[Asked], Any]
    why: Callable[[Asked], str] = lambda asked: "it is part of every night"
    idle: str = ""
    lasts: Callable[[Asked], bool] | None = None


def digest(inputs: Any) -> str:
    """A short digest of plain values."""
    text = json.dumps(runs.plain(inputs), sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _notebook(
    name: str,
    asked: Asked,
    **given: Any,
) -> Stage:
    """Run a notebook; one of the user's own may lack a parameter, which is left out."""
    known = of_notebook(runner.find(name, asked.settings))
    values = {key: value for key, value in given.items() if key in known}
    folder = runner.run(
        name,
        asked.study_file,
        values,
        progress=asked.progress,
        is_alone=False,
    )
    figures = runs.read_metrics(folder)
    return Stage(
        name,
        "done",
        counts={key: figures[key] for key in COUNTS[name] if key in figures},
        findings=tuple(figures.get("findings", ())),
        warnings=tuple(figures.get("warnings", ())),
        run=folder.name,
    )


def _settings(asked: Asked) -> Any:
    """The settings on which results depend; every engine gives the same ones."""
    return asked.settings.model_dump(mode="json", exclude={"cluster"})


def _now(asked: Asked) -> str:
    return asked.now.isoformat() if asked.now else ""


def _ingest(asked: Asked) -> Stage:
    return _notebook("ingest", asked, now=_now(asked))


def _extract_files(asked: Asked) -> Any:
    listing = discovery.discover(asked.settings)
    stamps = sorted((file.address, file.stamp) for file in listing.ready)
    return [_settings(asked), stamps, _now(asked)]


def _files_to_read(asked: Asked) -> str:
    """How many files are new or changed, as far as their stamps say."""
    listing = discovery.discover(asked.settings).ready
    files = create_or_open(asked.settings).scan("files").collect()
    known = set(zip(files["address"], files["stamp"], strict=True))
    n_new = sum((file.address, file.stamp) not in known for file in listing)
    return f"{n_new:,} of {len(listing):,} files are new or changed"


def _check_gates(asked: Asked) -> Stage:
    """The gates that need no scores; raises GateError for one that isn't accepted."""
    store = asked.store
    present = age_gate.today(asked.settings, asked.now)
    cutoff = cutoffs.end_of(store)
    findings = gates.before_scores(store, cutoff, present)
    stopped = stopping(findings, asked.accept)
    if stopped:
        sentences = "; ".join(f"{f['gate']}: {f['sentence']}" for f in stopped)
        raise GateError(
            f"stopped before scoring, because a gate failed: {sentences}. If the data "
            "is right, run the night again with --accept and the gate's name"
        )
    failed = findings.filter(~pl.col("passed"))
    return Stage(
        "gates",
        "done",
        counts={
            "cutoff": str(cutoff),
            "n_gates": findings.height,
            "n_accepted": failed.height,
        },
        findings=tuple(failed.select("gate", "sentence").to_dicts()),
    )


def _tables(asked: Asked) -> Any:
    """What identifies the tables of the store, the settings and the models."""
    found = asked.place.tagged(STATE)
    promotions = asked.place.read(champion.FILE) or b""
    models = [name for name in asked.place.names("models") if name.endswith(".json")]
    return [_settings(asked), found and found[1], promotions.decode(), models]


def _train(asked: Asked) -> Stage:
    reason = training_due(asked)
    return replace(_notebook("train", asked), reason=reason)


def training_due(asked: Asked) -> str:
    """Why a training is due; empty if none is."""
    return due.reason(asked.store)


def _score(asked: Asked) -> Stage:
    return _notebook(
        "score",
        asked,
        accept=list(asked.accept),
        why=asked.why,
        now=_now(asked),
    )


def _of_scores(asked: Asked) -> Any:
    return [*_tables(asked), str(cutoffs.end_of(asked.store))]


def _has_scores(asked: Asked) -> bool:
    return _newest_scores(asked.store) is not None


def _newest_scores(store: Store) -> str | None:
    """What identifies the scores of the day that a night scores; null without them."""
    return scores.tag(store, cutoffs.end_of(store))


def _export(asked: Asked) -> Stage:
    return _notebook(
        "export",
        asked,
        accept=list(asked.accept),
        send=asked.send,
        now=_now(asked),
    )


def _of_export(asked: Asked) -> Any:
    """The scores that are exported, and whether they are sent."""
    return [*_tables(asked), _newest_scores(asked.store), asked.send]


def _monitor(asked: Asked) -> Stage:
    return _notebook("monitor", asked, now=_now(asked))


def _monitor_wanted(asked: Asked) -> str:
    """Why to monitor: empty if the notebooks beside the study lack that one."""
    try:
        runner.find("monitor", asked.settings)
    except NotebookError:
        return ""
    return "it compares past scores with what came true"


def _of_monitor(asked: Asked) -> Any:
    return [*_tables(asked), asked.place.names("scores")]


def _has_verdict(asked: Asked) -> bool:
    return asked.place.read(due.VERDICT) is not None


STAGES = {
    "ingest": Work(_ingest, _extract_files, _files_to_read),
    "gates": Work(_check_gates, _tables),
    "train": Work(_train, _tables, training_due, idle="no training is due"),
    "score": Work(_score, _of_scores, lasts=_has_scores),
    "export": Work(_export, _of_export),
    "monitor": Work(
        _monitor,
        _of_monitor,
        _monitor_wanted,
        idle="there is no notebook 6_monitor",
        lasts=_has_verdict,
    ),
}
"""All stages by name, in their order."""
