"""What cells put out, and what they leave behind in the process."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.terminal.interactiveshell import TerminalInteractiveShell

from churn.report import engine

PRINTED = """\
import sys
print("one")
print("two", end="")
print("trouble", file=sys.stderr)"""

SHOWN = """\
from IPython.display import Markdown, display, update_display
handle = display(Markdown("first"), display_id="a")
print("between")
update_display(Markdown("renewed"), display_id="a")
Markdown("value")"""


def cells(folder: Path, *sources: str, kernel: bool = False) -> list[Any]:
    """The executed cells of a notebook with these sources."""
    made = [nbformat.v4.new_code_cell(source) for source in sources]
    spec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": spec})
    nbformat.write(notebook, folder / "in.ipynb")
    name = None if kernel else engine.NAME
    executed = papermill.execute_notebook(
        str(folder / "in.ipynb"), None, engine_name=name, progress_bar=False
    )
    return list(executed.cells)


def test_outputs_are_those_of_a_kernel(tmp_path: Path) -> None:
    """Printed text by stream, displayed and renewed values, the value of the last line,
    pictures, and top-level await, in their order and with the cell's number.
    """
    sources = (
        PRINTED,
        SHOWN,
        "from IPython.display import Image\nImage(b'\\x89PNG', format='png')",
        "import asyncio\nawait asyncio.sleep(0)\n7",
        "%time x = 1;",
        "7;",
    )
    kept = ("source", "outputs", "execution_count")
    got, expected = (
        [
            {k: cell[k] for k in kept}
            for cell in cells(tmp_path, *sources, kernel=kernel)
        ]
        for kernel in (False, True)
    )
    for mine, kernels in zip(got, expected, strict=True):
        if not mine["source"].startswith("%time"):
            assert mine == kernels
    assert [output.output_type for output in got[1]["outputs"]] == [
        "display_data",
        "stream",
        "execute_result",
    ]


def test_long_printed_text_takes_no_longer_for_its_length(tmp_path: Path) -> None:
    """Of forty times as many lines a cell takes less than two hundred times as long."""
    few, many = (f"for i in range({n}): print('x' * 60)" for n in (2_000, 80_000))
    executed = cells(tmp_path, few, many)
    assert executed[1].outputs[0].text == ("x" * 60 + "\n") * 80_000
    seconds = [cell.metadata.papermill["duration"] for cell in executed]
    assert seconds[1] < 200 * max(seconds[0], 0.01)


def test_figures_and_days_in_an_output_are_plain(tmp_path: Path) -> None:
    """Numpy's numbers and dates, which JSON does not know, are shown as JSON can."""
    source = (
        "from datetime import date\nimport numpy as np\n"
        "from IPython.display import JSON\n"
        "JSON({'n': np.int64(3), 'd': date(2026, 1, 1), 'o': object})"
    )
    (cell,) = cells(tmp_path, source)
    shown = cell.outputs[0].data["application/json"]
    assert (shown["n"], shown["d"]) == (3, "2026-01-01")


def test_a_cell_cannot_end_the_run_or_open_windows(tmp_path: Path) -> None:
    """The notebook goes on after exit(), and where it asks for a window."""
    executed = cells(tmp_path, "exit()", "get_ipython().enable_gui('qt')", "1 + 1")
    assert executed[2].outputs[0].data["text/plain"] == "2"


def test_a_notebook_runs_inside_another_shell(tmp_path: Path) -> None:
    """Called from IPython, it runs in a shell of its own, and IPython's is there again
    afterwards.
    """
    other = TerminalInteractiveShell.instance()
    try:
        (cell,) = cells(tmp_path, "get_ipython().__class__.__name__")
        assert cell.outputs[0].data["text/plain"] == "'Shell'"
        assert InteractiveShell.instance() is other
    finally:
        TerminalInteractiveShell.clear_instance()


def test_an_error_is_an_output_and_ends_the_run(tmp_path: Path) -> None:
    """So is one of syntax; the cells after it are not executed."""
    for broken, name in (("1 / 0", "ZeroDivisionError"), ("1 +", "SyntaxError")):
        with pytest.raises(papermill.PapermillExecutionError, match=name) as caught:
            cells(tmp_path, broken, "raise SystemError")
        assert caught.value.cell_index == 0


def test_nothing_that_a_notebook_changes_reaches_the_next(tmp_path: Path) -> None:
    """Neither names nor working folder, environment, import paths, logging, warnings
    and the main module.
    """
    before = dict(os.environ), os.getcwd(), list(sys.path), sys.modules["__main__"]
    handlers = list(logging.getLogger().handlers)
    filters = list(warnings.filters)
    change = (
        "import os, sys, logging, warnings\n"
        f"os.chdir({str(tmp_path)!r}); os.environ['CHURN_LEFT'] = '1'\n"
        "sys.path.append('/left'); logging.getLogger().addHandler(logging.NullHandler())\n"
        "warnings.simplefilter('ignore'); left = 1"
    )
    cells(tmp_path, change)
    after = dict(os.environ), os.getcwd(), list(sys.path), sys.modules["__main__"]
    assert after == before
    assert logging.getLogger().handlers == handlers
    assert warnings.filters == filters
    (cell,) = cells(tmp_path, "'left' in globals()")
    assert cell.outputs[0].data["text/plain"] == "False"


def test_nobody_is_asked_for_input(tmp_path: Path) -> None:
    """A night would wait for ever."""
    with pytest.raises(papermill.PapermillExecutionError, match="EOFError"):
        cells(tmp_path, "input('name? ')")


def test_modules_in_the_working_folder_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a kernel, so that a model may hold a class of one's own."""
    (tmp_path / "ours_beside.py").write_text("VALUE = 7\n")
    monkeypatch.chdir(tmp_path)
    (cell,) = cells(tmp_path, "import ours_beside\nours_beside.VALUE")
    assert cell.outputs[0].data["text/plain"] == "7"
    del sys.modules["ours_beside"]
