"""Lift quality, paired intervals, calibration, and its gate and sentences."""

from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from churn.evaluation import calibration, intervals
from churn.report import forecast_sentences as sentences
from churn.report import tables
from churn.scoring import score_gates
from churn.settings import Settings
from churn.stats import probability, ranking


def predicted(n_users: int = 300, seed: int = 0, cutoffs: int = 2) -> pl.DataFrame:
    """Users at several cutoffs whose outcome follows ``chosen``; ``recency`` is the
    same blurred and rounded.
    """
    rng = np.random.default_rng(seed)
    n = n_users * cutoffs
    p = rng.beta(1, 2, n)
    key = pl.DataFrame(
        {
            "user_id": [f"u{i % n_users}" for i in range(n)],
            "cutoff": [date(2026, 1, 1 + i // n_users) for i in range(n)],
            "churned": rng.random(n) < p,
        }
    )
    blurred = np.clip((p + rng.normal(0, 0.15, n)).round(1), 0.05, 0.95)
    parts = {"chosen": p, "recency": blurred}
    return pl.concat(
        key.with_columns(pl.lit(m).alias("model"), pl.Series("probability", v))
        for m, v in parts.items()
    )


def test_lift_quality_by_gains_is_twice_auc_less_one_ties_and_all() -> None:
    """The ratio of areas is 2 · AUC − 1, for continuous scores and for many ties."""
    rng = np.random.default_rng(1)
    y = rng.random(500) < 0.3
    for p in (rng.random(500) + 0.3 * y, (rng.random(500) + 0.3 * y).round(1)):
        got = ranking.lift_quality(y, p)["lift_quality_gains"]
        assert got == pytest.approx(2 * roc_auc_score(y, p) - 1, rel=1e-12)


def test_lift_quality_is_one_when_perfect_and_zero_when_random() -> None:
    """So it is by gains and by lift; random is the same score for everybody."""
    y = np.array([1, 0, 0, 1, 0])
    assert ranking.lift_quality(y, y.astype(float)) == {
        "lift_quality_gains": 1,
        "lift_quality_lift": 1,
    }
    flat = ranking.lift_quality(y, np.full(5, 0.4))
    assert (flat["lift_quality_gains"], flat["lift_quality_lift"]) == pytest.approx(
        (0, 0)
    )


def test_lift_quality_by_lift_gives_the_riskiest_more_weight() -> None:
    """With the only churner first of four the lifts are 4, 2, 4/3 and 1, mean 25/12;
    with the churner second they are 0, 2, 4/3 and 1, mean 13/12.
    """
    first = ranking.lift_quality(np.array([1, 0, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6]))
    second = ranking.lift_quality(
        np.array([0, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6])
    )
    assert first["lift_quality_lift"] == 1
    assert second["lift_quality_lift"] == pytest.approx((13 / 12 - 1) / (25 / 12 - 1))
    assert second["lift_quality_gains"] == pytest.approx(1 / 3)


def test_with_one_outcome_only_there_is_no_lift_quality() -> None:
    """If nobody churned, both are NaN."""
    assert np.isnan(
        list(ranking.lift_quality(np.zeros(3), np.array([0.1, 0.2, 0.3])).values())
    ).all()


def test_intervals_hold_every_model_and_every_pair() -> None:
    """Values and their differences are scikit-learn's, the AUC within each of two equal
    cutoffs, and every value lies in its interval.
    """
    frame = predicted()
    table = intervals.bootstrap(frame, 28, 0, 200)
    rows = {(r["figure"], r["model"], r["less"]): r for r in table.to_dicts()}
    assert len(rows) == 6
    for model, part in frame.group_by("model"):
        y, p = part["churned"].to_numpy(), part["probability"].to_numpy()
        cutoffs = part.partition_by("cutoff")
        aucs = [roc_auc_score(c["churned"], c["probability"]) for c in cutoffs]
        auc = rows["auc", model[0], None]["value"]
        assert auc == pytest.approx(np.mean(aucs))
        assert rows["log_loss", model[0], None]["value"] == pytest.approx(
            log_loss(y, p)
        )
    gain = rows["auc", "chosen", "recency"]
    assert gain["value"] == pytest.approx(
        rows["auc", "chosen", None]["value"] - rows["auc", "recency", None]["value"]
    )
    assert all(r["low"] <= r["value"] <= r["high"] for r in rows.values())
    width = {k: r["high"] - r["low"] for k, r in rows.items()}
    assert (
        width["auc", "chosen", "recency"] < width["auc", "chosen", None]
    )  # drawn together, they move together


def test_users_are_drawn_whole() -> None:
    """Rows repeated four times, as other cutoffs of the same users, leave the intervals
    by users as wide as before; only with one cutoff is nothing known of other periods.
    """
    once = predicted(cutoffs=1)
    again = pl.concat(
        once.with_columns(pl.col("cutoff") + pl.duration(days=k)) for k in range(4)
    )
    a, b = intervals.bootstrap(once, 28, 0, 100), intervals.bootstrap(again, 28, 0, 100)
    by_users = ["value", "users_low", "users_high"]
    assert np.allclose(a.select(by_users), b.select(by_users))
    assert np.allclose(b.select("low", "high"), b.select("users_low", "users_high"))
    assert a["low"].is_infinite().all()
    assert tables.intervals(a)["from"].is_null().all()


def test_the_noise_floor_is_what_right_probabilities_show_by_chance() -> None:
    """Over 200 draws of outcomes from the probabilities themselves the mean calibration
    error is the floor.
    """
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, 2000)
    errors = [
        probability.calibration_error(rng.random(2000) < p, p) for _ in range(200)
    ]
    floor = probability.noise_floor(p)
    assert np.mean(errors) == pytest.approx(floor, rel=0.05)
    assert abs(np.mean(errors) - floor) < 0.001 < floor


def test_a_shift_of_the_level_is_measured_in_log_odds() -> None:
    """With true log-odds 0.5 above the forecast's, the interval of the intercept holds
    0.5 and that of the slope 1.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(-1, 1, 20_000)
    truth = 1 / (1 + np.exp(-(x + 0.5)))
    got = probability.calibration(rng.random(20_000) < truth, 1 / (1 + np.exp(-x)))
    assert got["intercept_low"] < 0.5 < got["intercept_high"]
    assert got["slope_low"] < 1 < got["slope_high"]
    assert got["error_beyond_noise"] > 0.05


def test_slope_agrees_with_an_unpenalised_logistic_regression() -> None:
    """Log-odds twice too extreme have a slope of 0.5, scikit-learn's to four digits."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, 5000)
    y = rng.random(5000) < 1 / (1 + np.exp(-x / 2))
    got = probability.calibration(y, 1 / (1 + np.exp(-x)))
    fitted = LogisticRegression(C=1e8, tol=1e-10).fit(x[:, None], y)
    assert got["slope"] == pytest.approx(fitted.coef_[0, 0], abs=1e-4)
    assert got["slope_high"] < calibration.SLOPES[0]


def test_a_closed_form_case_of_level() -> None:
    """If everybody is given 0.5 and 75 of 100 churn, the intercept is ln 3 with a
    standard error of 1/√(100 · 3/16), and there is no slope.
    """
    got = probability.calibration(np.array([1] * 75 + [0] * 25), np.full(100, 0.5))
    assert got["intercept"] == pytest.approx(np.log(3))
    assert got["intercept_high"] - got["intercept"] == pytest.approx(
        1.96 / np.sqrt(100 * 3 / 16), rel=1e-4
    )
    assert np.isnan(got["slope"])


@pytest.mark.parametrize(
    ("low", "high", "passed"),
    [
        (-0.1, 0.1, True),
        (0.1, 0.9, True),
        (0.21, 0.4, False),
        (-0.9, -0.3, False),
        (np.nan, np.nan, True),
    ],
)
def test_a_level_is_off_only_if_the_whole_interval_is_beyond(
    low: float, high: float, passed: bool
) -> None:
    """An interval within the limit, across it or unknown passes; one wholly beyond it
    fails.
    """
    assert score_gates.level_holds(low, high, 0.2) is passed


def test_the_sentence_warns_of_the_newest_cutoff_and_not_of_an_older_one() -> None:
    """Of a cutoff that is forecast rightly and one shifted by 1 in log-odds, the
    sentence warns only if the shifted one is the newer.
    """
    good, rest = (
        predicted(4000).filter(pl.col("cutoff") == date(2026, 1, 1)),
        predicted(4000, 5),
    )
    odds = pl.col("probability") / (1 - pl.col("probability")) * np.e
    late = rest.filter(pl.col("cutoff") == date(2026, 1, 2)).with_columns(
        probability=odds / (1 + odds)
    )
    assert "OUT OF BOUNDS: the level" in sentences.calibration(
        calibration.by_cutoff(pl.concat([good, late])), 0.2
    )
    early = late.with_columns(cutoff=pl.lit(date(2025, 12, 1)))
    assert "nothing suggests that the probabilities are off" in sentences.calibration(
        calibration.by_cutoff(pl.concat([early, good])), 0.2
    )


def test_the_sentence_tells_a_tolerable_shift_from_too_extreme_probabilities() -> None:
    """A level that is certainly off, but not certainly beyond the limit, is stated
    without a warning; a slope certainly below 0.8 is a warning.
    """
    level = {
        "intercept_low": 0.05,
        "intercept_high": 0.7,
        "slope": 1.0,
        "slope_low": 0.7,
        "slope_high": 1.3,
    }
    row = {
        "cutoff": date(2026, 1, 1),
        "forecast_churn_rate": 0.65,
        "churn_rate": 0.71,
        **level,
    }
    assert sentences.calibration(pl.DataFrame([row]), 0.2).endswith(
        "too low by more than chance, but within the limit."
    )
    steep = row | {"intercept_low": -0.1, "slope": 0.6, "slope_high": 0.75}
    assert (
        "OUT OF BOUNDS: high and low probabilities are too far apart"
        in sentences.calibration(pl.DataFrame([steep]), 0.2)
    )


def test_calibration_and_intervals_read_as_people_do() -> None:
    """A difference reads "chosen less recency" and an interval "a to b", with a dash
    where there is none.
    """
    frame = predicted()
    assert (
        tables.intervals(intervals.bootstrap(frame, 28, 0, 9))["of"].to_list()
        == ["chosen", "recency", "chosen less recency"] * 2
    )
    table = tables.calibration(calibration.by_cutoff(frame))
    assert table.height == 2
    assert " to " in table["slope (1 is right)"][0]
    unknown = pl.DataFrame(
        {"x_low": [float("nan"), 0.1], "x_high": [float("nan"), 0.2]}
    )
    assert tables.between(unknown, "x", ".0%").to_list() == ["–", "10% to 20%"]


def judged(
    settings: Settings,
    level: tuple[float, float] | None,
    probability: list[float],
    newest: date | None = date(2026, 1, 1),
) -> dict[str, Any]:
    """The finding of the gate ``calibration`` for a model with this level."""
    windows = {"lead_days": 3, "horizon_days": 28}
    model = SimpleNamespace(
        calibration=level, calibration_cutoff=newest, windows=windows
    )
    scores = pl.DataFrame({"probability": probability})
    return score_gates.calibrated(settings, date(2026, 3, 1), scores, model)


@pytest.mark.parametrize(
    ("level", "limit", "passed"),
    [((0.3, 0.5), 0.2, False), ((0.3, 0.5), 0.4, True), (None, 0.2, True)],
)
def test_the_gate_judges_the_level_the_model_was_trained_with(
    make_study: Callable[..., Settings],
    level: tuple[float, float] | None,
    limit: float,
    passed: bool,
) -> None:
    """Off by 0.3 to 0.5 in log-odds: fails a limit of 0.2, passes one of 0.4; a model
    without a validation fold passes.
    """
    settings = make_study(gates={"max_calibration_shift": limit})
    finding = judged(settings, level, [0.1, 0.2])
    assert (finding["gate"], finding["passed"], finding["cutoff"]) == (
        "calibration",
        passed,
        date(2026, 3, 1),
    )
    assert "nan" not in finding["sentence"] + finding["seen"]


def test_the_gate_says_of_when_the_outcome_is_that_it_judges(
    make_study: Callable[..., Settings],
) -> None:
    """The last known outcome may be of another season: the sentence names the cutoff
    and the day on which its horizon of 3 + 28 days was over, if the model knows them.
    """
    finding = judged(make_study(), (-1.2, -0.8), [0.1, 0.2])
    expected = (
        "of the users of 2026-01-01, whose outcome was known by 2026-02-01, fewer"
    )
    assert finding["sentence"].startswith(expected)
    unknown = judged(make_study(), (0.8, 1.2), [0.1, 0.2], newest=None)
    assert "when the model was trained more users churned" in unknown["sentence"]


def test_the_gate_fails_if_all_users_have_one_probability(
    make_study: Callable[..., Settings],
) -> None:
    """Though its level is right, such a model separates no users; a single user
    can't show it, and two probabilities are enough.
    """
    settings = make_study()
    finding = judged(settings, (-0.1, 0.1), [0.3] * 3)
    assert not finding["passed"]
    assert "all 3 users have the same probability" in finding["sentence"]
    assert judged(settings, (-0.1, 0.1), [0.3])["passed"]
    assert judged(settings, (-0.1, 0.1), [0.3, 0.3, 0.4])["passed"]


def test_a_difference_is_concluded_from_its_interval() -> None:
    """Far better probabilities win in both figures, whichever model comes first; a
    model beside itself may be chance; a single model has no conclusion. At one cutoff,
    or at cutoffs that share nearly all of their horizon, nothing is known of others.
    """
    frame = predicted(2000, cutoffs=4)
    right = frame.filter(pl.col("model") == "chosen")
    same = right.with_columns(model=pl.lit("same"))
    poor = right.with_columns(
        model=pl.lit("poor"), probability=1 - pl.col("probability")
    )
    three = pl.concat([poor, right, same])
    table = tables.intervals(intervals.bootstrap(three, 1, 0, 200))
    conclusions = dict(table.select("of", "conclusion").tail(6).iter_rows())
    assert conclusions == {
        "poor": None,
        "chosen": None,
        "same": None,
        "poor less chosen": "chosen is better",
        "poor less same": "same is better",
        "chosen less same": "may be chance",
    }
    flipped = intervals.bootstrap(pl.concat([right, poor]), 1, 0, 200)
    conclusions = tables.intervals(flipped)["conclusion"].to_list()
    assert conclusions == [None, None, "chosen is better"] * 2
    first = three.filter(pl.col("cutoff") == three["cutoff"].min())
    once = tables.intervals(intervals.bootstrap(first, 1, 0, 200))
    assert once["conclusion"][3] == "chosen was better at these cutoffs"
    shared = tables.intervals(intervals.bootstrap(three, 400, 0, 200))
    assert shared["conclusion"][3] == "chosen was better at these cutoffs"
