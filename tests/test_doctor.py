"""`churn doctor`: what is missing before a night."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn import cli, doctor
from churn.braze.key import KEY_VARIABLE
from churn.settings import load

STUDY = '[[extracts]]\nsource = "table"\npath = "events.csv"\n'


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose extract is missing, and a key in the environment."""
    monkeypatch.setenv(KEY_VARIABLE, "not-for-the-screen")
    file = tmp_path / "churn.toml"
    file.write_text(STUDY)
    return file


def test_a_new_study_lacks_files_and_events(study: Path) -> None:
    """Without files, extracts and events are faults, and the command exits with 1."""
    done = CliRunner().invoke(cli.app, ["doctor", "--study", str(study)])
    levels = {f.what: f.level for f in doctor.findings(load(study))}
    assert done.exit_code == 1
    assert (levels["extracts"], levels["events"]) == ("fault", "fault")
    assert "churn ingest" in done.output


def test_the_key_is_never_shown(study: Path) -> None:
    """A key is reported as set, without its value."""
    done = CliRunner().invoke(cli.app, ["doctor", "--study", str(study)])
    assert "key       set" in done.output
    assert "not-for-the-screen" not in done.output
