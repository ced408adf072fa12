"""How charts look, in a notebook and in its report."""

from typing import Any

import altair as alt

WIDTH, HEIGHT = 640, 260
INK, QUIET, SOFT, GRID = "#1c2430", "#5b6675", "#9aa7b5", "#e8edf2"
"""Colours of text, of titles, and of lines that only help to read."""

GROUND = "white"
"""Colour of what lies behind a chart, also for text on dark cells."""

COLOURS = ("#2f5d8a", "#d98032", "#5a9367", "#a45a8d", "#7a7a7a", "#c9b037")
"""Colours of series, in order."""

ACCENT, MARK = COLOURS[:2]
"""Colours of a single series, and of what is marked in it."""

DARK = {
    INK: "#e6ebf1",
    QUIET: "#a3afbd",
    SOFT: "#78879a",
    GRID: "#2c3642",
    GROUND: "#171d25",
    "#2f5d8a": "#7fb2e5",
    "#d98032": "#f0a35e",
    "#5a9367": "#86c795",
    "#a45a8d": "#d493c0",
    "#7a7a7a": "#a8adb3",
    "#c9b037": "#e0cb62",
}
"""The same colours on a dark page."""

LETTERS = 12
"""Size of the letters in a chart, in pixels."""

HOVER = alt.OverlayMarkDef(opacity=0, size=120)
"""Points of a line that can't be seen and say their values under the pointer."""

FONT = "system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif"


def register() -> None:
    """Draw charts live in JupyterLab, in one style; a report draws them from the same."""
    alt.renderers.register("churn", _live)
    alt.renderers.enable("churn")
    # A long log has more days than Altair's 5,000 rows.
    alt.data_transformers.disable_max_rows()
    alt.theme.register("churn", enable=True)(_theme)


def share_x(name: str, title: str, **options: Any) -> alt.X:
    """A horizontal axis in percent."""
    return alt.X(
        name,
        title=title,
        axis=_percent(),
        **options,
    )


def share_y(name: str, title: str) -> alt.Y:
    """A vertical axis in percent."""
    return alt.Y(
        name,
        title=title,
        axis=_percent(),
    )


def share(name: str, title: str) -> alt.Tooltip:
    """What a pointer shows of a share: percent with a decimal."""
    return alt.Tooltip(name, title=title, format=".1%")


def count(name: str, title: str) -> alt.Tooltip:
    """What a pointer shows of a count or of money: thousands separators."""
    return alt.Tooltip(name, title=title, format=",.0f")


def day(name: str, title: str) -> alt.Tooltip:
    """What a pointer shows of a date: 5 March 2026 as 05 Mar 2026."""
    return alt.Tooltip(name, title=title, format="%d %b %Y")


def picked(field: str) -> tuple[alt.Parameter, Any]:
    """A click on a legend's entry, and the opacity by which it leaves the rest pale."""
    choice = alt.selection_point(fields=[field], bind="legend")
    return choice, alt.condition(choice, alt.value(1), alt.value(0.15))


def _percent() -> alt.Axis:
    return alt.Axis(format="%", tickCount=10)


def _live(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    # JupyterLab renders Vega-Lite 5 and no later version; what is drawn here means the
    # same in both.
    return {"application/vnd.vegalite.v5+json": spec}


def _theme() -> alt.theme.ThemeConfig:
    labels: Any = {"labelColor": INK, "labelFontSize": LETTERS}
    titles: Any = {
        "titleColor": QUIET,
        "titleFontSize": LETTERS,
        "titleFontWeight": "normal",
    }
    axis: Any = {
        **labels,
        **titles,
        "titlePadding": 12,
        "labelSeparation": 10,
        "gridColor": GRID,
        "tickColor": GRID,
        "domain": False,
    }
    header: Any = {**labels, **titles}
    legend: Any = {
        **labels,
        "orient": "top",
        "columnPadding": 18,
        "symbolStrokeWidth": 3,
    }
    view: Any = {
        "stroke": None,
        "continuousWidth": WIDTH,
        "continuousHeight": HEIGHT,
    }
    title: Any = {
        "anchor": "start",
        "color": INK,
        "fontSize": 14,
        "offset": 12,
    }
    # JupyterLab may be dark; a chart brings its own ground.
    return {
        "config": {
            "background": GROUND,
            "font": FONT,
            "axis": axis,
            "header": header,
            "legend": legend,
            "mark": {"color": ACCENT},
            "text": {"color": INK, "fontSize": LETTERS},
            "view": view,
            "title": title,
            "range": {"category": [*COLOURS]},
        }
    }
