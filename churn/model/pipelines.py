"""The members of the blend: scikit-learn pipelines by name, and their weighted mean."""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelEncoder,
    MinMaxScaler,
    StandardScaler,
)
from sklearn.utils import Bunch

from churn.model import network
from churn.model.btyd import BuyTillYouDie

# Numbers of boosting rounds from which the validation folds choose one.
ROUNDS = (20, 40, 60, 90, 130, 180, 250, 400)
# The sizes below hold for this many users, and change smoothly with their number. Users
# count and not rows: the rows of one user are strongly correlated.
USERS = 1_000
# Largest number of leaves of a tree, and of rounds worth trying, with USERS users. Both
# grow with the number of users to this power.
LEAVES = 8
MAX_ROUNDS = 130
GROWTH = 0.4
# Bounds of the number of leaves.
LEAVES_RANGE = (4, 31)
# Prior weight of the linear model with USERS users. It falls by LINEAR_STEP with every
# tenfold number of users, since only many users tell how features act together.
LINEAR_WEIGHT = 0.35
LINEAR_STEP = 0.2
# Prior weight of the network; a second network would cost as much and change little.
NETWORK_WEIGHT = 0.25
# Features that the parametric forecast needs beside the longest active_days window.
BTYD = ("recency_days", "first_active_days")


@dataclass(frozen=True)
class Recipe:
    """What is to be fitted: the members' weights, and boosting's rounds and leaves.

    ``leaves``: the most leaves of a tree.
    """

    weights: Mapping[str, float]
    rounds: int = 90
    leaves: int = LEAVES


@dataclass(frozen=True)
class Rows:
    """Rows to learn from, and what several members learn from them, learned once.

    ``names``: the features. ``values``: shape (n_rows, n_features + 1), the features
    and, unless it can't be made from them, the parametric forecast. ``churned``: shape
    (n_rows,) of 0 and 1.
    """

    names: tuple[str, ...]
    values: np.ndarray
    churned: np.ndarray

    @property
    def scaling(self) -> Pipeline:
        """The scaling fitted to the values."""
        return self._scaling_and_scaled[0]

    @property
    def scaled(self) -> np.ndarray:
        """The scaled values, one row after the other in memory.

        A network draws rows at random, and gathers them twice as fast like this.
        """
        return self._scaling_and_scaled[1]

    @cached_property
    def _scaling_and_scaled(self) -> tuple[Pipeline, np.ndarray]:
        logarithm, imputer, *scalers = [step for _, step in _scaling().steps]
        values = logarithm.fit_transform(self.values)
        imputer.fit(_medians_and_gaps(values))
        filled = imputer.transform(values)
        scaled = make_pipeline(*scalers).fit_transform(filled)
        scaling = make_pipeline(logarithm, imputer, *scalers)
        return scaling, np.ascontiguousarray(scaled)


def _medians_and_gaps(values: np.ndarray) -> np.ndarray:
    """Two rows that an imputer learns the same from as from all, many times faster.

    The first row holds the medians; the second lacks a value in every column that does.
    """
    with warnings.catch_warnings():
        # A column may hold no value at all.
        warnings.simplefilter("ignore", RuntimeWarning)
        medians = np.nanmedian(values, axis=0)
    has_gaps = np.isnan(values).any(axis=0)
    return np.vstack([medians, np.where(has_gaps, np.nan, medians)])


def _scaling() -> Pipeline:
    """Log-like scaling, whose first steps make the only copies of the values.

    Values are clipped to the range in training, so that drift isn't extrapolated.
    """
    return make_pipeline(
        FunctionTransformer(np.arcsinh),
        SimpleImputer(
            strategy="median",
            add_indicator=True,
            keep_empty_features=True,
        ),
        MinMaxScaler(clip=True, copy=False),
        StandardScaler(copy=False),
    )


def _behind_scaling(
    scaling: Pipeline,
    classifier: ClassifierMixin,
) -> Pipeline:
    """A fitted classifier behind the fitted scaling whose result it learned from."""
    return make_pipeline(*[step for _, step in scaling.steps], classifier)


def _recency(
    rows: Rows,
    recipe: Recipe,
    random_state: int,
) -> Pipeline:
    position = rows.names.index("recency_days")
    one = ColumnTransformer([("recency", "passthrough", [position])])
    scaled = _behind_scaling(_scaling(), LogisticRegression(solver="newton-cholesky"))
    return make_pipeline(one, scaled).fit(rows.values, rows.churned)


def _logistic(
    rows: Rows,
    recipe: Recipe,
    random_state: int,
) -> Pipeline:
    linear = LogisticRegression(C=0.02, solver="newton-cholesky")
    return _behind_scaling(rows.scaling, linear.fit(rows.scaled, rows.churned))


