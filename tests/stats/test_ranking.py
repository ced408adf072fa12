"""Rankings with weights, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from churn.stats import ranking


def test_the_weighted_auc_is_that_of_repeated_rows() -> None:
    """With ties and whole weights it equals scikit-learn's AUC."""
    rng = np.random.default_rng(1)
    outcome = rng.random(60) < 0.4
    score = rng.integers(0, 8, 60) / 8
    weight = rng.integers(0, 4, (3, 60))
    expected = [roc_auc_score(outcome, score, sample_weight=w) for w in weight]
    assert ranking.auc_of_weights(outcome, score)(weight) == pytest.approx(expected)


def test_the_auc_without_pairs_is_nan() -> None:
    """Where all weight is on one outcome there is no pair to rank."""
    weight = np.array([[1, 0], [1, 1]])
    auc = ranking.auc_of_weights(np.array([True, False]), np.array([0.9, 0.1]))
    got = auc(weight)
    assert np.isnan(got[0])
    assert got[1] == 1


def test_the_auc_within_periods_is_their_mean_by_weight() -> None:
    """Periods count by their weight, and one with a single outcome not at all."""
    rng = np.random.default_rng(2)
    outcome, score = rng.random(90) < 0.4, rng.random(90)
    period = np.repeat([0, 1, 2], 30)
    outcome[period == 2] = True
    weight = rng.integers(1, 4, (2, 90))
    got = ranking.auc_within(outcome, score, period, weight)
    for w, value in zip(weight, got, strict=True):
        parts = [period == 0, period == 1]
        aucs = [roc_auc_score(outcome[k], score[k], sample_weight=w[k]) for k in parts]
        rows = [w[k].sum() for k in parts]
        assert value == pytest.approx(np.average(aucs, weights=rows))


def test_the_chance_of_the_top_is_taken_within_periods_and_shared_by_the_tied() -> None:
    """Of four observations a period two are at the top; tied ones share what is left."""
    score = np.array([0.9, 0.5, 0.5, 0.1, 0.2, 0.1, 0.1, 0.1])
    period = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    chance = ranking.chance_of_top(score, period, 0.5)
    assert chance.tolist() == pytest.approx([1, 0.5, 0.5, 0, 1, 1 / 3, 1 / 3, 1 / 3])
