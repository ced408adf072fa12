"""The scheduler examples of the guide to the night, checked with the real tools."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..conftest import unavailable
from .pages import HOME, fenced

PAGE = "churn/nights/README.md"

STUDY = '[[extracts]]\nsource = "table"\npath = "data/raw"\n'


def test_the_timer_of_the_systemd_example_can_be_enabled(tmp_path: Path) -> None:
    """Its units pass systemd's own check and are linked where systemd is to start them;
    the program is named by its path, since systemd's PATH has no uv.
    """
    service, timer = fenced(PAGE, "ini")
    parsed = configparser.ConfigParser()
    parsed.read_string(timer)
    assert parsed["Install"]["WantedBy"] == "timers.target"
    program = tmp_path / "srv/churn/.venv/bin/churn"
    assert f"ExecStart=/{program.relative_to(tmp_path)} nightly --send" in service
    if not (shutil.which("systemd-analyze") and shutil.which("systemctl")):
        unavailable("no systemd on this machine, its example was only read")
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    here = service.replace("=/srv", f"={tmp_path}/srv")
    (units / "churn.service").write_text(here)
    (units / "churn.timer").write_text(timer)
    files = [str(units / name) for name in ("churn.service", "churn.timer")]
    subprocess.run(["systemd-analyze", "verify", *files], check=True)
    enable = ["systemctl", f"--root={tmp_path}", "enable", "churn.timer"]
    subprocess.run(enable, check=True)
    assert (units / "timers.target.wants/churn.timer").is_symlink()


def test_the_unit_of_the_receiver_passes_systemds_own_check(tmp_path: Path) -> None:
    """It is started after the network, and again whenever it ends."""
    [unit] = fenced("churn/receive/README.md", "ini")
    if not shutil.which("systemd-analyze"):
        unavailable("no systemd on this machine, its example was only read")
    program = tmp_path / "srv/churn/.venv/bin/churn"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    file = tmp_path / "churn-receive.service"
    file.write_text(unit.replace("=/srv", f"={tmp_path}/srv"))
    subprocess.run(["systemd-analyze", "verify", str(file)], check=True)


def test_examples_for_schedulers_do_not_look_for_uv() -> None:
    """cron, systemd and runners have a PATH on which it usually isn't."""
    for language in ("cron", "ini", "yaml"):
        for block in fenced(PAGE, language):
            assert "uv run" not in block, block


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder like /srv/churn: a study without events, notebooks, programs, a key."""
    home = tmp_path / "srv/churn"
    (home / "data/raw").mkdir(parents=True)
    (home / "reports").mkdir()
    (home / "churn.toml").write_text(STUDY)
    (home / "secrets.env").write_text("CHURN_BRAZE_KEY=a-key\n")
    shutil.copytree(HOME / "notebooks", home / "notebooks")
    programs = home / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("churn", "papermill"):
        script = f'#!/bin/sh\nexec "{sys.executable}" -m {MODULES[name]} "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    return home


MODULES = {"churn": "churn.cli", "papermill": "papermill"}
"""What the two programs are, wherever the tests are installed."""


def as_cron_does(
    line: str,
    home: Path,
) -> subprocess.CompletedProcess[str]:
    """Run a crontab line's command in cron's shell with cron's environment."""
    command = re.sub(r"^(\S+\s+){5}", "", line).replace("/srv/churn", str(home))
    environment = {
        "HOME": str(home),
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
        "LOGNAME": "churn",
        "PYTHONPATH": os.environ.get("PYTHONPATH", str(HOME)),
    }
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("example", [0, 1])
def test_crontab_accepts_the_lines(example: int, tmp_path: Path) -> None:
    """As it does before it installs them; it refuses a line that lacks a field."""
    if not shutil.which("crontab"):
        unavailable("no cron on this machine, its examples were only run")
    line = fenced(PAGE, "cron")[example]
    for content, code in ((line, 0), (line.split(" ", 1)[1], 1)):
        file = tmp_path / "crontab"
        file.write_text(content)
        done = subprocess.run(["crontab", "-n", str(file)], check=False)
        assert done.returncode == code, content


def test_cron_finds_the_program_and_its_log_is_lines_of_json(installed: Path) -> None:
    """With a study that has no files the night fails in its first stage, and says so."""
    nightly, _ = (block.strip() for block in fenced(PAGE, "cron"))
    done = as_cron_does(nightly, installed)
    log = (installed / "nightly.log").read_text()
    assert done.returncode == 1, log + done.stderr
    assert '"stage": "ingest", "status": "failed"' in log
    assert "no file at" in log
    assert "not found" not in log
    assert "a-key" not in log


def test_cron_runs_plain_papermill_and_the_report_is_made(installed: Path) -> None:
    """The notebook stops, since there are no events; its page says why."""
    _, papermill = (block.strip() for block in fenced(PAGE, "cron"))
    done = as_cron_does(papermill, installed)
    assert done.returncode == 0, done.stderr
    page = installed / "reports/evaluate.report.html"
    assert "reports/evaluate.report.html" in done.stdout
    assert "churn ingest" in page.read_text()


def test_the_calendar_entry_of_the_timer_is_read_by_systemd() -> None:
    """A time zone in it needs no further setting."""
    if not shutil.which("systemd-analyze"):
        unavailable("no systemd on this machine, its example was only read")
    parsed = configparser.ConfigParser()
    parsed.read_string(fenced(PAGE, "ini")[1])
    entry = parsed["Timer"]["OnCalendar"]
    subprocess.run(["systemd-analyze", "calendar", entry], check=True)


def test_no_example_has_the_key_in_it() -> None:
    """It comes from a file or from the scheduler's own secrets."""
    for language in ("cron", "ini", "yaml", "python", "dockerfile"):
        for block in fenced(PAGE, language):
            assert not re.search(r"CHURN_BRAZE_KEY=\S", block), block
            assert "ENV CHURN" not in block


def test_git_ignores_the_file_of_secrets() -> None:
    """It stands in a clone, where everything may be added at once."""
    assert "/srv/churn/secrets.env" in "".join(fenced(PAGE, "sh"))
    ignored = (HOME / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "secrets.env" in ignored


def test_the_workflow_is_one_that_github_accepts(tmp_path: Path) -> None:
    """By the published schema of workflows."""
    (workflow,) = fenced(PAGE, "yaml")
    file = tmp_path / "churn.yml"
    file.write_text(workflow)
    check = [sys.executable, "-m", "check_jsonschema"]
    schema = ["--builtin-schema", "vendor.github-workflows", str(file)]
    done = subprocess.run(
        [*check, *schema], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    file.write_text(workflow.replace("runs-on: self-hosted", "run-on: self-hosted"))
    done = subprocess.run(
        [*check, *schema], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert yaml.safe_load(workflow)["concurrency"] == "churn"


def test_the_dag_compiles() -> None:
    """Airflow itself isn't installed here; airflow_dag.py loads it where it is."""
    (dag,) = fenced(PAGE, "python")
    compile(dag, "dag.py", "exec")


def test_the_container_file_has_a_user_and_only_what_exists() -> None:
    """Each instruction is one of a container file, and what it copies is here."""
    (content,) = fenced(PAGE, "dockerfile")
    known = "FROM RUN WORKDIR COPY USER VOLUME ENTRYPOINT CMD".split()
    users = []
    for line in content.splitlines():
        instruction, _, rest = line.partition(" ")
        assert instruction in known, line
        if instruction == "COPY":
            for name in rest.split()[:-1]:
                assert (HOME / name).exists(), name
        if instruction == "USER":
            users.append(rest)
    assert users == ["churn"]
    assert "--no-dev" in content
