"""How charts look, in a notebook and in its report."""

from typing import Any

import altair as alt
import vl_convert

WIDTH, HEIGHT = 640, 260
INK, ACCENT, SOFT = "#1c2430", "#2f5d8a", "#9aa7b5"


def register() -> None:
    """Make charts live in JupyterLab and static in a report, all in the same style."""
    alt.renderers.register("churn", _both)
    alt.renderers.enable("churn")
    alt.data_transformers.disable_max_rows()  # a long log has many days
    alt.theme.register("churn", enable=True)(_theme)


def _both(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    # A report shows the SVG, JupyterLab the live chart: each takes the richest form it
    # knows. JupyterLab renders Vega-Lite 5 and no later one; what is drawn here means
    # the same in both.
    return {
        "application/vnd.vegalite.v5+json": spec,
        "image/svg+xml": vl_convert.vegalite_to_svg(spec),
    }


def _theme() -> alt.theme.ThemeConfig:
    font = "system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
    axis: Any = {
        "labelColor": INK,
        "titleColor": "#5b6675",
        "titleFontWeight": "normal",
        "titlePadding": 12,
        "gridColor": "#e8edf2",
        "domain": False,
    }
    return {
        "config": {
            "font": font,
            "axis": axis,
            "view": {
                "stroke": None,
                "continuousWidth": WIDTH,
                "continuousHeight": HEIGHT,
            },
            "title": {"anchor": "start", "color": INK, "fontSize": 14, "offset": 12},
            "range": {
                "category": [
                    ACCENT,
                    "#d98032",
                    "#5a9367",
                    "#a45a8d",
                    "#7a7a7a",
                    "#c9b037",
                ]
            },
        }
    }
