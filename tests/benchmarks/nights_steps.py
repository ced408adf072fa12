"""The steps of a night and the questions that it asks, as the benchmark runs them."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from churn.explore import inventory
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.scoring import gates
from churn.settings import load
from churn.store import Store, open_filled
from churn.study import Study

from . import nights_store
from .usage import processor_seconds

FAILING = ("match_rate",)
"""Gates that fail on an invented product."""

Row = dict[str, Any]


def churn(*arguments: str) -> None:
    """Run a command of churn. Raises CalledProcessError, and prints why, if it fails."""
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "churn.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
    done.check_returncode()


def ingest_command(study_file: Path) -> None:
    """Run `churn ingest` in a process of its own."""
    churn("ingest", "--study", str(study_file), "--no-progress")


def ingest_here(study_file: Path) -> None:
    """Ingest in this process."""
    Study(study_file, load(study_file)).ingest()


def nightly_command(study_file: Path) -> None:
    """Run `churn nightly` in a process of its own."""
    accepted = ("--accept", ",".join(FAILING))
    churn("nightly", "--study", str(study_file), *accepted)


def steps(study_file: Path) -> Row:
    """Processor seconds of each step of a night, run in this process."""
    study = Study(study_file, load(study_file))
    return {
        "ingest": processor_seconds(ingest_here, study_file),
        "score": processor_seconds(lambda: study.score().save(FAILING)),
        "export": processor_seconds(study.export),
    }


def questions(study_file: Path, warm_up: bool) -> Row:
    """Processor seconds of each question that a night asks of the store.

    With ``warm_up`` each is asked once before, so that no import is measured.
    """
    store = open_filled(load(study_file))
    if warm_up:
        _ask(store)
    return _ask(store)


def _ask(store: Store) -> Row:
    calendar = Calendar.of(store)
    cutoff = calendar.end
    row: Row = {}
    # The first cutoff needs a few weeks of history.
    if cutoff >= calendar.earliest:
        row["snapshot"] = processor_seconds(_snapshot, store, cutoff)
    return row | {
        "inventory": processor_seconds(_inventory, store),
        "people": processor_seconds(inventory.people, store),
        "gates": processor_seconds(_gates, store, cutoff),
    }


def _snapshot(store: Store, cutoff: date) -> None:
    snapshots.observe(store, [cutoff], snapshots.plan(store, cutoff))


def _inventory(store: Store) -> None:
    inventory.totals(store)
    inventory.events_per_day(store)
    inventory.commonest_events(store)
    inventory.last_days(store)
    inventory.ids(store)


def _gates(store: Store, cutoff: date) -> None:
    volume = store.scan("volume").collect()
    tally = store.scan("tally").collect()
    files = store.scan("files").collect()
    gates.data(volume, tally, files, store.settings, cutoff)


def size(folder: Path) -> Row:
    """Number of files of the store in a folder, and its size."""
    found = nights_store.Size.of(folder)
    return {
        "data_files": found.n_data,
        "log_files": found.n_log,
        "MB": found.n_bytes / 1e6,
    }
