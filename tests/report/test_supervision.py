"""How a command that executes notebooks ends when its process is killed or told to."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from churn.errors import NotebookError
from churn.report import manifests, past_runs, supervision

from .test_manifests import of_process
from .test_manifests import read as manifest_of
from .test_runner import PARAMETERS, notebook


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study in a folder of its own."""
    file = tmp_path / "churn.toml"
    file.write_text('[[extracts]]\nsource = "table"\npath = "events.csv"\n')
    return file


def started(study_file: Path, *cells: str) -> subprocess.Popen[str]:
    """`churn run small` of a notebook with these cells."""
    notebook(study_file.parent, PARAMETERS, *cells)
    command = ["run", "small", "--study", str(study_file), "--no-progress"]
    return subprocess.Popen(
        [sys.executable, "-m", "churn.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def recorded(study_file: Path) -> tuple[dict[str, Any], str]:
    """The manifest and the page of the only run."""
    (file,) = (study_file.parent / "reports").glob("*/manifest.json")
    manifest = json.loads(file.read_text())
    return manifest, file.with_name("report.html").read_text()


def lines_of(file: Path) -> list[str]:
    """What a cell has written, waiting until there is a line."""
    while not (file.exists() and file.read_text().endswith("\n")):
        time.sleep(0.05)
    return file.read_text().splitlines()


def test_a_process_that_is_killed_is_one_sentence_and_a_failed_run(
    study_file: Path,
) -> None:
    """It names the cell and the signal; the page shows what came before, and why it
    ends.
    """
    die = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    run = started(study_file, "print('so far')", die, "print('never')")
    said = run.communicate()[1]
    assert run.returncode == 1
    assert said.startswith("churn: 1_small.ipynb stopped in cell 4: its process was")
    assert "by SIGKILL, as happens when memory runs out" in said
    assert "Traceback" not in said
    manifest, page = recorded(study_file)
    assert manifest["status"] == "failed"
    assert "by SIGKILL" in manifest["error"]
    assert "so far" not in page
    assert '<p class="lead">1_small.ipynb stopped in cell 4' in page


def test_a_process_that_ends_in_a_cell_is_a_failed_run(study_file: Path) -> None:
    """Its exit status is told."""
    run = started(study_file, "import os\nos._exit(7)")
    assert "ended by itself with exit status 7" in run.communicate()[1]
    assert run.returncode == 1
    assert recorded(study_file)[0]["status"] == "failed"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_command_that_is_told_to_end_is_one_sentence_and_a_failed_run(
    study_file: Path, name: str
) -> None:
    """As systemd, docker stop, schedulers and Ctrl-C do it; at once, whatever runs."""
    tell = f"import os, signal, time\nos.kill(os.getppid(), signal.{name})"
    run = started(study_file, f"{tell}\ntime.sleep(99)")
    assert f"in cell 3: it was told to by {name}" in run.communicate()[1]
    assert run.returncode == 1
    assert recorded(study_file)[0]["status"] == "failed"


def test_a_command_that_is_killed_takes_its_work_with_it(study_file: Path) -> None:
    """No process goes on that would hold locks or send to Braze; `churn runs` then
    calls the run interrupted.
    """
    told = study_file.parent / "pid"
    write = f"open({str(told)!r}, 'w').write(f'{{os.getpid()}}\\n')"
    run = started(study_file, f"import os, time\n{write}\ntime.sleep(99)")
    (pid,) = lines_of(told)
    work = psutil.Process(int(pid))
    assert work.ppid() == run.pid
    run.kill()
    run.communicate()
    assert not psutil.wait_procs([work], timeout=60)[1]
    listed = past_runs.listed(list(past_runs.every(study_file.parent / "reports")))
    assert listed["status"].to_list() == ["interrupted"]


@pytest.mark.parametrize(
    ("status", "told", "expected"),
    [
        (-15, [], "was killed by SIGTERM"),
        (-9, [], "when memory runs out"),
        (3, [], "by itself with exit status 3"),
        (-9, ["SIGHUP"], "was told to by SIGHUP"),
    ],
)
def test_every_end_has_its_reason(status: int, told: list[str], expected: str) -> None:
    """A signal is named, and so is what usually sends it."""
    assert expected in supervision.reason(status, told)


def test_a_command_that_ends_between_runs_says_why(study_file: Path) -> None:
    """There is no run to close, nor need there be a study yet."""
    for file in (study_file, study_file.with_name("none.toml")):
        with pytest.raises(NotebookError, match="the command stopped: no memory"):
            supervision._close_runs(1, datetime.now(UTC), file, "no memory")


def test_all_runs_of_the_ended_process_are_closed_and_no_others(
    study_file: Path,
) -> None:
    """An earlier process may have had the same number, and a folder's manifest may be
    damaged; the error is that of the newest run.
    """
    runs = {
        "old": of_process(7, hours_ago=3),
        "outer": of_process(7, hours_ago=0.2),
        "inner": of_process(7, hours_ago=0.1),
        "other": of_process(8),
    }
    reports = study_file.parent / "reports"
    for name, facts in runs.items():
        folder = reports / name
        folder.mkdir(parents=True)
        named = facts | {"notebook": f"{name}.ipynb"}
        (folder / manifests.FILE).write_text(json.dumps(named))
    (reports / "damaged").mkdir()
    (reports / "damaged" / manifests.FILE).write_text('{"status": "run')
    began = datetime.now(UTC) - timedelta(hours=1)
    with pytest.raises(NotebookError, match=r"^inner\.ipynb stopped: no memory"):
        supervision._close_runs(7, began, study_file, "no memory")
    states = {name: manifest_of(reports / name)["status"] for name in runs}
    closed = {"outer": "failed", "inner": "failed"}
    assert states == {"old": "running", **closed, "other": "running"}
    assert "outer.ipynb stopped" in (reports / "outer/report.html").read_text()


def test_a_command_on_macos_is_one_process() -> None:
    """Its libraries may crash in a process that was split off."""
    code = (
        "import os, sys\n"
        "from churn.report import supervision\n"
        "sys.platform = 'darwin'\n"
        "before = os.getpid()\n"
        "supervision.go_on_watched(None)\n"
        "assert os.getpid() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_signals_change_nothing_once_the_work_has_ended() -> None:
    """Nor do they while it goes on, if they are ignored, as nohup wants it."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    usual = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with supervision._passing_signals_on(ended.pid) as told:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert told == ["SIGTERM"]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, usual)
