"""A command that executes notebooks is two processes: one works, the other watches it.

What ends the working process at once, such as the system when memory runs out, spares
the other one. It says why in the report and in the manifest, where the run would
otherwise only be found to have gone.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churn.errors import NotebookError, StudyError

USUAL_EXITS = (0, 1, 2, 3, 4)
"""Exit codes with which the command line ends by itself, and has said why."""


def go_on_watched(study: Path | None) -> None:
    """Return in a new process, while this one waits for it and ends as it does.

    If the new process is killed, this one closes its run and raises NotebookError with
    the reason. SIGINT, SIGTERM and SIGHUP to this process end the new one at once.
    Nothing happens where a process can't be split: on Windows, on macOS, whose own
    libraries may crash in a process that was split off, and once it has threads.
    """
    has_threads = "polars" in sys.modules or threading.active_count() > 1
    can_split = hasattr(os, "fork") and sys.platform != "darwin"
    if has_threads or not can_split:
        return
    began = datetime.now(UTC)
    ours_gone, ours = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        os.close(ours)
        os.setsid()  # a Ctrl-C in the terminal is for the process that watches
        _end_with_parent(ours_gone)
        return
    with _passing_signals_on(process) as stops:
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status in USUAL_EXITS:
        sys.exit(status)
    _close_runs(process, began, study, reason(status, stops))


def _end_with_parent(gone: int) -> None:
    """End this process once the one that watches it is gone.

    ``gone``: a file descriptor that can be read when that has happened.
    """

    def wait() -> None:
        os.read(gone, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _passing_signals_on(process: int) -> Iterator[list[str]]:
    """End a process when a signal asks this one to end; gives such signals' names.

    Signals that somebody else handles or ignores, as nohup does, change nothing.
    """
    stops: list[str] = []

    def stop(number: int, frame: Any) -> None:
        stops.append(signal.Signals(number).name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            os.killpg(process, signal.SIGKILL)

    usual = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            usual[number] = signal.signal(number, stop)
    try:
        yield stops
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def reason(status: int, stops: list[str]) -> str:
    """Why a process ended early.

    ``status``: its exit status, negative for the signal that killed it. ``stops``: names
    of the signals that asked for its end.

    >>> reason(-9, [])
    'its process was killed by SIGKILL, as happens when memory runs out'
    """
    if stops:
        return f"it was told to by {stops[0]}"
    if status >= 0:
        return f"its process ended by itself with exit status {status}"
    name = signal.Signals(-status).name
    hint = ", as happens when memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


def _close_runs(
    process: int,
    began: datetime,
    study: Path | None,
    why: str,
) -> None:
    """Close the runs of a process that has ended; raises NotebookError always.

    ``began``: a time before the process began. The error is that of the newest run.
    """
    from churn.report import past_runs, runner
    from churn.settings import find, load

    error = NotebookError(f"the command stopped: {why}")
    with contextlib.suppress(StudyError):  # the demo may not have written one yet
        settings = load(find(study))
        for folder in past_runs.unfinished(settings.reports_path, process, began):
            error = runner.close(folder, settings, why)
    raise error
