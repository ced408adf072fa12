"""How frames and charts look in a notebook."""

from typing import Any

import altair as alt
import polars as pl
import polars.selectors as cs
import vl_convert
from great_tables import GT
from IPython.core.getipython import get_ipython

WIDTH, HEIGHT = 640, 260
INK, ACCENT, SOFT = "#1c2430", "#2f5d8a", "#9aa7b5"
MAX_ROWS = 200


def setup() -> None:
    """First call of a notebook: charts that are live in JupyterLab and static in a
    report, and readable tables.
    """
    alt.renderers.register("churn", _both)
    alt.renderers.enable("churn")
    alt.data_transformers.disable_max_rows()  # a long log has many days
    alt.theme.register("churn", enable=True)(_theme)
    shell: Any = get_ipython()
    if shell:
        shell.display_formatter.formatters["text/html"].for_type(pl.DataFrame, table)


def table(frame: pl.DataFrame) -> str:
    """A frame as people read it, the first 200 rows: thousands, shares in percent, yes
    and no, null as a dash.
    """
    if frame.is_empty():
        return "<p>none</p>"
    shares = cs.ends_with("_rate", "share") | cs.starts_with("share_")
    shown = (
        GT(frame.head(MAX_ROWS))
        .fmt_integer(columns=cs.integer())
        .fmt_tf(columns=cs.boolean(), tf_style="yes-no")
        .fmt_percent(columns=shares, decimals=1)
        .fmt_number(columns=cs.float() - shares, decimals=3)
        .sub_missing(missing_text="–")
        .cols_label(
            {name: name.removeprefix("n_").replace("_", " ") for name in frame.columns}
        )
        .tab_options(
            table_margin_left="0px",
            table_font_size="14px",
            column_labels_font_weight="600",
        )
    )
    if frame.height > MAX_ROWS:
        shown = shown.tab_source_note(f"the first {MAX_ROWS} of {frame.height:,} rows")
    return str(shown.as_raw_html())


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
