"""Strict runs of notebooks, their stored form, and the project's on a small app."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill
import polars as pl
import pytest

from churn.errors import NotebookError, ParameterError
from churn.report import page, parameters, runner, runs, stored_form
from churn.settings import Settings, load
from churn.simulate import extracts, markov

from ..conftest import unavailable

HOME = Path(__file__).resolve().parents[2]
STORED = sorted((HOME / "notebooks").glob("*.ipynb"))


def notebook(folder: Path, *cells: str, name: str = "1_small") -> Path:
    """A notebook whose first cell holds the parameters."""
    tagged = {"tags": ["parameters"]}
    made = [
        nbformat.v4.new_code_cell(c, metadata=tagged if i == 0 else {})
        for i, c in enumerate(cells)
    ]
    path = folder / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell("# A <small> one"), *made]
        ),
        path,
    )
    path.write_text(stored_form.text_of(path), encoding="utf-8")
    return path


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study in a folder of its own."""
    file = tmp_path / "churn.toml"
    file.write_text('[[extracts]]\nsource = "table"\npath = "events.csv"\n')
    return file


PARAMETERS = """\
study: str = ""  # study file
n: int = 1  # a number
flag: bool = False  # a switch
names: list = []  # some"""


def test_a_run_leaves_notebook_report_metrics_and_manifest(
    tmp_path: Path, study_file: Path
) -> None:
    """The run folder has four files, which hold the recorded figures, the parameters
    and the study.
    """
    notebook(
        tmp_path,
        PARAMETERS,
        "from churn.report import runs\n"
        "runs.record(n=n, flag=flag, bad=float('nan'))\n"
        "print('done')",
    )
    folder = runner.run("small", study_file, {"n": 7}, progress=False)
    assert {f.name for f in folder.iterdir()} == {
        "notebook.ipynb",
        "report.html",
        "metrics.json",
        "manifest.json",
    }
    assert runs.read_metrics(folder) == {"n": 7, "flag": False, "bad": None}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["parameters"] == {"study": str(study_file), "n": 7}
    assert manifest["study"]["windows"]["horizon_days"] == 28


def test_a_misspelt_parameter_is_refused_before_anything_runs(
    tmp_path: Path, study_file: Path
) -> None:
    """The error suggests a similar name, and no run folder is made."""
    path = notebook(tmp_path, PARAMETERS, "x = 1")
    with pytest.raises(
        ParameterError, match=r"no parameter 'nams'; did you mean names\?"
    ):
        runner.run("small", study_file, {"nams": []}, progress=False)
    with pytest.raises(ParameterError, match="must be written name=value"):
        parameters.parse_assignments(path, ["n"])
    assert not (tmp_path / "reports").exists()


def test_values_take_the_type_the_parameter_cell_states(tmp_path: Path) -> None:
    """int, bool, list and str are parsed by annotation; a wrong value is refused."""
    path = notebook(tmp_path, PARAMETERS)
    got = parameters.parse_assignments(
        path, ["n=3", "flag=true", "names=a,b", "study=7"]
    )
    assert got == {"n": 3, "flag": True, "names": ["a", "b"], "study": "7"}
    assert parameters.parse_assignments(path, ["names=['a']"]) == {"names": ["a"]}
    with pytest.raises(ParameterError, match="n='x' is no int"):
        parameters.parse_assignments(path, ["n=x"])


def test_a_failing_cell_keeps_the_executed_notebook(
    tmp_path: Path, study_file: Path
) -> None:
    """A ChurnError keeps its own words, another error is named by its kind; the run
    folder stays and its manifest says failed.
    """
    raise_ours = (
        "from churn.errors import InputError\nraise InputError('the file x is empty')"
    )
    notebook(tmp_path, PARAMETERS, raise_ours, name="1_ours")
    with pytest.raises(NotebookError, match=r"^the file x is empty"):
        runner.run("ours", study_file, {}, progress=False, run_id="r1")
    notebook(tmp_path, PARAMETERS, "1 / 0", name="2_other")
    with pytest.raises(
        NotebookError, match=r"2_other\.ipynb failed in cell \d: ZeroDivisionError"
    ):
        runner.run("other", study_file, {}, progress=False, run_id="r2")
    manifest = json.loads((tmp_path / "reports/r1/manifest.json").read_text())
    assert manifest["status"] == "failed"
    page_text = (tmp_path / "reports/r1/report.html").read_text()
    assert "Stopped" in page_text
    assert '<p class="lead">the file x is empty</p>' in page_text


