"""The page made from an executed notebook."""

from pathlib import Path
from typing import Any

import nbformat
import polars as pl
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from churn.errors import NotebookError
from churn.report import display, page, runs

EVIL = "<script>alert('x')</script>"


def page_of(folder: Path, *outputs: Any, **metadata: Any) -> str:
    """The HTML of a notebook with one heading and one code cell."""
    cells = [
        new_markdown_cell("# How many & who"),
        new_code_cell("secret = 1", outputs=list(outputs)),
        new_markdown_cell(
            "An exception was encountered", metadata={"tags": [page.ERROR_TAG]}
        ),
    ]
    executed = folder / "notebook.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), executed)
    return page.report(executed)["report"].read_text()


def chart(**spec: Any) -> Any:
    """An output that holds a chart."""
    data = {"application/vnd.vegalite.v5+json": spec, page.SVG: "<svg></svg>"}
    return new_output("display_data", data=data)


def test_a_page_shows_results_without_code_and_without_what_machines_read(
    tmp_path: Path,
) -> None:
    """Printed text stays; code, stderr, recorded figures and papermill's links go."""
    recorded = {runs.METRICS_MIME: {"n_scored": 4711}, "text/plain": ""}
    text = page_of(
        tmp_path,
        new_output("stream", name="stdout", text="three users"),
        new_output("stream", name="stderr", text="a warning"),
        new_output("display_data", data=recorded),
    )
    assert "three users" in text
    for unread in ("secret", "a warning", "4711", "An exception was encountered"):
        assert unread not in text
    assert text.count("output_area") == 1 + text.count(".output_area")
    assert runs.read_metrics(tmp_path) == {"n_scored": 4711}


def test_whatever_a_notebook_holds_is_escaped(tmp_path: Path) -> None:
    """Title, printed text, sentences, tables, errors, chart titles and parameters run
    no script.
    """
    names = pl.DataFrame({"event": [EVIL], EVIL: ["a"]})
    text = page_of(
        tmp_path,
        new_output("stream", name="stdout", text=EVIL),
        new_output("display_data", data={page.MARKDOWN: f"the **event** {EVIL}"}),
        new_output("display_data", data={"text/html": display.table(names)}),
        new_output("error", ename="InputError", evalue=EVIL, traceback=["line 1"]),
        chart(title=f'"{EVIL}'),
        papermill={"parameters": {EVIL: EVIL}},
    )
    assert "<script" not in text
    assert "the <strong>event</strong> &lt;script&gt;" in text
    assert "Stopped: InputError: &lt;script&gt;" in text
    assert "line 1" not in text
    assert "<title>How many &amp; who</title>" in text


def test_a_chart_is_an_image_described_by_its_title(tmp_path: Path) -> None:
    """Its own title, else that of its first layer with one, else the word chart."""
    layered = chart(layer=[{}, {"title": {"text": "Gains"}}])
    text = page_of(tmp_path, chart(title="Events per day"), layered, chart())
    for title in ("Events per day", "Gains", "chart"):
        assert f'<img alt="{title}" src="data:image/svg+xml;base64,' in text


def test_parameters_stand_at_the_end_as_they_were_given(tmp_path: Path) -> None:
    """Texts in quotes, numbers without; no heading where none were given."""
    text = page_of(tmp_path, papermill={"parameters": {"cutoff": "", "n": 7}})
    assert "<tr><td>cutoff</td><td>''</td><td>given</td>" in text
    assert "<tr><td>n</td><td>7</td><td>given</td>" in text
    assert "Parameters" not in page_of(tmp_path)


def test_defaults_stand_there_too_with_what_they_mean(tmp_path: Path) -> None:
    """A figure that hangs on a default can be judged without the notebook."""
    cell = new_code_cell(
        "n: int = 1  # rounds\nshare: float = 0.05  # who <stays>",
        metadata={"tags": ["parameters"]},
    )
    spec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    metadata = {"kernelspec": spec, "papermill": {"parameters": {"n": 7}}}
    executed = tmp_path / "notebook.ipynb"
    nbformat.write(new_notebook(cells=[cell], metadata=metadata), executed)
    text = page.report(executed)["report"].read_text()
    assert "<td>n</td><td>7</td><td>given</td><td>rounds</td>" in text
    assert "<td>share</td><td>0.05</td><td>default</td>" in text
    assert "<td>who &lt;stays&gt;</td>" in text


def test_a_missing_notebook_is_an_error(tmp_path: Path) -> None:
    """It names the file that isn't there."""
    with pytest.raises(NotebookError, match=r"there is no notebook .*out\.ipynb"):
        page.report(tmp_path / "out.ipynb")
