"""What is missing before a night can run, looked up without a network call to Braze."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from churn.braze import key
from churn.errors import ChurnError
from churn.events.discovery import discover
from churn.features.cutoffs import Calendar
from churn.model import storage
from churn.scoring import scores
from churn.settings import Settings
from churn.store import open_filled

MAX_AGE_DAYS = 3
LEAST_FREE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """The result of one check: ``text`` says what was found and what to do."""

    level: Literal["ok", "warning", "fault"]
    what: str
    text: str


def findings(settings: Settings) -> Iterator[Finding]:
    """The result of every check, in the order in which a night needs them."""
    for what, check in CHECKS.items():
        try:
            yield check(settings, what)
        except ChurnError as error:
            yield Finding("fault", what, str(error))


def _extracts(settings: Settings, what: str) -> Finding:
    n_files = len(discover(settings).ready)
    if not n_files:
        text = "no file is found: correct the paths under [[extracts]] in the study"
        return Finding("fault", what, text)
    return Finding("ok", what, f"{n_files:,} files")


def _events(settings: Settings, what: str) -> Finding:
    end = Calendar.of(open_filled(settings)).end
    age = (datetime.now(UTC).date() - end).days
    if age < -1:
        text = f"the data end on {end}, after this machine's clock: set the clock"
        return Finding("fault", what, text)
    if age > MAX_AGE_DAYS:
        text = f"the data end on {end}, {age} days ago: add files, `churn ingest`"
        return Finding("warning", what, text)
    return Finding("ok", what, f"the data end on {end}")


def _model(settings: Settings, what: str) -> Finding:
    store = open_filled(settings)
    storage.load(store)
    if reason := storage.outdated(store):
        return Finding("warning", what, f"{reason}: `churn run train`")
    return Finding("ok", what, "the newest model can be used")


def _scores(settings: Settings, what: str) -> Finding:
    scored, _ = scores.read(open_filled(settings))
    return Finding("ok", what, f"{scored.height:,} users")


def _key(_: Settings, what: str) -> Finding:
    if not key.if_given():
        text = f"{key.KEY_VARIABLE} is not set, so nothing can be sent"
        return Finding("warning", what, text)
    key.from_environment()
    return Finding("ok", what, "set; `churn braze check` tries it")


def _disk(settings: Settings, what: str) -> Finding:
    folder = settings.reports_path.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    level: Literal["ok", "warning"] = "ok" if free >= LEAST_FREE_BYTES else "warning"
    return Finding(level, what, f"{free / 10**9:,.1f} GB free for reports")


CHECKS: dict[str, Callable[[Settings, str], Finding]] = {
    "extracts": _extracts,
    "events": _events,
    "model": _model,
    "scores": _scores,
    "key": _key,
    "disk": _disk,
}
