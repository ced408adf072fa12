"""Corrections: the level shift, each kind of correction, and when one is kept."""

import numpy as np
import pytest
from scipy.special import expit, logit

from churn.model import correction
from churn.model.correction import Correction, Evidence, Outcomes

P = np.array([0.2, 0.5, 0.9])


def period(n: int, shift: float = 0.0, seed: int = 0, slope: float = 1.0) -> Outcomes:
    """Forecasts of n users, with outcomes drawn from other log-odds.

    These are ``slope`` times the forecast log-odds plus ``shift``.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, n)
    return Outcomes(expit(z), (rng.random(n) < expit(slope * z + shift)).astype(int))


def test_the_level_shift_makes_the_mean_the_actual_rate() -> None:
    """With it the mean probability is the actual rate; where it was so, the shift
    is 0.
    """
    outcomes = period(500, shift=0.8)
    shift = correction.level_shift(outcomes)
    assert expit(logit(outcomes.probability) + shift).mean() == pytest.approx(
        outcomes.inactive.mean(), abs=1e-9
    )
    assert correction.level_shift(
        Outcomes(np.full(4, 0.25), np.array([1, 0, 0, 0]))
    ) == pytest.approx(0)


@pytest.mark.parametrize("away", [0, 1])
def test_the_level_shift_is_finite_where_everybody_did_the_same(away: int) -> None:
    """Of ten users who all stayed or all left, half a user counts as the other kind."""
    outcomes = Outcomes(np.full(10, 0.5), np.full(10, away))
    assert expit(correction.level_shift(outcomes)) == pytest.approx(
        0.95 if away else 0.05
    )


def test_no_correction_changes_nothing() -> None:
    """The kind "none" returns the same array."""
    assert Correction().apply(P) is P


@pytest.mark.parametrize("kind", ["level", "early", "slope", "platt"])
def test_a_linear_correction_moves_the_log_odds(kind: str) -> None:
    """A slope of 2 and an intercept of −1; 0 and 1 end up within (0, 1)."""
    corrected = Correction(kind, slope=2.0, intercept=-1.0)
    assert logit(corrected.apply(P)) == pytest.approx(2 * logit(P) - 1)
    ends = corrected.apply(np.array([0.0, 1.0]))
    assert 0 < ends[0] < 1e-10
    assert 1 - 1e-10 < ends[1] < 1


def test_an_isotonic_correction_interpolates_between_its_knots() -> None:
    """It is a line between −1 → −2 and 1 → 0 in log-odds, and flat beyond them."""
    corrected = Correction("isotonic", knots=((-1.0, -2.0), (1.0, 0.0)))
    assert logit(
        corrected.apply(expit(np.array([-5.0, -1.0, 0.0, 1.0, 5.0])))
    ) == pytest.approx([-2, -2, -1, 0, 0])


def test_half_of_an_observed_level_shift_is_applied() -> None:
    """Forecasts that were 0.8 too low at the newest cutoff are raised by 0.4; that
    evidence allows no other correction.
    """
    known = Evidence(period(20_000, shift=0.8), None, None, [])
    found = correction.corrections(known)
    assert set(found) == {"none", "level"}
    assert found["level"].intercept == pytest.approx(0.4, abs=0.03)


def test_the_early_correction_compares_the_first_days_of_two_horizons() -> None:
    """Only the move between the cutoffs counts, of which half is applied.

    At the newest training cutoff the shift is 0 in the end and +1 after the first days;
    at the open cutoff it is +1.6 after the first days, which is 0.6 more.
    """
    learned = period(20_000)
    newest_opening = Outcomes(learned.probability, period(20_000, shift=1.0).inactive)
    early = period(20_000, shift=1.6, seed=1)
    found = correction.corrections(Evidence(learned, newest_opening, early, []))
    assert found["early"].intercept == pytest.approx(0.3, abs=0.04)
    assert found["level"].intercept == pytest.approx(0, abs=0.03)


def test_shapes_are_fitted_to_earlier_periods_and_isotonic_needs_many_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For forecasts twice too extreme Platt's slope is a half; isotonic needs
    MIN_ISOTONIC outcomes of each kind, and its curve rises.
    """
    earlier = [period(2000, slope=0.5, seed=seed, shift=0.3) for seed in (1, 2)]
    found = correction.corrections(Evidence(period(100), None, None, earlier))
    assert {"none", "level", "platt"} <= set(found)
    assert (found["platt"].slope, found["platt"].intercept) == pytest.approx(
        (0.5, 0.3), abs=0.06
    )
    fewest = min(
        np.bincount(np.concatenate([outcomes.inactive for outcomes in earlier]))
    )
    monkeypatch.setattr(correction, "MIN_ISOTONIC", fewest + 1)
    assert "isotonic" not in correction.corrections(
        Evidence(period(100), None, None, earlier)
    )
    monkeypatch.setattr(correction, "MIN_ISOTONIC", fewest)
    free = correction.corrections(Evidence(period(100), None, None, earlier))[
        "isotonic"
    ]
    x, y = np.array(free.knots).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    corrected = free.apply(earlier[0].probability)
    assert corrected.mean() == pytest.approx(earlier[0].inactive.mean(), abs=0.02)


