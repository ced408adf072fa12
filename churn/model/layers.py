"""Linear models and a network on rows, and on the rows with features replaced.

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
        sums = _sums(scaling, classifier.coef_.T, classifier.intercept_, inputs)
        return np.array([expit(each[:, 0]) for each in sums])

    return probabilities


def network(member: Pipeline) -> Probabilities:
    """The probabilities of a scaled network with one output."""
    scaling, classifier = member[:-1], member[-1]
    weights, intercepts = classifier.coefs_[0], classifier.intercepts_[0]

    def probabilities(inputs: Inputs) -> np.ndarray:
        sums = _sums(scaling, weights, intercepts, inputs)
        return np.array([_probability(classifier, each) for each in sums])

    return probabilities


def _probability(
    network: MLPClassifier,
    layer: np.ndarray,
) -> np.ndarray:
    """The network's output; ``layer`` holds the sums of its first layer."""
    later = zip(network.coefs_[1:], network.intercepts_[1:], strict=True)
    for weights, intercepts in later:
        layer = np.maximum(layer, 0) @ weights + intercepts
    return np.asarray(expit(layer[:, 0]))


def _sums(
    scaling: Pipeline,
    weights: np.ndarray,
    intercepts: np.ndarray,
    inputs: Inputs,
) -> Iterator[np.ndarray]:
    """Weighted sums of the scaled columns, shape (n_rows, n_sums) each.

    ``weights``: shape (n_scaled, n_sums). ``intercepts``: shape (n_sums,). The first
    array is that of the rows as they are, the others are those with a group replaced.
    """
    scaled = _scaled(scaling, inputs.values)
    typical = _scaled(scaling, inputs.typical[None])[0]
    last = inputs.values.shape[1] - 1
    # The scaling adds an indicator of missing values for some of the columns.
    indicated = scaling.named_steps["simpleimputer"].indicator_.features_
    group = np.append(inputs.group, inputs.group[indicated])
    sums = scaled @ weights + intercepts
    yield sums
    for number in range(inputs.n_groups):
        is_replaced = group == number
        change = typical[is_replaced] - scaled[:, is_replaced]
        changed = change @ weights[is_replaced]
        changed += sums
        if number in inputs.forecasts:
            forecast = _in_range(scaling, np.arcsinh(inputs.forecasts[number]), last)
            changed += np.outer(forecast - scaled[:, last], weights[last])
        yield changed


def _scaled(
    scaling: Pipeline,
    values: np.ndarray,
) -> np.ndarray:
    """The values behind the scaling, shape (n_rows, n_scaled).

    As ``scaling.transform``, which is several times slower if columns lie in one piece.
    """
    imputer = scaling.named_steps["simpleimputer"]
    logs = np.arcsinh(values)
    is_missing = np.isnan(logs)
    filled = np.where(is_missing, imputer.statistics_, logs)
    indicators = is_missing[:, imputer.indicator_.features_]
    return _in_range(scaling, np.hstack([filled, indicators]), slice(None))


def _in_range(
    scaling: Pipeline,
    values: np.ndarray,
    columns: int | slice,
) -> np.ndarray:
    """Imputed values of some columns behind the last steps of the scaling."""
    to_range = scaling.named_steps["minmaxscaler"]
    standard = scaling.named_steps["standardscaler"]
    within = values * to_range.scale_[columns] + to_range.min_[columns]
    clipped = np.clip(within, *to_range.feature_range)
    return np.asarray((clipped - standard.mean_[columns]) / standard.scale_[columns])
