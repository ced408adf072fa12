"""The command line: exit codes and readable sentences for bad input."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from churn import cli
from churn.braze import export
from churn.braze.delivery import Delivery
from churn.sandbox import server
from churn.settings import load
from churn.simulate import extracts, markov

TABLE = '[[extracts]]\nsource = "table"\npath = "events.csv"\n'


def churn(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command line as a process; exit code and all it printed."""
    command = [sys.executable, "-m", "churn.cli", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout + done.stderr


def refused(folder: Path, *arguments: str) -> str:
    """The one sentence of a command that must exit with 1 and without a traceback."""
    code, text = churn(folder, *arguments)
    assert code == 1, text
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("files", "arguments", "sentence"),
    [
        ({}, ["ingest", "--study", "none.toml"], "there is no study file"),
        ({"churn.toml": TABLE}, ["ingest"], "no file at"),
        ({"churn.toml": TABLE, "events.csv": ""}, ["ingest"], "is empty (0 bytes)"),
        (
            {"churn.toml": TABLE, "events.csv": "user_id,event\na,b\n"},
            ["ingest"],
            "lacks column(s) time",
        ),
        (
            {"churn.toml": TABLE + "timezoen = 'UTC'\n"},
            ["ingest"],
            "did you mean timezone?",
        ),
        (
            {"churn.toml": TABLE},
            ["run", "score", "-p", "cutof=2026-01-01"],
            "did you mean cutoff?",
        ),
        ({"churn.toml": TABLE}, ["run", "scoer"], "there is no notebook"),
        ({"churn.toml": TABLE}, ["report", "none.ipynb"], "there is no notebook"),
        ({}, ["simulate", ".", "--days", "60", "--users", "3"], "exists already"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_1(
    tmp_path: Path, files: dict[str, str], arguments: list[str], sentence: str
) -> None:
    """What was found and what to do, no traceback, nothing half-written."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "raw").mkdir()
    assert sentence in refused(tmp_path, *arguments)
    assert not list((tmp_path / "data").rglob("*.parquet"))


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    """An unknown option or command is the shell's business."""
    assert churn(tmp_path, "ingest", "--stduy", "x")[0] == 2
    assert churn(tmp_path, "inject")[0] == 2


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ingested small app; its folder."""
    folder = tmp_path_factory.mktemp("cli")
    extracts.write(markov.markov(120, 130, seed=1), folder, "appsflyer")
    code, text = churn(folder, "ingest", "--no-progress")
    assert code == 0, text
    return folder


def test_ingest_counts_every_row_and_again_adds_nothing(app: Path) -> None:
    """The second ingest knows every file."""
    code, text = churn(app, "ingest", "--no-progress")
    assert code == 0
    assert "0 new file(s)" in text
    assert "kept 0" in text


def test_now_decides_what_lies_in_the_future(tmp_path: Path) -> None:
    """With --now an event after it is quarantined, by reason."""
    (tmp_path / "churn.toml").write_text(TABLE)
    (tmp_path / "events.csv").write_text(
        "user_id,event,time\na,x,2026-03-01\na,x,2026-05-01\n"
    )
    code, text = churn(tmp_path, "ingest", "--now", "2026-03-20", "--no-progress")
    assert code == 0
    assert "quarantined in_the_future: 1" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "score"], "run `churn run train` first"),
        (["run", "export"], "run `churn run score` first"),
        (
            ["run", "train", "-p", "cutoff=2031-01-01"],
            "no training cutoff|outside the data|no outcome yet",
        ),
        (["run", "train", "-p", "cutoffs=2025-02-04"], "too little to learn from"),
        (["run", "train", "-p", "cutoff=soon"], "is no cutoff"),
    ],
)
def test_bad_parameters_are_one_sentence(
    app: Path, arguments: list[str], sentence: str
) -> None:
    """Steps out of order, cutoffs outside the data, too few churners: said in the
    step's own words.
    """
    import re

    assert re.search(sentence, refused(app, *arguments, "--no-progress"))


def test_an_active_event_that_is_not_in_the_log_is_refused(app: Path) -> None:
    """The commonest events are listed to choose from."""
    file = app / "wrong.toml"
    file.write_text(
        (app / "churn.toml").read_text()
        + '\n[activity]\ncounts_as_active = ["af_lgoin"]\n'
    )
    message = refused(app, "run", "explore", "--study", str(file), "--no-progress")
    assert "af_lgoin not in the log; the commonest are" in message
    assert "af_login" in message


def braze(*arguments: str, code: int = 0) -> str:
    """Run ``churn braze`` in this process, where the study is churn.toml of the working
    folder; what it printed.
    """
    done = CliRunner().invoke(cli.app, ["braze", *arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_the_commands_for_braze_show_take_back_and_send_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check, runs, a user's history, rejects as CSV, back-up, restore and resend: dry
    unless --send.
    """
    with server.running(key="k", known_users=["a", "b"]) as sandbox:
        (tmp_path / "churn.toml").write_text(
            TABLE + f'[braze]\nendpoint = "{sandbox.url}"\n'
        )
        table = pl.DataFrame(
            {"user_id": ["a"], "identifier": ["a"], "segment": ["high"], "score": [80]}
        )
        passed = pl.DataFrame(
            {"gate": ["missing_day"], "passed": [True], "sentence": [""]}
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CHURN_BRAZE_KEY", "k")
        dated = table.with_columns(cutoff=pl.lit(date(2026, 3, 1)))
        delivery = Delivery(load(), run_id="night-1", send=True, progress=False)
        export.run(dated, passed, delivery)
        assert "ok   permission" in braze("check")
        monkeypatch.setenv("CHURN_BRAZE_KEY", "wrong")
        assert "FAIL permission" in braze("check", code=1)
        monkeypatch.setenv("CHURN_BRAZE_KEY", "k")
        assert "night-1" in braze("ledger")
        assert '{"churn_segment":"high","churn_score":80}' in braze(
            "ledger", "--user", "a"
        )
        assert (
            braze("ledger", "--rejects", "night-1")
            == "identifier,attributes,reason,cutoff\n"
        )
        braze("ledger", "--backup", "copy.db")
        assert (tmp_path / "copy.db").stat().st_size > 0
        (tmp_path / "mended.csv").write_text(
            'identifier,attributes\nb,"{""churn_segment"":""low""}"\n'
        )
        told = sandbox.state.attribute_values
        for arguments in (["resend", "mended.csv"], ["restore", "night-1"]):
            before = told("churn_segment")
            assert "dry run" in braze(*arguments)
            assert told("churn_segment") == before
            braze(*arguments, "--send", "--no-progress")
        assert told("churn_segment") == {"low": 1}
        assert "has no run night-9" in refused(tmp_path, "braze", "restore", "night-9")


def test_the_sandbox_refuses_switches_it_does_not_have(tmp_path: Path) -> None:
    """Wrong usage: exit code 2, and the names there are."""
    for arguments, known in (
        (["--fault", "501=0.5"], "close_after"),
        (["--fault-at", "x=500"], "invalid literal"),
        (["--option", "burst_limt=3"], "burst_limit"),
        (["--option", "burst_limit=many"], "must be int"),
    ):
        code, text = churn(tmp_path, "sandbox", *arguments)
        assert code == 2
        assert known in text
