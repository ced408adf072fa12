"""Linear models and networks on rows, and on the rows with features replaced.

The first layer is a weighted sum of scaled features. With some features replaced, only
their share of that sum is computed again, and the later layers.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import expit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from churn.model.inputs import Inputs, Probabilities


def recency(member: Pipeline) -> Probabilities:
    """The probabilities of a linear model of one feature."""
    selection, *steps = [step for _, step in member.steps]
    _, _, (position,) = selection.transformers_[0]
    alone = linear(steps[-1])

    def probabilities(inputs: Inputs) -> np.ndarray:
        return alone(inputs.column(position))

    return probabilities


def linear(member: Pipeline) -> Probabilities:
    """The probabilities of a scaled logistic regression."""
    scaling, classifier = member[:-1], member[-1]

    def probabilities(inputs: Inputs) -> np.ndarray:
        sums = _sums(scaling, classifier.coef_.T, inputs)
        return np.array([expit(each[:, 0] + classifier.intercept_) for each in sums])

    return probabilities


def networks(member: Pipeline) -> Probabilities:
    """The mean probabilities of scaled networks with one output."""
    scaling, members = member[:-1], member[-1].estimators_
    weights = np.hstack([network.coefs_[0] for network in members])
    ends = np.cumsum([network.coefs_[0].shape[1] for network in members])[:-1]

    def probabilities(inputs: Inputs) -> np.ndarray:
        sums = _sums(scaling, weights, inputs)
        return np.array([_mean(members, np.hsplit(each, ends)) for each in sums])

    return probabilities


def _mean(members: list[MLPClassifier], sums: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(list(map(_probability, members, sums)), axis=0))


def _probability(network: MLPClassifier, sums: np.ndarray) -> np.ndarray:
    """The network's output; ``sums`` is its first layer, still without intercept."""
    layer = sums + network.intercepts_[0]
    for weights, intercept in zip(
        network.coefs_[1:], network.intercepts_[1:], strict=True
    ):
        layer = np.maximum(layer, 0, out=layer) @ weights
        layer += intercept
    return np.asarray(expit(layer[:, 0]))


def _sums(
    scaling: Pipeline, weights: np.ndarray, inputs: Inputs
) -> Iterator[np.ndarray]:
    """Weighted sums of the scaled columns, shape (n_rows, n_weights) each.

    ``weights``: shape (n_scaled, n_weights). The first sum is that of the rows as they
    are, the others are those with a group replaced.
    """
    scaled = scaling.transform(inputs.values)
    typical = scaling.transform(inputs.typical[None])[0]
    last = inputs.values.shape[1] - 1
    # The scaling adds an indicator of missing values for some of the columns.
    added = scaling.named_steps["simpleimputer"].indicator_.features_
    group = np.append(inputs.group, inputs.group[added])
    sums = scaled @ weights
    yield sums
    for number in range(inputs.n_groups):
        is_replaced = group == number
        change = typical[is_replaced] - scaled[:, is_replaced]
        changed = sums + change @ weights[is_replaced]
        if number in inputs.forecasts:
            forecast = _scaled(scaling, last, inputs.forecasts[number])
            changed += np.outer(forecast - scaled[:, last], weights[last])
        yield changed


def _scaled(scaling: Pipeline, position: int, column: np.ndarray) -> np.ndarray:
    """One scaled column, which has no missing values; shape (n_rows,)."""
    steps = scaling.named_steps
    to_range, standard = steps["minmaxscaler"], steps["standardscaler"]
    within = np.arcsinh(column) * to_range.scale_[position] + to_range.min_[position]
    clipped = np.clip(within, *to_range.feature_range)
    return np.asarray((clipped - standard.mean_[position]) / standard.scale_[position])
