"""What can predict: scikit-learn pipelines by name, and their weighted mean."""

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

ROUNDS = (40, 80, 150, 250, 400)  # of boosting, one of which the inner loop takes
# from which on what is flexible is trusted; rows of one user a week apart are hardly
# new evidence
MANY_USERS = 5_000
N_NETWORKS = 2  # averaged: what one alone says depends on where it started
BTYD = ("recency_days", "first_active_days")  # beside the longest active_days


@dataclass(frozen=True)
class Recipe:
    """What to fit: weights of the members by name, rounds of boosting, and whether
    there are users for large trees.
    """

    weights: Mapping[str, float]
    rounds: int = 80
    is_large: bool = False


def _scaled(last: ClassifierMixin) -> Pipeline:
    """Log-like features; clipping to the trained range keeps drift from being
    extrapolated.
    """
    return make_pipeline(
        FunctionTransformer(np.arcsinh),
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        MinMaxScaler(clip=True),
        StandardScaler(),
        last,
    )


def _recency(names: tuple[str, ...], recipe: Recipe, random_state: int) -> Pipeline:
    one = ColumnTransformer([("recency", "passthrough", [names.index("recency_days")])])
    return make_pipeline(one, _scaled(LogisticRegression(solver="newton-cholesky")))


def _logistic(names: tuple[str, ...], recipe: Recipe, random_state: int) -> Pipeline:
    return _scaled(LogisticRegression(C=0.02, solver="newton-cholesky"))


def _boosting(
    names: tuple[str, ...], recipe: Recipe, random_state: int
) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=recipe.rounds,
        max_leaf_nodes=16 if recipe.is_large else 8,
        min_samples_leaf=80,
        l2_regularization=20.0,
        max_features=0.3,
        early_stopping=False,  # it would hold out random rows, not later ones
        random_state=random_state,
    )


def _network(names: tuple[str, ...], recipe: Recipe, random_state: int) -> Pipeline:
    return _scaled(
        VotingClassifier(
            [
                (str(seed), _one_network(random_state + seed))
                for seed in range(N_NETWORKS)
            ],
            voting="soft",
        )
    )


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
"""By name, simplest first; each takes feature names, the recipe it is part of, and
random_state.
"""


def usual(is_large: bool) -> dict[str, float]:
    """The weights that learned ones lean towards, and that stand where there is too
    little history to learn any.
    """
    if is_large:
        return {"boosting": 0.5, "network": 0.5}
    return {"logistic": 0.4, "boosting": 0.4, "network": 0.2}


def most_rounds(is_large: bool) -> int:
    """The most rounds of boosting worth trying."""
    return ROUNDS[-1] if is_large else 150


def blend(
    recipe: Recipe, names: tuple[str, ...], horizon_days: int, random_state: int
) -> Pipeline:
    """The weighted mean of some members' probabilities, behind the parametric forecast
    that all of them see.
    """
    parts = [
        (name, MEMBERS[name](names, recipe, random_state)) for name in recipe.weights
    ]
    voting = VotingClassifier(
        parts, voting="soft", weights=list(recipe.weights.values())
    )
    return make_pipeline(BuyTillYouDie(horizon_days, _btyd_columns(names)), voting)


def _btyd_columns(names: tuple[str, ...]) -> tuple[int, int, int] | None:
    active = [
        i
        for i, name in enumerate(names)
        if name.startswith("active_days_") and name.endswith("d")
    ]
    whole = [i for i in active if names[i].removeprefix("active_days_")[:-1].isdigit()]
    if not whole or not set(BTYD) <= set(names):
        return None
    recency, first = (names.index(name) for name in BTYD)
    return whole[-1], recency, first
