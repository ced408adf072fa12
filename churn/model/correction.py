"""Corrections of a forecast's level and shape, kept only if they help in every fold.

A correction works on log-odds. It is kept only if it would have made the forecast of
every validation cutoff better, when estimated from what was known at that cutoff. The
rule is strict because the base rate of the next period is hard to foresee: on real logs
most corrections made the forecast worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from churn.stats.probability import log_odds, logistic

# Fewest churned users, and fewest others, that an isotonic correction needs.
MIN_ISOTONIC = 20_000
# Apply half of an observed base-rate shift; it reverts as often as it persists.
SHRINKAGE = 0.5
# Smallest mean gain in log loss for which a correction is kept.
MIN_GAIN = 0.0005


@dataclass(frozen=True)
class Correction:
    """A function of log-odds.

    ``kind`` is none, level, early, platt or isotonic; "early" is a level estimated from
    an open horizon. ``knots`` (log-odds before, log-odds after) are set only for
    isotonic.
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
    offset = log_odds(outcomes.probability)
    coefficients, _ = logistic(np.ones((n, 1)), np.full(n, rate), offset)
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
    return possible


def _opening_shift(newest: Outcomes, open_cutoff: Outcomes) -> float:
    """Log-odds by which the level moved between two cutoffs.

    It compares the same first days of both horizons: the open one has no others yet.
    """
    z = log_odds(newest.probability).reshape(-1, 1)
    opening = LogisticRegression(C=1e3).fit(z, newest.inactive)
    open_z = log_odds(open_cutoff.probability).reshape(-1, 1)
    expected = opening.predict_proba(open_z)[:, 1]
    return level_shift(Outcomes(expected, open_cutoff.inactive))


def _shapes(probability: np.ndarray, inactive: np.ndarray) -> dict[str, Correction]:
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


def _isotonic(z: np.ndarray, inactive: np.ndarray) -> Correction:
    curve = IsotonicRegression(y_min=1e-4, y_max=1 - 1e-4).fit(z, inactive)
    before = curve.X_thresholds_.tolist()
    after = log_odds(curve.y_thresholds_).tolist()
    return Correction("isotonic", knots=tuple(zip(before, after, strict=True)))


def choose(periods: Sequence[tuple[Evidence, Outcomes]]) -> str:
    """The kind with the largest mean gain among those that improved every period.

    ``periods`` are validation cutoffs, each with the evidence known by then and the
    outcomes. A kind counts if it could be estimated in at least two periods, or in all
    if there are fewer. If no kind qualifies, the result is ``none``.
    """
    losses = [_losses(evidence, outcomes) for evidence, outcomes in periods]
    kinds = sorted(set().union(*losses))
    means: dict[str, float] = {}
    for kind in kinds:
        gains = [loss["none"] - loss[kind] for loss in losses if kind in loss]
        is_tried = len(gains) >= min(2, len(losses))
        if is_tried and min(gains) > 0 and np.mean(gains) > MIN_GAIN:
            means[kind] = float(np.mean(gains))
    return max(
        means,
        key=lambda kind: means[kind],
        default="none",
    )


def _losses(evidence: Evidence, outcomes: Outcomes) -> dict[str, float]:
    """Log loss of one period under each correction that was possible."""
    return {
        kind: float(
            log_loss(
                outcomes.inactive,
                correction.apply(outcomes.probability),
                labels=[0, 1],
            )
        )
        for kind, correction in corrections(evidence).items()
    }
