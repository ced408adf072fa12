"""The level of the next period: solved for, foreseen early, and corrected only where
that always helped.
"""

import numpy as np
import pytest
from scipy.special import expit, logit

from churn.model import correction
from churn.model.correction import Correction, Known, Seen

P = np.array([0.2, 0.5, 0.9])


def period(n: int, shift: float = 0.0, seed: int = 0, slope: float = 1.0) -> Seen:
    """Forecasts of n users, and outcomes whose true log-odds are ``slope`` times those
    forecast plus ``shift``.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, n)
    return Seen(expit(z), (rng.random(n) < expit(slope * z + shift)).astype(int))


def test_the_level_shift_makes_the_mean_the_rate_that_came() -> None:
    """Moved by it, the probabilities' mean is the rate; where it is so already, the
    shift is 0.
    """
    seen = period(500, shift=0.8)
    shift = correction.level_shift(seen)
    assert expit(logit(seen.probability) + shift).mean() == pytest.approx(
        seen.away.mean(), abs=1e-9
    )
    assert correction.level_shift(
        Seen(np.full(4, 0.25), np.array([1, 0, 0, 0]))
    ) == pytest.approx(0)


@pytest.mark.parametrize("away", [0, 1])
def test_the_level_shift_is_finite_where_everybody_did_the_same(away: int) -> None:
    """Ten users who all stayed, or all left: the mean becomes what half a user would
    make it.
    """
    seen = Seen(np.full(10, 0.5), np.full(10, away))
    assert expit(correction.level_shift(seen)) == pytest.approx(0.95 if away else 0.05)


def test_no_correction_changes_nothing() -> None:
    """The same array, to the bit."""
    assert Correction().apply(P) is P


@pytest.mark.parametrize("kind", ["level", "early", "platt"])
def test_a_linear_correction_moves_the_log_odds(kind: str) -> None:
    """Twice them less 1; 0 and 1 stay within (0, 1)."""
    corrected = Correction(kind, slope=2.0, intercept=-1.0)
    assert logit(corrected.apply(P)) == pytest.approx(2 * logit(P) - 1)
    ends = corrected.apply(np.array([0.0, 1.0]))
    assert 0 < ends[0] < 1e-10
    assert 1 - 1e-10 < ends[1] < 1


def test_an_isotonic_correction_joins_its_knots() -> None:
    """Between log-odds −1 → −2 and 1 → 0 it is a line, beyond them flat."""
    corrected = Correction("isotonic", knots=((-1.0, -2.0), (1.0, 0.0)))
    assert logit(
        corrected.apply(expit(np.array([-5.0, -1.0, 0.0, 1.0, 5.0])))
    ) == pytest.approx([-2, -2, -1, 0, 0])


def test_half_of_a_level_that_moved_is_taken_over() -> None:
    """Learned forecasts were 0.8 too low: 0.4 is added; nothing else can be made from
    that alone.
    """
    known = Known(period(20_000, shift=0.8), None, None, [])
    found = correction.corrections(known)
    assert set(found) == {"none", "level"}
    assert found["level"].intercept == pytest.approx(0.4, abs=0.03)


def test_the_early_correction_is_from_who_is_still_away_after_the_first_days() -> None:
    """After the first days more are away than at the end, at both cutoffs; only the
    move between the cutoffs counts.

    Learned from: no shift in the end, +1 early. Newer: +1.6 early, which is 0.6 more,
    of which half is taken over.
    """
    learned = period(20_000)
    learned_early = Seen(learned.probability, period(20_000, shift=1.0).away)
    early = period(20_000, shift=1.6, seed=1)
    found = correction.corrections(Known(learned, learned_early, early, []))
    assert found["early"].intercept == pytest.approx(0.3, abs=0.04)
    assert found["level"].intercept == pytest.approx(0, abs=0.03)


def test_shapes_are_from_earlier_periods_and_the_free_one_needs_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forecasts too extreme by half: Platt's slope says so; isotonic only with MANY of
    each kind, and it rises.
    """
    judged = [period(2000, slope=0.5, seed=seed, shift=0.3) for seed in (1, 2)]
    found = correction.corrections(Known(period(100), None, None, judged))
    assert set(found) == {"none", "level", "platt"}
    assert (found["platt"].slope, found["platt"].intercept) == pytest.approx(
        (0.5, 0.3), abs=0.06
    )
    fewest = min(np.bincount(np.concatenate([seen.away for seen in judged])))
    monkeypatch.setattr(correction, "MANY", fewest + 1)
    assert "isotonic" not in correction.corrections(
        Known(period(100), None, None, judged)
    )
    monkeypatch.setattr(correction, "MANY", fewest)
    free = correction.corrections(Known(period(100), None, None, judged))["isotonic"]
    x, y = np.array(free.knots).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    corrected = free.apply(judged[0].probability)
    assert corrected.mean() == pytest.approx(judged[0].away.mean(), abs=0.02)


def test_no_shape_is_made_where_everybody_did_the_same() -> None:
    """Earlier periods in which nobody came back teach nothing."""
    nobody = Seen(np.full(20, 0.5), np.ones(20, int))
    assert set(correction.corrections(Known(period(100), None, None, [nobody]))) == {
        "none",
        "level",
    }


def steady(*shifts: float) -> list[tuple[Known, Seen]]:
    """Periods whose level was off by 1 at the cutoff learned from, and by these in the
    end.
    """
    return [
        (Known(period(4000, 1.0, seed), None, None, []), period(4000, shift, seed + 50))
        for seed, shift in enumerate(shifts)
    ]


def test_a_level_that_is_steadily_off_is_corrected() -> None:
    """In all three periods the same shift came that was seen before: ``level`` is
    kept.
    """
    assert correction.keep(steady(1.0, 1.0, 1.0)) == "level"


def test_one_period_made_worse_and_nothing_is_corrected() -> None:
    """Two large gains don't pay for a period whose level was right."""
    assert correction.keep(steady(1.0, 1.0, 0.0)) == "none"
    assert correction.keep(steady(0.0, 0.0)) == "none"


def test_only_what_can_be_made_in_every_period_is_kept() -> None:
    """Early outcomes that say it best, but in one period of two: the next best; and
    none where nothing was judged.
    """
    (first, seen), second = steady(1.0, 1.0)
    early = Known(first.learned, period(4000), period(4000, 1.0, 3), [])
    assert correction.keep([(early, seen)]) == "early"
    assert correction.keep([(early, seen), second]) == "level"
    assert correction.keep([]) == "none"


def test_a_gain_too_small_to_matter_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better in every period, but by less on average than a correction is worth."""
    monkeypatch.setattr(correction, "GAIN", 0.5)
    assert correction.keep(steady(1.0, 1.0)) == "none"
