"""Figures are taken within cutoffs, and don't depend on the order of tied rows."""

import re
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from churn.evaluation import calibration, intervals, metrics, scorecard
from churn.report import display, money_sentences, tables
from churn.report import forecast_sentences as sentences
from churn.settings import Windows
from churn.stats import probability, ranking


def at_cutoffs(*cutoffs: tuple[np.ndarray, np.ndarray]) -> pl.DataFrame:
    """Predictions of the chosen model from outcomes and probabilities per cutoff."""
    parts = [
        pl.DataFrame(
            {
                "user_id": [f"u{i:04d}" for i in range(len(y))],
                "cutoff": date(2026, 1, 1) + timedelta(days=28 * k),
                "churned": np.asarray(y, dtype=bool),
                "model": "chosen",
                "probability": np.asarray(p, dtype=float),
            }
        )
        for k, (y, p) in enumerate(cutoffs)
    ]
    return pl.concat(parts)


def over_all(predictions: pl.DataFrame) -> dict[str, float]:
    """The figures over all cutoffs."""
    table = metrics.by_cutoff(predictions)
    return table.filter(pl.col("cutoff").is_null()).row(0, named=True)


def known_level(seed: int = 0) -> pl.DataFrame:
    """A forecast that knows each cutoff's churn rate and separates no users."""
    rng = np.random.default_rng(seed)
    rates = (0.15, 0.25, 0.5, 0.7)
    parts = [
        (rng.random(2000) < rate, rate + rng.normal(0, 0.01, 2000)) for rate in rates
    ]
    return at_cutoffs(*parts)


def test_a_forecast_that_knows_only_the_level_ranks_nobody() -> None:
    """With churn rates of 15 to 70 % the ranking figures over all cutoffs are those of
    chance, though the pooled AUC is 0.74; the interval of the AUC is about 0.5 too.
    """
    frame = known_level()
    assert roc_auc_score(frame["churned"], frame["probability"]) > 0.7
    row = over_all(frame)
    assert row["auc"] == pytest.approx(0.5, abs=0.02)
    assert row["lift_top_tenth"] == pytest.approx(1, abs=0.12)
    assert row["capture_top_tenth"] == pytest.approx(0.1, abs=0.012)
    assert abs(row["lift_quality_gains"]) < 0.04
    assert row["average_precision"] == pytest.approx(0.4, abs=0.02)
    fifth = metrics.lift_table(frame).filter(pl.col("depth") == 0.2)
    assert fifth["capture"].item() == pytest.approx(0.2, abs=0.02)
    auc = intervals.bootstrap(frame, 28, 0, 100).row(0, named=True)
    assert auc["value"] == pytest.approx(row["auc"])
    assert auc["low"] < 0.5 < auc["high"]


def test_a_ranking_keeps_its_worth_where_the_level_is_not_foreseen() -> None:
    """Users are ranked equally well at each cutoff, so the AUC over all is that of each,
    however wrong the levels are.
    """
    rng = np.random.default_rng(0)
    parts = []
    for level in (-1.5, -0.5, 0.5, 1.5):
        x = rng.normal(0, 1.5, 2000)
        churned = rng.random(2000) < 1 / (1 + np.exp(-(x + level)))
        parts.append((churned, 1 / (1 + np.exp(-(x - level)))))
    table = metrics.by_cutoff(at_cutoffs(*parts))
    assert table["auc"][-1] == pytest.approx(table["auc"][:-1].mean())
    assert table["auc"][-1] > 0.8


def test_over_all_cutoffs_a_figure_is_the_mean_weighted_by_rows() -> None:
    """Log loss over all is that of all rows; a cutoff at which nobody churned has no
    AUC and doesn't count for it.
    """
    rng = np.random.default_rng(1)
    first = (rng.random(300) < 0.5, rng.random(300))
    second = (rng.random(100) < 0.2, rng.random(100))
    frame = at_cutoffs(first, second, (np.zeros(50), np.full(50, 0.1)))
    row = over_all(frame)
    expected = log_loss(frame["churned"], frame["probability"])
    assert row["log_loss"] == pytest.approx(expected)
    assert row["n"] == 450
    auc = 300 * roc_auc_score(*first) + 100 * roc_auc_score(*second)
    assert row["auc"] == pytest.approx(auc / 400)


def test_a_constant_forecast_finds_as_much_as_chance() -> None:
    """Whatever the order of the rows its lift is 1, its capture the depth, and its
    calibration error 0 if the constant is the rate; its gains are the diagonal.
    """
    y = np.array([0] * 700 + [1] * 300)
    for outcome in (y, y[::-1]):
        row = metrics.figures(outcome, np.full(1000, 0.3))
        assert row["lift_top_tenth"] == 1
        assert row["capture_top_tenth"] == 0.1
        assert row["churn_rate_top_tenth"] == 0.3
        assert row["calibration_error"] == 0
        assert row["lift_quality_lift"] == pytest.approx(0, abs=1e-12)
        frame = at_cutoffs((outcome, np.full(1000, 0.3)))
        gains = metrics.lift_table(frame)
        assert gains["capture"].to_list() == gains["depth"].to_list()
        bins = metrics.calibration_table(frame)
        assert bins["churn_rate"].to_list() == pytest.approx([0.3] * 10)
        tenths = scorecard.tenths(frame, frame.select("user_id", revenue=0.0))
        assert tenths["churn_rate"].to_list() == pytest.approx([0.3] * 10)
        profit = scorecard.profit(frame, 20, 0.5, 0.1)
        assert profit["hindsight"].to_list() == pytest.approx(
            [0.1 * n for n in profit["n"]]
        )


