"""An executed notebook as an HTML page for readers.

The page is nbconvert's, with the template in templates/report.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor

import churn
from churn.errors import NotebookError
from churn.report import parameters, runs
from churn.store import write_atomically

TEMPLATES = Path(__file__).with_name("templates")
SVG = "image/svg+xml"
MARKDOWN = "text/markdown"
ERROR_TAG = "papermill-error-cell-tag"
"""Tag of the cells that papermill adds to a failed notebook, to link to the error."""


def report(executed: Path) -> dict[str, Path]:
    """Write report.html and metrics.json beside an executed notebook.

    Returns both paths by ``report`` and ``metrics``. Beside a notebook with a name of
    its own, such as out.ipynb, they are out.report.html and out.metrics.json. Raises
    NotebookError if there is no such notebook.
    """
    if not executed.is_file():
        raise NotebookError(f"there is no notebook {executed}")
    prefix = "" if executed.name == "notebook.ipynb" else f"{executed.stem}."
    page = executed.with_name(f"{prefix}report.html")
    figures = executed.with_name(f"{prefix}metrics.json")
    notebook = nbformat.read(executed, as_version=4)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    write_atomically(figures, runs.dump(runs.metrics_of(outputs)))
    write_atomically(page, _html(notebook, executed).encode())
    return {"report": page, "metrics": figures}


def _html(notebook: Any, executed: Path) -> str:
    exporter = HTMLExporter(
        extra_template_basedirs=[str(TEMPLATES)],
        template_name="report",
        preprocessors=[
            TagRemovePreprocessor(enabled=True, remove_cell_tags={ERROR_TAG}),
            for_readers,
        ],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    resources = {
        "metadata": {"name": executed.stem},
        "run_folder": executed.resolve().parent.name,
        "churn_version": churn.__version__,
        "parameters": parameters.in_effect(executed),
    }
    html, _ = exporter.from_notebook_node(notebook, resources)
    return str(html)


def for_readers(notebook: Any, resources: Any) -> tuple[Any, Any]:
    """Leave out what only machines read; name the page and describe its charts.

    A preprocessor of nbconvert, which works on a copy of the notebook. The title is
    the first heading, else the notebook's name.
    """
    name = resources["metadata"]["name"]
    notebook.metadata["title"] = _first_heading(notebook) or name
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _is_for_machines(o)]
            for output in cell.outputs:
                data = output.get("data", {})
                if SVG in data:
                    output.metadata[SVG] = {"alt": _chart_title(data)}
                if MARKDOWN in data:
                    data[MARKDOWN] = _without_html(data[MARKDOWN])
    return notebook, resources


def _is_for_machines(output: Any) -> bool:
    """Progress bars and warnings on stderr, and recorded metrics."""
    return output.get("name") == "stderr" or runs.METRICS_MIME in output.get("data", {})


def _without_html(markdown: str | list[str]) -> str:
    """Sentences whose markup is Markdown alone: a name from the data stays a text."""
    text = markdown if isinstance(markdown, str) else "".join(markdown)
    return text.replace("<", "&lt;")


def _first_heading(notebook: Any) -> str | None:
    for cell in notebook.cells:
        heading = re.match(r"#\s+(.+)", cell.source)
        if cell.cell_type == "markdown" and heading:
            return heading[1]
    return None


def _chart_title(data: dict[str, Any]) -> str:
    """Title of a chart, or of its first layer that has one, from the Vega-Lite spec."""
    specs = [spec for mime, spec in data.items() if "vegalite" in mime]
    for spec in specs[:1]:
        for part in (spec, *spec.get("layer", [])):
            title = part.get("title")
            if title:
                return title if isinstance(title, str) else title.get("text", "chart")
    return "chart"
