"""What a page shows of an executed notebook, and in which order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from churn import errors
from churn.errors import ChurnError
from churn.report import chart_data, figures, runs
from churn.report.glossary import Marks
from churn.report.theme import DARK
from churn.report.verdict import VERDICT_MIME

METHOD_TAG = "method"
"""Tag of cells that a page shows at its end: how it was made."""

ERROR_TAG = "papermill-error-cell-tag"
"""Tag of the cells that papermill adds to a failed notebook, to link to the error."""

DAY = "%d %b %Y"

_HEADING = re.compile(r"#\s+(.+)\n*")
_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_LONG_TEXT = re.compile(r'(<td class="[^"]*gt_left)(">[^<]{28})')
_WARNING = re.compile(r"(?:^(?:WARNING|ERROR) [\w.]+|\w+Warning): (.+)")
_UNREAD = re.compile(r' (?:id|headers|data-quarto-[a-z-]+)="[^"]*"')


@dataclass(frozen=True)
class Part:
    """Cells of a page under a heading; the evidence has none."""

    title: str
    cells: tuple[Any, ...]


@dataclass(frozen=True)
class Page:
    """A page's content.

    - ``verdict``: the fields of a Verdict; null without one.
    - ``stopped``: why the run ended early; empty if it is complete.
    - ``warnings``: what its cells warned of.
    - ``made``: when, as a text; empty if the notebook doesn't say.
    - ``dark``: the colours of charts on a dark screen.
    - ``marks``: the words that were explained so far.
    """

    title: str
    verdict: dict[str, Any] | None
    stopped: str
    warnings: tuple[str, ...]
    made: str
    parts: tuple[Part, ...]
    dark: dict[str, str] = field(default_factory=lambda: DARK)
    marks: Marks = field(default_factory=Marks)


def outputs_of(notebook: Any) -> list[Any]:
    """All outputs of a notebook, in their order."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def verdict_of(outputs: Sequence[Any]) -> dict[str, Any] | None:
    """The fields of the last verdict that a notebook showed; null without one."""
    found = [o.data[VERDICT_MIME] for o in outputs if VERDICT_MIME in o.get("data", {})]
    return dict(found[-1]) if found else None


def warnings_of(outputs: Sequence[Any]) -> list[str]:
    r"""What cells warned of on their standard error, each once.

    >>> outputs_ = [{"name": "stderr", "text": "fit: 3/4\nWARNING churn.x: few rows"}]
    >>> warnings_of(outputs_)
    ['few rows']
    """
    printed = ["".join(o["text"]) for o in outputs if o.get("name") == "stderr"]
    found = [_WARNING.search(line) for text in printed for line in text.splitlines()]
    return list(dict.fromkeys(match[1] for match in found if match))


def of_notebook(
    notebook: Any,
    name: str,
) -> Page:
    """The page of a notebook, whose cells are changed for it.

    The title is the first heading, else ``name``.
    """
    outputs = outputs_of(notebook)
    verdict = verdict_of(outputs)
    title = _take_heading(notebook) or name
    _for_readers(notebook)
    shown = [cell for cell in notebook.cells if not _has_tag(cell, ERROR_TAG)]
    method = tuple(cell for cell in shown if _has_tag(cell, METHOD_TAG))
    evidence = tuple(cell for cell in shown if not _has_tag(cell, METHOD_TAG))
    if verdict and verdict["data_until"]:
        until = datetime.fromisoformat(verdict["data_until"])
        verdict["data_until"] = f"{until:{DAY}}"
    return Page(
        title,
        verdict,
        _why_stopped(outputs),
        tuple(warnings_of(outputs)),
        _made(notebook),
        (Part("", evidence), Part("How this was made", method)),
    )


def _has_tag(
    cell: Any,
    tag: str,
) -> bool:
    return tag in cell.metadata.get("tags", [])


def _take_heading(notebook: Any) -> str:
    """The first heading of the first order, which leaves its cell; empty without one."""
    for cell in notebook.cells:
        heading = _HEADING.match(cell.source)
        if cell.cell_type == "markdown" and heading:
            cell.source = cell.source[heading.end() :]
            return heading[1]
    return ""


def _made(notebook: Any) -> str:
    """When the notebook was executed."""
    started = notebook.metadata.get("papermill", {}).get("start_time")
    if not started:
        return ""
    return f"made {datetime.fromisoformat(started):{DAY}, %H:%M} UTC"


def _why_stopped(outputs: Sequence[Any]) -> str:
    """The sentence of the last error; that of an unknown kind names its kind."""
    failed = [o for o in outputs if o.output_type == "error"]
    if not failed:
        return ""
    last = failed[-1]
    kind = getattr(errors, last.ename, None)
    if isinstance(kind, type) and issubclass(kind, ChurnError):
        return str(last.evalue)
    return f"{last.ename}: {last.evalue}".removesuffix(": ")


def _for_readers(notebook: Any) -> None:
    """Leave out what only machines read; describe charts, tables and pictures."""
    heading = ""
    number = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.findall(r"^#+\s+(.+)$", cell.source, re.MULTILINE)
            heading = found[-1] if found else heading
            continue
        cell["outputs"] = [o for o in cell.get("outputs", []) if _is_for_people(o)]
        for output in cell.outputs:
            number += 1
            _describe(output, number, heading)


def _is_for_people(output: Any) -> bool:
    """Not a progress bar, a warning, recorded metrics, or the verdict, which has its own
    place.
    """
    data = output.get("data", {})
    is_for_machines = output.get("name") == "stderr" or runs.METRICS_MIME in data
    return not is_for_machines and VERDICT_MIME not in data


def _describe(
    output: Any,
    number: int,
    heading: str,
) -> None:
    """Make an output readable without its cell: a figure, a table, or a picture."""
    data = output.get("data", {})
    specs = [spec for mime, spec in data.items() if "vegalite" in mime]
    if specs:
        _draw(output, specs[0], number)
        return
    html = "".join(data.get("text/html", ""))
    if "<table" in html and "<script" not in html:
        data["text/html"] = _plain_table(html)
        output.metadata["table"] = f"Table {number} {heading}".strip()
    for mime in data:
        if mime.startswith("image/"):
            output.metadata[mime] = {"alt": f"Picture {number} {heading}".strip()}


def _draw(
    output: Any,
    spec: Any,
    number: int,
) -> None:
    """Replace a chart by its figure, or by a sentence where it can't be drawn."""
    try:
        drawn = figures.figure(spec, f"chart{number}")
    except ValueError:
        title = chart_data.title_of(spec)
        output.data = {"text/markdown": f"The chart *{title}* could not be drawn."}
        return
    output.metadata |= {"figure": drawn, "number": number}


def _plain_table(html: str) -> str:
    """A table of Great Tables without its own style and ids; any other as it is.

    Cells with a long text get the class ``long``.
    """
    found = _TABLE.search(html)
    if not found or "gt_table" not in html:
        return html
    plain = re.sub(r"<[^>]*>", lambda tag: _UNREAD.sub("", tag[0]), found[0])
    return _LONG_TEXT.sub(r"\1 long\2", plain)
