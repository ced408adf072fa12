"""The slider over the threshold: its numbers, its lines of churn.toml, its fragment."""

import json
import re
import shutil
import subprocess
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.evaluation import thresholds
from churn.report.threshold_slider import ThresholdSlider
from churn.settings import Segment, parse

from ..conftest import unavailable

OLD, NEW = date(2026, 1, 1), date(2026, 1, 29)
NAMED = (
    Segment(name="high", from_probability=0.6),
    Segment(name="medium", from_probability=0.3),
    Segment(name="low", from_probability=0.0),
)


def predictions(*rows: tuple[date, float, bool]) -> pl.DataFrame:
    """The chosen model's forecasts: test cutoff, probability and outcome."""
    frame = pl.DataFrame(rows, ["cutoff", "probability", "churned"], orient="row")
    users = [f"u{k}" for k in range(len(rows))]
    return frame.with_columns(pl.Series("user_id", users), model=pl.lit("chosen"))


SMALL = predictions(
    (OLD, 0.9, True),
    (OLD, 0.5, False),
    (NEW, 0.9, True),
    (NEW, 0.7, False),
    (NEW, 0.7, True),
    (NEW, 0.1, True),
)


def slider(
    made: pl.DataFrame, segments: Any = NAMED, **stakes: float
) -> ThresholdSlider:
    """The slider of these predictions, with counts of the newest date."""
    table = thresholds.by_threshold(made)
    return ThresholdSlider(table, segments, NEW, 2, "EUR", **stakes)


def at(made: pl.DataFrame, threshold: float) -> dict[str, Any]:
    """The row of one threshold."""
    table = thresholds.by_threshold(made)
    return table.row(round(100 * threshold), named=True)


def test_counts_are_of_the_newest_date_and_shares_means_over_dates() -> None:
    """From 0.7, which is included, three of four users of the newest date are
    selected, two of them churners. One of two users before: 4 of 6 in the mean; all
    churners before and two of three now.
    """
    row = at(SMALL, 0.7)
    assert (row["n_users"], row["n_churned"], row["n_others"]) == (3, 2, 1)
    assert row["expected"] == pytest.approx(2.3)
    assert row["user_rate"] == pytest.approx((2 * 1 / 2 + 4 * 3 / 4) / 6)
    assert row["reached_rate"] == pytest.approx((2 * 1 + 4 * 2 / 3) / 6)
    assert at(SMALL, 0.71)["n_users"] == 1


def test_every_threshold_agrees_with_the_frame() -> None:
    """For each hundredth the counts are those of a plain filter."""
    newest = SMALL.filter(cutoff=NEW)
    for row in thresholds.by_threshold(SMALL).iter_rows(named=True):
        chosen = newest.filter(pl.col("probability") >= row["threshold"])
        assert row["n_users"] == chosen.height
        assert row["n_churned"] == chosen["churned"].sum()
        assert row["expected"] == pytest.approx(chosen["probability"].sum())


def test_without_churners_the_share_reached_is_not_known() -> None:
    """It is null, and a dash in the table; a constant forecast selects all or nobody."""
    nobody = predictions((OLD, 0.4, False), (NEW, 0.4, False), (NEW, 0.4, False))
    assert at(nobody, 0.4)["reached_rate"] is None
    assert [at(nobody, t)["n_users"] for t in (0.4, 0.41)] == [2, 0]
    html = slider(nobody)._repr_html_()
    assert "NaN" not in html
    assert "–" in html


def test_scores_have_counts_alone() -> None:
    """Their outcome isn't known, so its rows are not shown."""
    table = thresholds.of_scores(pl.Series([0.9, 0.2]))
    row = table.row(50, named=True)
    assert (row["n_users"], row["expected"], row["user_rate"]) == (1, 0.9, 0.5)
    assert row["n_churned"] is row["reached_rate"] is None
    html = ThresholdSlider(table, NAMED, NEW, 0, "EUR")._repr_html_()
    assert "did leave" not in html
    assert "1" in re.findall(r"<td>(\d+)</td>", html)


@pytest.mark.parametrize(
    "segments",
    [NAMED, NAMED[:1], (Segment(name="top", share=0.2), Segment(name="rest"))],
)
def test_the_lines_of_churn_toml_are_a_study_at_every_threshold(
    segments: Any, tmp_path: Path
) -> None:
    """The highest segment begins at the threshold and keeps its name."""
    extracts = [{"source": "appsflyer", "path": "raw"}]
    for row in slider(SMALL, segments).rows():
        tables = tomllib.loads(row["toml"])
        settings = parse({"extracts": extracts, **tables}, tmp_path)
        first = settings.segments[0]
        assert (first.name, first.from_probability) == (
            segments[0].name,
            row["threshold"],
        )
    assert '"medium"' in slider(SMALL).toml(0.31)
    assert '"medium"' not in slider(SMALL).toml(0.3)


def test_the_fragment_loads_nothing_and_escapes_its_data() -> None:
    """No address, no foreign script, and the data comes back from its attribute."""
    html = slider(SMALL, value_per_saved=20.0)._repr_html_()
    assert not re.findall(r"\bsrc=|\bhref=|https?:|@import|url\(", html)
    rows = re.search(r'data-rows="([^"]*)"', html)
    assert rows
    decoded = json.loads(rows[1].replace("&#34;", '"').replace("&amp;", "&"))
    assert decoded[70]["n_users"] == 3
    assert len(decoded) == 101


DRIVE = """<script>
const threshold = document.querySelector("input[name=threshold]");
threshold.value = 90;
threshold.dispatchEvent(new Event("input", {bubbles: true}));
</script>"""


def test_moving_the_slider_changes_figures_profit_and_lines(tmp_path: Path) -> None:
    """At 0.9 one user is selected, expected to leave with 0.9: 0.9 × 10 % × 100 less
    a cost of 2 is a profit of 7. Without a value there is none.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        unavailable("no Chromium on this machine, the slider was not moved")
    page = tmp_path / "page.html"

    def moved(**stakes: float) -> str:
        html = slider(SMALL, **stakes)._repr_html_()
        page.write_text(f"<!doctype html><meta charset=utf-8>{html}{DRIVE}")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [chromium, *flags, profile, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.stdout

    shown = moved(value_per_saved=100.0, cost_per_contact=2.0, save_rate=0.1)
    assert '<td data-show="users">1 (25%)</td>' in shown
    assert '<td data-show="profit">7</td>' in shown
    assert "from_probability = 0.9" in shown.split('<pre data-show="toml">')[1]
    without = moved()
    assert '<td data-show="profit">–</td>' in without
    assert "No profit is shown until you state" in without
