"""Pages as a browser shows them: on a desktop and a phone, light, dark and on paper."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import nbformat
import polars as pl
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from churn.report import display, page, page_parts
from churn.report.verdict import Verdict

from .. import jupyterlab
from .test_charts import CHARTS
from .test_threshold_slider import SMALL, slider

SCREENS = [(width, scheme) for width in (390, 1440) for scheme in ("light", "dark")]
LEAST_LETTERS = 11
"""Height in pixels below which letters in a chart can't be read."""

LETTERS = """() => [...document.querySelectorAll(".chart svg text")]
  .filter(text => text.getClientRects().length && text.textContent.trim())
  .map(text => {
    const svg = text.ownerSVGElement;
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return parseFloat(getComputedStyle(text).fontSize) * scale;
  })"""
"""Heights of the letters of the charts that are shown."""

UNREACHED = """() => [...document.querySelectorAll("main *")]
  .filter(part => part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0
    && getComputedStyle(part).overflowX === "auto" && part.tabIndex < 0).length"""
"""Number of parts that scroll and that the Tab key doesn't reach."""


OPEN_ALL = """() => {
  document.querySelectorAll("details").forEach(part => { part.open = true; });
  return new Promise(
    done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
"""Opens all details, and ends after what watches the sizes of parts has run."""


def shown(mime: str, content: Any) -> Any:
    """An output of one type."""
    return new_output("display_data", data={mime: content})


def everything() -> Any:
    """A notebook with each kind of content."""
    said = Verdict(
        "Ready", "good", ("**3** users in a segment.",), "send", date(2026, 3, 1)
    )
    wide = pl.DataFrame({f"a long name of column {n}": [n * 1000] for n in range(10)})
    outputs = [
        new_output("display_data", data=said._repr_mimebundle_()),
        *(
            shown("application/vnd.vegalite.v5+json", c.to_dict())
            for c in CHARTS.values()
        ),
        shown("text/html", display.table(wide)),
        shown("text/html", display.table(pl.DataFrame({"n": [1]}))),
        shown("text/html", slider(SMALL)._repr_html_()),
        new_output("stream", name="stdout", text="a" * 300),
    ]
    method = {"tags": [page_parts.METHOD_TAG]}
    cells = [
        new_markdown_cell("# A title\n\nThe cutoff, and `code`."),
        new_code_cell(outputs=outputs),
        new_markdown_cell("The backtest", metadata=method),
    ]
    return new_notebook(cells=cells, metadata={"papermill": {"parameters": {"n": 7}}})


def stopped() -> Any:
    """A notebook that ended early."""
    failed = new_output("error", ename="InputError", evalue="no file", traceback=[])
    return new_notebook(
        cells=[new_markdown_cell("# A title"), new_code_cell(outputs=[failed])]
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of the two pages, by name."""
    addresses = {}
    for name, notebook in (("everything", everything()), ("stopped", stopped())):
        executed = tmp_path_factory.mktemp(name) / "notebook.ipynb"
        nbformat.write(notebook, executed)
        addresses[name] = page.report(executed)["report"].as_uri()
    return addresses


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser in which pages are opened."""
    with jupyterlab.browser() as opened:
        yield opened


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """A tab, in which no page may complain: a breach of its policy would."""
    tab = browser.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    tab.close()
    assert complaints == []


@pytest.mark.parametrize("name", ["everything", "stopped"])
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_a_page_can_be_read_on_every_screen(
    opened: Any,
    pages: dict[str, str],
    name: str,
    width: int,
    scheme: str,
) -> None:
    """Nothing makes the page wider than the screen, letters of charts are large enough,
    what scrolls is reached by keyboard, and axe finds no barrier; all details are open.
    """
    from axe_playwright_python.sync_playwright import Axe

    opened.set_viewport_size({"width": width, "height": 900})
    opened.emulate_media(color_scheme=scheme)
    opened.goto(pages[name])
    opened.evaluate(OPEN_ALL)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert min(opened.evaluate(LETTERS), default=99) >= LEAST_LETTERS
    assert opened.evaluate(UNREACHED) == 0
    found = Axe().run(opened).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []


def test_paper_is_light_and_holds_everything(
    opened: Any, pages: dict[str, str]
) -> None:
    """Also from a dark screen; what is behind a click is opened before printing, and
    nothing is wider than a page of A4 between its margins.
    """
    opened.set_viewport_size({"width": 690, "height": 1000})
    opened.emulate_media(color_scheme="dark", media="print")
    opened.goto(pages["everything"])
    opened.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 690
    color = "getComputedStyle(document.body).color"
    assert opened.evaluate(color) == "rgb(28, 36, 48)"
    assert opened.get_by_text("The backtest").is_visible()
    narrow = opened.locator(".chart .narrow").first
    assert not narrow.is_visible()
    assert opened.locator(".chart .wide").first.is_visible()
    assert opened.locator(".chart details td").first.is_visible()


def test_a_word_is_explained_to_who_points_tabs_or_taps(
    opened: Any, pages: dict[str, str]
) -> None:
    """Its meaning shows under the pointer and while it has the focus; Escape closes it."""
    opened.set_viewport_size({"width": 390, "height": 800})
    opened.goto(pages["everything"])
    word = opened.locator(".word").first
    meaning = word.get_by_role("tooltip")
    assert not meaning.is_visible()
    word.hover()
    assert meaning.is_visible()
    opened.mouse.move(0, 0)
    word.get_by_role("button").focus()
    assert meaning.is_visible()
    opened.keyboard.press("Escape")
    assert not meaning.is_visible()


def test_a_chart_follows_a_dark_screen(opened: Any, pages: dict[str, str]) -> None:
    """Its letters are light there, and dark on a light one."""
    opened.goto(pages["everything"])
    fill = "getComputedStyle(document.querySelector('.chart .wide svg text')).fill"
    opened.emulate_media(color_scheme="light")
    assert opened.evaluate(fill) == "rgb(28, 36, 48)"
    opened.emulate_media(color_scheme="dark")
    assert opened.evaluate(fill) == "rgb(230, 235, 241)"
