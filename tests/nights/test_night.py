"""A night: what it does, where it goes on, how it ends, and what it reports."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from churn import cli
from churn.braze.key import KEY_VARIABLE
from churn.nights import record
from churn.nights.stages import STAGES
from churn.sandbox import server
from churn.sandbox.faults import Faults
from churn.sandbox.server import Sandbox
from churn.settings import load
from churn.store import Place, locks

from ..conftest import random_log

TOML = """
[[extracts]]
source = "table"
path = "raw"

[windows]
observation_days = 28
eligible_days = 14
horizon_days = 14

[backtest]
n_train_cutoffs = 5
n_test_cutoffs = 1

[gates]
max_age_days = 3650

[braze]
endpoint = "{endpoint}"
retry_seconds = 1
quiet_seconds = 1
max_change_rate = 1.0
"""

ALL = list(STAGES)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that knows every user of the small app."""
    users = random_log()["user_id"].unique().to_list()
    with server.running(known_users=users) as running:
        yield running


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Path:
    """The folder of a study after its first night, which trained and sent nothing."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "raw").mkdir()
    log = random_log()
    last = log["time"].max() - timedelta(days=3)
    log.filter(pl.col("time") <= last).write_parquet(folder / "raw/begin.parquet")
    (folder / "churn.toml").write_text(TOML.format(endpoint=sandbox.url))
    code, lines = nightly(folder)
    assert code == 0, lines
    assert statuses(lines) == dict.fromkeys(ALL, "done")
    return folder


@pytest.fixture
def folder(
    first: Path,
    tmp_path: Path,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A copy of that study, and the sandbox's key."""
    monkeypatch.setenv(KEY_VARIABLE, sandbox.key)
    return Path(shutil.copytree(first, tmp_path / "study"))


def nightly(
    folder: Path,
    *options: str,
) -> tuple[int, list[dict[str, Any]]]:
    """Run `churn nightly` in this process; its exit code and its lines."""
    command = ["nightly", "--study", str(folder / "churn.toml"), *options]
    done = CliRunner().invoke(cli.app, command)
    if done.exception and not isinstance(done.exception, SystemExit):
        return getattr(done.exception, "exit_code", 1), _lines(done.stdout)
    return done.exit_code, _lines(done.stdout)


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def statuses(lines: list[dict[str, Any]]) -> dict[str, str]:
    """The status of each stage."""
    return {line["stage"]: line["status"] for line in lines if line["stage"] != "night"}


def test_a_night_is_a_line_per_stage_a_page_and_a_heartbeat(first: Path) -> None:
    """The page has a verdict, and links the reports of the stages."""
    night = record.read(Place(str(first / "data/store")))
    assert night is not None
    assert night.status == "done"
    page = (first / "reports" / night.night / "report.html").read_text()
    assert "Done" in page
    for stage in ("ingest", "train", "score", "export", "monitor"):
        assert f"../{night.stages[stage].run}/report.html" in page
    beat = json.loads((first / "reports/heartbeat.json").read_text())
    assert (beat["status"], beat["exit_code"]) == ("done", 0)
    assert beat["succeeded_at"]


def test_twice_for_one_cutoff_does_nothing_twice(
    folder: Path, sandbox: Sandbox
) -> None:
    """Scores, models and messages stay as they are; the second sends no request."""
    assert nightly(folder, "--send")[0] == 0
    n_sent = sandbox.state.n_data_points
    models = sorted((folder / "data/store/models").iterdir())
    code, lines = nightly(folder, "--send")
    assert code == 0
    found = statuses(lines)
    assert found["train"] == found["score"] == "skipped"
    assert lines[3]["reason"].endswith("nothing has changed since")
    assert sandbox.state.n_data_points == n_sent
    assert sorted((folder / "data/store/models").iterdir()) == models


def test_a_dry_run_shows_the_plan_and_writes_nothing(folder: Path) -> None:
    """Each stage with the reason for which it would be done or not."""
    before = sorted(folder.rglob("*"))
    code, lines = nightly(folder, "--dry-run")
    assert code == 0
    assert list(statuses(lines)) == ALL
    assert lines[0]["reason"].endswith("of 1 files are new or changed")
    assert statuses(lines)["train"] == "skipped"
    assert sorted(folder.rglob("*")) == before


def test_braze_that_is_down_is_tried_again_later_and_nothing_else_is(
    folder: Path, sandbox: Sandbox
) -> None:
    """Exit code 4; the next night goes on with the export."""
    file = folder / "churn.toml"
    with server.running(faults=Faults(rates={"503": 1.0})) as down:
        file.write_text(file.read_text().replace(sandbox.url, down.url))
        code, lines = nightly(folder, "--send")
        assert code == 4, lines[-1]["error"]
        assert statuses(lines)["export"] == "later"
        assert lines[-1]["exit_code"] == 4
        code, lines = nightly(folder, "--send")
    assert code == 4
    assert statuses(lines) == {
        **dict.fromkeys(("ingest", "gates", "train", "score"), "skipped"),
        "export": "later",
    }
    assert lines[-1]["resumes"]


