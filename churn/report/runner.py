"""Run a notebook strictly."""

import logging
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

import churn
from churn import errors
from churn.errors import ChurnError, NotebookError
from churn.report import engine, index, manifests, parameters, past_runs, runs
from churn.report.page import report
from churn.settings import Settings, load

log = logging.getLogger(__name__)


def folder_of(settings: Settings) -> Path:
    """The folder ``notebooks`` beside the study file or above it, else the package's.

    Raises NotebookError if there is none with notebooks in it.
    """
    package = Path(churn.__file__).resolve().parents[1]
    for home in (settings.folder, *settings.folder.parents, package):
        if list((home / "notebooks").glob("[0-9]_*.ipynb")):
            return home / "notebooks"
    raise NotebookError(f"no notebooks folder in {settings.folder} or above")


def find(name: str, settings: Settings) -> Path:
    """A notebook by name (score), file name (4_score) or path.

    Raises NotebookError, which lists the names, if there is no such notebook.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name).resolve()
    known = sorted(folder_of(settings).glob("[0-9]_*.ipynb"))
    for path in known:
        if name in {path.name, path.stem, _short_name(path)}:
            return path
    names = ", ".join(_short_name(path) for path in known)
    raise NotebookError(f"there is no notebook {name!r}; there are {names}")


def _short_name(notebook: Path) -> str:
    """Such as score for 4_score.ipynb."""
    return notebook.stem.split("_", 1)[-1]


def run(
    name: str,
    study_file: Path,
    given: dict[str, Any],
    *,
    progress: bool | dict[str, Any] = True,
    run_id: str | None = None,
    is_alone: bool = True,
) -> Path:
    """Execute a notebook and return its run folder.

    It holds manifest.json from the start, and at the end notebook.ipynb, report.html
    and metrics.json. ``progress``: whether a bar is drawn, or how, as options of tqdm.
    ``is_alone``: false for a part of a night, which cleans up once at its end.
    Raises ParameterError for an unknown parameter before anything
    starts. When a cell fails, or Ctrl-C stops the run, the folder is kept and
    NotebookError says why, in the error's own words if it is a ChurnError.
    """
    settings = load(study_file)
    notebook = find(name, settings)
    parameters.check_names(notebook, list(given))
    run_id = run_id or runs.new_run_id(_short_name(notebook))
    values = {**_own_values(notebook, study_file, run_id), **given}
    folder = settings.reports_path / run_id
    folder.mkdir(parents=True)
    executed = folder / "notebook.ipynb"
    facts = manifests.started(run_id, notebook, settings, values)
    try:
        with manifests.recorded(folder, facts, settings):
            error = _execute(notebook, executed, values, progress)
            report(executed)
            if error:
                raise error
    finally:
        if is_alone:
            clean_up(settings)
    return folder


def clean_up(settings: Settings) -> None:
    """Remove runs that are too old, as the study says, and write the page of all."""
    if settings.keep_reports_days is not None:
        n = past_runs.remove_old(settings.reports_path, settings.keep_reports_days)
        log.info("reports: %d old runs removed", n)
    index.refresh(settings.reports_path)


def _own_values(
    notebook: Path,
    study_file: Path,
    run_id: str,
) -> dict[str, str]:
    """Parameters that every run sets itself, as far as the notebook has them."""
    known = parameters.of_notebook(notebook)
    own = {"study": str(study_file.resolve()), "run_id": run_id}
    return {name: value for name, value in own.items() if name in known}


def _execute(
    notebook: Path,
    out: Path,
    values: dict[str, Any],
    progress: bool | dict[str, Any],
) -> NotebookError | None:
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(out),
            values,
            engine_name=engine.NAME,
            kernel_name="python3",
            progress_bar=progress,
        )
    except PapermillExecutionError as failure:
        return _readable(failure, notebook, out)
    except KeyboardInterrupt:
        return _stopped(out, notebook.name, "it was told to by SIGINT")
    return None


def close(
    folder: Path,
    settings: Settings,
    why: str,
) -> NotebookError:
    """Complete the folder of a run whose process is gone; returns the run's error.

    A night's folder gets its manifest alone. The executed notebook, its page and the manifest show which cell had been reached,
    and ``why`` it went no further.
    """
    executed = folder / "notebook.ipynb"
    facts = manifests.read(folder)
    if facts["notebook"] is None:
        error = NotebookError(f"the night stopped: {why}")
        manifests.failed(folder, facts, settings, str(error))
        return error
    error = _stopped(executed, facts["notebook"], why)
    manifests.failed(folder, facts, settings, str(error))
    report(executed)
    index.refresh(settings.reports_path)
    return error


def _stopped(
    executed: Path,
    name: str,
    why: str,
) -> NotebookError:
    """Write into an executed notebook in which cell it stopped, and why.

    ``name``: file name of the notebook that was executed. Returns the same sentence.
    """
    try:
        node = nbformat.read(executed, as_version=4)
    except (OSError, ValueError):  # not begun, or only half written
        node = nbformat.v4.new_notebook()
    sentence = f"{name} stopped{_place_reached(node)}: {why}"
    shown = nbformat.v4.new_output(
        "error",
        ename="NotebookError",
        evalue=sentence,
    )
    node.cells.append(nbformat.v4.new_code_cell(outputs=[shown]))
    nbformat.write(node, executed)
    return NotebookError(f"{sentence} (executed copy: {executed})")


def _place_reached(node: nbformat.NotebookNode) -> str:
    """In which cell an executed notebook stopped, as the end of a sentence."""
    timings = [cell.metadata.get("papermill", {}) for cell in node.cells]
    begun = [n for n, timing in enumerate(timings) if timing.get("start_time")]
    return f" in cell {begun[-1]}" if begun else ""


def _readable(
    failure: PapermillExecutionError, notebook: Path, out: Path
) -> NotebookError:
    copy = f"(executed copy: {out})"
    kind = getattr(errors, failure.ename, None)
    if isinstance(kind, type) and issubclass(kind, ChurnError):
        return NotebookError(f"{failure.evalue} {copy}", kind.exit_code)
    place = f"{notebook.name} failed in cell {failure.cell_index}"
    said = f"{failure.ename}: {failure.evalue}".removesuffix(": ")
    return NotebookError(f"{place}: {said} {copy}")