def test_a_run_that_is_interrupted_keeps_its_report(
    tmp_path: Path, study_file: Path
) -> None:
    """Ctrl-C is one sentence in the error, the manifest and the page, which shows what
    came before; the figures so far are kept.
    """
    count = "from churn.report import runs\nruns.record(n=3)\nprint('so far')"
    interrupt = "import signal\nsignal.raise_signal(signal.SIGINT)"
    notebook(tmp_path, PARAMETERS, count, interrupt, "runs.record(n=4)")
    sentence = "1_small.ipynb stopped in cell 4: it was told to by SIGINT"
    with pytest.raises(NotebookError, match=f"^{re.escape(sentence)}"):
        runner.run("small", study_file, {}, progress=False, run_id="r1")
    folder = tmp_path / "reports/r1"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert manifest["error"].startswith(sentence)
    assert runs.read_metrics(folder) == {"n": 3}
    page = (folder / "report.html").read_text()
    assert "so far" not in page
    assert f'<p class="lead">{sentence}' in page
    assert "so far" in (folder / "notebook.ipynb").read_text()


def test_it_runs_with_an_empty_home_and_a_bare_path(
    tmp_path: Path, study_file: Path
) -> None:
    """Without a registered kernel, and without the environment's folder on PATH, the
    cells run in the interpreter that runs the test.
    """
    notebook(
        tmp_path,
        PARAMETERS,
        "import sys\nfrom churn.report import runs\nruns.record(python=sys.prefix)",
    )
    code = (
        "from churn.report import runner, runs; from pathlib import Path\n"
        f"study_file = Path({str(study_file)!r})\n"
        "folder = runner.run('small', study_file, {}, progress=False)\n"
        "print(runs.read_metrics(folder)['python'])"
    )
    environment = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == sys.prefix, done.stderr


def test_an_unknown_notebook_lists_those_there_are(
    tmp_path: Path, study_file: Path
) -> None:
    """The message lists the names to choose from."""
    notebook(tmp_path, PARAMETERS)
    with pytest.raises(NotebookError, match="no notebook 'smal'; there are small"):
        runner.find("smal", load(study_file))


@pytest.mark.parametrize("path", STORED, ids=[p.stem for p in STORED])
def test_notebooks_are_stored_in_normal_form_and_thin(path: Path) -> None:
    """A notebook in git has no outputs or volatile metadata, one parameters cell of
    annotated and commented literals, and at most 80 code lines, without functions,
    classes, loops, HTTP or path arithmetic.
    """
    assert path.read_text(encoding="utf-8") == stored_form.text_of(path)
    node = nbformat.read(path, as_version=4)
    code = [c for c in node.cells if c.cell_type == "code"]
    parameter_cells = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    assert len(parameter_cells) == 1
    for line in parameter_cells[0].source.splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool|list) = \S+  # .+", line), line
    lines = [line for c in code for line in c.source.splitlines() if line.strip()]
    assert len(lines) <= 80
    for word in (
        "def ",
        "class ",
        "for ",
        "while ",
        "httpx",
        "requests",
        "Path(",
        "os.",
    ):
        assert not any(line.strip().startswith(word) for line in lines), word


@pytest.mark.parametrize("path", STORED, ids=[p.stem for p in STORED])
def test_notebooks_begin_with_a_verdict_and_end_with_what_to_do(path: Path) -> None:
    """The third code cell shows the verdict, the last heading says what is next, and
    the story between has some hundred words; method is tagged to stand at the end.
    """
    cells = nbformat.read(path, as_version=4).cells
    code = [c.source for c in cells if c.cell_type == "code"]
    assert ".verdict(" in code[2].splitlines()[-1]
    story = [
        c.source
        for c in cells
        if c.cell_type == "markdown" and "method" not in c.metadata.get("tags", [])
    ]
    assert story[0].startswith("# ")
    assert "## What to do next" in story[-1]
    assert 300 <= sum(len(text.split()) for text in story) <= 600
    assert any("method" in c.metadata.get("tags", []) for c in cells)


