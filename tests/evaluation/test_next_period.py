"""What to expect of the next scoring."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from churn.evaluation import backtest, next_period, past_errors, periods
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.report import forecast_sentences as sentences
from churn.stats import probability as probability_
from churn.store import Store

D0 = date(2026, 1, 1)


def period(
    week: int, shift: float = 0.0, slope: float = 1.0, n: int = 4000
) -> pl.DataFrame:
    """A test cutoff whose outcomes follow σ(shift + slope · x), x being the log-odds of
    the prediction.
    """
    rng = np.random.default_rng(week)
    x = rng.normal(0, 1.2, n)
    churned = rng.random(n) < expit(shift + slope * x)
    return pl.DataFrame(
        {
            "cutoff": [D0 + timedelta(days=7 * week)] * n,
            "churned": churned,
            "probability": expit(x),
        }
    )


def rates(*levels: float) -> pl.DataFrame:
    """Churn rates a week apart."""
    return pl.DataFrame(
        {
            "cutoff": [D0 + timedelta(days=7 * k) for k in range(len(levels))],
            "churn_rate": list(levels),
        },
        schema={"cutoff": pl.Date, "churn_rate": pl.Float64},
    )


def expected_auc(p: np.ndarray) -> float:
    """The expected share of pairs of a churner and a stayer that are ranked right, if
    the probabilities are right; for 0.8 and 0.4 it is 0.48 / 0.56.

    >>> round(expected_auc(np.array([0.8, 0.4])), 3)
    0.857
    """
    pairs = np.outer(p, 1 - p)
    np.fill_diagonal(pairs, 0)
    return float((pairs * (p[:, None] > p)).sum() / pairs.sum())


def test_a_misfit_is_the_shift_and_the_tilt_that_made_the_outcomes() -> None:
    """A shift of 0.5 and a slope of 1.3 are estimated from 4,000 users to within their
    noise; a right forecast has neither.
    """
    misfits = past_errors.misfits(
        pl.concat([period(0), period(1, shift=0.5, slope=1.3)])
    )
    assert misfits["shift"].to_list() == pytest.approx([0, 0.5], abs=0.12)
    assert misfits["tilt"].to_list() == pytest.approx([0, np.log(1.3)], abs=0.1)


def test_the_noise_of_a_misfit_shrinks_with_the_number_of_users() -> None:
    """Right forecasts miss by about as much as the standard errors state, and a
    hundredth of the users makes these ten times as large.
    """
    many = past_errors.misfits(pl.concat([period(k) for k in range(30)]))
    few = past_errors.misfits(pl.concat([period(k, n=40) for k in range(30)]))
    for error in ("shift", "tilt"):
        ratio = many[error].std() / many[f"{error}_noise"].mean()
        assert 0.75 < ratio < 1.3
        noise = few[f"{error}_noise"].median() / many[f"{error}_noise"].median()
        assert 8 < noise < 13


def test_chance_among_few_users_is_not_taken_for_an_error() -> None:
    """Right forecasts for 60 users miss by more than those for 4,000, by chance alone;
    the interval for the next 4,000 users is hardly wider.
    """
    p = expit(np.random.default_rng(9).normal(0, 1.2, 4000))
    calm = rates(*[0.4] * 20)

    def width(n: int) -> np.ndarray:
        past = pl.concat([period(4 * k, n=n) for k in range(12)])
        stated = next_period.estimate(past, p, calm, 28, 0)
        return (stated["high"] - stated["low"]).to_numpy()

    assert (width(60) < 1.4 * width(4000)).all()


def test_a_cutoff_with_one_outcome_only_is_left_out() -> None:
    """If everybody churned there is neither a misfit nor a figure, and the middle is
    what the probabilities imply.
    """
    all_gone = period(0).with_columns(churned=pl.lit(True))
    assert past_errors.misfits(all_gone).is_empty()
    assert past_errors.figures(all_gone).is_empty()
    p = np.linspace(0.1, 0.9, 500)
    stated = next_period.estimate(all_gone, p, rates(), 28, 0)
    assert stated["estimate"][0] == pytest.approx(expected_auc(p), abs=0.02)


def test_an_interval_is_stated_only_where_two_periods_lie_behind_it() -> None:
    """One tested period alone gives an estimate without limits; with a second one, or a
    churn rate that was seen to move once, there are limits.
    """
    p = np.linspace(0.1, 0.9, 500)
    alone = next_period.estimate(period(0), p, rates(), 28, 0)
    assert alone["estimate"].is_not_nan().all()
    assert alone["low"].null_count() == alone["high"].null_count() == 2
    assert "not known" in sentences.next_period(alone)
    assert next_period.headline(alone)["next_auc_low"] is None
    two = pl.concat([period(0), period(4)])
    for past, levels in [(two, rates()), (period(0), rates(*[0.4] * 7))]:
        stated = next_period.estimate(past, p, levels, 28, 0)
        assert (stated["low"] < stated["high"]).all()
        assert "not known" not in sentences.next_period(stated)


def steady(n_periods: int) -> pl.DataFrame:
    """Test cutoffs four weeks apart that all came out alike: probabilities of 0.2 and
    0.6, of which 0.3 and 0.5 churned.
    """
    p = np.repeat([0.2, 0.6], 1000)
    churned = np.concatenate([np.arange(1000) < 300, np.arange(1000) < 500])
    parts = [
        pl.DataFrame(
            {
                "cutoff": [D0 + timedelta(days=28 * k)] * 2000,
                "churned": churned,
                "probability": p,
            }
        )
        for k in range(n_periods)
    ]
    return pl.concat(parts)


@pytest.mark.parametrize("n_users", [0, 1])
def test_of_fewer_than_two_users_nothing_is_expected(n_users: int) -> None:
    """No user is ranked above another, and the sentence says no number."""
    p = np.full(n_users, 0.3)
    expected = next_period.estimate(steady(3), p, rates(*[0.3] * 12), 28, 0)
    assert expected["estimate"].to_list() == [None, None]
    assert "nan" not in sentences.next_period(expected)
    assert next_period.headline(expected)["next_auc"] is None


def test_the_mean_of_past_figures_counts_as_far_as_it_proved_right() -> None:
    """Where a year of periods came out alike, though not as the probabilities imply,
    the middle is their mean, and the interval is narrower than after two periods;
    these leave the middle near what the probabilities imply.
    """
    p = np.repeat([0.2, 0.6], 1000)
    implied = probability_.expected_log_loss(p, p)
    actual = past_errors.figures(steady(1))["log_loss"][0]
    short, long = (
        next_period.estimate(steady(n), p, rates(), 28, 0).row(1, named=True)
        for n in (2, 13)
    )
    assert actual - implied > 0.03
    assert long["estimate"] == pytest.approx(actual, abs=0.01)
    assert abs(short["estimate"] - implied) < abs(short["estimate"] - actual)
    assert long["high"] - long["low"] < 0.9 * (short["high"] - short["low"])


def test_the_mean_at_a_cutoff_holds_what_was_known_on_its_day() -> None:
    """Log losses of 0.3, 0.5, 0.6 and 0.2 two weeks apart, known after four: the third
    is compared with the first, the fourth with the mean of the first two.
    """
    days = [D0 + timedelta(days=14 * k) for k in range(4)]
    losses = [0.3, 0.5, 0.6, 0.2]
    past = pl.DataFrame({"cutoff": days, "auc": 0.8, "log_loss": losses})
    missed = past_errors.errors_of_the_mean(past, 28)
    assert missed["cutoff"].to_list() == days[2:]
    assert missed["log_loss"].to_list() == pytest.approx([0.3, -0.2])
    assert missed["auc"].to_list() == pytest.approx([0, 0])


def test_a_move_is_the_log_odds_of_the_rate_against_the_newest_old_enough() -> None:
    """Rates of 0.2, 0.2 and 0.5 a week apart move by 0 and ln 4 over seven days, and
    over ten days by ln 4 alone.
    """
    levels = rates(0.2, 0.2, 0.5)
    assert past_errors.level_moves(levels, 7)["move"].to_list() == pytest.approx(
        [0, np.log(4)]
    )
    assert past_errors.level_moves(levels, 10)["move"].to_list() == pytest.approx(
        [np.log(4)]
    )


def test_overlapping_periods_count_by_the_time_they_span() -> None:
    """Four cutoffs that span 21 days are worth 1.75 periods of a 28-day horizon; no
    cutoff is worth none.
    """
    weeks = [D0 + timedelta(days=7 * k) for k in range(4)]
    assert periods.n_independent(weeks, 28) == 1.75
    assert periods.n_independent([], 28) == 0


def test_the_interval_widens_where_the_level_moved_or_forecasts_were_off() -> None:
    """For the same probabilities the interval of the log loss is wider after a moving
    churn rate, and after outcomes that were shifted.
    """
    p = expit(np.random.default_rng(9).normal(0, 1.2, 2000))
    good, bad = (
        pl.concat([period(k, shift) for k in range(4)]) for shift in (0.0, 1.0)
    )
    calm, moving = rates(*[0.4] * 20), rates(*[0.2, 0.2, 0.7, 0.7] * 5)

    def width(past: pl.DataFrame, levels: pl.DataFrame) -> float:
        row = next_period.estimate(past, p, levels, 7, 0).row(1, named=True)
        return row["high"] - row["low"]

    assert width(good, moving) > 1.5 * width(good, calm)
    assert width(bad, calm) > 1.2 * width(good, calm)


def test_more_coverage_is_a_wider_interval_around_the_same_estimate() -> None:
    """The 80 % interval lies within the 95 % one, the estimate is near that of right
    probabilities, and the same random state gives the same result.
    """
    p = expit(np.random.default_rng(9).normal(0, 1.2, 2000))
    given = (period(0), p, rates(0.4, 0.4), 28, 0)
    narrow, wide = (
        next_period.estimate(*given),
        next_period.estimate(*given, coverage=0.95),
    )
    assert narrow.equals(next_period.estimate(*given))
    assert narrow["estimate"].equals(wide["estimate"])
    assert ((wide["low"] < narrow["low"]) & (narrow["high"] < wide["high"])).all()
    assert narrow["estimate"].to_list() == pytest.approx(
        [expected_auc(p), probability_.expected_log_loss(p, p)], abs=0.02
    )


def test_what_is_stated_rests_on_what_had_matured_by_the_scoring(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest test cutoff and churn rate have their horizon closed on the day that
    is scored, and all users eligible on that day are scored.
    """
    store = filled
    cutoff = Calendar.of(store).end - timedelta(days=7)
    latest = cutoff - timedelta(days=store.settings.windows.horizon_days)
    tested = backtest.backtest(store, latest, progress=False).predictions
    given: list[Any] = []
    original = next_period.estimate
    monkeypatch.setattr(
        next_period, "estimate", lambda *args: given.extend(args) or original(*args)
    )
    stated = next_period.forecast(store, tested)
    predictions, probability, churn_rates, days, _ = given
    assert predictions["cutoff"].max() == churn_rates["cutoff"].max() == latest
    assert predictions["model"].unique().to_list() == ["chosen"]
    eligible = snapshots.observe(store, [cutoff], snapshots.plan(store, latest)).height
    assert len(probability) == eligible > 50
    assert days == store.settings.windows.horizon_days
    assert "Of such intervals 80% hold" in sentences.next_period(stated)
    assert len(next_period.headline(stated)) == 6


def test_churn_rates_of_a_large_app_are_those_of_a_share_of_its_users(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same cutoffs, and close to the rates of everybody."""
    newest = Calendar.of(filled).newest_mature()
    every = next_period.churn_rates(filled, newest)
    monkeypatch.setattr(next_period, "MAX_RATE_USERS", 100)
    some = next_period.churn_rates(filled, newest)
    assert some["cutoff"].equals(every["cutoff"])
    difference = (some["churn_rate"] - every["churn_rate"]).abs()
    assert 0 < difference.mean() < 0.1


def test_a_constant_forecast_says_nothing_of_the_spread() -> None:
    """A test cutoff at which all probabilities are the same is no evidence of tilt, and
    that of another cutoff stays.
    """
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, 400)
    churned = rng.random(400) < p
    spread = pl.DataFrame({"probability": p, "churned": churned})
    flat = spread.with_columns(probability=0.5)
    parts = [
        frame.with_columns(cutoff=pl.lit(date(2026, 1, day)))
        for day, frame in ((1, spread), (10, flat))
    ]
    found = past_errors.misfits(pl.concat(parts))
    assert found["cutoff"].to_list() == [date(2026, 1, 1)]
