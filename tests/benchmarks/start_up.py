"""Measure what it costs to start: the command line, the package and every notebook.

python -m tests.benchmarks.start_up [--notebooks FOLDER] [--opener NAME] [--repeat 3]

Prints processor seconds (user and system, of the child process) of `churn --help`, of
`import churn` up to `churn.open`, and of each notebook's first cell run as plain Python
in a folder with a small store. Each figure is the least of N runs, and the runs of all
commands alternate, so that a busy spell of the machine does not fall on one of them.
Modules are compiled once, to a folder of this run's own, before anything is measured.
The ratios compare with an import of polars, or of polars and scikit-learn, in the same
run. What is measured is the `churn` that this Python imports from another folder; for
another version of it `--opener` names the function that opens a study, and a first cell
that goes on to work is cut after that.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parents[1] / "notebooks"
CONSOLE_SCRIPT = Path(sys.executable).with_name("churn")

POLARS = "import polars"
SKLEARN = "import polars, sklearn.linear_model"


@dataclass(frozen=True)
class Start:
    """A way to start, and the most it may cost as a multiple of its baseline."""

    name: str
    command: tuple[str, ...]
    baseline: str = ""
    limit: float = 0.0


def main() -> None:
    """Prepare a small store, measure every start and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notebooks", type=Path, default=NOTEBOOKS)
    parser.add_argument("--opener", default="churn.open")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study_file = make_store(Path(folder))
        starts = starts_to_measure(given.notebooks.resolve(), study_file, given.opener)
        measure(starts, 1, Path(folder))  # compiles what the starts import
        seconds = measure(starts, given.repeat, Path(folder))
    print_table(starts, seconds)


def make_store(folder: Path) -> Path:
    """Simulate a small app, ingest it and return its study file."""
    study_file = folder / "app" / "churn.toml"
    size = ("--users", "300", "--days", "120")
    for command in (
        ("simulate", str(study_file.parent), *size, "--no-progress"),
        ("ingest", "--study", str(study_file), "--no-progress"),
    ):
        subprocess.run([CONSOLE_SCRIPT, *command], check=True, stdout=subprocess.PIPE)
    return study_file


def starts_to_measure(notebooks: Path, study_file: Path, opener: str) -> list[Start]:
    """The two baselines, the command line, the package and every notebook."""
    module, _, function = opener.rpartition(".")
    help_command = (str(CONSOLE_SCRIPT), "--help")
    starts = [
        Start(POLARS, python(POLARS)),
        Start(SKLEARN, python(SKLEARN)),
        Start("churn --help", help_command, POLARS, 0.6),
        Start("import churn", python("import churn"), POLARS, 1.3),
        Start(
            opener,
            python(f"import {module}\n{opener}({str(study_file)!r})"),
            POLARS,
            1.3,
        ),
    ]
    for notebook in sorted(notebooks.glob("[0-9]_*.ipynb")):
        code = first_cell(notebook, study_file, f"{function}(")
        starts.append(Start(notebook.stem, python(code), SKLEARN, 1.5))
    return starts


def python(code: str) -> tuple[str, ...]:
    """The command that runs a piece of Python."""
    return (sys.executable, "-c", code)


def first_cell(notebook: Path, study_file: Path, opening: str) -> str:
    """The parameters and the first cell, to the statement that opens the study."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    parameters, first = sources[:2]
    kept = []
    for statement in ast.parse(first).body:
        kept.append(ast.unparse(statement))
        if opening in kept[-1]:
            break
    return "\n".join([parameters, f"study = study_file = {str(study_file)!r}", *kept])


def measure(starts: list[Start], repeat: int, folder: Path) -> dict[str, float]:
    """Least processor seconds of each start over the repeats."""
    least = dict.fromkeys((start.name for start in starts), float("inf"))
    for _ in range(repeat):
        for start in starts:
            used = processor_seconds(start.command, folder)
            least[start.name] = min(least[start.name], used)
    return least


def processor_seconds(command: tuple[str, ...], folder: Path) -> float:
    """User and system time of one child process, which works in this folder."""
    usage = used(command, folder)
    return usage.ru_utime + usage.ru_stime


def used(command: tuple[str, ...], folder: Path) -> Any:
    """What a child process and its children used, as resource.getrusage states it.

    Raises CalledProcessError if it fails.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return usage


def print_table(starts: list[Start], seconds: dict[str, float]) -> None:
    """One line per start: seconds, ratio to its baseline, the limit and the verdict."""
    for start in starts:
        line = f"{start.name:36} {seconds[start.name]:6.2f} s"
        if start.baseline:
            ratio = seconds[start.name] / seconds[start.baseline]
            verdict = "ok" if ratio <= start.limit else "TOO MUCH"
            line += (
                f"  {ratio:5.2f} x {start.baseline}, wanted {start.limit}: {verdict}"
            )
        print(line)


if __name__ == "__main__":
    main()
