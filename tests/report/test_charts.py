"""Charts and tables for readers."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import altair as alt
import polars as pl
import pytest
import vl_convert

from churn.events import ingest
from churn.explore import inventory
from churn.report import chart_data, charts, display, theme
from churn.settings import Settings
from churn.store import open_filled

MODELS = {"model": ["chosen", "recency"]}
CHARTS = {
    "promised": charts.promised(
        pl.DataFrame(
            {
                "cutoff": [date(2026, 1, 1), date(2026, 1, 2)],
                "auc": [0.7, 0.8],
                "auc_error": [0.01, 0.01],
                "auc_low": [0.65, None],
                "auc_high": [0.75, None],
            }
        ),
        "auc",
        "AUC",
    ),
    "levels": charts.levels(
        pl.DataFrame(
            {
                "cutoff": [date(2026, 1, 1)],
                "n": [100],
                "mean_probability": [0.3],
                "churn_rate": [0.28],
            }
        )
    ),
    "segments_came_true": charts.segments_came_true(
        pl.DataFrame(
            {
                "cutoff": [date(2026, 1, 1)],
                "segment": ["high"],
                "n": [100],
                "mean_probability": [0.8],
                "churn_rate": [0.75],
            }
        ),
        ["high"],
    ),
    "drift": charts.drift(pl.DataFrame({"kind": ["trend"], "index": [0.1]}), 0.25),
    "events_per_day": charts.events_per_day(
        pl.DataFrame({"date": [date(2026, 1, 1)], "kind": ["in_app"], "n": [3]})
    ),
    "retention": charts.retention(
        pl.DataFrame(
            {
                "cohort": [date(2026, 1, 1)],
                "period": [0],
                "share": [1.0],
                "n_users": [5],
            }
        )
    ),
    "returns": charts.returns(
        pl.DataFrame(
            {
                "silence_days": [1, 2],
                "followed_days": [30, 30],
                "return_rate": [0.5, 0.1],
                "low": [0.4, 0.05],
                "high": [0.6, 0.15],
            }
        ),
        0.2,
        2,
    ),
    "returns without horizon": charts.returns(
        pl.DataFrame(
            schema=dict.fromkeys(
                ["silence_days", "followed_days", "return_rate", "low", "high"],
                pl.Float64,
            )
        ),
        0.2,
        None,
    ),
    "calibration": charts.calibration(
        pl.DataFrame(
            {
                **MODELS,
                "mean_probability": [0.1, 0.2],
                "churn_rate": [0.1, 0.3],
                "n": [5, 5],
            }
        )
    ),
    "lift": charts.lift(
        pl.DataFrame({**MODELS, "depth": [0.5, 0.5], "capture": [0.7, 0.6]})
    ),
    "scores": charts.scores(pl.Series([0.0, 0.5, 1.0]), {"high": 0.6, "low": 0.0}),
    "segments": charts.segments(
        pl.DataFrame({"segment": ["high", "low"], "n": [1, 2]})
    ),
    "transitions": charts.transitions(
        pl.DataFrame({"from": ["low"], "to": ["high"], "n": [4]}), ["low", "high"]
    ),
    "learning": charts.learning(
        pl.DataFrame(
            {
                "what": ["users", "users", "days of history"],
                "n": [500, 1000, 90],
                "log_loss": [0.5, 0.4, None],
            }
        )
    ),
}


@pytest.mark.parametrize("name", list(CHARTS))
def test_every_chart_renders_to_a_picture(name: str) -> None:
    """Its Vega-Lite is valid, and its picture holds the chart's title."""
    chart = CHARTS[name]
    spec = chart.to_dict()
    title = (
        spec.get("title")
        or spec["layer"][0].get("title")
        or spec["layer"][1].get("title")
    )
    assert str(title) in vl_convert.vegalite_to_svg(spec)
    assert isinstance(chart, alt.Chart | alt.LayerChart | alt.FacetChart)


@pytest.mark.parametrize("name", list(CHARTS))
def test_every_chart_says_its_values_under_a_pointer(name: str) -> None:
    """One of its layers names fields for a tooltip, and all of them are in its rows."""
    shown = chart_data.read(CHARTS[name].to_dict())
    assert shown
    for row in shown.rows:
        assert {field.name for field in (shown.key, *shown.values)} <= {*row}
    assert '"tooltip"' in CHARTS[name].to_json()


def test_without_a_curve_there_is_no_chart() -> None:
    """For profit and learning nothing is drawn, and a notebook's cell shows nothing."""
    assert charts.profit(pl.DataFrame(), "EUR") is None
    assert charts.learning(pl.DataFrame()) is None
    assert charts.before_leaving(pl.DataFrame()) is None
    assert charts.user_days(pl.DataFrame()) is None


def test_segments_are_in_the_order_of_the_study() -> None:
    """Not in that of the alphabet, and what is no segment follows."""
    chart = CHARTS["transitions"].to_dict()
    assert chart["layer"][0]["encoding"]["x"]["sort"] == ["low", "high"]
    assert chart["layer"][0]["encoding"]["y"]["sort"] == ["low", "high"]


def test_tables_are_shown_as_people_read_them() -> None:
    """Counts have thousands separators, shares are whole percentages, below 10% with
    a decimal; other numbers have three digits and null is a dash; quotes and types are
    left out.
    """
    text = display.table(
        pl.DataFrame(
            {
                "n": [1234567],
                "churn_rate": [0.256],
                "small_rate": [0.0561],
                "auc": [0.81234],
                "who": [None],
                "x": ["a"],
            }
        )
    )
    for shown in ("number", "1,234,567", "26%", "5.6%", "0.812", "–", "churn rate"):
        assert shown in text
    assert "&quot;a&quot;" not in text
    assert "f64" not in text
    assert "the first 200 of 1,000 rows" in display.table(
        pl.DataFrame({"n": range(1000)})
    )


def test_a_chart_is_live_in_jupyterlab() -> None:
    """A chart carries the form that JupyterLab's renderer knows."""
    import json
    from importlib.metadata import files

    bundle = alt.renderers.get()(CHARTS["lift"].to_dict())
    live = next(mime for mime in bundle if "vegalite" in mime)
    lab = [
        f
        for f in files("jupyterlab") or []
        if str(f).endswith(".js") and "/static/" in str(f)
    ]
    assert any(live.removesuffix("+json") in f.read_text() for f in lab)
    json.dumps(bundle)


def test_days_without_events_are_zero(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Between events on the first and on the fourth of March the chart has two days of
    zero, not a line from one to the other.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time\na,open,2026-03-01\na,purchase,2026-03-01\na,open,2026-03-04\n"
    )
    settings = make_study(
        extracts=[
            {"source": "table", "path": "events.csv", "kinds": {"purchase": "purchase"}}
        ]
    )
    ingest.ingest(settings, progress=False)
    days = (
        inventory.events_per_day(open_filled(settings))
        .pivot("kind", index="date", values="n")
        .drop("date")
    )
    assert [sorted(row) for row in days.iter_rows()] == [[1, 1], [0, 0], [0, 0], [0, 1]]


def test_models_keep_their_colours_in_every_chart() -> None:
    """Ours come first; own models get further colours by name, whatever the order."""
    names = ["b", "chosen", "a", "recency"]
    rows = pl.DataFrame({"model": names, "depth": [0.5] * 4, "capture": [0.7] * 4})
    for frame in (rows, rows.reverse()):
        scale = charts.lift(frame).to_dict()["layer"][1]["encoding"]["color"]["scale"]
        assert scale["domain"] == ["chosen", "recency", "a", "b"]
        assert scale["range"] == [*theme.COLOURS[:4]]