def _boosting(
    rows: Rows,
    recipe: Recipe,
    random_state: int,
) -> HistGradientBoostingClassifier:
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=recipe.rounds,
        max_leaf_nodes=recipe.leaves,
        min_samples_leaf=80,
        l2_regularization=20.0,
        max_features=0.3,
        early_stopping=False,  # its validation rows would be random, not later ones
        random_state=random_state,
    )
    return trees.fit(rows.values, rows.churned)


def _network(
    rows: Rows,
    recipe: Recipe,
    random_state: int,
) -> Pipeline:
    one = MLPClassifier(
        (64, 32),
        alpha=1.0,
        batch_size=512,
        max_iter=20,
        n_iter_no_change=20,
        random_state=random_state,
    )
    fitted = network.fit(one, rows.scaled, rows.churned)
    return _behind_scaling(rows.scaling, fitted)


MEMBERS: dict[str, Callable[[Rows, Recipe, int], ClassifierMixin]] = {
    "recency": _recency,
    "logistic": _logistic,
    "boosting": _boosting,
    "network": _network,
}
"""Members by name, the simplest first.

Each is fitted to rows, as the recipe that it is part of and random_state say.
"""


def default_weights(n_users: int) -> dict[str, float]:
    """The prior weights, which are used if history is too short to learn weights.

    >>> {name: round(weight, 2) for name, weight in default_weights(10_000).items()}
    {'logistic': 0.15, 'boosting': 0.6, 'network': 0.25}
    """
    tens = math.log10(max(n_users, 1) / USERS)
    linear = min(max(LINEAR_WEIGHT - LINEAR_STEP * tens, 0.0), 1 - 2 * NETWORK_WEIGHT)
    return {
        "logistic": linear,
        "boosting": 1 - linear - NETWORK_WEIGHT,
        "network": NETWORK_WEIGHT,
    }


def leaves(n_users: int) -> int:
    """The most leaves of a tree that so many users can carry.

    >>> [leaves(n) for n in (100, 1_000, 10_000, 100_000)]
    [4, 8, 20, 31]
    """
    low, high = LEAVES_RANGE
    return min(max(round(LEAVES * _growth(n_users)), low), high)


def rounds_to_try(n_users: int) -> tuple[int, ...]:
    """The numbers of boosting rounds worth trying with so many users.

    >>> rounds_to_try(1_000)
    (20, 40, 60, 90, 130)
    """
    most = MAX_ROUNDS * _growth(n_users)
    return tuple(n for n in ROUNDS if n <= max(most, ROUNDS[0]))


def _growth(n_users: int) -> float:
    return float((n_users / USERS) ** GROWTH)


def fit(
    recipe: Recipe,
    names: tuple[str, ...],
    x: np.ndarray,
    y: np.ndarray,
    horizon_days: int,
    random_state: int,
) -> Pipeline:
    """The fitted weighted mean of the members' probabilities.

    ``x``: the features called ``names``, shape (n_rows, n_features). ``y``: shape
    (n_rows,) of 0 and 1. All members see the features and the parametric forecast as
    one more column. What several members learn alike is learned once, and they share
    the fitted steps.
    """
    forecast = BuyTillYouDie(horizon_days, btyd_columns(names)).fit(x)
    rows = Rows(names, forecast.transform(x), y)
    members = {
        name: MEMBERS[name](rows, recipe, random_state) for name in recipe.weights
    }
    return make_pipeline(forecast, _mean(members, list(recipe.weights.values()), y))


def _mean(
    members: Mapping[str, ClassifierMixin],
    weights: list[float],
    y: np.ndarray,
) -> VotingClassifier:
    """The mean of the probabilities of fitted members, which learned from ``y``.

    VotingClassifier would fit copies of them again; so it is told what its own ``fit``
    would have found.
    """
    voting = VotingClassifier(list(members.items()), voting="soft", weights=weights)
    voting.estimators_ = list(members.values())
    voting.named_estimators_ = Bunch(**members)
    voting.le_ = LabelEncoder().fit(y)
    voting.classes_ = voting.le_.classes_
    return voting


def btyd_columns(names: tuple[str, ...]) -> tuple[int, int, int] | None:
    """Positions of the longest active_days window, recency and age; null without
    them.
    """
    windows = [
        position
        for position, name in enumerate(names)
        if re.fullmatch(r"active_days_\d+d", name)
    ]
    if not windows or not set(BTYD) <= set(names):
        return None
    recency, first = (names.index(name) for name in BTYD)
    return windows[-1], recency, first
