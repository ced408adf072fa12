"""Corrections of a forecast's level and shape, kept only if they help in every fold.

A correction works on log-odds. It is kept only if it would have made the forecast of
every validation cutoff better, when estimated from what was known at that cutoff. The
rule is strict because the base rate of the next period is hard to foresee: on real logs
most corrections made the forecast worse.

Where no correction is kept, all validation cutoffs together may still show for certain
that probabilities are spread too far or not far enough. Then their slope is corrected,
by as much as is certain, and their level stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import t
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from churn.stats.probability import log_odds, logistic
from churn.stats.shares import Z

# Fewest churned users, and fewest others, that an isotonic correction needs.
MIN_ISOTONIC = 20_000
# Apply half of an observed base-rate shift; it reverts as often as it persists.
SHRINKAGE = 0.5
# Smallest mean gain in log loss for which a correction is kept.
MIN_GAIN = 0.0005


@dataclass(frozen=True)
class Correction:
    """A function of log-odds.

    ``kind`` is none, level, early, slope, platt or isotonic; "early" is a level
    estimated from an open horizon. ``knots`` (log-odds before, log-odds after) are set
    only for isotonic.
    """

    kind: str = "none"
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Corrected probabilities, in an array of the same shape as ``probability``.

        It may have any shape, such as (n_rows,) or (1 + n_groups, n_rows): each
        probability is corrected by itself.
        """
        if self.kind == "none":
            return probability
        z = log_odds(probability)
        if self.knots:
            before, after = np.array(self.knots).T
            return np.asarray(expit(np.interp(z, before, after)))
        return np.asarray(expit(self.slope * z + self.intercept))


@dataclass(frozen=True)
class Outcomes:
    """Forecasts and outcomes at one cutoff, shape (n,) each.

    ``inactive`` is 1 for a user without activity in the horizon, or in that part of an
    open horizon that is over.
    """

    probability: np.ndarray
    inactive: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """What is known, on the day of a forecast, about its level.

    ``newest``: outcomes at the newest training cutoff. ``newest_opening`` and
    ``open_cutoff``: at that cutoff and at a newer one whose horizon is still open, who
    was inactive in the horizon's first days; null where there is no open cutoff.
    ``earlier``: forecasts of earlier periods whose outcome is known by now.
    """

    newest: Outcomes
    newest_opening: Outcomes | None
    open_cutoff: Outcomes | None
    earlier: Sequence[Outcomes]


def level_shift(outcomes: Outcomes) -> float:
    """Log-odds to add to all probabilities so that their mean is the actual rate."""
    n = len(outcomes.inactive)
    rate = np.clip(outcomes.inactive.mean(), 0.5 / n, 1 - 0.5 / n)
    return _shift_to(float(rate), log_odds(outcomes.probability))


def _shift_to(
    rate: float,
    z: np.ndarray,
) -> float:
    """What to add to log-odds so that the mean of their probabilities is ``rate``."""
    n = len(z)
    coefficients, _ = logistic(np.ones((n, 1)), np.full(n, rate), z)
    return float(coefficients[0])


def corrections(evidence: Evidence) -> dict[str, Correction]:
    """Every correction that the evidence allows, by kind; ``none`` is always there."""
    level = level_shift(evidence.newest)
    possible = {
        "none": Correction(),
        "level": Correction("level", intercept=SHRINKAGE * level),
    }
    if evidence.newest_opening is not None and evidence.open_cutoff is not None:
        moved = _opening_shift(evidence.newest_opening, evidence.open_cutoff)
        possible["early"] = Correction("early", intercept=SHRINKAGE * (level + moved))
    if evidence.earlier:
        probability = np.concatenate([o.probability for o in evidence.earlier])
        inactive = np.concatenate([o.inactive for o in evidence.earlier])
        possible |= _shapes(probability, inactive)
    slope = certain_slope(evidence.earlier)
    if slope != 1:
        possible["slope"] = _tilted(evidence, slope)
    return possible


def certain_slope(periods: Sequence[Outcomes]) -> float:
    """The slope of log-odds that is certainly due: 1 unless its interval excludes 1.

    Then it is the end of the 95 % interval that is nearest to 1. The interval is around
    the mean of the slopes of the periods, each of which has a level of its own. As the
    same users recur, more periods don't make it narrower than one alone would be. It is
    wider by as much as the periods differ, much wider if they are few (Student's t).

    >>> certain_slope([])
    1.0
    """
    n_periods = len(periods)
    if n_periods < 2:
        return 1.0
    slopes, errors = np.array([_slope(outcomes) for outcomes in periods]).T
    of_users = Z**2 * np.mean(errors**2)
    of_periods = t.ppf(0.975, n_periods - 1) ** 2 * np.var(slopes, ddof=1) / n_periods
    half_width = np.sqrt(of_users + of_periods)
    low, high = slopes.mean() - half_width, slopes.mean() + half_width
    if low > 1:
        return float(low)
    return float(high) if high < 1 else 1.0


