"""Whether a run goes on or how it ended, by its manifest."""

import json
import os
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.cli import past
from churn.report import manifests, past_runs
from churn.settings import Settings


def read(folder: Path) -> dict[str, Any]:
    """A run folder's manifest."""
    return dict(json.loads((folder / manifests.FILE).read_text()))


def table_of(reports: Path) -> pl.DataFrame:
    """The runs of a folder as a table."""
    return past_runs.listed(list(past_runs.every(reports)))


def of_process(pid: int, host: str = "", hours_ago: float = 0) -> dict[str, Any]:
    """What the manifest of a run says that this process is running."""
    began = datetime.now(UTC) - timedelta(hours=hours_ago)
    process = {"host": host or socket.gethostname(), "pid": pid}
    return {
        "status": "running",
        "started_at": began.isoformat(),
        "finished_at": None,
        "error": None,
        "process": process,
    }


def test_a_manifest_says_running_until_the_run_has_ended(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Then done, or failed with the reason, whatever was raised."""
    settings = make_study()
    notebook = tmp_path / "1_small.ipynb"
    notebook.write_text("{}")
    facts = manifests.started("r1", notebook, settings, {"n": 7})
    with manifests.recorded(tmp_path, facts, settings):
        running = read(tmp_path)
        assert manifests.status(running) == "running"
        assert running["parameters"] == {"n": 7}
        assert running["process"]["pid"] == os.getpid()
    assert read(tmp_path)["status"] == "done"
    assert read(tmp_path)["finished_at"] >= running["started_at"]
    for error, reason in (
        (OSError("disk full"), "disk full"),
        (KeyError(), "KeyError"),
    ):
        with (
            pytest.raises(type(error)),
            manifests.recorded(tmp_path, facts, settings),
        ):
            raise error
        assert (read(tmp_path)["status"], read(tmp_path)["error"]) == ("failed", reason)


def test_running_of_a_process_that_is_gone_is_interrupted() -> None:
    """So it is where a later process has the same number; another machine's processes
    can't be seen from here.
    """
    assert manifests.status(of_process(os.getpid())) == "running"
    assert manifests.status(of_process(os.getpid(), hours_ago=999)) == "interrupted"
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert manifests.status(of_process(ended.pid)) == "interrupted"
    elsewhere = manifests.status(of_process(os.getpid(), host="db-2"))
    assert elsewhere == "running or interrupted on db-2"


def test_a_process_that_ended_and_was_not_collected_is_gone() -> None:
    """A container's first process may never collect its children."""
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert manifests.status(of_process(ended.pid)) == "interrupted"
    ended.wait()


def test_runs_are_listed_with_their_state_the_newest_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`churn runs` shows the newest; a folder of a run that was killed before there
    were manifests from the start counts as interrupted, other folders don't count.
    """
    (tmp_path / "churn.toml").write_text(
        '[[extracts]]\nsource = "table"\npath = "events.csv"\n'
    )
    assert table_of(tmp_path / "reports").is_empty()
    done = {
        "status": "done",
        "started_at": "2026-03-01T00:00:00+00:00",
        "finished_at": "2026-03-01T00:01:30+00:00",
        "error": None,
    }
    failed = done | {"status": "failed", "error": "the file x is empty"}
    for name, facts in {"a": done, "b": failed, "d": of_process(os.getpid())}.items():
        folder = tmp_path / "reports" / name
        folder.mkdir(parents=True)
        (folder / manifests.FILE).write_text(json.dumps(facts))
    (tmp_path / "reports/c").mkdir()
    (tmp_path / "reports/c/notebook.ipynb").write_text("{}")
    (tmp_path / "reports/pictures").mkdir()
    table = table_of(tmp_path / "reports")
    assert table["run"].to_list() == ["d", "c", "b", "a"]
    states = ["running", "interrupted", "failed", "done"]
    assert table["status"].to_list() == states
    assert table["minutes"].to_list() == [None, None, 1.5, 1.5]
    past.runs(tmp_path / "churn.toml", 3)
    shown = capsys.readouterr().out
    assert "the file x is empty" in shown
    assert shown.count("2026-03-01") == 1
