"""How a night reports to a watchdog: a file while it goes on, a command when it has ended."""

import json
import logging
import os
import subprocess
from datetime import UTC, datetime
from typing import Any

from churn.braze.key import KEY_VARIABLE
from churn.nights import lines
from churn.nights.record import Night
from churn.report.runs import dump, plain
from churn.settings import Settings
from churn.store import write_atomically

log = logging.getLogger(__name__)

SECRETS = (KEY_VARIABLE, "CHURN_LEDGER_URL", "CHURN_SANDBOX_KEY", "CHURN_RECEIVE_")
"""Beginnings of variables of the environment that the command doesn't get."""

PATIENCE_SECONDS = 60
"""How long the command may take."""


def write(
    settings: Settings,
    night: Night,
) -> None:
    """Replace the heartbeat file: the night, its stage, its status and the time.

    ``succeeded_at`` is when a night was last done; null before the first.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    names = list(night.stages)
    is_over = night.status != "running"
    content = {
        "night": night.night,
        "status": night.status,
        "stage": names[-1] if names else None,
        "at": now,
        "began": night.began,
        "exit_code": night.exit_code if is_over else None,
        "succeeded_at": now if night.status == "done" else _last_success(settings),
    }
    try:
        write_atomically(settings.heartbeat_path, dump(content))
    except OSError as error:
        log.warning("the heartbeat can't be written (%s)", error.strerror)


def _last_success(settings: Settings) -> Any:
    try:
        return json.loads(settings.heartbeat_path.read_bytes()).get("succeeded_at")
    except (OSError, ValueError, AttributeError):
        return None


def notify(
    settings: Settings,
    night: Night,
) -> None:
    """Run ``nightly.notify`` with the night as JSON on its standard input.

    It gets the environment without our secrets. What goes wrong with it is a warning
    and never stops a night.
    """
    command = settings.nightly.notify
    if not command:
        return
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SECRETS)
    }
    try:
        done = subprocess.run(
            command,
            input=json.dumps(plain(lines.of_night(settings, night))).encode(),
            env=environment,
            cwd=settings.folder,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("nightly.notify: %s failed (%s)", command[0], type(error).__name__)
        return
    if done.returncode:
        log.warning("nightly.notify: %s ended with %d", command[0], done.returncode)
