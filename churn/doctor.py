"""What a first night needs, checked point by point on this machine.

Nothing is sent: `churn braze check` asks Braze itself.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from churn.braze.delivery import open_ledger
from churn.braze.key import KEY_VARIABLE
from churn.errors import BrazeError, ChurnError, ModelError
from churn.events import sizing, sources
from churn.events.sources import find
from churn.model import due, storage
from churn.receive.journal import SUFFIX
from churn.report import runner
from churn.scoring import scores
from churn.scoring.age_gate import today
from churn.settings import Settings, load
from churn.settings import find as find_study
from churn.store import Store, create_or_open, open_filled

State = Literal["ok", "warning", "fault"]

LEAST_FREE = 10**9
"""Bytes below which the disk is soon full."""


LONGEST_WAIT = 2 * 3600
"""Seconds after which a file of postbacks is published, if a receiver is running."""


@dataclass(frozen=True)
class Point:
    """One point. ``sentence``: what was seen and, unless it is right, what to do."""

    name: str
    state: State
    sentence: str


def examine(study: Path | None) -> Iterator[Point]:
    """All points in the order in which they are to be mended.

    A study that can't be read ends it, since all others depend on it.
    """
    try:
        file = find_study(study)
        settings = load(file)
    except ChurnError as error:
        yield Point("study", "fault", f"{error}; `churn init FOLDER` writes one")
        return
    yield Point("study", "ok", str(file))
    yield _notebooks(settings)
    yield from _extracts(settings)
    yield from _postbacks(settings)
    yield from _data(settings)
    yield _key()
    yield _ledger(settings)
    yield from _places(settings)


def _notebooks(settings: Settings) -> Point:
    try:
        return Point("notebooks", "ok", str(runner.folder_of(settings)))
    except ChurnError as error:
        return Point("notebooks", "fault", f"{error}: copy the folder beside the study")


def _extracts(settings: Settings) -> Iterator[Point]:
    """Whether every extract has files."""
    for extract in settings.extracts:
        try:
            listing = find.find(extract, settings)
        except (ChurnError, OSError) as error:
            yield Point("extract", "fault", str(error))
        else:
            n_files = len(listing.ready)
            yield Point(
                "extract", "ok", f"{extract.source} {extract.path}: {n_files} files"
            )


def _postbacks(settings: Settings) -> Iterator[Point]:
    """Whether received postbacks lie in the spool for longer than an hour can take."""
    files = list(settings.spool_path.glob(f"*/*{SUFFIX}"))
    present = datetime.now(UTC).timestamp()
    old = [file for file in files if present - file.stat().st_mtime > LONGEST_WAIT]
    if old:
        sentence = f"files of postbacks that aren't published: {len(old)}"
        do = "start `churn receive`, and read its log if it runs"
        yield Point("postbacks", "warning", f"{sentence}: {do}")


def _data(settings: Settings) -> Iterator[Point]:
    """Event log, clock, model and scores."""
    try:
        is_empty = create_or_open(settings).first_date is None
        store = None if is_empty else open_filled(settings)
    except ChurnError as error:
        yield Point("events", "fault", str(error))
        return
    if store is None:
        yield Point("events", "fault", "none in the store yet: run `churn ingest`")
        return
    yield from _age(store)
    for sentence in sizing.warnings(store):
        yield Point("memory", "warning", sentence)
    yield _model(store)
    yield _scores(store)


def _age(store: Store) -> Iterator[Point]:
    until = store.covered_until
    if until is None:
        yield Point("events", "fault", "no day is complete: ingest more extracts")
        return
    present = today(store.settings)
    days = (present - until).days
    if days < 0:
        sentence = f"the data ends on {until}, and this machine's date is {present}"
        yield Point("clock", "fault", f"{sentence}: set the clock")
        return
    limit = store.settings.gates.max_age_days
    most = 2 + max(map(sources.settling_days, store.settings.extracts))
    if days > (most if limit is None else limit):
        sentence = f"complete until {until}, {days} days ago"
        yield Point("events", "warning", f"{sentence}: fetch newer extracts and ingest")
    else:
        yield Point("events", "ok", f"complete until {until}")
    yield Point("clock", "ok", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def _model(store: Store) -> Point:
    try:
        model = storage.load(store)
    except ModelError as error:
        return Point("model", "fault", f"{error}; run `churn run train`")
    if reason := due.reason(store):
        return Point("model", "warning", f"{reason}; the night trains a new one")
    return Point("model", "ok", model.model_id)


def _scores(store: Store) -> Point:
    try:
        table, findings = scores.read(store)
    except ChurnError as error:
        return Point("scores", "warning", str(error))
    failed = findings.filter(~findings["passed"])["gate"].to_list()
    seen = f"{table.height:,} users, cutoff {table['cutoff'][0]}"
    if failed:
        return Point("scores", "warning", f"{seen}; gates failed: {', '.join(failed)}")
    return Point("scores", "ok", seen)


def _key() -> Point:
    """Whether there is a key; what it is stays out of every message."""
    if os.environ.get(KEY_VARIABLE):
        return Point(
            "key", "ok", f"{KEY_VARIABLE} is set; `churn braze check` tries it"
        )
    sentence = f"{KEY_VARIABLE} isn't set: nothing can be sent to Braze without it"
    return Point("key", "warning", sentence)


def _ledger(settings: Settings) -> Point:
    try:
        with open_ledger(settings, None):
            return Point("ledger", "ok", "it opens")
    except BrazeError as error:
        return Point("ledger", "fault", str(error))


def _places(settings: Settings) -> Iterator[Point]:
    """Whether reports can be written, and whether the disk has room."""
    folder = settings.reports_path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        yield Point("reports", "fault", f"{folder} can't be written: {error.strerror}")
        return
    yield Point("reports", "ok", str(folder))
    free = shutil.disk_usage(folder).free
    state: State = "ok" if free >= LEAST_FREE else "warning"
    yield Point("disk", state, f"{free / 1e9:.1f} GB are free")
