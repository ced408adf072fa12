"""Charts of what people do: before they leave, and day by day."""

import altair as alt
import polars as pl

from churn.report.theme import ACCENT, COLOURS, WIDTH

GROUPS = {"leavers": "those who left", "stayers": "those who stayed"}


def before_leaving(table: pl.DataFrame) -> alt.FacetChart | None:
    """Events per user in the weeks up to the last activity, a small chart per event.

    Columns: event, weeks_before, leavers, stayers. Null, which a notebook doesn't show,
    without a comparison.
    """
    if table.is_empty():
        return None
    named = table.rename(GROUPS).with_columns(week=-pl.col("weeks_before"))
    long = named.unpivot(
        list(GROUPS.values()),
        index=["event", "week"],
        variable_name="who",
    )
    colours = alt.Scale(domain=[*GROUPS.values()], range=[COLOURS[1], COLOURS[0]])
    lines = alt.Chart(long).mark_line(point=True)
    lines = lines.encode(
        alt.X("week:O", title="weeks before", axis=alt.Axis(labelAngle=0)),
        alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4)),
        alt.Color("who:N", title=None, scale=colours, legend=alt.Legend(orient="top")),
        tooltip=[
            alt.Tooltip("event:N"),
            alt.Tooltip("who:N", title="users"),
            alt.Tooltip("week:O", title="weeks before"),
            alt.Tooltip("value:Q", title="events per user", format=".2f"),
        ],
    )
    small = lines.properties(width=WIDTH // 4 - 30, height=90)
    facets = small.facet(alt.Facet("event:N", title=None), columns=4)
    title = "Events per user and week up to the last activity"
    return facets.resolve_scale(y="independent").properties(title=title)


def user_days(table: pl.DataFrame) -> alt.Chart | None:
    """One user's events by day, darker where there were more.

    Columns: user, date, event, n. Null, which a notebook doesn't show, without a user.
    """
    if table.is_empty():
        return None
    title = f"Days of {table['user'][0]}"
    span = [str(day) for day in (table["date"].min(), table["date"].max())]
    days = alt.Scale(domain=span)
    cells = alt.Chart(table.filter(pl.col("n") > 0), title=title)
    cells = cells.mark_rect(color=ACCENT)
    return cells.encode(
        alt.X("yearmonthdate(date):T", title=None, scale=days),
        alt.Y("event:N", title=None),
        alt.FillOpacity(
            "n:Q",
            title="events",
            scale=alt.Scale(domainMin=0, range=[0.15, 1]),
            legend=None,
        ),
        tooltip=[
            alt.Tooltip("date:T", format="%a %d %b %Y"),
            alt.Tooltip("event:N"),
            alt.Tooltip("n:Q", title="events"),
        ],
    ).properties(height=alt.Step(22))
