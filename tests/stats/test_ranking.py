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
    assert ranking.weighted_auc(outcome, score, weight) == pytest.approx(expected)


def test_the_auc_without_pairs_is_nan() -> None:
    """Where all weight is on one outcome there is no pair to rank."""
    weight = np.array([[1, 0], [1, 1]])
    got = ranking.weighted_auc(np.array([True, False]), np.array([0.9, 0.1]), weight)
    assert np.isnan(got[0])
    assert got[1] == 1
