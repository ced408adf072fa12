"""Charts of the monitor: what was forecast, and what came true."""

import altair as alt
import polars as pl

from churn.report.theme import (
    ACCENT,
    MARK,
    SOFT,
    WIDTH,
    count,
    day,
    picked,
    share,
    share_y,
)
from churn.stats.shares import Z

SMALL_HEIGHT = 180

LEVELS = {"mean_probability": "forecast", "churn_rate": "came true"}
"""Columns of the levels, and what the chart calls them."""


def promised(
    closed: pl.DataFrame,
    figure: str,
    title: str,
) -> alt.LayerChart | None:
    """A figure by closed cutoff, over the interval stated when the users were scored.

    Columns: cutoff, the figure, its standard error as ``…_error``, …_low and …_high.
    Thin bars are its 95 % interval for other users. Null without a row.
    """
    half = Z * pl.col(f"{figure}_error")
    known = closed.drop_nulls(figure).select(
        "cutoff",
        value=figure,
        least=pl.col(figure) - half,
        most=pl.col(figure) + half,
        low=f"{figure}_low",
        high=f"{figure}_high",
    )
    if known.is_empty():
        return None
    whole = f"{title}; grey: the interval that was stated beforehand (80 %)"
    base = alt.Chart(known, title=whole).encode(_days())
    scale = alt.Scale(zero=False)
    band = base.mark_area(color=SOFT, opacity=0.35).encode(
        alt.Y("low:Q", title=title, scale=scale), alt.Y2("high:Q")
    )
    errors = base.mark_rule(color=ACCENT, opacity=0.45).encode(
        alt.Y("least:Q", title=title, scale=scale), alt.Y2("most:Q")
    )
    line = base.mark_line(color=ACCENT, point=True).encode(
        alt.Y("value:Q", title=title, scale=scale),
        tooltip=[
            day("cutoff:T", "scored at"),
            _three("value:Q", title),
            _three("low:Q", "stated from"),
            _three("high:Q", "to"),
        ],
    )
    return (band + errors + line).properties(width=WIDTH, height=SMALL_HEIGHT)


def levels(closed: pl.DataFrame) -> alt.Chart | None:
    """Forecast and actual share of users who did not come back, by closed cutoff.

    Columns: cutoff, n, mean_probability, churn_rate. Null without a row.
    """
    if closed.is_empty():
        return None
    long = closed.rename(LEVELS).unpivot(
        list(LEVELS.values()), index=["cutoff", "n"], variable_name="what"
    )
    title = "Share of users who did not come back"
    lines = alt.Chart(long, title=title).mark_line(point=True)
    lines = lines.encode(
        _days(),
        share_y("value:Q", "share of users"),
        alt.Color(
            "what:N",
            title=None,
            scale=alt.Scale(domain=[*LEVELS.values()], range=[ACCENT, MARK]),
        ),
        tooltip=[
            day("cutoff:T", "scored at"),
            "what:N",
            share("value:Q", "share of users"),
            count("n:Q", "users"),
        ],
    )
    return lines.properties(width=WIDTH, height=SMALL_HEIGHT)


def segments_came_true(
    by_segment: pl.DataFrame,
    order: list[str],
) -> alt.Chart | None:
    """Share of each segment's users who did not come back, by closed cutoff.

    Columns: cutoff, segment, n, churn_rate, mean_probability. ``order``: the segments,
    riskiest first. Null without a row.
    """
    if by_segment.is_empty():
        return None
    choice, opacity = picked("segment")
    title = "How many of each segment did not come back"
    lines = alt.Chart(by_segment, title=title).mark_line(point=True)
    lines = lines.add_params(choice).encode(
        _days(),
        share_y("churn_rate:Q", "share of the segment"),
        alt.Color("segment:N", title=None, sort=order),
        opacity=opacity,
        tooltip=[
            day("cutoff:T", "scored at"),
            "segment:N",
            share("churn_rate:Q", "did not come back"),
            share("mean_probability:Q", "was forecast"),
            count("n:Q", "users"),
        ],
    )
    return lines.properties(width=WIDTH, height=SMALL_HEIGHT)


def drift(
    kinds: pl.DataFrame,
    large: float,
) -> alt.LayerChart | None:
    """How far each kind of features is from the training. Columns: kind, index.

    ``large``: the index that counts as a lot, which is marked. Null without a row.
    """
    if kinds.is_empty():
        return None
    bars = alt.Chart(kinds, title="Drift by kind of feature").mark_bar(color=ACCENT)
    drawn = bars.encode(
        alt.X("index:Q", title=f"population stability index; above {large:g} is a lot"),
        alt.Y("kind:N", title=None, sort=kinds["kind"].to_list()),
        tooltip=["kind:N", _three("index:Q", "index")],
    )
    limit = alt.Chart(pl.DataFrame({"x": [large]}))
    rule = limit.mark_rule(strokeDash=[4, 4], color=MARK).encode(x="x:Q")
    return (drawn + rule).properties(width=WIDTH)


def _days() -> alt.X:
    return alt.X(
        "cutoff:T",
        title="scored at",
        axis=alt.Axis(format="%d %b %y", labelOverlap=True),
    )


def _three(name: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(name, title=title, format=".3f")
