"""How charts look, in a notebook and in its report."""

from typing import Any

import altair as alt
import vl_convert

WIDTH, HEIGHT = 640, 260
INK, SOFT = "#1c2430", "#9aa7b5"
"""Colours of text, and of lines that only help to read."""

COLOURS = ("#2f5d8a", "#d98032", "#5a9367", "#a45a8d", "#7a7a7a", "#c9b037")
"""Colours of series, in order."""

ACCENT, MARK = COLOURS[:2]
"""Colours of a single series, and of what is marked in it."""

FONT = "system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif"


def register() -> None:
    """Draw charts live in JupyterLab and as pictures in a report, in one style."""
    alt.renderers.register("churn", _both)
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


def _percent() -> alt.Axis:
    return alt.Axis(format="%", tickCount=10)


def _both(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    # A report shows the SVG and JupyterLab the live chart, as each takes the richest
    # form that it knows. JupyterLab renders Vega-Lite 5 and no later version; what is
    # drawn here means the same in both.
    return {
        "application/vnd.vegalite.v5+json": spec,
        "image/svg+xml": vl_convert.vegalite_to_svg(spec),
    }


def _theme() -> alt.theme.ThemeConfig:
    axis: Any = {
        "labelColor": INK,
        "titleColor": "#5b6675",
        "titleFontWeight": "normal",
        "titlePadding": 12,
        "gridColor": "#e8edf2",
        "domain": False,
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
    return {
        "config": {
            "font": FONT,
            "axis": axis,
            "view": view,
            "title": title,
            "range": {"category": [*COLOURS]},
        }
    }
