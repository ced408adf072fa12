"""Charts, each a function of frames."""

from typing import Any

import altair as alt
import polars as pl

from churn.report import theme
from churn.report.theme import ACCENT, HEIGHT, INK, SOFT, WIDTH

theme.register()

MODELS = alt.Scale(domain=["chosen", "recency"], range=[ACCENT, "#d98032"])


def _share(name: str, title: str, **kwargs: Any) -> Any:
    return {"x": alt.X, "y": alt.Y}[kwargs.pop("axis")](
        name, title=title, axis=alt.Axis(format="%", tickCount=10), **kwargs
    )


def events_per_day(daily: pl.DataFrame) -> alt.Chart:
    """Events per day and kind. Columns: date, kind, n."""
    return (
        alt.Chart(daily, title="Events per day")
        .mark_area()
        .encode(
            alt.X("date:T", title=None),
            alt.Y("n:Q", title="events"),
            alt.Color("kind:N", title=None),
        )
    )


def retention(cohorts: pl.DataFrame) -> alt.LayerChart:
    """Share of each cohort active by months since first seen. Columns: cohort, period,
    share, n_users.
    """
    frame = cohorts.with_columns(pl.col("cohort").dt.strftime("%Y-%m"))
    base = alt.Chart(
        frame, title="Share of users active, by months since first seen"
    ).encode(
        alt.X("period:O", title="months since first seen", axis=alt.Axis(labelAngle=0)),
        alt.Y("cohort:O", title="first seen in"),
    )
    cells = base.mark_rect().encode(
        alt.Color(
            "share:Q", legend=None, scale=alt.Scale(scheme="blues", domain=[0, 1])
        )
    )
    ink = alt.condition(alt.datum.share > 0.55, alt.value("white"), alt.value(INK))
    return (
        cells
        + base.mark_text(fontSize=11).encode(
            alt.Text("share:Q", format=".0%"), color=ink
        )
    ).properties(width=alt.Step(56), height=alt.Step(28))


def returns(
    curve: pl.DataFrame, max_return_rate: float, horizon_days: int | None
) -> alt.LayerChart:
    """Share that still returns after n days of silence. Columns: silence_days,
    return_rate, n_at_risk.
    """
    base = alt.Chart(curve, title="Share of users who still come back after a silence")
    line = base.mark_line(color=ACCENT).encode(
        alt.X("silence_days:Q", title="days of silence so far"),
        _share("return_rate:Q", "still come back", axis="y"),
    )
    limit = (
        alt.Chart(pl.DataFrame({"y": [max_return_rate]}))
        .mark_rule(strokeDash=[4, 4], color=SOFT)
        .encode(y="y:Q")
    )
    if horizon_days is None:
        return line + limit
    mark = alt.Chart(
        pl.DataFrame({"x": [horizon_days], "label": [f"{horizon_days} days"]})
    ).encode(x="x:Q")
    label = mark.mark_text(align="left", dx=5, dy=-HEIGHT // 2 + 10).encode(
        text="label:N"
    )
    return line + limit + mark.mark_rule(color="#d98032") + label


def calibration(table: pl.DataFrame) -> alt.LayerChart:
    """Predicted against actual churn rate in ten groups. Columns: model,
    mean_probability, churn_rate, n.
    """
    top = max(0.05, *(table[c].max() for c in ("mean_probability", "churn_rate")))  # type: ignore[type-var]
    ends = pl.DataFrame({"p": [0.0, float(top)]})  # type: ignore[arg-type]
    diagonal = (
        alt.Chart(ends)
        .mark_line(strokeDash=[4, 4], color=SOFT)
        .encode(x="p:Q", y="p:Q")
    )
    points = (
        alt.Chart(table, title="Of users given a probability, how many churned?")
        .mark_line(point=alt.OverlayMarkDef(size=60))
        .encode(
            _share("mean_probability:Q", "mean predicted probability", axis="x"),
            _share("churn_rate:Q", "churned", axis="y"),
            alt.Color("model:N", title=None, scale=MODELS),
        )
    )
    return diagonal + points


def lift(table: pl.DataFrame) -> alt.LayerChart:
    """Cumulative gains. Columns: model, depth, capture."""
    diagonal = alt.Chart(pl.DataFrame({"d": [0.0, 1.0]})).mark_line(
        strokeDash=[4, 4], color=SOFT
    )
    lines = (
        alt.Chart(
            table, title="Share of all churners found by contacting the riskiest users"
        )
        .mark_line()
        .encode(
            _share("depth:Q", "share of users contacted, riskiest first", axis="x"),
            _share("capture:Q", "share of churners among them", axis="y"),
            alt.Color("model:N", title=None, scale=MODELS),
        )
    )
    return diagonal.encode(x="d:Q", y="d:Q") + lines


def scores(probability: pl.Series, thresholds: dict[str, float]) -> alt.LayerChart:
    """Histogram of probabilities in twenty bins, with where each segment begins."""
    bins = (probability * 20).floor().clip(0, 19) / 20
    counts = (
        pl.DataFrame({"start": bins})
        .group_by("start")
        .agg(n=pl.len())
        .with_columns(end=pl.col("start") + 0.05)
    )
    bars = (
        alt.Chart(counts, title="Users by probability of churn")
        .mark_bar(color=ACCENT)
        .encode(
            _share("start:Q", "probability of churn", axis="x", bin="binned"),
            alt.X2("end:Q"),
            alt.Y("n:Q", title="users"),
        )
    )
    starts = pl.DataFrame(
        {"segment": list(thresholds), "at": list(thresholds.values())}
    ).filter(pl.col("at") > 0)
    rule = alt.Chart(starts).encode(x="at:Q")
    text = rule.mark_text(align="left", dx=4, dy=-HEIGHT // 2 + 8).encode(
        text="segment:N"
    )
    return bars + rule.mark_rule(color="#d98032") + text


