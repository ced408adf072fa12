"""Commands that answer a question: `churn doctor` and `churn user`."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from churn import doctor, person
from churn.braze.key import KEY_VARIABLE
from churn.cli import asking
from churn.errors import InputError
from churn.events import erasure
from churn.settings import Settings
from churn.store import Store


def test_a_doctor_says_what_an_empty_study_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order in which to mend it, with the next command, and exit code 1."""
    monkeypatch.setenv(KEY_VARIABLE, "a-secret-key")
    file = tmp_path / "churn.toml"
    file.write_text('[[extracts]]\nsource = "table"\npath = "raw"\n')
    with pytest.raises(SystemExit) as ended:
        asking.doctor(file)
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "fault    extract" in printed
    assert "run `churn ingest`" in printed
    assert printed.index("extract") < printed.index("events") < printed.index("key")
    assert "a-secret-key" not in printed


def test_without_a_study_only_that_is_said(tmp_path: Path) -> None:
    """Everything else depends on it."""
    (point,) = doctor.examine(tmp_path / "none.toml")
    assert (point.name, point.state) == ("study", "fault")
    assert "churn init" in point.sentence


def test_a_filled_store_lacks_a_model(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data is of months ago, and nothing was trained: two lines of their own."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    (filled.settings.folder / "churn.toml").write_text(
        '[[extracts]]\nsource = "table"\npath = "events.csv"\n'
    )
    points = doctor.examine(filled.settings.folder / "churn.toml")
    found = {point.name: point for point in points}
    assert found["model"].state == "fault"
    assert "run `churn run train`" in found["model"].sentence
    assert found["events"].state == "warning"
    assert found["key"].state == "warning"
    assert found["ledger"].state == found["reports"].state == "ok"


def test_a_user_is_found_by_id_and_by_pseudonym(filled: Store) -> None:
    """By both it is the same user, with a mark for each of the last 56 days at most."""
    users = filled.scan("users").select("user_id").unique().collect()
    shown = users.with_columns(erasure.pseudonym(filled.salt)).sort("user_id")
    user_id, pseudonym = shown.row(0)
    by_id, by_name = (person.look_up(filled, n) for n in (user_id, pseudonym))
    assert by_id.user_id == by_name.user_id == user_id
    assert by_id.scores.is_empty()
    assert by_id.sent.is_empty()
    marks = "".join(line.split()[1] for line in by_id.activity)
    assert 50 <= len(marks) <= 56
    assert set(marks) <= set(person.MARKS)


def test_nobody_and_somebody_unknown_are_one_sentence(filled: Store) -> None:
    """It says how a user can be named."""
    with pytest.raises(InputError, match=r"nobody in the event log is called 'no one'"):
        person.find(filled, "no one")


def test_a_shell_can_be_taught_the_commands(
    monkeypatch: pytest.MonkeyPatch, make_study: Callable[..., Settings]
) -> None:
    """The shell's question is answered with commands."""
    import os
    import subprocess
    import sys

    environment = {
        **os.environ,
        "_CHURN_COMPLETE": "complete_bash",
        "COMP_WORDS": "churn do",
        "COMP_CWORD": "1",
    }
    command = [
        sys.executable,
        "-c",
        "from churn.cli import app; app(prog_name='churn')",
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert "doctor" in done.stdout


def test_a_doctor_finds_postbacks_that_nobody_publishes(tmp_path: Path) -> None:
    """A receiver that ended for good has left them; fresh ones are its own business."""
    file = tmp_path / "churn.toml"
    file.write_text('[[extracts]]\nsource = "adjust"\npath = "raw"\n')
    spool = tmp_path / "data/receive/adjust"
    spool.mkdir(parents=True)
    for name, age in (("20260308T02-a-00000", 3 * 3600), ("20260308T05-a-00001", 60)):
        journal = spool / f"{name}.ndjson"
        journal.touch()
        written = datetime.now(UTC).timestamp() - age
        os.utime(journal, (written, written))
    points = {point.name: point for point in doctor.examine(file)}
    assert points["postbacks"].state == "warning"
    seen = points["postbacks"].sentence
    assert seen.startswith("files of postbacks that aren't published: 1")
