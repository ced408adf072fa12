"""Run a notebook strictly; the stored form of a notebook; its HTML report."""

import ast
import difflib
import logging
import os
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

import churn
from churn import errors
from churn.errors import ChurnError, NotebookError, ParameterError
from churn.report import runs
from churn.report.page import report
from churn.settings import Settings, load
from churn.store import write_atomically

INJECTED = "injected-parameters"
# The kernel is reached through a socket file, not a TCP port that others on the machine
# could connect to.
KERNEL = Config({"KernelManager": {"transport": "ipc"}})
KERNEL_START_SECONDS = 300
"""How long a kernel may take to start: on a busy machine more than papermill's 60 s."""


def folder_of(settings: Settings) -> Path:
    """The folder ``notebooks`` beside the study file or above it, else beside the
    package.
    """
    homes = [
        settings.folder,
        *settings.folder.parents,
        Path(churn.__file__).resolve().parents[1],
    ]
    for home in homes:
        if list((home / "notebooks").glob("[0-9]_*.ipynb")):
            return home / "notebooks"
    raise NotebookError(f"no notebooks folder in {settings.folder} or above")


def find(name: str, settings: Settings) -> Path:
    """A notebook by name (score), file name (4_score) or path. Raises NotebookError
    listing those there are.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name).resolve()
    there = sorted(folder_of(settings).glob("[0-9]_*.ipynb"))
    for path in there:
        if name in {path.name, path.stem, path.stem.split("_", 1)[1]}:
            return path
    raise NotebookError(
        f"there is no notebook {name!r}; there are {', '.join(p.stem.split('_', 1)[1] for p in there)}"
    )


def parameters(notebook: Path) -> dict[str, dict[str, Any]]:
    """The notebook's parameters: name → papermill's inferred_type_name, default (source
    text) and help.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # papermill warns of a notebook without a parameters cell
        return dict(papermill.inspect_notebook(str(notebook)))


def check_parameters(notebook: Path, given: Sequence[str]) -> None:
    """Raise ParameterError for any name the notebook doesn't have: papermill itself
    only warns.
    """
    known = list(parameters(notebook))
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
            )
            raise ParameterError(f"{notebook.name} has no parameter {name!r}; {hint}")


def parse_assignments(notebook: Path, assignments: Sequence[str]) -> dict[str, Any]:
    """``name=value`` texts of the command line as values of the types the parameters
    cell states.
    """
    pairs = [a.partition("=") for a in assignments]
    wrong = [a for a, (_, sign, _) in zip(assignments, pairs, strict=True) if not sign]
    if wrong:
        raise ParameterError(f"-p {wrong[0]!r} must be written name=value")
    check_parameters(notebook, [name for name, _, _ in pairs])
    known = parameters(notebook)
    return {
        name: parse_value(name, text, known[name]["inferred_type_name"])
        for name, _, text in pairs
    }


def parse_value(name: str, text: str, kind: str) -> Any:
    """One value by its annotation: bool, int, float, list (commas or a literal) or
    str.
    """
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "list":
            return (
                list(ast.literal_eval(text))
                if text.startswith("[")
                else [v for v in text.split(",") if v]
            )
        return {"int": int, "float": float}.get(kind, str)(text)
    except (ValueError, KeyError, SyntaxError):
        raise ParameterError(f"{name}={text!r} is no {kind}") from None


def run(
    name: str,
    study_file: Path,
    given: dict[str, Any],
    *,
    progress: bool = True,
    run_id: str | None = None,
) -> Path:
    """Execute a notebook and return its run folder: notebook.ipynb, report.html,
    metrics.json, manifest.json.

    An unknown parameter is refused before anything starts. When a cell fails the folder
    is kept and NotebookError says why, in the failing step's own words where it is an
    error of ours.
    """
    settings = load(study_file)
    notebook = find(name, settings)
    check_parameters(notebook, list(given))
    run_id = run_id or runs.new_run_id(notebook.stem.split("_", 1)[-1])
    values = {**_own_values(notebook, study_file, run_id), **given}
    folder = settings.reports_path / run_id
    folder.mkdir(parents=True)
    started = datetime.now(UTC)
    error = _execute(notebook, folder / "notebook.ipynb", values, progress)
    report(folder / "notebook.ipynb")
    facts = runs.manifest(
        run_id, notebook, settings, values, started, str(error) if error else None
    )
    write_atomically(folder / "manifest.json", runs.dump(facts))
    if error:
        raise error
    return folder


def _own_values(notebook: Path, study_file: Path, run_id: str) -> dict[str, str]:
    own = {"study": str(study_file.resolve()), "run_id": run_id}
    return {name: value for name, value in own.items() if name in parameters(notebook)}


def _execute(
    notebook: Path, out: Path, values: dict[str, Any], progress: bool
) -> NotebookError | None:
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.setdefault(
        "PYDEVD_DISABLE_FILE_VALIDATION", "1"
    )  # the debugger's warning about frozen modules
    try:
        papermill.execute_notebook(
            str(notebook),
            str(out),
            values,
            kernel_name="python3",
            progress_bar=progress,
            start_timeout=KERNEL_START_SECONDS,
            config=KERNEL,
        )
    except PapermillExecutionError as failure:
        return _readable(failure, notebook, out)
    return None


def _readable(
    failure: PapermillExecutionError, notebook: Path, out: Path
) -> NotebookError:
    kind = getattr(errors, failure.ename, None)
    if isinstance(kind, type) and issubclass(kind, ChurnError):
        return NotebookError(f"{failure.evalue} (executed copy: {out})")
    what = f"{failure.ename}: {failure.evalue}"
    return NotebookError(
        f"{notebook.name} failed in cell {failure.cell_index}: {what} (executed copy: {out})"
    )


def normal_form(notebook: Path) -> str:
    """How a notebook is stored in git: no outputs, no counts, no volatile metadata,
    cell ids by position.
    """
    node = nbformat.read(notebook, as_version=4)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [
        _bare(cell, i)
        for i, cell in enumerate(node.cells)
        if INJECTED not in cell.metadata.get("tags", [])
    ]
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    bare = nbformat.v4.new_notebook(cells=cells, metadata=metadata, nbformat_minor=5)
    return str(nbformat.writes(bare, indent=1)) + "\n"


def _bare(cell: Any, position: int) -> Any:
    make: Any = {
        "code": nbformat.v4.new_code_cell,
        "markdown": nbformat.v4.new_markdown_cell,
    }[cell.cell_type]
    tags = cell.metadata.get("tags")
    return make(
        cell.source.strip(),
        id=f"cell-{position}",
        metadata={"tags": tags} if tags else {},
    )
