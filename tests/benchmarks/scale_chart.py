"""Points and fit in one picture: what was measured against what the model says."""

from typing import Any

import altair as alt
import polars as pl

from churn.report import theme

SIZE = 230


def drawn(table: pl.DataFrame) -> Any:
    """A square per figure and step; on its diagonal the model is exact.

    ``table``: that of ``scale_fit.compared``. Both axes are logarithmic.
    """
    theme.register()
    shown = table.with_columns(
        title=pl.format("{}, {}", "step", "figure"),
        point=pl.when("is_fitted").then(pl.lit("fitted")).otherwise(pl.lit("held out")),
    )
    squares = [
        _square(part) for part in shown.partition_by("title", maintain_order=True)
    ]
    return alt.concat(*squares, columns=3)


def _square(part: pl.DataFrame) -> alt.LayerChart:
    ends = [
        min(part["measured"].min(), part["forecast"].min()) * 0.8,
        max(part["measured"].max(), part["forecast"].max()) * 1.25,
    ]
    scale = alt.Scale(type="log", domain=ends, nice=False)
    exact = alt.Chart(pl.DataFrame({"measured": ends, "forecast": ends}))
    line = exact.mark_line(color=theme.SOFT).encode(
        alt.X("measured:Q", scale=scale), alt.Y("forecast:Q", scale=scale)
    )
    dots = alt.Chart(part, title=part["title"][0]).mark_point(size=70, filled=True)
    colours = alt.Scale(domain=["fitted", "held out"], range=[theme.ACCENT, theme.MARK])
    return (
        line
        + dots.encode(
            alt.X("measured:Q", scale=scale, title="measured"),
            alt.Y("forecast:Q", scale=scale, title="the model"),
            alt.Color("point:N", scale=colours, title=None),
            tooltip=["app", "measured", "forecast"],
        )
    ).properties(width=SIZE, height=SIZE)
