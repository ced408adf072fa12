"""A parametric "buy till you die" forecast, added as a feature column.

BG/NBD (Fader, Hardie, Lee 2005, "Counting your customers the easy way"): while alive, a
user is active at a rate of their own, Gamma-distributed over users; after each active
day the user leaves for good with a probability of their own, Beta-distributed.
"""

from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

# Most rows to fit to; four parameters need no more.
MAX_ROWS = 20_000
# Bound on the log of a parameter, which is then between 1/400 and 400; beyond it users
# hardly differ, and the likelihood is flat.
LIMIT = 6.0


class BuyTillYouDie(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Adds a column: log-odds that a user is inactive for ``horizon_days``.

    ``columns`` holds the positions of active days, days since the last one, and age of
    the first one. A BG/NBD is fitted without labels, by maximum likelihood on at most
    20,000 rows, evenly spaced. Without ``columns`` nothing is added.
    """

    def __init__(
        self, horizon_days: int = 28, columns: tuple[int, int, int] | None = None
    ) -> None:
        self.horizon_days = horizon_days
        self.columns = columns

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(
        self,
        X: Any,  # noqa: N803 (scikit-learn's name)
        y: Any = None,
    ) -> Self:
        """Estimate r, alpha, a and b: ``log_parameters_``, shape (4,)."""
        values = validate_data(
            self,
            X,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
        )
        if self.columns is None:
            return self
        every = -(-len(values) // MAX_ROWS)
        x, t_x, t = _repeats(values[::every][:, list(self.columns)])
        counts, position = np.unique(x, return_inverse=True)

        def loss(log_parameters: np.ndarray) -> float:
            parameters = np.exp(log_parameters)
            likelihood = _log_likelihood(parameters, counts, position, t_x, t)
            penalty = 1e-3 * np.square(log_parameters).sum()
            return float(-likelihood.mean() + penalty)

        result = minimize(
            loss,
            np.array([0.0, 1.0, 0.0, 1.0]),
            method="L-BFGS-B",
            bounds=[(-LIMIT, LIMIT)] * 4,
        )
        self.log_parameters_ = result.x
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """The rows with the forecast as their last column."""
        check_is_fitted(self, "n_features_in_")
        values = validate_data(
            self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False
        )
        if self.columns is None:
            return np.asarray(values)
        seen = values[:, list(self.columns)]
        return np.column_stack([values, self.log_odds(seen)])

    def log_odds(self, seen: np.ndarray) -> np.ndarray:
        """The forecast alone, shape (n,); ``seen`` has only the three ``columns``."""
        parameters = np.exp(self.log_parameters_)
        silent = silence(parameters, *_repeats(seen), self.horizon_days)
        p = np.clip(silent, 1e-6, 1 - 1e-6)
        return np.asarray(np.log(p / (1 - p)))


def _repeats(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Active days after the first one, day of the last one, and days observed.

    Days count from the first active day; shape (n,) each. ``seen``: shape (n, 3), as
    ``BuyTillYouDie.columns`` says.
    """
    active, recency, first = np.nan_to_num(seen, nan=1.0).T
    x = np.maximum(active - 1, 0)
    t_x = np.maximum(first - recency, 0)
    t = np.maximum(first, 1)
    return x, t_x, t


def _log_likelihood(
    parameters: np.ndarray,
    counts: np.ndarray,
    position: np.ndarray,
    t_x: np.ndarray,
    t: np.ndarray,
) -> np.ndarray:
    """Log-likelihood of each row, shape (n,).

    ``counts``: the different numbers of active days after the first one. ``position``:
    where each row's number stands among them. They are few, and what depends on them
    alone takes most of the time.
    """
    r, alpha, a, b = parameters
    rate_part = gammaln(r + counts) - gammaln(r) + r * np.log(alpha)
    common = rate_part + betaln(a, b + counts) - betaln(a, b)
    dropout = np.log(a) - np.log(b + np.maximum(counts, 1) - 1)
    x = counts[position]
    alive = -(r + x) * np.log(alpha + t)
    left = dropout[position] - (r + x) * np.log(alpha + t_x)
    either = np.where(x > 0, np.logaddexp(alive, left), alive)
    return np.asarray(common[position] + either)


def silence(
    parameters: np.ndarray,
    x: np.ndarray,
    t_x: np.ndarray,
    t: np.ndarray,
    horizon_days: float,
) -> np.ndarray:
    """P(no active day within ``horizon_days``): the user has left, or is merely quiet.

    All arrays have the shape (n,).
    """
    r, alpha, a, b = parameters
    dropout = np.log(a / (b + np.maximum(x, 1) - 1))
    log_odds_gone = dropout + (r + x) * np.log((alpha + t) / (alpha + t_x))
    alive = np.where(x > 0, expit(-log_odds_gone), 1)
    quiet = ((alpha + t) / (alpha + t + horizon_days)) ** (r + x)
    return np.asarray(1 - alive * (1 - quiet))