@pytest.fixture(scope="module")
def small_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated app of 1,500 users over 200 days, ingested; its study file."""
    from churn.events import ingest

    folder = tmp_path_factory.mktemp("app")
    extracts.write(markov.markov(1500, 200, seed=11), folder, "table")
    file = folder / "churn.toml"
    file.write_text(
        file.read_text() + "\n[backtest]\nn_train_cutoffs = 6\nn_test_cutoffs = 2\n"
    )
    ingest.ingest(load(file), progress=False)
    return file


def test_the_five_notebooks_run_in_order(small_app: Path) -> None:
    """From explore to a dry export each leaves its figures, and the model has a lower
    log loss than recency.
    """
    truth = str(small_app.parent / "truth.parquet")
    given: dict[str, dict[str, Any]] = {
        "explore": {},
        "train": {},
        "evaluate": {"truth": truth},
        "score": {},
        "export": {},
    }
    metrics = {
        n: runs.read_metrics(runner.run(n, small_app, p, progress=False))
        for n, p in given.items()
    }
    assert metrics["explore"]["n_events"] > 50_000
    assert metrics["train"]["n_churned"] > 50
    assert metrics["evaluate"]["log_loss"] < metrics["evaluate"]["recency_log_loss"]
    assert 0.5 < metrics["evaluate"]["ceiling_skill"] < 1
    assert metrics["score"]["failed_gates"] == []
    assert metrics["export"]["dry_run"] is True
    assert metrics["export"]["n_changed"] == metrics["score"]["n_scored"]


def test_plain_papermill_does_the_same_from_any_folder(
    small_app: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_study: Callable[..., Settings],
) -> None:
    """Executed by papermill alone in another folder, explore gives the same figures,
    and ``report`` makes its page.
    """
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(STORED[1]), str(out), {"study": str(small_app)}, progress_bar=False
    )
    written = page.report(out)
    assert {p.name for p in written.values()} == {"out.report.html", "out.metrics.json"}
    ours = runner.run("explore", small_app, {}, progress=False)
    assert json.loads(written["metrics"].read_text()) == runs.read_metrics(ours)


LOADS = re.compile(
    r"""(?:src|href|action)\s*=\s*["']?(?!["']?(?:data:|\#))|url\((?!["']?data:|\#)|@import|<script\s|<link""",
    re.IGNORECASE,
)


def test_a_report_needs_no_network_and_shows_no_user(small_app: Path) -> None:
    """The page fetches nothing from anywhere, holds no user id, and describes every
    picture.
    """
    folder = runner.run("explore", small_app, {}, progress=False)
    text = (folder / "report.html").read_text()
    assert LOADS.findall(text) == []
    assert text.count("<svg") == text.count("<svg aria-label=") >= 6
    users = pl.read_parquet(small_app.parent / "truth.parquet")["user_id"].unique()
    assert not [u for u in users.head(200) if u in text]
    assert "CHURN_BRAZE_KEY" not in text + (folder / "manifest.json").read_text()
    assert os.environ["PATH"] not in (folder / "manifest.json").read_text()


def test_a_report_opens_in_a_browser_with_the_network_off(
    small_app: Path, tmp_path: Path
) -> None:
    """Headless Chromium that resolves no names draws the page, which isn't blank."""
    import shutil

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        unavailable(
            "no Chromium on this machine, the report was not looked at in a browser"
        )
    folder = runner.run("explore", small_app, {}, progress=False)
    picture = tmp_path / "report.png"
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += [
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1100,2200",
    ]
    command = [
        chromium,
        *flags,
        f"--screenshot={picture}",
        (folder / "report.html").as_uri(),
    ]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert picture.stat().st_size > 50_000