def segments(counts: pl.DataFrame) -> alt.Chart:
    """Users per segment. Columns: segment, n (in the order given)."""
    order = counts["segment"].to_list()
    return (
        alt.Chart(counts, title="Users per segment")
        .mark_bar(color=ACCENT)
        .encode(alt.X("n:Q", title="users"), alt.Y("segment:N", title=None, sort=order))
        .properties(height=alt.Step(34))
    )


def transitions(frame: pl.DataFrame) -> alt.LayerChart:
    """Users by segment last told and segment now. Columns: from, to, n. Without any: a
    chart that says so.
    """
    if frame.is_empty():
        frame = pl.DataFrame({"from": ["no user"], "to": ["no change"], "n": [0]})
    base = alt.Chart(
        frame, title="Users by the segment last told and the one now"
    ).encode(
        alt.X("to:N", title="now", axis=alt.Axis(labelAngle=0)),
        alt.Y("from:N", title="last told"),
    )
    cells = base.mark_rect(color="#c6d9ec", stroke="white")
    return (
        cells + base.mark_text(fontSize=13).encode(text=alt.Text("n:Q", format=","))
    ).properties(width=alt.Step(120), height=alt.Step(40))


def metric_by_cutoff(table: pl.DataFrame, metric: str, title: str) -> alt.Chart:
    """One figure per model and test cutoff. Columns: cutoff, model and the metric's."""
    return (
        alt.Chart(table.filter(pl.col("cutoff").is_not_null()), title=title)
        .mark_line(point=True)
        .encode(
            alt.X(
                "yearmonthdate(cutoff):O",
                title="test cutoff",
                axis=alt.Axis(format="%d %b %Y", labelAngle=0),
            ),
            alt.Y(f"{metric}:Q", title=None, scale=alt.Scale(zero=False)),
            alt.Color("model:N", title=None, scale=MODELS),
        )
        .properties(width=WIDTH, height=180)
    )


def profit(curve: pl.DataFrame, currency: str) -> alt.LayerChart | None:
    """Profit by share of users contacted, and where it is expected to be highest;
    nothing without a curve.

    Columns: depth, expected, realised.
    """
    if curve.is_empty():
        return None
    long = curve.unpivot(
        ["expected", "realised"], index="depth", variable_name="judged"
    )
    lines = (
        alt.Chart(long, title="Profit of contacting the riskiest users")
        .mark_line()
        .encode(
            _share("depth:Q", "share of users contacted, riskiest first", axis="x"),
            alt.Y("value:Q", title=f"profit, {currency}", axis=alt.Axis(format=",.0f")),
            alt.Color("judged:N", title=None),
        )
    )
    best = curve.sort("expected", descending=True, maintain_order=True).head(1)
    mark = alt.Chart(best.with_columns(label=pl.lit("contacts pay up to here")))
    text = mark.mark_text(align="left", dx=5, dy=HEIGHT // 2 - 10).encode(
        x="depth:Q", text="label:N"
    )
    return (
        lines + mark.mark_rule(strokeDash=[4, 4], color=SOFT).encode(x="depth:Q") + text
    )


def learning(curve: pl.DataFrame) -> alt.FacetChart | None:
    """Log loss at the newest test cutoff by how much was learned from; nothing without
    a curve.

    Columns: what, n, log_loss.
    """
    if curve.is_empty():
        return None
    line = alt.Chart(curve.drop_nulls("log_loss")).mark_line(point=True, color=ACCENT)
    return (
        line.encode(
            alt.X(
                "n:Q",
                title=None,
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(format=",d", tickCount=5),
            ),
            alt.Y("log_loss:Q", title=None, scale=alt.Scale(zero=False)),
        )
        .properties(width=WIDTH // 2 - 30, height=180)
        .facet(alt.Column("what:N", title=None, sort=["users", "days of history"]))
        .resolve_scale(x="independent")
        .properties(title="Log loss (lower is better) with less to learn from")
    )


def definitions(table: pl.DataFrame) -> alt.LayerChart:
    """Definitions of churn by their share of returns, framed where they miss nothing.
    Columns: definitions.SCHEMA's.
    """
    frame = table.with_columns(fits=pl.col("misses") == "").sort(
        "fits"
    )  # frames are drawn last
    text = (
        "format(datum.return_rate, '.0%') + ' back\\nAUC ' + format(datum.auc, '.2f')"
    )
    base = (
        alt.Chart(
            frame, title="Share of the churned who come back anyway; framed: fits"
        )
        .transform_calculate(text=text)
        .encode(
            alt.X(
                "horizon_days:O",
                title="silent for so many days (horizon)",
                axis=alt.Axis(labelAngle=0),
            ),
            alt.Y(
                "eligible_days:O",
                title="active in the last (eligible)",
                sort="descending",
            ),
        )
    )
    scale = alt.Scale(scheme="oranges", domain=[0, 1])
    cells = base.mark_rect(strokeWidth=3).encode(
        alt.Color("return_rate:Q", legend=None, scale=scale),
        stroke=alt.condition(alt.datum.fits, alt.value(ACCENT), alt.value("white")),
    )
    ink = alt.condition(alt.datum.return_rate > 0.6, alt.value("white"), alt.value(INK))
    words = base.mark_text(lineBreak="\n", dy=-5).encode(alt.Text("text:N"), color=ink)
    return (cells + words).properties(width=alt.Step(84), height=alt.Step(46))
