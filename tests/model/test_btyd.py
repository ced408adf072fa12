"""The parametric forecast: a scikit-learn transformer whose parameters and formula
are checked against simulated users.
"""

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from churn.model import btyd
from churn.model.btyd import BuyTillYouDie

TRUE = np.array([0.9, 3.0, 0.7, 4.0])  # r, alpha, a, b


@parametrize_with_checks([BuyTillYouDie(), BuyTillYouDie(columns=(0, 0, 0))])
def test_the_forecast_follows_the_rules_of_scikit_learn(
    estimator: Any, check: Any
) -> None:
    """Every estimator check of scikit-learn passes, with and without columns."""
    check(estimator)


def watched(n: int, seed: int = 0) -> np.ndarray:
    """Simulated users: a random column, active days, days since the last one, and age
    of the first one.
    """
    rng = np.random.default_rng(seed)
    r, alpha, a, b = TRUE
    rate, leaves, length = (
        rng.gamma(r, 1 / alpha, n),
        rng.beta(a, b, n),
        rng.uniform(20, 150, n),
    )
    x, last, now, there = np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n, bool)
    while there.any():
        now += rng.exponential(1 / rate)
        there &= now < length
        x, last = x + there, np.where(there, now, last)
        there &= rng.random(n) > leaves
    return np.column_stack([rng.random(n), x + 1, length - last, length])


def test_parameters_of_a_simulated_log_are_recovered() -> None:
    """From 10,000 users the mean activity rate and the mean dropout are right within a
    tenth, each parameter within a third.
    """
    found = np.exp(
        BuyTillYouDie(columns=(1, 2, 3)).fit(watched(10_000)).log_parameters_
    )
    assert found == pytest.approx(TRUE, rel=0.33)
    assert found[0] / found[1] == pytest.approx(0.9 / 3.0, rel=0.1)
    assert found[2] / (found[2] + found[3]) == pytest.approx(0.7 / 4.7, rel=0.1)


def test_at_most_so_many_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,500 users with a limit of 1,000 every other is used: nonsense in the other
    rows changes nothing.
    """
    monkeypatch.setattr(btyd, "MAX_ROWS", 1000)
    rows = watched(1500)
    other = rows.copy()
    other[1::2] = 999
    found, again = (
        BuyTillYouDie(columns=(1, 2, 3)).fit(values).log_parameters_
        for values in (rows, other)
    )
    assert np.array_equal(found, again)


@pytest.mark.parametrize(
    ("x", "t_x", "t"), [(0, 0, 30), (1, 4, 30), (6, 25, 60), (12, 20, 60)]
)
def test_silence_is_what_simulated_users_with_that_past_do(
    x: int, t_x: float, t: float
) -> None:
    """The share of silent users among a million draws of rate and dropout, each
    weighted by the likelihood of the user's past.
    """
    rng = np.random.default_rng(1)
    r, alpha, a, b = TRUE
    rate, leaves = rng.gamma(r, 1 / alpha, 1_000_000), rng.beta(a, b, 1_000_000)
    here = rate**x * (1 - leaves) ** x * np.exp(-rate * t)
    gone = (
        rate**x * leaves * (1 - leaves) ** (x - 1) * np.exp(-rate * t_x)
        if x
        else np.zeros(1)
    )
    expected = (gone.sum() + (here * np.exp(-rate * 14)).sum()) / (
        gone.sum() + here.sum()
    )
    got = btyd.silence(TRUE, np.array([x]), np.array([t_x]), np.array([t]), 14)
    assert got == pytest.approx([expected], rel=0.02)


def test_the_forecast_is_one_more_column_in_log_odds() -> None:
    """The values of rows stay, and the log-odds of silence are their last column, for
    new rows as well.
    """
    rows, new = watched(500), watched(7, seed=5)
    fitted = BuyTillYouDie(horizon_days=14, columns=(1, 2, 3)).fit(rows)
    got = fitted.transform(new)
    assert np.array_equal(got[:, :4], new)
    p = btyd.silence(
        np.exp(fitted.log_parameters_),
        new[:, 1] - 1,
        new[:, 3] - new[:, 2],
        new[:, 3],
        14,
    )
    assert got[:, 4] == pytest.approx(np.log(p / (1 - p)))


def test_without_columns_nothing_is_added_and_nothing_fitted() -> None:
    """Without the columns that the forecast needs, rows pass through unchanged."""
    rows = watched(20)
    fitted = BuyTillYouDie().fit(rows)
    assert np.array_equal(fitted.transform(rows), rows)
    assert not hasattr(fitted, "log_parameters_")


def test_missing_values_give_a_forecast_all_the_same() -> None:
    """A missing value counts as active once, on the day before the cutoff."""
    fitted = BuyTillYouDie(columns=(1, 2, 3)).fit(watched(500))
    missing, once = np.full((1, 4), np.nan), np.array([[0, 1.0, 1.0, 1.0]])
    assert fitted.transform(missing)[0, 4] == fitted.transform(once)[0, 4]
