"""Charts of the log: what came in, who stays, and which silence is churn."""

import altair as alt
import polars as pl

from churn.report.theme import (
    ACCENT,
    GROUND,
    HEIGHT,
    HOVER,
    INK,
    MARK,
    SOFT,
    count,
    day,
    picked,
    share,
    share_y,
)

STRONG = 0.75
"""Share from which on a cell is so dark that its text is light."""


def events_per_day(daily: pl.DataFrame) -> alt.Chart:
    """Events per day, stacked by kind. Columns: date, kind, n.

    In JupyterLab it can be zoomed, and a click on the legend picks a kind.
    """
    chart = alt.Chart(daily, title="Events per day")
    choice, opacity = picked("kind")
    zoom = alt.selection_interval(bind="scales", encodings=["x"])
    areas = chart.mark_area(clip=True, point=HOVER).encode(
        alt.X("date:T", title=None),
        alt.Y("n:Q", title="events"),
        alt.Color("kind:N", title=None),
        fillOpacity=opacity,
        tooltip=[day("date:T", "day"), "kind:N", count("n:Q", "events")],
    )
    return areas.add_params(choice, zoom)


def retention(cohorts: pl.DataFrame) -> alt.LayerChart:
    """Share of each cohort active by months since first seen.

    Columns: cohort, period, share, n_users.
    """
    frame = cohorts.with_columns(pl.col("cohort").dt.strftime("%Y-%m"))
    title = "Share of users active, by months since first seen"
    months = alt.Axis(labelAngle=0)
    base = alt.Chart(frame, title=title).encode(
        alt.X(
            "period:O",
            title="months since first seen",
            axis=months,
        ),
        alt.Y("cohort:O", title="first seen in"),
        tooltip=[
            alt.Tooltip(
                "cohort:O",
                title="first seen in",
            ),
            alt.Tooltip(
                "period:O",
                title="months since first seen",
            ),
            share("share:Q", "active"),
            count("n_users:Q", "users"),
        ],
    )
    cells = base.mark_rect(color=ACCENT).encode(_strength("share:Q"))
    ink = alt.condition(alt.datum.share > STRONG, alt.value(GROUND), alt.value(INK))
    shares = base.mark_text().encode(alt.Text("share:Q", format=".0%"), color=ink)
    return (cells + shares).properties(width=alt.Step(56), height=alt.Step(28))


def returns(
    curve: pl.DataFrame,
    max_return_rate: float,
    horizon_days: int | None,
) -> alt.LayerChart:
    """Share of users who still return after n days of silence, with the limit.

    Columns: silence_days, followed_days, return_rate, low, high. ``horizon_days`` is
    marked; null where no silence keeps the limit.
    """
    time = "".join(f" within {n} days" for n in curve["followed_days"].head(1))
    title = f"Share of silences that end{time}"
    base = alt.Chart(curve, title=title)
    x = alt.X("silence_days:Q", title="days of silence so far")
    interval = base.mark_area(color=ACCENT, opacity=0.2)
    interval = interval.encode(x, share_y("low:Q", "still come back"), y2="high:Q")
    curved = base.mark_line(color=ACCENT, point=HOVER).encode(
        x,
        y="return_rate:Q",
        tooltip=[
            alt.Tooltip(
                "silence_days:Q",
                title="days of silence",
            ),
            share("return_rate:Q", "still come back"),
            share("low:Q", "at least"),
            share("high:Q", "at most"),
        ],
    )
    line = interval + curved
    limit = alt.Chart(pl.DataFrame({"y": [max_return_rate]}))
    limit = limit.mark_rule(strokeDash=[4, 4], color=SOFT).encode(y="y:Q")
    if horizon_days is None:
        return line + limit
    days = pl.DataFrame({"x": [horizon_days], "label": [f"{horizon_days} days"]})
    mark = alt.Chart(days).encode(x="x:Q")
    label = mark.mark_text(
        align="left",
        dx=5,
        dy=-HEIGHT // 2 + 10,
    )
    return line + limit + mark.mark_rule(color=MARK) + label.encode(text="label:N")


def definitions(table: pl.DataFrame) -> alt.LayerChart:
    """Definitions of churn by the share who come back anyway.

    A frame marks those that keep every limit. Columns: those of ``definitions.SCHEMA``.
    """
    # Sorted so that frames are drawn over their neighbours.
    frame = table.with_columns(fits=pl.col("misses") == "").sort("fits")
    title = "Share of the churned who come back anyway, and AUC; framed: fits"
    text = "format(datum.return_rate, '.0%') + '\\n' + format(datum.auc, '.2f')"
    base = alt.Chart(frame, title=title).transform_calculate(text=text)
    base = base.encode(
        alt.X(
            "horizon_days:O",
            title="silent for so many days (horizon)",
            axis=alt.Axis(labelAngle=0),
        ),
        alt.Y(
            "eligible_days:O", title="active in the last (eligible)", sort="descending"
        ),
        tooltip=_definition(),
    )
    cells = base.mark_rect(strokeWidth=3, color=ACCENT).encode(
        _strength("return_rate:Q"),
        stroke=alt.condition(alt.datum.fits, alt.value(MARK), alt.value(GROUND)),
        strokeOpacity=alt.value(1),
    )
    dark = alt.datum.return_rate > STRONG
    ink = alt.condition(dark, alt.value(GROUND), alt.value(INK))
    words = base.mark_text(lineBreak="\n", dy=-5).encode(alt.Text("text:N"), color=ink)
    return (cells + words).properties(width=alt.Step(84), height=alt.Step(46))


def _definition() -> list[alt.Tooltip]:
    """What a pointer shows of a definition."""
    return [
        alt.Tooltip(
            "eligible_days:O",
            title="active in the last days",
        ),
        alt.Tooltip(
            "horizon_days:O",
            title="silent for days",
        ),
        share("return_rate:Q", "come back anyway"),
        share("churn_rate:Q", "churn"),
        alt.Tooltip(
            "auc:Q",
            title="AUC",
            format=".3f",
        ),
        alt.Tooltip(
            "misses:N",
            title="misses",
        ),
    ]


def _strength(name: str) -> alt.FillOpacity:
    """A share as the strength of a cell's colour, on any ground."""
    return alt.FillOpacity(
        name,
        legend=None,
        scale=alt.Scale(domain=[0, 1], range=[0.02, 1]),
    )