def test_chart_and_table_agree_on_the_riskiest_tenth() -> None:
    """With ties across the boundary, and cutoffs of different sizes, capture and gains
    are the same number.
    """
    rng = np.random.default_rng(2)
    parts = [(rng.random(n) < 0.3, rng.random(n).round(1)) for n in (37, 400, 95)]
    frame = at_cutoffs(*parts)
    tenth = metrics.lift_table(frame).filter(pl.col("depth") == metrics.TOP)
    assert tenth["capture"].item() == pytest.approx(
        over_all(frame)["capture_top_tenth"]
    )


FORECASTS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9])),
    min_size=12,
    max_size=60,
)


@settings(max_examples=30)
@given(FORECASTS, st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(
    rows: list[tuple[bool, float]], seed: int
) -> None:
    """Figures, gains, calibration, tenths and profit of shuffled rows are the same."""
    y, p = (np.array(values) for values in zip(*rows, strict=True))
    frame = at_cutoffs((y, p))
    mixed = frame.sample(fraction=1, shuffle=True, seed=seed)
    revenue = frame.select("user_id", revenue=pl.Series(np.arange(len(y)) * 1.0))
    for table in (
        metrics.by_cutoff,
        metrics.lift_table,
        metrics.calibration_table,
        lambda frame: scorecard.tenths(frame, revenue),
        lambda frame: scorecard.profit(frame, 20, 0.5, 0.1),
    ):
        a, b = (table(each).select(pl.col(pl.Float64)) for each in (frame, mixed))
        assert np.allclose(a, b, equal_nan=True, atol=1e-12)


@pytest.mark.parametrize("n_cutoffs", [1, 2])
@pytest.mark.parametrize("n_churned", [0, 1, 30])
@pytest.mark.parametrize("p", [np.full(30, 0.2), np.linspace(0.1, 0.9, 30)])
def test_what_is_not_known_is_never_written_as_a_number(
    n_cutoffs: int, n_churned: int, p: np.ndarray
) -> None:
    """With one outcome only, one probability only or one cutoff, sentences and tables
    hold neither nan nor inf.
    """
    y = np.arange(30) < n_churned
    frame = at_cutoffs(*[(y, p)] * n_cutoffs)
    figures, gains = metrics.by_cutoff(frame), metrics.lift_table(frame)
    cutoffs = frame["cutoff"].unique().sort().to_list()
    levels = calibration.by_cutoff(frame)
    tenths = scorecard.tenths(frame, frame.select("user_id", revenue=1.0).unique())
    texts = [
        sentences.answer(figures, gains, Windows(horizon_days=28)),
        sentences.evidence(cutoffs, 28),
        sentences.calibration(levels, 0.6),
        money_sentences.revenue_at_risk(tenths, "EUR"),
        money_sentences.profit(frame, 20, 0.5, 0.1, "EUR"),
        sentences.ceiling(probability.ceiling_skill(p, p)),
    ]
    shown = [
        tables.pooled(figures),
        tables.by_cutoff(figures),
        tables.calibration(levels),
        tables.rates(scorecard.rates(frame, "model", 28)),
        tables.intervals(intervals.bootstrap(frame, 28, 0, 20)),
        tables.tenths(tenths, "EUR"),
    ]
    texts += [display.table(table) for table in shown]
    assert not re.findall(r"(?<![a-z])(nan|inf)(?![a-z])", " ".join(texts).lower())


def test_lift_is_the_mean_over_random_orders_of_the_tied() -> None:
    """Over 4,000 random orders the churners among the first tenth of 20 users, four of
    them tied at the top, are on average those that gains state.
    """
    rng = np.random.default_rng(3)
    score = np.array([0.9] * 4 + [0.2] * 16)
    y = np.array([1, 0, 0, 1] + [1] * 2 + [0] * 14)
    found = []
    for _ in range(4000):
        order = np.lexsort((rng.random(20), -score))
        found.append(y[order[:2]].sum() / y.sum())
    got = ranking.gains(y, score, np.array([0.1]))[0]
    assert got == pytest.approx(0.25)
    assert np.mean(found) == pytest.approx(got, abs=0.01)


def test_the_noise_floor_of_tied_probabilities_is_what_chance_shows() -> None:
    """Of 2,000 users with one of four probabilities; ties make it smaller."""
    rng = np.random.default_rng(0)
    p = rng.choice([0.1, 0.2, 0.25, 0.6], 2000)
    errors = [
        probability.calibration_error(rng.random(2000) < p, p) for _ in range(400)
    ]
    assert np.mean(errors) == pytest.approx(probability.noise_floor(p), rel=0.06)


def test_the_answer_is_that_of_the_figures_and_says_where_nothing_is_known() -> None:
    """At two cutoffs the riskiest tenth is one of ten users, at the first a churner;
    without a churner nothing can be found.
    """
    p = np.linspace(0.9, 0.1, 10)
    one = (np.eye(10)[0] + np.eye(10)[1], p)
    other = (np.eye(10)[1] + np.eye(10)[2], p)
    frame = at_cutoffs(one, other)
    figures, gains = metrics.by_cutoff(frame), metrics.lift_table(frame)
    sentence = sentences.answer(figures, gains, Windows(horizon_days=28))
    assert (
        "tenth 5 in 10 (50%) did not come back within 28 days, of all users 20%"
        in sentence
    )
    assert "reached 75%" in sentence
    nobody = at_cutoffs((np.zeros(10), p))
    figures, gains = metrics.by_cutoff(nobody), metrics.lift_table(nobody)
    assert "not known" in sentences.answer(figures, gains, Windows(horizon_days=28))
