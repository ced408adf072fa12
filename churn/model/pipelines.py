"""The members of the blend: scikit-learn pipelines by name, and their weighted mean."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from churn.model.btyd import BuyTillYouDie

# Numbers of boosting rounds from which the validation folds choose one.
ROUNDS = (40, 80, 150, 250, 400)
# Below this many users prefer the linear model: weekly rows of one user are strongly
# correlated.
MANY_USERS = 5_000
# Number of networks to average, since the forecast of one depends on its random start.
N_NETWORKS = 2
# Features that the parametric forecast needs beside the longest active_days window.
BTYD = ("recency_days", "first_active_days")


@dataclass(frozen=True)
class Recipe:
    """What is to be fitted: the members' weights, and the number of boosting rounds.

    ``is_large``: whether there are enough users for large trees.
    """

    weights: Mapping[str, float]
    rounds: int = 80
    is_large: bool = False


def _scaled(classifier: ClassifierMixin) -> Pipeline:
    """The classifier behind log-like scaling.

    Values are clipped to the range in training, so that drift isn't extrapolated.
    """
    return make_pipeline(
        FunctionTransformer(np.arcsinh),
        SimpleImputer(
            strategy="median",
            add_indicator=True,
            keep_empty_features=True,
        ),
        MinMaxScaler(clip=True),
        StandardScaler(),
        classifier,
    )


def _recency(
    names: tuple[str, ...],
    recipe: Recipe,
    random_state: int,
) -> Pipeline:
    one = ColumnTransformer([("recency", "passthrough", [names.index("recency_days")])])
    return make_pipeline(one, _scaled(LogisticRegression(solver="newton-cholesky")))


def _logistic(
    names: tuple[str, ...],
    recipe: Recipe,
    random_state: int,
) -> Pipeline:
    return _scaled(LogisticRegression(C=0.02, solver="newton-cholesky"))


def _boosting(
    names: tuple[str, ...],
    recipe: Recipe,
    random_state: int,
) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=recipe.rounds,
        max_leaf_nodes=16 if recipe.is_large else 8,
        min_samples_leaf=80,
        l2_regularization=20.0,
        max_features=0.3,
        early_stopping=False,  # its validation rows would be random, not later ones
        random_state=random_state,
    )


def _network(
    names: tuple[str, ...],
    recipe: Recipe,
    random_state: int,
) -> Pipeline:
    networks = [
        (str(seed), _one_network(random_state + seed)) for seed in range(N_NETWORKS)
    ]
    return _scaled(VotingClassifier(networks, voting="soft"))


def _one_network(random_state: int) -> MLPClassifier:
    return MLPClassifier(
        (64, 32),
        alpha=1.0,
        batch_size=512,
        max_iter=20,
        n_iter_no_change=20,
        random_state=random_state,
    )


MEMBERS: dict[str, Callable[[tuple[str, ...], Recipe, int], ClassifierMixin]] = {
    "recency": _recency,
    "logistic": _logistic,
    "boosting": _boosting,
    "network": _network,
}
"""Members by name, the simplest first.

Each is built from the feature names, the recipe it is part of, and random_state.
"""


def default_weights(is_large: bool) -> dict[str, float]:
    """The prior weights, which are used if history is too short to learn weights."""
    if is_large:
        return {"boosting": 0.5, "network": 0.5}
    return {
        "logistic": 0.4,
        "boosting": 0.4,
        "network": 0.2,
    }


def most_rounds(is_large: bool) -> int:
    """The most rounds of boosting worth trying."""
    return ROUNDS[-1] if is_large else 150


def blend(
    recipe: Recipe,
    names: tuple[str, ...],
    horizon_days: int,
    random_state: int,
) -> Pipeline:
    """The weighted mean of the members' probabilities.

    All members see the features and the parametric forecast as one more column.
    """
    members = [
        (name, MEMBERS[name](names, recipe, random_state)) for name in recipe.weights
    ]
    voting = VotingClassifier(
        members, voting="soft", weights=list(recipe.weights.values())
    )
    return make_pipeline(BuyTillYouDie(horizon_days, _btyd_columns(names)), voting)


def _btyd_columns(names: tuple[str, ...]) -> tuple[int, int, int] | None:
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
