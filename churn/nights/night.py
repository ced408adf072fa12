"""A night from beginning to end: its lock, its stages in order, and how it ends."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from churn.errors import ChurnError, NotebookError
from churn.nights import heartbeat, page, record
from churn.nights.record import STATUSES, Night, Stage
from churn.nights.stages import STAGES, Asked, Work, digest
from churn.report import manifests, runner, runs
from churn.settings import Settings
from churn.store import Place, locks

log = logging.getLogger(__name__)

Shown = Callable[[Night, Stage], None]
"""Shows a stage of a night once it is over."""


def run(
    asked: Asked,
    shown: Shown,
) -> Night:
    """Do a night, or go on with the one that stopped; returns how it ended.

    Each stage is passed to ``shown`` once it is over. Raises BusyError if another night
    is running; the error of a stage stands in the night.
    """
    with locks.exclusively(asked.place, name=locks.NIGHT):
        night = begun(asked)
        folder = asked.settings.reports_path / night.night
        folder.mkdir(parents=True)
        facts = manifests.started(night.night, None, asked.settings, _given(asked))
        manifests.write(folder, facts)
        night = _all_stages(asked, night, shown)
        manifests.ended(folder, facts, asked.settings, night.error or None)
        _report(asked.settings, night)
    return night


def _given(asked: Asked) -> dict[str, Any]:
    return {
        "send": asked.send,
        "accept": list(asked.accept),
        "why": asked.why,
        "now": asked.now and asked.now.isoformat(),
    }


def begun(asked: Asked) -> Night:
    """A new night, with the stages of earlier ones that may serve it.

    If the newest night stopped, those are all that it did.
    """
    began = datetime.now(UTC)
    name = runs.new_run_id("nightly", began)
    night = Night(name, began.isoformat(), send=asked.send)
    before = record.read(asked.place)
    if before is None:
        return night
    if before.status != "done":
        return replace(night, resumes=before.night, earlier=before.done)
    lasting = {k: stage for k, stage in before.done.items() if STAGES[k].lasts}
    return replace(night, earlier=lasting)


def _all_stages(
    asked: Asked,
    night: Night,
    shown: Shown,
) -> Night:
    """All stages in their order, up to the first that fails."""
    error = None
    for name, work in STAGES.items():
        _write_down(asked.settings, night.with_stage(Stage(name, "running")))
        stage, error = _one_stage(asked, name, work, night.earlier.get(name))
        night = night.with_stage(stage)
        shown(night, stage)
        if error:
            break
    night = _ended(night, error)
    _write_down(asked.settings, night)
    return night


def _one_stage(
    asked: Asked,
    name: str,
    work: Work,
    before: Stage | None,
) -> tuple[Stage, ChurnError | None]:
    """What came of a stage, and its error if it failed."""
    started = time.monotonic()
    try:
        inputs = digest(work.inputs(asked))
        if before and before.inputs == inputs and still_serves(asked, work):
            return again(before), None
        why = work.why(asked)
        stage = work.do(asked) if why else Stage(name, "skipped", reason=work.idle)
    except ChurnError as error:
        return _stopped(name, error, started), error
    except Exception as error:
        log.exception("%s failed", name)
        unexpected = NotebookError(f"{name}: {type(error).__name__}: {error}")
        return _stopped(name, unexpected, started), unexpected
    seconds = time.monotonic() - started
    return replace(stage, seconds=seconds, inputs=inputs), None


def _stopped(
    name: str,
    error: ChurnError,
    started: float,
) -> Stage:
    return Stage(
        name,
        STATUSES.get(error.exit_code, "failed"),
        time.monotonic() - started,
        reason=str(error),
    )


def still_serves(
    asked: Asked,
    work: Work,
) -> bool:
    """Whether what a stage left behind is still there."""
    return work.lasts is None or work.lasts(asked)


def again(before: Stage) -> Stage:
    """A stage that needn't be done, since an earlier night did it on equal inputs."""
    reason = f"done by {before.run}" if before.run else "done before"
    return replace(
        before,
        status="skipped",
        is_reused=True,
        seconds=0.0,
        reason=f"{reason}, and nothing has changed since",
    )


def _ended(
    night: Night,
    error: ChurnError | None,
) -> Night:
    if error is None:
        return replace(night, status="done")
    status = STATUSES.get(error.exit_code, "failed")
    return replace(night, status=status, error=str(error))


def _write_down(
    settings: Settings,
    night: Night,
) -> None:
    """Keep how far a night has come, for the next one and for a watchdog."""
    record.write(Place(settings.store_address), night)
    heartbeat.write(settings, night)


def _report(
    settings: Settings,
    night: Night,
) -> None:
    """Write the page of a night, and call the study's command."""
    page.write(settings, night)
    runner.clean_up(settings)
    heartbeat.notify(settings, night)


def interrupted(
    settings: Settings,
    why: str,
) -> None:
    """Write down that the newest night stopped, since its process is gone.

    Nothing happens if the newest night isn't running, or if another process does it.
    """
    place = Place(settings.store_address)
    with locks.exclusively(place, name=locks.NIGHT):
        night = record.read(place)
        if night is None or night.status != "running":
            return
        stages = {
            name: replace(stage, status="failed", reason=why)
            if stage.status == "running"
            else stage
            for name, stage in night.stages.items()
        }
        night = replace(night, status="failed", error=why, stages=stages)
        _write_down(settings, night)
        _report(settings, night)
