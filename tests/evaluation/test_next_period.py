"""What to expect of the next scoring."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from churn.evaluation import backtest, next_period
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
    misfits = next_period.misfits(
        pl.concat([period(0), period(1, shift=0.5, slope=1.3)])
    )
    assert misfits["shift"].to_list() == pytest.approx([0, 0.5], abs=0.12)
    assert misfits["tilt"].to_list() == pytest.approx([0, np.log(1.3)], abs=0.1)


def test_a_cutoff_with_one_outcome_only_is_left_out_of_the_misfits() -> None:
    """If everybody churned there is no misfit, and the interval rests on the priors."""
    all_gone = period(0).with_columns(churned=pl.lit(True))
    assert next_period.misfits(all_gone).is_empty()
    stated = next_period.estimate(all_gone, np.linspace(0.1, 0.9, 500), rates(), 28, 0)
    assert (stated["low"] < stated["estimate"]).all()


def test_a_move_is_the_log_odds_of_the_rate_against_the_newest_old_enough() -> None:
    """Rates of 0.2, 0.2 and 0.5 a week apart move by 0 and ln 4 over seven days, and
    over ten days by ln 4 alone.
    """
    levels = rates(0.2, 0.2, 0.5)
    assert next_period.level_moves(levels, 7)["move"].to_list() == pytest.approx(
        [0, np.log(4)]
    )
    assert next_period.level_moves(levels, 10)["move"].to_list() == pytest.approx(
        [np.log(4)]
    )


def test_overlapping_periods_count_by_the_time_they_span() -> None:
    """Four cutoffs that span 21 days are worth 1.75 periods of a 28-day horizon; no
    cutoff is worth none.
    """
    weeks = pl.Series([D0 + timedelta(days=7 * k) for k in range(4)])
    assert next_period._n_periods(weeks, 28) == 1.75
    assert next_period._n_periods(weeks.clear(), 28) == 0


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
    assert sentences.next_period(stated).endswith(
        "lie in such an interval in 80% of cases."
    )
    assert len(next_period.headline(stated)) == 6
