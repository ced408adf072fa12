"""A chart as a page shows it: pictures for wide and narrow screens, words, numbers.

The pictures are drawn again from the chart's specification, without its title, which
stands above as text, and without a ground, so that the page's own shines through.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import vl_convert

from churn.report import chart_data, chart_words
from churn.report.chart_words import Numbers

WIDE, NARROW = 760, 340
"""Widths of the pictures, in pixels: for a desktop, and for a phone."""

MARGIN = {"left": 12, "right": 12, "top": 5, "bottom": 5}
"""Room around a picture, as a reader's letters may be wider than the renderer's."""

MIN_STEP = 36
"""Least width of a cell on a phone; a chart with more of them scrolls."""

UNREAD = re.compile(r' (?:role|aria-[a-z]+|pointer-events)="[^"]*"')
"""Attributes of marks that nobody reads inside a picture with a text of its own."""


@dataclass(frozen=True)
class Figure:
    """A chart for a page. ``numbers`` is null where its data can't be read."""

    title: str
    words: str
    wide: str
    narrow: str
    numbers: Numbers | None


def figure(
    spec: Mapping[str, Any],
    name: str,
) -> Figure:
    """A chart from its Vega-Lite specification; ``name`` is unique on the page."""
    data = chart_data.read(spec)
    title = chart_data.title_of(spec) or "Chart"
    words = chart_words.sentence(data) if data else title
    return Figure(
        title,
        words,
        _svg(_sized(spec, WIDE), words, f"{name}w"),
        _svg(_sized(spec, NARROW), words, f"{name}n"),
        chart_words.numbers(data) if data else None,
    )


def _svg(
    spec: Mapping[str, Any],
    words: str,
    prefix: str,
) -> str:
    """A picture to put into a page, whose ids begin with the prefix."""
    drawn = UNREAD.sub("", vl_convert.vegalite_to_svg(dict(spec)))
    unique = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", drawn)
    size = re.search(r'<svg[^>]* width="([\d.]+)"', unique)
    width = float(size[1]) if size else 0.0
    # It shrinks a little to fit, and beyond that scrolls: letters stay readable.
    style = f"min-width:{0.92 * width:.0f}px"
    name = html.escape(words)
    begin = f'<svg role="img" aria-label="{name}" style="{style}"'
    return unique.replace("<svg", begin, 1)


def _sized(
    spec: Mapping[str, Any],
    width: int,
) -> dict[str, Any]:
    """The specification for a page with this width between its margins."""
    fitted = {**_for_paper(spec), "background": None, "padding": MARGIN}
    if "facet" in spec:
        n_columns = spec.get("columns", 1)
        if width == NARROW:
            n_columns = max(1, n_columns // 2)
        inner = {**fitted["spec"], "width": width // n_columns - 60}
        return {**fitted, "columns": n_columns, "spec": inner}
    if isinstance(spec.get("width"), Mapping):
        step = spec["width"]["step"]
        narrow = max(MIN_STEP, step // 2)
        return {**fitted, "width": {"step": step if width == WIDE else narrow}}
    fit = {"type": "fit-x", "contains": "padding"}
    return {**fitted, "width": width, "autosize": fit}


def _for_paper(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The specification without titles and without points that only a pointer finds."""
    kept = {k: v for k, v in spec.items() if k != "title"}
    if _has_hidden_points(kept.get("mark")):
        kept["mark"] = {**kept["mark"], "point": False}
    if "layer" in kept:
        kept["layer"] = [_for_paper(layer) for layer in kept["layer"]]
    return kept


def _has_hidden_points(mark: Any) -> bool:
    point = mark.get("point") if isinstance(mark, Mapping) else None
    return isinstance(point, Mapping) and point.get("opacity") == 0