def test_a_failed_gate_asks_for_a_decision(folder: Path) -> None:
    """Exit code 3 before anything is scored; accepting it goes on from there."""
    log = random_log()
    last = log["time"].max()
    day = pl.col("time").dt.date() == (last - timedelta(days=1)).date()
    new = log.filter(pl.col("time") > last - timedelta(days=3), ~day)
    new.write_parquet(folder / "raw/new.parquet")
    code, lines = nightly(folder)
    assert code == 3, lines
    assert statuses(lines)["gates"] == "decide"
    assert "missing_day" in lines[-1]["error"]
    page = next((folder / "reports").glob(f"{lines[-1]['night']}/report.html"))
    assert "Decide" in page.read_text()
    code, lines = nightly(folder, "--accept", "missing_day", "--why", "a power cut")
    assert code == 0, lines
    assert statuses(lines)["ingest"] == "skipped"
    assert lines[1]["findings"][0]["gate"] == "missing_day"


def test_the_present_of_a_night_reaches_every_stage(folder: Path) -> None:
    """--now is a parameter of ingest, score and export."""
    with (folder / "raw/begin.parquet").open("rb") as known:
        (folder / "raw/again.parquet").write_bytes(known.read())
    code, lines = nightly(folder, "--now", "2026-05-02")
    assert code == 0, lines
    for line in lines:
        if line["stage"] in ("ingest", "score", "export") and line["status"] == "done":
            manifest = json.loads((Path(line["run"]) / "manifest.json").read_text())
            assert manifest["parameters"]["now"] == "2026-05-02T00:00:00"
    assert statuses(lines)["ingest"] == statuses(lines)["export"] == "done"


def test_one_night_at_a_time(folder: Path) -> None:
    """The second is exit code 4, and says so in a line."""
    place = Place(load(folder / "churn.toml").store_address)
    with locks.exclusively(place, name=locks.NIGHT):
        code, lines = nightly(folder)
    assert code == 4
    assert "another night of" in lines[-1]["error"]
    assert nightly(folder)[0] == 0


def test_a_command_gets_the_night_but_no_secret(folder: Path) -> None:
    """What it does wrong is no fault of the night."""
    out = folder / "got.json"
    script = folder / "hook.py"
    script.write_text(
        "import json, os, sys\n"
        f"found = json.load(sys.stdin) | {{'key': '{KEY_VARIABLE}' in os.environ}}\n"
        f"open({str(out)!r}, 'w').write(json.dumps(found))\n"
        "sys.exit(3)\n"
    )
    with (folder / "churn.toml").open("a") as file:
        file.write(f"\n[nightly]\nnotify = [{sys.executable!r}, {str(script)!r}]\n")
    assert nightly(folder)[0] == 0
    found = json.loads(out.read_text())
    assert (found["status"], found["exit_code"], found["key"]) == ("done", 0, False)


def test_what_a_notebook_warns_of_reaches_lines_and_report(folder: Path) -> None:
    """Warnings of Python and of our log, each once."""
    shutil.copytree(
        Path(__file__).resolve().parents[2] / "notebooks", folder / "notebooks"
    )
    notebook = folder / "notebooks/0_ingest.ipynb"
    content = json.loads(notebook.read_text())
    loud = "import warnings, logging\nwarnings.simplefilter('always')\n"
    loud += "warnings.warn('thin ice')\n"
    loud += "logging.getLogger('churn.x').warning('few rows')"
    content["cells"][-1]["source"] += (
        "\n" + loud
        if isinstance(content["cells"][-1]["source"], str)
        else ["\n", *loud.splitlines(keepends=True)]
    )
    notebook.write_text(json.dumps(content))
    code, lines = nightly(folder)
    assert code == 0
    assert lines[0]["warnings"] == ["thin ice", "few rows"]
    assert "thin ice" in (Path(lines[0]["run"]) / "report.html").read_text()
    assert "few rows" in Path(lines[-1]["page"]).read_text()


@pytest.mark.parametrize("stage", ["ingest", "score", "export"])
def test_a_night_that_is_killed_goes_on(folder: Path, stage: str) -> None:
    """The process that watched it writes down where it stopped; the next completes."""
    log = random_log()
    last = log["time"].max() - timedelta(days=3)
    log.filter(pl.col("time") > last).write_parquet(folder / "raw/new.parquet")
    command = ["nightly", "--send", "--study", str(folder / "churn.toml")]
    run = subprocess.Popen(
        [sys.executable, "-m", "churn.cli", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    beat = folder / "reports/heartbeat.json"
    while json.loads(beat.read_text())["stage"] != stage or is_over(beat):
        assert run.poll() is None
        time.sleep(0.01)
    children = subprocess.run(
        ["pgrep", "-P", str(run.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    assert run.wait() == 1
    stopped = json.loads(beat.read_text())
    assert (stopped["status"], stopped["stage"]) == ("failed", stage)
    code, lines = nightly(folder, "--send")
    assert code == 0, lines
    assert lines[-1]["resumes"] == stopped["night"]
    done = [name for name in ALL[: ALL.index(stage)] if name != "train"]
    assert {statuses(lines)[name] for name in done} <= {"skipped"}


def is_over(beat: Path) -> bool:
    """Whether the heartbeat is that of a night that has ended."""
    return bool(json.loads(beat.read_text())["status"] != "running")
