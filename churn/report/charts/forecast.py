"""Charts of the evaluation: how good the probabilities are, and what they are worth.

Where ``model`` is a column, chosen and recency keep their colours in every chart; own
models get further ones, in the order of their names.
"""

import altair as alt
import polars as pl

from churn.report.theme import (
    ACCENT,
    COLOURS,
    HEIGHT,
    HOVER,
    SOFT,
    WIDTH,
    count,
    day,
    picked,
    share,
    share_x,
    share_y,
)

OURS = ("chosen", "recency")
SMALL_HEIGHT = 180

PROFITS = {"expected": "by probability", "hindsight": "by who then left"}
"""Columns of a profit curve, and what the chart calls them."""


def lift(table: pl.DataFrame) -> alt.LayerChart:
    """Cumulative gains. Columns: model, depth, capture."""
    title = "Share of all churners found by contacting the riskiest users"
    choice, opacity = picked("model")
    lines = alt.Chart(table, title=title).mark_line(point=HOVER)
    lines = lines.encode(
        share_x("depth:Q", "share of users contacted, riskiest first"),
        share_y("capture:Q", "share of churners among them"),
        _by_model(table),
        strokeOpacity=opacity,
        tooltip=[
            "model:N",
            share("depth:Q", "of users contacted"),
            share("capture:Q", "of churners found"),
        ],
    )
    return _diagonal(1.0) + lines.add_params(choice)


def calibration(table: pl.DataFrame) -> alt.LayerChart:
    """Predicted against actual churn rate in ten groups per model.

    Columns: model, mean_probability, churn_rate, n.
    """
    title = "Of users given a probability, how many churned?"
    choice, opacity = picked("model")
    points = alt.Chart(table, title=title).add_params(choice)
    points = points.mark_line(point=alt.OverlayMarkDef(size=60)).encode(
        share_x("mean_probability:Q", "mean predicted probability"),
        share_y("churn_rate:Q", "churned"),
        _by_model(table),
        opacity=opacity,
        tooltip=[
            "model:N",
            share("mean_probability:Q", "predicted"),
            share("churn_rate:Q", "churned"),
            count("n:Q", "users"),
        ],
    )
    highest = table.select(pl.max_horizontal("mean_probability", "churn_rate").max())
    return _diagonal(max(0.05, highest.item())) + points


def metric_by_cutoff(
    table: pl.DataFrame,
    metric: str,
    title: str,
) -> alt.Chart:
    """One figure by test cutoff and model. Columns: cutoff, model and the figure's."""
    frame = table.filter(pl.col("cutoff").is_not_null())
    # The year stands below, so that dates have room on a phone.
    two = "[timeFormat(datum.value, '%d %b'), timeFormat(datum.value, '%Y')]"
    days = alt.Axis(labelExpr=two, labelAngle=0, labelOverlap="greedy")
    choice, opacity = picked("model")
    lines = alt.Chart(frame, title=title).mark_line(point=True).add_params(choice)
    lines = lines.encode(
        alt.X(
            "yearmonthdate(cutoff):O",
            title="test cutoff",
            axis=days,
        ),
        alt.Y(
            f"{metric}:Q",
            title=None,
            scale=alt.Scale(zero=False),
        ),
        _by_model(table),
        opacity=opacity,
        tooltip=[
            "model:N",
            day("cutoff:T", "test cutoff"),
            alt.Tooltip(
                f"{metric}:Q",
                title=title.partition(" by ")[0],
                format=".3f",
            ),
        ],
    )
    return lines.properties(width=WIDTH, height=SMALL_HEIGHT)


def profit(
    curve: pl.DataFrame,
    currency: str,
) -> alt.LayerChart | None:
    """Assumed profit by share of users contacted, and where it is expected to be highest.

    Columns: depth, expected, hindsight. Null, which a notebook doesn't show, without a
    curve.
    """
    if curve.is_empty():
        return None
    named = curve.rename(PROFITS)
    long = named.unpivot(
        list(PROFITS.values()),
        index="depth",
        variable_name="by",
    )
    title = "Assumed profit of contacting the riskiest users"
    lines = alt.Chart(long, title=title).mark_line(point=HOVER)
    lines = lines.encode(
        share_x("depth:Q", "share of users contacted, riskiest first"),
        alt.Y(
            "value:Q",
            title=f"profit, {currency}",
            axis=alt.Axis(format=",.0f"),
        ),
        alt.Color("by:N", title=None),
        tooltip=[
            "by:N",
            share("depth:Q", "of users contacted"),
            count("value:Q", f"profit, {currency}"),
        ],
    )
    return lines + _best(curve)


def _best(curve: pl.DataFrame) -> alt.LayerChart:
    """A line with its words where the expected profit is highest."""
    best = curve.sort(
        "expected",
        descending=True,
        maintain_order=True,
    ).head(1)
    # The words stand on the side that has room for them.
    is_left = best["depth"].item() < 0.5
    mark = alt.Chart(best.with_columns(label=pl.lit("contacts pay up to here")))
    rule = mark.mark_rule(strokeDash=[4, 4], color=SOFT).encode(x="depth:Q")
    text = mark.mark_text(
        align="left" if is_left else "right",
        dx=5 if is_left else -5,
        dy=HEIGHT // 2 - 10,
    )
    return rule + text.encode(x="depth:Q", text="label:N")


def learning(curve: pl.DataFrame) -> alt.FacetChart | None:
    """Log loss at the newest test cutoff by how much was learned from.

    Columns: what, n, log_loss. Null, which a notebook doesn't show, without a curve.
    """
    if curve.is_empty():
        return None
    logarithmic = alt.Scale(type="log", nice=False)
    line = alt.Chart(curve.drop_nulls("log_loss")).mark_line(point=True, color=ACCENT)
    line = line.encode(
        alt.X(
            "n:Q",
            title=None,
            scale=logarithmic,
            axis=alt.Axis(format=",d", tickCount=5),
        ),
        alt.Y(
            "log_loss:Q",
            title=None,
            scale=alt.Scale(zero=False),
        ),
        tooltip=[
            "what:N",
            count("n:Q", "number"),
            alt.Tooltip(
                "log_loss:Q",
                title="log loss",
                format=".3f",
            ),
        ],
    )
    small = line.properties(width=WIDTH // 2 - 30, height=SMALL_HEIGHT)
    what = alt.Facet(
        "what:N",
        title=None,
        sort=["users", "days of history"],
    )
    facets = small.facet(what, columns=2).resolve_scale(x="independent")
    return facets.properties(title="Log loss (lower is better) with less to learn from")


def _by_model(table: pl.DataFrame) -> alt.Color:
    own = sorted(set(table["model"]) - {*OURS})
    names = [*OURS, *own]
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    scale = alt.Scale(domain=names, range=colours)
    return alt.Color(
        "model:N",
        title=None,
        scale=scale,
    )


def _diagonal(end: float) -> alt.Chart:
    """A dashed line from (0, 0) to (end, end)."""
    ends = pl.DataFrame({"at": [0.0, end]})
    line = alt.Chart(ends).mark_line(strokeDash=[4, 4], color=SOFT)
    return line.encode(x="at:Q", y="at:Q")
