"""Charts of the night: probabilities, segments and their changes."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from churn.report.theme import ACCENT, GROUND, HEIGHT, MARK, count, share_x

N_BINS = 20
"""Number of bars of the histogram of probabilities."""


def scores(
    probability: pl.Series,
    thresholds: dict[str, float],
) -> alt.LayerChart:
    """Histogram of probabilities in twenty bins, with where each segment begins."""
    lowest = (probability * N_BINS).floor().clip(0, N_BINS - 1) / N_BINS
    counts = pl.DataFrame({"start": lowest}).group_by("start").agg(n=pl.len())
    counts = counts.with_columns(end=pl.col("start") + 1 / N_BINS)
    bars = alt.Chart(counts, title="Users by probability of churn")
    bars = bars.mark_bar(color=ACCENT).encode(
        share_x("start:Q", "probability of churn", bin="binned"),
        alt.X2("end:Q"),
        alt.Y("n:Q", title="users"),
        tooltip=[
            alt.Tooltip(
                "start:Q",
                title="probability from",
                format=".0%",
            ),
            alt.Tooltip(
                "end:Q",
                title="to",
                format=".0%",
            ),
            count("n:Q", "users"),
        ],
    )
    starts = pl.DataFrame({"segment": [*thresholds], "at": [*thresholds.values()]})
    # The lowest segment begins at the axis and needs no line.
    mark = alt.Chart(starts.filter(pl.col("at") > 0)).encode(x="at:Q")
    text = mark.mark_text(
        align="left",
        dx=4,
        dy=-HEIGHT // 2 + 8,
    )
    return bars + mark.mark_rule(color=MARK) + text.encode(text="segment:N")


def segments(counts: pl.DataFrame) -> alt.Chart:
    """Users per segment, in the order given. Columns: segment, n."""
    order = counts["segment"].to_list()
    bars = alt.Chart(counts, title="Users per segment").mark_bar(color=ACCENT)
    bars = bars.encode(
        alt.X("n:Q", title="users"),
        alt.Y(
            "segment:N",
            title=None,
            sort=order,
        ),
        tooltip=["segment:N", count("n:Q", "users")],
    )
    return bars.properties(height=alt.Step(34))


def transitions(
    frame: pl.DataFrame,
    order: Sequence[str],
) -> alt.LayerChart:
    """Users by the segment that Braze has and the new one. Columns: from, to, n.

    ``order``: the segments, riskiest first; whatever else users move from or to follows.
    Without any change the chart says so.
    """
    if frame.is_empty():
        frame = pl.DataFrame(
            {
                "from": ["no user"],
                "to": ["no change"],
                "n": [0],
            }
        )
    base = alt.Chart(frame, title="Users by the segment in Braze and the new one")
    base = base.encode(
        alt.X(
            "to:N",
            title="new",
            sort=[*order],
            axis=alt.Axis(labelAngle=0),
        ),
        alt.Y("from:N", title="in Braze", sort=[*order]),
        tooltip=[
            alt.Tooltip(
                "from:N",
                title="in Braze",
            ),
            alt.Tooltip(
                "to:N",
                title="new",
            ),
            count("n:Q", "users"),
        ],
    )
    cells = base.mark_rect(color=ACCENT, fillOpacity=0.25, stroke=GROUND)
    counts = base.mark_text(fontSize=14).encode(text=alt.Text("n:Q", format=","))
    return (cells + counts).properties(width=alt.Step(120), height=alt.Step(40))
