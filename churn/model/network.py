"""Training of a network: scikit-learn's MLPClassifier, by a loop of its own.

The steps are those of ``MLPClassifier.fit`` in the same order. What takes a third of
its time is left out: the loss of each batch, which nothing reads, the checks of each
batch, and copies. Numbers have 32 bits while it learns, which takes half the time and
is far finer than what the order of the rows does to the weights.
"""

import itertools
import warnings

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.utils import check_random_state, gen_batches, shuffle

Arrays = list[np.ndarray]
"""Arrays by layer."""


def fit(
    network: MLPClassifier,
    x: np.ndarray,
    y: np.ndarray,
) -> MLPClassifier:
    """Fit a network of ReLU layers in ``max_iter`` passes over the rows, with Adam.

    ``x``: shape (n_rows, n_features), without missing values. ``y``: shape (n_rows,),
    0 or 1, both present. Of what scikit-learn documents, ``coefs_`` and ``intercepts_``
    are those of the training, with 64 bits; its course, such as ``loss_curve_``, isn't kept: what
    stands there is from a fit to two rows, which sets up classes and features.
    """
    _, one_of_each = np.unique(y, return_index=True)
    with warnings.catch_warnings():
        # Two rows are fewer than a batch, and this fit isn't meant to converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got `batch_size`", UserWarning)
        network.fit(x[one_of_each], y[one_of_each])
    random = check_random_state(network.random_state)
    sizes = [x.shape[1], *network.hidden_layer_sizes, 1]
    coefs, intercepts = _start(sizes, random)
    means, squares = ([np.zeros_like(p) for p in coefs + intercepts] for _ in range(2))
    x = x.astype(np.float32)
    churned = y.reshape(-1, 1).astype(np.float32)
    order = np.arange(len(x))
    n_steps = 0
    for _ in range(network.max_iter):
        order = shuffle(order, random_state=random)
        for batch in gen_batches(len(x), min(network.batch_size, len(x))):
            rows = order[batch]
            values = _forward(coefs, intercepts, x[rows])
            gradients = _gradients(coefs, values, churned[rows], network.alpha)
            n_steps += 1
            rate = _rate(network, n_steps)
            _step(network, rate, coefs + intercepts, gradients, means, squares)
    network.coefs_ = [coef.astype(np.float64) for coef in coefs]
    network.intercepts_ = [intercept.astype(np.float64) for intercept in intercepts]
    return network


def _start(
    sizes: list[int],
    random: np.random.RandomState,
) -> tuple[Arrays, Arrays]:
    """Weights and biases to start from, drawn as Glorot and Bengio (2010) recommend."""
    coefs = []
    intercepts = []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = np.sqrt(6 / (n_in + n_out))
        coefs.append(random.uniform(-bound, bound, (n_in, n_out)))
        intercepts.append(random.uniform(-bound, bound, n_out))
    return (
        [coef.astype(np.float32) for coef in coefs],
        [intercept.astype(np.float32) for intercept in intercepts],
    )


def _forward(
    coefs: Arrays,
    intercepts: Arrays,
    x: np.ndarray,
) -> Arrays:
    """The values of each layer: first ``x``, last the probabilities, shape (n, 1)."""
    values = [x]
    for coef, intercept in zip(coefs, intercepts, strict=True):
        value = values[-1] @ coef
        value += intercept
        if len(values) < len(coefs):
            np.maximum(value, 0, out=value)
        else:
            expit(value, out=value)
        values.append(value)
    return values


def _gradients(
    coefs: Arrays,
    values: Arrays,
    y: np.ndarray,
    alpha: float,
) -> Arrays:
    """Gradients of the penalised log loss: of all weights, then of all biases."""
    of_coefs = []
    of_intercepts = []
    delta = values[-1] - y
    for layer in reversed(range(len(coefs))):
        gradient = values[layer].T @ delta
        gradient += alpha * coefs[layer]
        gradient /= len(y)
        of_coefs.append(gradient)
        of_intercepts.append(delta.sum(axis=0) / len(y))
        if layer > 0:
            delta = delta @ coefs[layer].T
            delta *= values[layer] > 0
    return of_coefs[::-1] + of_intercepts[::-1]


def _rate(
    network: MLPClassifier,
    n_steps: int,
) -> float:
    """Adam's learning rate in a step, counted from 1."""
    grown = network.learning_rate_init * np.sqrt(1 - network.beta_2**n_steps)
    return float(grown / (1 - network.beta_1**n_steps))


def _step(
    network: MLPClassifier,
    rate: float,
    parameters: Arrays,
    gradients: Arrays,
    means: Arrays,
    squares: Arrays,
) -> None:
    """Move all parameters, and the moving means of gradients and of their squares."""
    moments = zip(parameters, gradients, means, squares, strict=True)
    for parameter, gradient, mean, square in moments:
        mean *= network.beta_1
        mean += (1 - network.beta_1) * gradient
        square *= network.beta_2
        square += (1 - network.beta_2) * gradient**2
        parameter -= rate * mean / (np.sqrt(square) + network.epsilon)
