"""An executed notebook as an HTML page for readers."""

import base64
import copy
import html
import re
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter

import churn
from churn.errors import NotebookError
from churn.report import runs
from churn.store import write_atomically

SVG = "image/svg+xml"


STYLE = Path(__file__).with_name("report.css")


def report(executed: Path) -> dict[str, Path]:
    """Write report.html and metrics.json beside an executed notebook; returns both
    paths.
    """
    if not executed.is_file():
        raise NotebookError(f"there is no notebook {executed}")
    node = nbformat.read(executed, as_version=4)
    beside = {
        "report": executed.with_name("report.html"),
        "metrics": executed.with_name("metrics.json"),
    }
    if executed.name != "notebook.ipynb":  # plain papermill's own output names
        beside = {
            k: executed.with_name(f"{executed.stem}.{p.name}")
            for k, p in beside.items()
        }
    outputs = [o for cell in node.cells for o in cell.get("outputs", [])]
    write_atomically(beside["metrics"], runs.dump(runs.metrics_of(outputs)))
    write_atomically(beside["report"], _html(node, executed).encode())
    return beside


def _html(node: Any, executed: Path) -> str:
    """One file that needs no network: nbconvert's plain body in a shell of our own,
    which loads nothing.
    """
    exporter = HTMLExporter(
        template_name="basic", exclude_input=True, exclude_input_prompt=True
    )
    exporter.exclude_output_prompt = True
    body, _ = exporter.from_notebook_node(_for_readers(node))
    title, style = (
        html.escape(_title(node) or executed.stem),
        STYLE.read_text(encoding="utf-8"),
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head>\n'
        f"<body><main>{body}{_parameter_table(node)}</main>"
        f"<footer>{html.escape(executed.parent.name)} · churn {churn.__version__}</footer></body></html>\n"
    )


def _for_readers(node: Any) -> Any:
    """A copy without what only machines read: progress bars, warnings on stderr,
    recorded metrics.
    """
    readable = copy.deepcopy(node)
    readable.cells = [
        cell
        for cell in readable.cells
        if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]
    for cell in readable.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                _for_eyes(o) for o in cell.outputs if not _machine_output(o)
            ]
    return readable


def _machine_output(output: Any) -> bool:
    return output.get("name") == "stderr" or runs.METRICS_MIME in output.get("data", {})


def _for_eyes(output: Any) -> Any:
    """A traceback as one line, since a reader can do nothing with more; a chart as an
    image with its title as text.
    """
    if output.output_type == "error":
        return nbformat.v4.new_output(
            "stream", name="stdout", text=f"Stopped: {output.ename}: {output.evalue}\n"
        )
    if SVG in output.get("data", {}):
        image = base64.b64encode("".join(output.data[SVG]).encode()).decode()
        alt = html.escape(_chart_title(output.data), quote=True)
        output.data = {
            "text/html": f'<img alt="{alt}" src="data:{SVG};base64,{image}">'
        }
    return output


def _chart_title(data: dict[str, Any]) -> str:
    spec: dict[str, Any] = next(
        (value for mime, value in data.items() if "vegalite" in mime), {}
    )
    titles = [part.get("title") for part in (spec, *spec.get("layer", []))]
    return next(
        (t if isinstance(t, str) else t.get("text", "chart") for t in titles if t),
        "chart",
    )


def _title(node: Any) -> str | None:
    headings = (
        re.match(r"#\s+(.+)", cell.source)
        for cell in node.cells
        if cell.cell_type == "markdown"
    )
    return next((found[1] for found in headings if found), None)


def _parameter_table(node: Any) -> str:
    given = node.metadata.get("papermill", {}).get("parameters", {})
    rows = "".join(
        f"<tr><td>{html.escape(k)}</td><td>{html.escape(repr(v))}</td></tr>"
        for k, v in given.items()
    )
    return f"<h2>Parameters</h2><table>{rows}</table>" if rows else ""
