"""The training loop of the networks."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from churn.model import network


@pytest.mark.parametrize("n_rows", [100, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_weights_are_those_of_scikit_learn(n_rows: int, seed: int) -> None:
    """After the same passes over rows that fill no batch, and that fill several and a
    part of one, all weights and biases are equal, as far as 32 bits go.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, 7))
    y = (x[:, 0] + rng.normal(size=n_rows) > 0).astype(np.int8)

    def unfitted() -> MLPClassifier:
        return MLPClassifier(
            (6, 4),
            alpha=1.0,
            batch_size=300,
            max_iter=5,
            n_iter_no_change=5,
            random_state=seed,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got `batch_size`", UserWarning)
        expected = unfitted().fit(x.astype(np.float32), y)
        got = network.fit(unfitted(), x, y)
    for ours, theirs in zip(
        [*got.coefs_, *got.intercepts_],
        [*expected.coefs_, *expected.intercepts_],
        strict=True,
    ):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert got.predict_proba(x) == pytest.approx(expected.predict_proba(x), rel=1e-5)
    assert got.coefs_[0].dtype == np.float64
    assert got.classes_.tolist() == [0, 1]
