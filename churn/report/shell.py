"""The Python that a notebook's cells run in: an IPython shell of this process.

A kernel is a process of its own, which would load polars, scikit-learn and the rest
anew for every notebook. Here they are loaded once. After a notebook its variables,
working folder, environment, import paths, warnings, levels of logging and settings of
polars are put back; what it changes inside other modules stays. What it starts as
another process, or writes to a file descriptor, isn't part of its outputs.
"""

import atexit
import base64
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import nbformat
import polars
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_output
from traitlets import Type
from traitlets.config import Config

from churn.report.runs import plain

SETTINGS = Config({"HistoryManager": {"enabled": False}})
"""Settings of the shell: it writes no history of commands to the home folder."""

INLINE = "module://matplotlib_inline.backend_inline"
"""Backend of matplotlib that puts figures into a notebook's outputs."""


class Stream(io.TextIOBase):
    """Printed text that becomes an output of the cell which is running."""

    def __init__(self, name: str, outputs: list[Any]) -> None:
        self._name = name
        self._outputs = outputs
        self._printed: list[tuple[Any, list[str]]] = []

    def write(self, text: str) -> int:
        """Add text to the last output if that is of this stream, else a new output."""
        last = self._outputs[-1] if self._outputs else None
        is_going_on = self._printed and self._printed[-1][0] is last
        if text and not is_going_on:
            last = new_output("stream", name=self._name, text="")
            self._outputs.append(last)
            self._printed.append((last, []))
        if text:
            self._printed[-1][1].append(text)
        return len(text)

    def finish(self) -> None:
        """Put the printed text into the outputs, once the cell has ended."""
        for output, pieces in self._printed:
            output["text"] = "".join(pieces)


class ToCell(logging.Handler):
    """Writes what is logged to the outputs of the cell which is running."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, by which page_parts knows warnings from progress bars."""
        text = " ".join(record.getMessage().split())
        print(f"{record.levelname} {record.name}: {text}", file=sys.stderr)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    *_: Any,
    **__: Any,
) -> None:
    """Log a warning of Python, so that the console shows it as well as the cell."""
    logging.getLogger(category.__name__).warning("%s", message)


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
    """An output as a notebook's JSON can hold it; pictures are text."""
    texts = {
        mime: base64.b64encode(shown).decode() if isinstance(shown, bytes) else shown
        for mime, shown in data.items()
    }
    held = json.loads(json.dumps([plain(texts), plain(metadata or {})], default=str))
    return new_output(kind, data=held[0], metadata=held[1])


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
        streams = [Stream(name, self.outputs) for name in ("stdout", "stderr")]
        with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            result = self.run_cell(  # type: ignore[no-untyped-call]
                cell.source, store_history=True
            )
        for stream in streams:
            stream.finish()
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        return error

    def enable_gui(self, gui: Any = None) -> None:
        """Do nothing: figures are pictures in the notebook, not windows."""

    def ask_exit(self) -> None:
        """Go on where a cell calls ``exit``: a notebook ends with its last cell."""

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
    """A fresh shell for one notebook; what it changes is undone as far as said above."""
    with ExitStack() as undone:
        undone.enter_context(_surroundings())
        undone.enter_context(_logging())
        undone.enter_context(warnings.catch_warnings())
        warnings.showwarning = _log_warning
        undone.enter_context(polars.Config())
        undone.enter_context(_only_shell())
        shell = Shell.instance(config=SETTINGS)
        _join_matplotlib(shell)
        try:
            yield shell
        finally:
            # What IPython would do at the end of the process keeps all variables.
            atexit.unregister(shell.atexit_operations)
            shell.user_ns.clear()


def _join_matplotlib(shell: Shell) -> None:
    """Let figures go to this shell; by itself matplotlib joins only the first one."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline:
        inline.configure_inline_support(shell, INLINE)
        formats = inline.InlineBackend.instance().figure_formats
        inline.select_figure_formats(shell, formats)


@contextmanager
def _only_shell() -> Iterator[None]:
    """Set aside the shell of IPython or Jupyter, if this process runs in one."""
    other = InteractiveShell._instance
    if other is not None:
        type(other).clear_instance()
    try:
        yield
    finally:
        Shell.clear_instance()
        if other is not None:
            for kind in type(other)._walk_mro():
                kind._instance = other


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
    """Put back the handlers of the root logger, and the levels of all."""
    root = logging.getLogger()
    handlers, disabled = list(root.handlers), root.manager.disable
    known = [root, *(logging.getLogger(name) for name in root.manager.loggerDict)]
    levels = [logger.level for logger in known]
    root.addHandler(ToCell(logging.WARNING))
    try:
        yield
    finally:
        root.handlers[:] = handlers
        logging.disable(disabled)
        for logger, level in zip(known, levels, strict=True):
            logger.setLevel(level)
