"""How papermill executes a notebook here: in this process, without a kernel.

papermill puts in the parameters, notes times and errors, and saves the notebook while
it is executed, as it does with a kernel.
"""

import json
import platform
from pathlib import Path
from typing import Any

import nbformat
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines

from churn.report import shell
from churn.store import write_atomically

NAME = "this-process"
"""Name under which papermill knows this engine."""

LANGUAGE = {
    "name": "python",
    "version": platform.python_version(),
    "mimetype": "text/x-python",
    "file_extension": ".py",
    "codemirror_mode": {"name": "ipython", "version": 3},
    "pygments_lexer": "ipython3",
    "nbconvert_exporter": "python",
}
"""What a notebook's metadata says of the Python that executed it."""


class Record(NotebookExecutionManager):  # type: ignore[misc]  # papermill's is untyped
    """The executed notebook, saved whenever a cell of code begins.

    papermill would write it in its lasting form before and after every cell, which
    takes longer than most cells. That form is written once, at the end.
    """

    def save(self, **_: Any) -> None:
        """Do nothing where papermill would save, before and after each cell."""

    def keep(self) -> None:
        """Save the notebook, so that it is known how far a killed process came."""
        if self.output_path:
            write_atomically(Path(self.output_path), json.dumps(self.nb).encode())

    def execute(self, opened: shell.Shell, index: int) -> BaseException | None:
        """Execute one cell and note how it ended; returns what it raised."""
        cell = self.nb.cells[index]
        self.cell_start(cell, index)
        error = None
        if cell.cell_type == "code" and cell.source.strip():
            self.keep()
            error = opened.run(cell)
        if error:
            self.cell_exception(cell, cell_index=index, exception=error)
        self.cell_complete(cell, cell_index=index)
        return error


class ThisProcess(Engine):  # type: ignore[misc]  # papermill's is untyped
    """Executes cells in a shell of this process; stops at the first that fails."""

    @classmethod
    def execute_notebook(
        cls,
        nb: nbformat.NotebookNode,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool | dict[str, Any] = True,
        **options: Any,
    ) -> nbformat.NotebookNode:
        """Execute a notebook up to the first failing cell, and return it executed.

        Raises KeyboardInterrupt if a cell was interrupted.
        """
        nb.metadata.language_info = LANGUAGE
        record = Record(nb, output_path, progress_bar=progress_bar)
        record.notebook_start()
        try:
            _execute_cells(record)
        finally:
            record.cleanup_pbar()
            record.notebook_complete()
            record.keep()
        return nb


def _execute_cells(record: Record) -> None:
    with shell.opened() as opened:
        for index in range(len(record.nb.cells)):
            error = record.execute(opened, index)
            if isinstance(error, KeyboardInterrupt):
                raise error
            if error:
                return


papermill_engines.register(NAME, ThisProcess)
