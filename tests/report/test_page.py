"""The page made from an executed notebook."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import polars as pl
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from churn.errors import NotebookError
from churn.report import charts, display, page, page_parts, runs
from churn.report.chart_data import read
from churn.report.chart_words import numbers, sentence
from churn.report.figures import figure
from churn.report.glossary import WORDS, Marks
from churn.report.theme import DARK
from churn.report.verdict import Verdict

from .test_charts import CHARTS

EVIL = "<script>alert('x')</script>"


def page_of(folder: Path, *outputs: Any, **metadata: Any) -> str:
    """The HTML of a notebook with one heading and one code cell."""
    cells = [
        new_markdown_cell("# How many & who"),
        new_code_cell("secret = 1", outputs=list(outputs)),
        new_markdown_cell(
            "An exception was encountered", metadata={"tags": [page_parts.ERROR_TAG]}
        ),
    ]
    executed = folder / "notebook.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), executed)
    return page.report(executed)["report"].read_text()


def chart(**spec: Any) -> Any:
    """An output that holds a chart of two points."""
    rows = [{"x": 1, "y": 0.5}, {"x": 2, "y": 0.25}]
    drawn = {
        "data": {"values": rows},
        "mark": "line",
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": "days"},
            "y": {"field": "y", "type": "quantitative", "axis": {"format": ".0%"}},
        },
    }
    data = {"application/vnd.vegalite.v5+json": {**drawn, **spec}}
    return new_output("display_data", data=data)


def verdict(*sentences: str, word: str = "Ready") -> Any:
    """An output that holds a verdict."""
    shown = Verdict(word, "caution", sentences, "send it", date(2026, 3, 1))
    return new_output("display_data", data=shown._repr_mimebundle_())


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
    assert "Out[" not in text
    assert runs.read_metrics(tmp_path) == {"n_scored": 4711}


def test_whatever_a_notebook_holds_is_escaped(tmp_path: Path) -> None:
    """Verdict, printed text, sentences, tables, chart titles and numbers, and parameters
    run no script; nor does what stopped a run.
    """
    names = pl.DataFrame({"event": [EVIL], EVIL: ["a"]})
    text = page_of(
        tmp_path,
        new_output("stream", name="stdout", text=EVIL),
        new_output("display_data", data={"text/markdown": f"the **event** {EVIL}"}),
        new_output("display_data", data={"text/html": display.table(names)}),
        chart(title=f'"{EVIL}', data={"values": [{"x": 1, "y": EVIL}]}),
        verdict(EVIL, word=EVIL),
        papermill={"parameters": {EVIL: EVIL}},
    )
    assert "<script>alert" not in text
    assert "the <strong>event</strong> &lt;script&gt;" in text
    stopped = new_output("error", ename="InputError", evalue=EVIL, traceback=[])
    assert "<script>alert" not in page_of(tmp_path, stopped)
    assert "<title>How many &amp; who</title>" in text


def test_the_verdict_stands_above_everything_else(tmp_path: Path) -> None:
    """Below the title: word, symbol, age of the data, sentences and action; its cell
    shows it no more, and metrics.json holds it too.
    """
    text = page_of(
        tmp_path,
        new_output("stream", name="stdout", text="evidence"),
        verdict("a **b**"),
    )
    shown = ["<h1>", "!</span> Ready", "data until 01 Mar 2026", "<strong>b</strong>"]
    places = [text.index(part) for part in [*shown, "send it", "evidence"]]
    assert places == sorted(places)
    assert text.count("send it") == 1
    assert runs.read_metrics(tmp_path)["verdict"]["data_until"] == "2026-03-01"


def test_the_page_of_a_run_that_stopped_says_why_and_nothing_else(
    tmp_path: Path,
) -> None:
    """No verdict, no evidence and no traceback; an unknown error is named by its kind."""
    failed = new_output("error", ename="KeyError", evalue="'x'", traceback=["line 1"])
    text = page_of(tmp_path, verdict("All is well."), chart(title="Gains"), failed)
    assert "Stopped" in text
    assert "KeyError: 'x'" in text
    assert f"<code>{tmp_path.name}</code>" in text
    for unwanted in ("All is well", "Gains", "line 1", str(tmp_path), "How this was"):
        assert unwanted not in text
    known = new_output("error", ename="InputError", evalue="no file", traceback=[])
    assert '<p class="lead">no file</p>' in page_of(tmp_path, known)


def test_cells_about_the_method_stand_at_the_end(tmp_path: Path) -> None:
    """With their outputs, after what comes later in the notebook."""
    tagged = {"tags": [page_parts.METHOD_TAG]}
    method = [
        new_markdown_cell("How it works", metadata=tagged),
        new_code_cell(
            outputs=[new_output("stream", text="its figures")], metadata=tagged
        ),
    ]
    executed = tmp_path / "notebook.ipynb"
    cells = [*method, new_markdown_cell("What was found")]
    nbformat.write(new_notebook(cells=cells), executed)
    text = page.report(executed)["report"].read_text()
    parts = ["What was found", "How this was made", "How it works", "its figures"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_a_chart_says_what_it_shows_and_has_its_numbers_behind_it(
    tmp_path: Path,
) -> None:
    """Its title is a text, its two pictures carry the reading, its rows are a table."""
    text = page_of(tmp_path, chart(title="Who stays"))
    assert '<figcaption id="chart-1">Who stays</figcaption>' in text
    words = "Who stays: y by days. It goes from 50% at 1 to 25% at 2."
    assert text.count(f'<svg aria-label="{words}"') == 2
    assert "<td>1</td><td>50%</td>" in text


def test_a_chart_that_cannot_be_drawn_spoils_no_page(tmp_path: Path) -> None:
    """A sentence stands in its place."""
    text = page_of(tmp_path, chart(title="Broken", mark="no such mark"))
    assert "The chart <em>Broken</em> could not be drawn." in text


def test_words_and_numbers_of_several_series() -> None:
    """Ends and what lies beyond them by series, which stand side by side in the table; of
    many rows the table has 25 and says so.
    """
    depth = [n / 100 for n in range(1, 101)] * 2
    capture = [min(1.0, 2 * d) for d in depth[:100]] + depth[:100]
    frame = pl.DataFrame(
        {
            "model": ["chosen"] * 100 + ["recency"] * 100,
            "depth": depth,
            "capture": capture,
        }
    )
    shown = read(charts.lift(frame).to_dict())
    assert shown
    assert "chosen: from 2.0% at 1.0% to 100.0% at 100.0%." in sentence(shown)
    table = numbers(shown)
    assert table.titles[1:] == ("chosen", "recency")
    assert table.rows[0] == ("1.0%", "2.0%", "1.0%")
    assert table.rows[-1] == ("100.0%", "100.0%", "100.0%")
    assert (len(table.rows), table.note) == (25, "25 of 100 rows, evenly spaced")


def test_words_of_cells_and_of_bars() -> None:
    """Cells say their extremes with both scales, a few bars all their values."""
    moved = pl.DataFrame(
        {"from": ["low", "high"], "to": ["high", "low"], "n": [4, 1200]}
    )
    cells = read(charts.transitions(moved, ["high", "low"]).to_dict())
    assert cells
    assert "Highest 1,200 at in Braze high, new low; lowest 4" in sentence(cells)
    counts = pl.DataFrame({"segment": ["high", "low"], "n": [1, 2000]})
    bars = read(charts.segments(counts).to_dict())
    assert bars
    assert sentence(bars).endswith("high 1, low 2,000.")


def test_every_colour_of_a_chart_has_one_for_a_dark_page() -> None:
    """No other colour stands in a picture, so none is unreadable there."""
    for name, drawn in CHARTS.items():
        picture = figure(drawn.to_dict(), "c").wide
        colours = {
            *re.findall(r'(?:fill|stroke)="(?!none|transparent|url)([^"]+)"', picture)
        }
        assert colours <= {*DARK}, name


def test_ids_of_two_charts_differ() -> None:
    """A chart cut to its frame refers to its own frame, not to that of another."""
    drawn = CHARTS["events_per_day"].to_dict()
    first, second = figure(drawn, "chart1"), figure(drawn, "chart2")
    pictures = [first.wide, first.narrow, second.wide, second.narrow]
    ids = [i for picture in pictures for i in re.findall(r' id="([^"]+)"', picture)]
    assert len(ids) == len({*ids}) > 0
    for picture in pictures:
        known = set(re.findall(r' id="([^"]+)"', picture))
        assert set(re.findall(r"url\(#([^)]+)\)", picture)) <= known


def test_a_word_is_explained_where_it_comes_first() -> None:
    """Whole words only, in any case and number; not in code, headings, links, or the
    name of a setting.
    """
    marks = Marks()
    text = marks.mark(
        "<h2>The cutoff</h2><p><code>cutoff</code> Cutoffs, a cutoff, navigate</p>"
    )
    assert text.count("<button") == 1
    assert '<button type="button" aria-describedby="word-1">Cutoffs</button>' in text
    assert "<code>cutoff</code>" in text
    assert marks.words() == {"cutoff": WORDS["cutoff"]}
    assert "<button" not in marks.mark("<p>the cutoff</p>")
    assert "<button" not in marks.mark("<p>backtest.n_test_cutoffs</p>")
    assert "<button" in marks.mark("<p>the backtest.</p>")


def test_the_guide_to_the_reports_explains_the_same_words() -> None:
    """Each with the same sentence, in the same order."""
    guide = Path(__file__).resolve().parents[2] / "reports" / "README.md"
    table = guide.read_text(encoding="utf-8").partition("## Words")[2]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE)[1:]
    assert rows == sorted(WORDS.items(), key=lambda item: item[0].lower())


def test_the_longest_word_wins() -> None:
    """A test cutoff is that and no cutoff."""
    marks = Marks()
    marks.mark("<p>at each test cutoff</p>")
    assert list(marks.words()) == ["test cutoff"]


def test_parameters_stand_at_the_end_as_they_were_given(tmp_path: Path) -> None:
    """Texts in quotes, numbers without; no heading where none were given."""
    text = page_of(tmp_path, papermill={"parameters": {"cutoff": "", "n": 7}})
    assert "<dt>cutoff <code>''</code> <small>given</small></dt>" in text
    assert "<dt>n <code>7</code> <small>given</small></dt>" in text
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
    given = "<dt>n <code>7</code> <small>given</small></dt><dd>rounds</dd>"
    assert given in text
    assert "<dt>share <code>0.05</code> <small>default</small></dt>" in text
    assert "<dd>who &lt;stays&gt;</dd>" in text


def test_a_missing_notebook_is_an_error(tmp_path: Path) -> None:
    """It names the file that isn't there."""
    with pytest.raises(NotebookError, match=r"there is no notebook .*out\.ipynb"):
        page.report(tmp_path / "out.ipynb")
