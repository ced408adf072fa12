"""Weights of the blend's members, and rounds of boosting, from the validation folds.

No member can foresee the base rate of the validation cutoff, so numbers of rounds are
compared after all forecasts were moved to that base rate: only discrimination counts.
Weights are judged half by that and half by the loss as it would have been: a member that
carries levels badly is charged for it, and one that a single period favours by chance is
charged half.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import log_loss

from churn.model import pipelines
from churn.model.correction import Outcomes, level_shift
from churn.model.folds import Fold
from churn.model.forecasts import Forecasts, Stages
from churn.stats.probability import log_odds

# Strength of the prior on the default weights, in validation rows.
PRIOR_ROWS = 40
# Smallest weight; a member with a smaller one is left out.
MIN_WEIGHT = 0.05


def best_rounds(
    folds: Sequence[Fold],
    stages: Sequence[Stages],
) -> int:
    """Rounds of boosting with the lowest log loss over all folds.

    Only numbers that were tried in every fold count.
    """
    tried = set.intersection(*[_boosting_rounds(stage) for stage in stages])
    losses = {
        rounds: _pooled_loss(folds, [s["boosting", rounds].validation for s in stages])
        for rounds in sorted(tried)
    }
    return min(losses, key=lambda rounds: losses[rounds])


def _boosting_rounds(stages: Stages) -> set[int]:
    return {rounds for name, rounds in stages if name == "boosting"}


def at_rounds(
    stages: Stages,
    rounds: int,
) -> Forecasts:
    """Each member's forecast; that of boosting is the one after ``rounds`` rounds."""
    return {
        name: forecast
        for (name, n), forecast in stages.items()
        if n == (rounds if name == "boosting" else 0)
    }


def _pooled_loss(
    folds: Sequence[Fold],
    probabilities: Sequence[np.ndarray],
) -> float:
    pairs = zip(probabilities, folds, strict=True)
    aligned = [_at_actual_rate(p, fold.y) for p, fold in pairs]
    y = np.concatenate([fold.y for fold in folds])
    return float(log_loss(y, np.concatenate(aligned)))


def _at_actual_rate(
    probability: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """The probabilities, moved so that their mean is the actual churn rate."""
    shift = level_shift(Outcomes(probability, y))
    return np.asarray(expit(log_odds(probability) + shift))


def learn(
    folds: Sequence[Fold],
    forecasts: Sequence[Forecasts],
    prior: dict[str, float],
) -> dict[str, float]:
    """Weights by member that sum to 1: the mean of the best weights of each fold.

    Every fold counts equally, however many users it holds. ``prior``: default weights;
    the fewer rows a fold has, the closer its best weights stay to them.
    """
    start = np.array([prior.get(name, 0.0) for name in pipelines.MEMBERS])
    pairs = zip(folds, forecasts, strict=True)
    votes = [_best(fold, forecast, start) for fold, forecast in pairs]
    mean = np.mean(votes, axis=0)
    kept = np.where(mean < MIN_WEIGHT, 0, mean)
    shares = kept / kept.sum()
    named = zip(pipelines.MEMBERS, shares, strict=True)
    return {name: round(float(share), 3) for name, share in named if share}


def _likelihood(
    probabilities: Sequence[np.ndarray],
    y: np.ndarray,
) -> np.ndarray:
    """What each member gave to the actual outcomes, shape (n_rows, n_members)."""
    return np.column_stack([np.where(y == 1, p, 1 - p) for p in probabilities])


def _best(
    fold: Fold,
    forecasts: Forecasts,
    prior: np.ndarray,
) -> np.ndarray:
    """Weights of the mixture with the lowest penalised log loss in one fold."""
    as_made = [forecasts[name].validation for name in pipelines.MEMBERS]
    aligned = [_at_actual_rate(p, fold.y) for p in as_made]
    likelihoods = [_likelihood(as_made, fold.y), _likelihood(aligned, fold.y)]
    strength = PRIOR_ROWS / len(fold.y)

    def loss(weights: np.ndarray) -> float:
        logs = [np.log(each @ weights + 1e-12).mean() for each in likelihoods]
        penalty = strength * np.square(weights - prior).sum()
        return float(penalty - np.mean(logs))

    result = minimize(
        loss,
        prior,
        bounds=[(0, 1)] * len(prior),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
    )
    return np.asarray(result.x)
