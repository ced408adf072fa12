"""An executed notebook as an HTML page for readers.

The page is nbconvert's, with the template in templates/report.
"""

from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter

import churn
from churn.errors import NotebookError
from churn.report import page_parts, parameters, runs
from churn.store import write_atomically

TEMPLATES = Path(__file__).with_name("templates")


def report(executed: Path) -> dict[str, Path]:
    """Write report.html and metrics.json beside an executed notebook.

    Returns both paths by ``report`` and ``metrics``. Beside a notebook with a name of
    its own, such as out.ipynb, they are out.report.html and out.metrics.json. The
    figures hold the notebook's verdict too, by ``verdict``, and by ``warnings`` what it
    warned of. Raises NotebookError if
    there is no such notebook.
    """
    if not executed.is_file():
        raise NotebookError(f"there is no notebook {executed}")
    prefix = "" if executed.name == "notebook.ipynb" else f"{executed.stem}."
    page = executed.with_name(f"{prefix}report.html")
    figures = executed.with_name(f"{prefix}metrics.json")
    notebook = nbformat.read(executed, as_version=4)
    outputs = page_parts.outputs_of(notebook)
    recorded = runs.metrics_of(outputs)
    verdict = page_parts.verdict_of(outputs)
    if verdict:
        recorded["verdict"] = verdict
    if warned := page_parts.warnings_of(outputs):
        recorded["warnings"] = warned
    write_atomically(figures, runs.dump(recorded))
    write_atomically(page, _html(notebook, executed).encode())
    return {"report": page, "metrics": figures}


def _html(
    notebook: Any,
    executed: Path,
) -> str:
    page = page_parts.of_notebook(notebook, executed.stem)
    exporter = HTMLExporter(
        extra_template_basedirs=[str(TEMPLATES)],
        template_name="report",
        filters={"with_words": page.marks.mark, "without_html": _without_html},
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    resources = {
        "metadata": {"name": executed.stem},
        "page": page,
        # A function, since nbconvert copies everything else before words are marked.
        "words": lambda: page.marks.words(),
        "run_folder": executed.resolve().parent.name,
        "churn_version": churn.__version__,
        "parameters": parameters.in_effect(executed),
    }
    html, _ = exporter.from_notebook_node(notebook, resources)
    return str(html)


def _without_html(markdown: str | list[str]) -> str:
    """Sentences whose markup is Markdown alone: a name from the data stays a text."""
    return "".join(markdown).replace("<", "&lt;")
