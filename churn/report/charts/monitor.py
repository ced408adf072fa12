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

SMALL_HEIGHT = 180

LEVELS = {"forecast": "forecast", "actual": "did not come back"}
"""Columns of the levels, and what the chart calls them."""


def promised_auc(figures: pl.DataFrame) -> alt.LayerChart | None:
    """AUC by closed cutoff, over the interval stated when the users were scored.

    Columns: cutoff, auc, auc_low, auc_high. Null without a row.
    """
    known = figures.drop_nulls("auc")
    if known.is_empty():
        return None
    title = "AUC, and the interval that was stated beforehand"
    base = alt.Chart(known, title=title).encode(_days())
    band = base.mark_area(color=SOFT, opacity=0.35).encode(
        alt.Y("auc_low:Q", title="AUC", scale=alt.Scale(zero=False)),
        alt.Y2("auc_high:Q"),
    )
    line = base.mark_line(color=ACCENT, point=True).encode(
        alt.Y("auc:Q"),
        tooltip=[
            day("cutoff:T", "scored at"),
            _three("auc:Q", "AUC"),
            _three("auc_low:Q", "stated from"),
            _three("auc_high:Q", "to"),
        ],
    )
    return (band + line).properties(width=WIDTH, height=SMALL_HEIGHT)


def levels(figures: pl.DataFrame) -> alt.Chart | None:
    """Forecast and actual share of users who did not come back, by closed cutoff.

    Columns: cutoff, users, forecast, actual. Null without a row.
    """
    if figures.is_empty():
        return None
    named = figures.rename(LEVELS)
    long = named.unpivot(
        list(LEVELS.values()), index=["cutoff", "users"], variable_name="what"
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
            count("users:Q", "users"),
        ],
    )
    return lines.properties(width=WIDTH, height=SMALL_HEIGHT)


def segments_came_true(by_segment: pl.DataFrame) -> alt.Chart | None:
    """Share of each segment's users who did not come back, by closed cutoff.

    Columns: cutoff, segment, n, churn_rate. Null without a row.
    """
    if by_segment.is_empty():
        return None
    choice, opacity = picked("segment")
    title = "How many of each segment did not come back"
    lines = alt.Chart(by_segment, title=title).mark_line(point=True)
    lines = lines.add_params(choice).encode(
        _days(),
        share_y("churn_rate:Q", "share of the segment"),
        alt.Color("segment:N", title=None),
        opacity=opacity,
        tooltip=[
            day("cutoff:T", "scored at"),
            "segment:N",
            share("churn_rate:Q", "did not come back"),
            count("n:Q", "users"),
        ],
    )
    return lines.properties(width=WIDTH, height=SMALL_HEIGHT)


def drift(kinds: pl.DataFrame) -> alt.Chart | None:
    """How far each kind of features is from the training. Columns: kind, index.

    Null without a row.
    """
    if kinds.is_empty():
        return None
    bars = alt.Chart(kinds, title="Drift by kind of feature").mark_bar(color=ACCENT)
    return bars.encode(
        alt.X("index:Q", title="population stability index"),
        alt.Y("kind:N", title=None, sort=kinds["kind"].to_list()),
        tooltip=["kind:N", _three("index:Q", "index")],
    ).properties(width=WIDTH)


def _days() -> alt.X:
    return alt.X("cutoff:T", title="scored at", axis=alt.Axis(format="%d %b %y"))


def _three(name: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(name, title=title, format=".3f")
