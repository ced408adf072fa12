"""Starting is quick, because what a step doesn't need is not loaded.

These tests look at loaded modules, not at time; tests/benchmarks/start_up.py measures.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from churn.events import ingest
from churn.settings import load

HOME = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((HOME / "notebooks").glob("[0-9]_*.ipynb"))

TYPER = {"typer", "annotated_doc", "shellingham", "colorama", "typing_extensions"}
PYDANTIC = {
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "typing_inspection",
}
HEAVY = {
    "aiohttp",
    "altair",
    "dataframely",
    "deltalake",
    "great_tables",
    "httpx",
    "jsonschema",
    "nbformat",
    "numpy",
    "papermill",
    "scipy",
    "skops",
    "sklearn",
    "sqlalchemy",
    "vl_convert",
}


def loaded(code: str, folder: Path) -> set[str]:
    """Top-level names of all outside modules that a new Python has loaded after it ran
    the code in this folder.
    """
    listing = (
        "\nimport json, sys\n"
        "names = {module.partition('.')[0] for module in sys.modules}\n"
        "outside = names - {*sys.stdlib_module_names, 'churn', '__main__'}\n"
        "print(json.dumps([name for name in outside if name[0] != '_']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + listing],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study without a store, in a folder of its own."""
    file = tmp_path / "churn.toml"
    file.write_text('[[extracts]]\nsource = "table"\npath = "events.csv"\n')
    return file


def test_help_loads_the_command_line_alone(tmp_path: Path) -> None:
    """`churn --help` loads typer and what it needs: no rich, no settings, no polars."""
    code = (
        "import sys\n"
        "from churn.cli import main\n"
        "sys.argv = ['churn', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert loaded(code, tmp_path) <= TYPER


def test_importing_churn_loads_no_other_library(tmp_path: Path) -> None:
    """The package's own names are loaded on first use."""
    assert loaded("import churn", tmp_path) == set()


def test_opening_a_study_loads_pydantic_alone(study_file: Path) -> None:
    """Settings are checked; no table is read, so neither polars nor numpy is needed."""
    code = f"import churn\nchurn.open({str(study_file)!r}, holds_events=False)"
    assert loaded(code, study_file.parent) <= PYDANTIC


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_of_a_notebook_loads_nothing_heavy(
    notebook: Path, study_file: Path
) -> None:
    """It opens the study. Models, charts and delivery are loaded by the cells that use
    them.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    parameters, first = sources[:2]
    code = "\n".join([parameters, f"study = {str(study_file)!r}", first])
    assert "churn.open(study" in first
    assert not loaded(code, study_file.parent) & HEAVY


BEFORE_TABLES = {"deltalake", "obstore", "altair", "skops", "httpx", "aiohttp"}
"""What no step needs until it reads or writes tables, objects, reports or models."""


@pytest.mark.parametrize(
    ("results", "needless"),
    [
        ("Ingest", BEFORE_TABLES | {"sklearn", "scipy"}),
        ("Export", BEFORE_TABLES | {"sklearn", "scipy"}),
        ("Training", BEFORE_TABLES),
    ],
)
def test_a_step_loads_only_what_it_needs(
    results: str, needless: set[str], tmp_path: Path
) -> None:
    """An ingest and a dry run of an export do without scikit-learn, no step before
    sending has an HTTP client, only storing a model loads skops, only tables need
    deltalake, and files on this machine need no client of object stores.
    """
    assert not loaded(f"from churn.results import {results}", tmp_path) & needless


def test_the_state_of_a_store_is_read_without_deltalake(tmp_path: Path) -> None:
    """Coverage and settings are in store.json; deltalake is loaded with the first
    table.
    """
    rows = "user_id,event,time\nu1,open,2026-01-01T00:00:00Z\n"
    (tmp_path / "events.csv").write_text(rows, encoding="utf-8")
    study = '[[extracts]]\nsource = "table"\npath = "events.csv"\n'
    (tmp_path / "churn.toml").write_text(study, encoding="utf-8")
    ingest.ingest(load(tmp_path / "churn.toml"), progress=False)
    state = "import churn\nstudy = churn.open('churn.toml')\nstudy.store"
    users = f"{state}\nstudy.users().collect()"
    assert not loaded(state, tmp_path) & {"deltalake", "obstore"}
    assert "deltalake" in loaded(users, tmp_path)
    assert "obstore" not in loaded(users, tmp_path)
