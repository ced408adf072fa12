"""Probabilities under drift: the level of the next period, and the guarded correction
of what a model says.

A correction works on log-odds. It is kept only if it would have made every judged
cutoff better, each time fitted on what was known by then: the level of a period is hard
to foresee, and on real logs most corrections made it worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from churn.stats.probability import log_odds, logistic

MANY = 20_000  # outcomes of each kind, from which on the shape is free
HALF = 0.5  # of a level seen to move is taken over: it moves back as often as on
GAIN = 0.0005  # of log loss, below which a correction isn't worth having


@dataclass(frozen=True)
class Correction:
    """kind: none, level, early, platt or isotonic. ``knots`` (log-odds in, log-odds
    out) only where isotonic.
    """

    kind: str = "none"
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Corrected probabilities, shape (n,)."""
        if self.kind == "none":
            return probability
        z = log_odds(probability)
        if self.knots:
            return np.asarray(expit(np.interp(z, *np.array(self.knots).T)))
        return np.asarray(expit(self.slope * z + self.intercept))


@dataclass(frozen=True)
class Seen:
    """What a fitted model said at one cutoff, and what came: shape (n,) each; 1 is
    away.
    """

    probability: np.ndarray
    away: np.ndarray


@dataclass(frozen=True)
class Known:
    """What is known when a period is forecast.

    ``learned``: the newest cutoff learned from. ``learned_early`` and ``early``: there
    and at a newer cutoff, who was still away after the first days of the horizon; null
    where there is no such cutoff. ``judged``: forecasts of earlier periods whose
    outcome is known by now.
    """

    learned: Seen
    learned_early: Seen | None
    early: Seen | None
    judged: Sequence[Seen]


def level_shift(seen: Seen) -> float:
    """Log-odds by which all probabilities must move for their mean to be the rate that
    came.
    """
    n = len(seen.away)
    rate = np.clip(seen.away.mean(), 0.5 / n, 1 - 0.5 / n)
    return float(
        logistic(np.ones((n, 1)), np.full(n, rate), log_odds(seen.probability))[0][0]
    )


def corrections(known: Known) -> dict[str, Correction]:
    """Every correction that can be made from what is known; ``none`` always can."""
    level = level_shift(known.learned)
    found = {"none": Correction(), "level": Correction("level", intercept=HALF * level)}
    if known.learned_early is not None and known.early is not None:
        moved = _early_shift(known.learned_early, known.early)
        found["early"] = Correction("early", intercept=HALF * (level + moved))
    if known.judged:
        p, away = (
            np.concatenate([getattr(s, name) for s in known.judged])
            for name in ("probability", "away")
        )
        found |= _shapes(p, away)
    return found


def _early_shift(learned: Seen, early: Seen) -> float:
    """How far the level moved between two cutoffs, by who was still away after the same
    first days.
    """
    usual = LogisticRegression(C=1e3).fit(
        log_odds(learned.probability).reshape(-1, 1), learned.away
    )
    expected = usual.predict_proba(log_odds(early.probability).reshape(-1, 1))[:, 1]
    return level_shift(Seen(expected, early.away))


def _shapes(probability: np.ndarray, away: np.ndarray) -> dict[str, Correction]:
    if len(np.unique(away)) < 2:
        return {}
    z = log_odds(probability)
    platt = LogisticRegression(C=1e6).fit(
        z.reshape(-1, 1), away
    )  # so weak a penalty is none
    found = {
        "platt": Correction(
            "platt", float(platt.coef_[0, 0]), float(platt.intercept_[0])
        )
    }
    if min(away.sum(), len(away) - away.sum()) >= MANY:
        curve = IsotonicRegression(y_min=1e-4, y_max=1 - 1e-4).fit(z, away)
        x, y = curve.X_thresholds_, log_odds(curve.y_thresholds_)
        found["isotonic"] = Correction(
            "isotonic", knots=tuple(zip(x.tolist(), y.tolist(), strict=True))
        )
    return found


def keep(judged: Sequence[tuple[Known, Seen]]) -> str:
    """The kind that gained most of those that made every judged period better for which
    they could be made.

    They must have been judged twice, or as often as there are periods; else, and if
    none did, ``none``.
    """
    losses = [
        {kind: _loss(c, seen) for kind, c in corrections(known).items()}
        for known, seen in judged
    ]
    kinds = sorted(set().union(*losses))
    gains = {
        kind: [row["none"] - row[kind] for row in losses if kind in row]
        for kind in kinds
    }
    enough = {
        kind: g
        for kind, g in gains.items()
        if len(g) >= min(2, len(losses)) and min(g) > 0
    }
    good = {kind: float(np.mean(g)) for kind, g in enough.items() if np.mean(g) > GAIN}
    return max(good, key=lambda kind: good[kind], default="none")


def _loss(correction: Correction, seen: Seen) -> float:
    return float(log_loss(seen.away, correction.apply(seen.probability), labels=[0, 1]))