def _slope(outcomes: Outcomes) -> tuple[float, float]:
    """Slope of the outcomes on the log-odds, and its standard error; NaN if unknown."""
    z = log_odds(outcomes.probability)
    x = np.column_stack([np.ones(len(z)), z])
    coefficients, errors = logistic(x, outcomes.inactive, np.zeros(len(z)))
    return float(coefficients[1]), float(errors[1])


def _tilted(
    evidence: Evidence,
    slope: float,
) -> Correction:
    """A correction of the slope that keeps the mean of the newest probabilities."""
    newest = (evidence.open_cutoff or evidence.newest).probability
    return Correction(
        "slope", slope, _shift_to(newest.mean(), slope * log_odds(newest))
    )


def _opening_shift(
    newest: Outcomes,
    open_cutoff: Outcomes,
) -> float:
    """Log-odds by which the level moved between two cutoffs.

    It compares the same first days of both horizons: the open one has no others yet.
    """
    z = log_odds(newest.probability).reshape(-1, 1)
    opening = LogisticRegression(C=1e3).fit(z, newest.inactive)
    open_z = log_odds(open_cutoff.probability).reshape(-1, 1)
    expected = opening.predict_proba(open_z)[:, 1]
    return level_shift(Outcomes(expected, open_cutoff.inactive))


def _shapes(
    probability: np.ndarray,
    inactive: np.ndarray,
) -> dict[str, Correction]:
    if len(np.unique(inactive)) < 2:
        return {}
    z = log_odds(probability)
    # A C this large leaves practically no penalty.
    platt = LogisticRegression(C=1e6).fit(z.reshape(-1, 1), inactive)
    slope = float(platt.coef_[0, 0])
    intercept = float(platt.intercept_[0])
    shapes = {"platt": Correction("platt", slope, intercept)}
    n_inactive = inactive.sum()
    if min(n_inactive, len(inactive) - n_inactive) >= MIN_ISOTONIC:
        shapes["isotonic"] = _isotonic(z, inactive)
    return shapes


def _isotonic(
    z: np.ndarray,
    inactive: np.ndarray,
) -> Correction:
    curve = IsotonicRegression(y_min=1e-4, y_max=1 - 1e-4).fit(z, inactive)
    before = curve.X_thresholds_.tolist()
    after = log_odds(curve.y_thresholds_).tolist()
    return Correction("isotonic", knots=tuple(zip(before, after, strict=True)))


def choose(periods: Sequence[tuple[Evidence, Outcomes]]) -> str:
    """The kind with the largest mean gain among those that improved every period.

    ``periods`` are validation cutoffs, each with the evidence known by then and the
    outcomes. A kind counts if it could be estimated in at least two periods, or in all
    if there are fewer. If no kind qualifies, the result is ``slope`` where all periods
    together are certain of one that would have improved each, otherwise ``none``.
    """
    losses = [_losses(evidence, outcomes) for evidence, outcomes in periods]
    kinds = sorted(set().union(*losses))
    means: dict[str, float] = {}
    for kind in kinds:
        gains = [loss["none"] - loss[kind] for loss in losses if kind in loss]
        is_tried = len(gains) >= min(2, len(losses))
        if is_tried and min(gains) > 0 and np.mean(gains) > MIN_GAIN:
            means[kind] = float(np.mean(gains))
    if means:
        return max(means, key=lambda kind: means[kind])
    return "slope" if _is_slope_off(periods) else "none"


def _is_slope_off(periods: Sequence[tuple[Evidence, Outcomes]]) -> bool:
    """Whether a slope is certain and would have made every period better."""
    slope = certain_slope([outcomes for _, outcomes in periods])
    if slope == 1:
        return False
    return all(
        _loss(_tilted(evidence, slope), outcomes) < _loss(Correction(), outcomes)
        for evidence, outcomes in periods
    )


def _losses(
    evidence: Evidence,
    outcomes: Outcomes,
) -> dict[str, float]:
    """Log loss of one period under each correction that was possible."""
    return {
        kind: _loss(correction, outcomes)
        for kind, correction in corrections(evidence).items()
    }


def _loss(
    correction: Correction,
    outcomes: Outcomes,
) -> float:
    """Log loss of one period under a correction."""
    probability = correction.apply(outcomes.probability)
    return float(log_loss(outcomes.inactive, probability, labels=[0, 1]))