def test_no_shape_is_fitted_where_all_users_had_the_same_outcome() -> None:
    """Earlier periods in which no user returned allow the level correction only."""
    nobody = Outcomes(np.full(20, 0.5), np.ones(20, int))
    assert set(correction.corrections(Evidence(period(100), None, None, [nobody]))) == {
        "none",
        "level",
    }


def slopes(*of_periods: float, n: int = 4000) -> list[Outcomes]:
    """Periods, each with other users, whose outcomes have these slopes."""
    return [period(n, seed=k, slope=slope) for k, slope in enumerate(of_periods)]


def test_a_slope_is_corrected_by_as_much_as_is_certain() -> None:
    """Timid forecasts with a slope of 1.4 get one between 1 and 1.4, and extreme ones
    one between 0.7 and 1; the more users, the nearer to the whole slope.
    """
    few, many = (slopes(*[1.4] * 4, n=n) for n in (1000, 30_000))
    assert 1.05 < correction.certain_slope(few) < 1.3
    assert 1.33 < correction.certain_slope(many) < 1.4
    assert 0.7 < correction.certain_slope(slopes(*[0.7] * 4)) < 0.85


@pytest.mark.parametrize(
    "periods",
    [slopes(1.4), slopes(1.0, 1.0), slopes(1.9, 1.5), slopes(*[1.2] * 4, n=200)],
    ids=["one period", "right", "two that differ", "few users"],
)
def test_a_slope_that_is_not_certain_stays(periods: list[Outcomes]) -> None:
    """One period isn't enough, nor are two that differ somewhat, nor few users."""
    assert correction.certain_slope(periods) == 1


def test_a_corrected_slope_leaves_the_level_where_it_was() -> None:
    """The mean probability at the open cutoff, or at the newest without one, is the
    same before and after, and high log-odds grow where low ones fall.
    """
    learned, opened = period(3000), period(3000, seed=7)
    lower = Outcomes(expit(logit(opened.probability) - 2), opened.inactive)
    earlier = slopes(*[1.4] * 4)
    for newest, known in [
        (learned, Evidence(learned, None, None, earlier)),
        (lower, Evidence(learned, learned, lower, earlier)),
    ]:
        found = correction.corrections(known)["slope"]
        after = found.apply(newest.probability)
        assert after.mean() == pytest.approx(newest.probability.mean(), abs=1e-9)
        assert after.std() > newest.probability.std() + 0.005


def test_a_certain_slope_is_kept_where_it_helps_in_every_period() -> None:
    """Timid forecasts of a right level are corrected although the gain is small; where
    one period was spread right nothing is, nor where another correction is kept.
    """
    known = Evidence(period(4000), None, None, [])
    timid, mixed = slopes(*[1.2] * 4), slopes(*[1.3] * 5, 1.0, n=10_000)
    assert correction.certain_slope(mixed) > 1.05
    assert correction.choose([(known, outcomes) for outcomes in timid]) == "slope"
    assert correction.choose([(known, outcomes) for outcomes in mixed]) == "none"
    off = Evidence(period(4000, 1.0), None, None, [])
    shifted = [period(4000, 1.0, seed, 1.3) for seed in range(3)]
    assert correction.choose([(off, outcomes) for outcomes in shifted]) == "level"


def steady(*shifts: float) -> list[tuple[Evidence, Outcomes]]:
    """Periods whose level was off by 1 at the newest training cutoff.

    ``shifts``: by how much it was off in the period itself.
    """
    return [
        (
            Evidence(period(4000, 1.0, seed), None, None, []),
            period(4000, shift, seed + 50),
        )
        for seed, shift in enumerate(shifts)
    ]


def test_a_level_that_stays_off_is_corrected() -> None:
    """Where the observed shift persists in all three periods, ``level`` is kept."""
    assert correction.choose(steady(1.0, 1.0, 1.0)) == "level"


def test_a_correction_that_made_one_period_worse_is_not_kept() -> None:
    """Two large gains don't outweigh a period whose level was right."""
    assert correction.choose(steady(1.0, 1.0, 0.0)) == "none"
    assert correction.choose(steady(0.0, 0.0)) == "none"


def test_a_correction_that_was_possible_only_once_is_not_kept() -> None:
    """The early correction is the best, but possible in one period of two, so that the
    next best is kept; without any period it is none.
    """
    (first, outcomes), second = steady(1.0, 1.0)
    early = Evidence(first.newest, period(4000), period(4000, 1.0, 3), [])
    assert correction.choose([(early, outcomes)]) == "early"
    assert correction.choose([(early, outcomes), second]) == "level"
    assert correction.choose([]) == "none"


def test_a_gain_too_small_to_matter_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean gain below MIN_GAIN isn't enough, even if every period got better."""
    monkeypatch.setattr(correction, "MIN_GAIN", 0.5)
    assert correction.choose(steady(1.0, 1.0)) == "none"
