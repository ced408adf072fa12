"""The blend's probabilities are those of scikit-learn, as are those of replaced rows."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from churn.model import blend, own, pipelines, trees
from churn.model.inputs import Inputs
from churn.model.pipelines import Recipe

NAMES = ("recency_days", "active_days_28d", "first_active_days", "gap", "n_shops")


def rows(n: int, seed: int) -> np.ndarray:
    """Features of n users; the gap of some is missing, and their number of shops."""
    random = np.random.default_rng(seed)
    recency = random.integers(1, 28, n)
    age = recency + random.integers(0, 60, n)
    active = random.integers(1, 29, n)
    gap, shops = random.gamma(2.0, 3.0, n), random.poisson(2.0, n).astype(float)
    gap[random.random(n) < 0.3] = np.nan
    shops[random.random(n) < 0.1] = np.nan
    return np.column_stack([recency, active, age, gap, shops])


@cache
def fitted(names: tuple[str, ...] = NAMES) -> Any:
    """All four members, fitted to 600 users."""
    x = rows(600, 0)
    odds = 0.2 * x[:, 0] - 0.1 * x[:, 1] - np.nan_to_num(x[:, 3]) / 5
    churned = (np.random.default_rng(1).logistic(size=600) < odds).astype(np.int8)
    recipe = Recipe(dict.fromkeys(pipelines.MEMBERS, 1.0), rounds=40, leaves=16)
    return pipelines.fit(recipe, names, x, churned, 28, 0)


def asked(
    how: Any, weights: list[float], group: list[int], typical: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Probabilities of a blend with these weights, as ``how`` computes them."""
    pipeline = fitted()
    pipeline[-1].weights = weights
    n_groups = 1 + max(group)
    found: np.ndarray = how.probabilities(pipeline, typical, np.array(group), n_groups)(
        x
    )
    assert found.shape == (1 + n_groups, len(x))
    return found


def test_every_member_of_the_blend_can_be_asked() -> None:
    """The names are those of the members that a recipe may name."""
    assert set(blend.MEMBERS) == set(pipelines.MEMBERS)


@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda w: sum(w) > 0.1),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
    st.integers(0, 100),
    st.sampled_from([1.0, -1.0, 50.0]),
)
@settings(max_examples=10, deadline=None)
def test_replacing_features_is_predicting_again(
    weights: list[float], group: list[int], seed: int, scale: float
) -> None:
    """Whatever the weights of the members, the groups, the typical values, missing ones
    among them, and rows far from those in training, it gives the probabilities that the
    whole blend gives for rows in which the features have been overwritten.
    """
    x, typical = scale * rows(30, seed), rows(1, seed + 1)[0]
    one, other = (asked(how, weights, group, typical, x) for how in (blend, own))
    np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("member", range(4), ids=list(pipelines.MEMBERS))
def test_each_member_alone_is_asked_exactly(member: int) -> None:
    """With all weight on one member, every feature being a group of its own."""
    weights = [float(i == member) for i in range(4)]
    x, typical = rows(500, 5), np.array([3.0, 9.0, 40.0, np.nan, 2.0])
    one, other = (
        asked(how, weights, [0, 1, 2, 3, 4], typical, x) for how in (blend, own)
    )
    np.testing.assert_allclose(one, other, rtol=1e-9)
    assert (one[0] != one[1]).any(), "recency counts for every member"


def test_a_blend_without_parametric_forecast_is_asked_exactly() -> None:
    """If recency, activity or age aren't among the features, members see no forecast."""
    names = ("recency_days", "shops", "age", "gap", "n_shops")
    pipeline = fitted(names)
    x, typical = rows(50, 6), rows(1, 7)[0]
    group = np.array([0, 1, 1, 2, 2])
    one, other = (
        how.probabilities(pipeline, typical, group, 3)(x) for how in (blend, own)
    )
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_tree_of_a_single_leaf_adds_its_value() -> None:
    """Boosting that finds nothing to split gives every row the same probability."""
    x, y = np.ones((200, 1)), np.tile([0, 1, 1, 1], 50)
    member = HistGradientBoostingClassifier(max_iter=2).fit(x, y)
    found = trees.boosting(member)(Inputs(x, np.ones(1), np.zeros(1, int), 1, {}))
    assert found == pytest.approx(np.full((2, 200), 0.75))


@pytest.mark.parametrize("n_leaves", [8, 9, 31, 33, 65])
def test_trees_of_many_leaves_are_asked_exactly(n_leaves: int) -> None:
    """Memory doesn't grow with the sets of leaves that could be ruled out."""
    rng = np.random.default_rng(n_leaves)
    x = rng.normal(size=(3000, 4))
    y = (np.sin(3 * x).sum(axis=1) + rng.normal(size=3000)) > 0
    member = HistGradientBoostingClassifier(
        max_iter=3, max_leaf_nodes=n_leaves, min_samples_leaf=5
    ).fit(x, y)
    group, typical = np.zeros(4, int), np.ones(4)
    found = trees.boosting(member)(Inputs(x, typical, group, 1, {}))
    assert found[0] == pytest.approx(member.predict_proba(x)[:, 1], rel=1e-12)
    alike = member.predict_proba(np.ones((1, 4)))[0, 1]
    assert found[1] == pytest.approx(np.full(3000, alike), rel=1e-12)
