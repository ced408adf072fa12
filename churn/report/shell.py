"""The Python that a notebook's cells run in: an IPython shell of this process.

A kernel is a process of its own, which would load polars, scikit-learn and the rest
anew for every notebook. Here they are loaded once. What a notebook changes in the
process (working folder, environment, warnings, logging) is undone after it.
"""

import atexit
import base64
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_output
from traitlets import Type
from traitlets.config import Config

SETTINGS = Config({"HistoryManager": {"enabled": False}})
"""Settings of the shell: it writes no history of commands to the home folder."""

INLINE = "module://matplotlib_inline.backend_inline"
"""Backend of matplotlib that puts figures into a notebook's outputs."""


class Stream(io.TextIOBase):
    """Printed text that becomes an output of the cell which is running."""

    def __init__(self, name: str, outputs: list[Any]) -> None:
        self._name = name
        self._outputs = outputs

    def write(self, text: str) -> int:
        """Add text to the last output if that is of this stream, else a new output."""
        last = self._outputs[-1] if self._outputs else {}
        if last.get("name") == self._name:
            last["text"] += text
        elif text:
            self._outputs.append(new_output("stream", name=self._name, text=text))
        return len(text)


class Displayed(DisplayPublisher):
    """What a cell displays becomes its output."""

    shell: "Shell"

    def publish(  # type: ignore[override]  # without a parameter that is obsolete
        self,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        """Add an output, or renew all of this notebook with the same display id."""
        display_id = (transient or {}).get("display_id")
        made = _output("display_data", data, metadata)
        same = self.shell.displayed.setdefault(display_id, [])
        if update:
            for output in same:
                output.update(data=made.data, metadata=made.metadata)
            return
        self.shell.outputs.append(made)
        if display_id:
            same.append(made)

    def clear_output(self, wait: bool = False) -> None:
        """Remove what the cell has put out so far."""
        self.shell.outputs.clear()


class Result(DisplayHook):
    """The value of a cell's last line becomes its output."""

    shell: "Shell"

    def write_output_prompt(self) -> None:
        """Show no prompt: the output states its number."""

    def write_format_data(
        self,
        format_dict: Mapping[str, Any],
        md_dict: Mapping[str, Any] | None = None,
    ) -> None:
        """Add the value in all forms in which it can be shown."""
        made = _output("execute_result", format_dict, md_dict)
        made.execution_count = self.prompt_count
        self.shell.outputs.append(made)

    def finish_displayhook(self) -> None:
        """Print no line after the value."""
        self._is_active = False


def _output(
    kind: str, data: Mapping[str, Any], metadata: Mapping[str, Any] | None
) -> Any:
    """An output whose pictures are text, as a notebook holds them."""
    texts = {
        mime: base64.b64encode(shown).decode() if isinstance(shown, bytes) else shown
        for mime, shown in data.items()
    }
    return new_output(kind, data=texts, metadata=dict(metadata or {}))


class Shell(InteractiveShell):
    """A shell that collects the outputs of the cell which is running."""

    display_pub_class = Type(Displayed)
    displayhook_class = Type(Result)

    def __init__(self, **options: Any) -> None:
        self.outputs: list[Any] = []
        self.displayed: dict[str | None, list[Any]] = {}
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def run(self, cell: nbformat.NotebookNode) -> BaseException | None:
        """Run a cell and put its outputs into it; returns what it raised."""
        self.outputs = cell.outputs
        cell.execution_count = self.execution_count
        printed = redirect_stdout(Stream("stdout", self.outputs))
        with printed, redirect_stderr(Stream("stderr", self.outputs)):
            result = self.run_cell(  # type: ignore[no-untyped-call]
                cell.source, store_history=True
            )
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        return error

    def _showtraceback(
        self, etype: type[BaseException], evalue: Any, stb: list[str]
    ) -> None:
        error = new_output(
            "error",
            ename=etype.__name__,
            evalue=str(evalue),
            traceback=stb,
        )
        self.outputs.append(error)


@contextmanager
def opened() -> Iterator[Shell]:
    """A fresh shell for one notebook; afterwards the process is as it was before."""
    with ExitStack() as undone:
        undone.enter_context(_surroundings())
        undone.enter_context(_logging())
        undone.enter_context(warnings.catch_warnings())
        Shell.clear_instance()
        shell = Shell.instance(config=SETTINGS)
        try:
            yield shell
        finally:
            # What IPython would do at the end of the process keeps all variables.
            atexit.unregister(shell.atexit_operations)
            shell.user_ns.clear()
            Shell.clear_instance()


@contextmanager
def _surroundings() -> Iterator[None]:
    """Put back working folder, environment, import paths, main module and input.

    As in a kernel, modules in the working folder can be imported, matplotlib draws into
    the notebook, and nobody can be asked for input.
    """
    folder, environment = os.getcwd(), dict(os.environ)
    paths, main, keyboard = list(sys.path), sys.modules["__main__"], sys.stdin
    sys.path.insert(0, "")
    os.environ.setdefault("MPLBACKEND", INLINE)
    try:
        with open(os.devnull, encoding="utf-8") as nobody:
            sys.stdin = nobody
            yield
    finally:
        sys.path[:], sys.modules["__main__"], sys.stdin = paths, main, keyboard
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)


@contextmanager
def _logging() -> Iterator[None]:
    """Put back the level and the handlers of the root logger."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
