"""Boosted trees on rows, and on the rows with features replaced, in one pass.

The method is QuickScorer (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank
documents with additive ensembles of regression trees"). A split that sends a row to the
right rules out the leaves on its left. Leaves are bits, and a row is in the first leaf
that no split rules out. What the values of a row rule out is found once; with some of
them replaced, the bits of the others are put together anew.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from scipy.special import expit

from churn.model.inputs import Inputs, Probabilities


@dataclass(frozen=True)
class Split:
    """An inner node: values above the threshold go to the right.

    ``missing_goes_left`` says where missing values go. ``left``: the leaves on the
    left, a bit each.
    """

    column: int
    threshold: float
    missing_goes_left: bool
    left: np.integer[Any]

    def ruled_out(self, values: np.ndarray) -> np.ndarray:
        """The leaves that each value rules out, shape as ``values``."""
        if self.missing_goes_left:
            goes_right = values > self.threshold
        else:
            goes_right = ~(values <= self.threshold)
        return goes_right * self.left


@dataclass(frozen=True)
class Tree:
    """The splits of a tree, and the values of its leaves from left to right."""

    splits: list[Split]
    leaves: np.ndarray


def boosting(member: Any) -> Probabilities:
    """The probabilities of a fitted HistGradientBoostingClassifier.

    Its features are numbers, and its trees have at most 65 leaves.
    """
    trees = [_tree(predictor.nodes) for (predictor,) in member._predictors]
    baseline = member._baseline_prediction.item()

    def probabilities(inputs: Inputs) -> np.ndarray:
        shape = (1 + inputs.n_groups, len(inputs.values))
        log_odds = np.full(shape, baseline)
        for tree in trees:
            _add(tree, inputs, log_odds)
        return np.asarray(expit(log_odds))

    return probabilities


def saved_by_feature(member: Any) -> np.ndarray:
    """The loss that the splits on each feature have saved, shape (n_features,).

    ``member``: a fitted HistGradientBoostingClassifier.
    """
    nodes = np.concatenate([tree.nodes for (tree,) in member._predictors])
    splits = nodes[nodes["is_leaf"] == 0]
    return np.bincount(
        splits["feature_idx"],
        weights=splits["gain"],
        minlength=member.n_features_in_,
    )


def _tree(nodes: np.ndarray) -> Tree:
    """A tree from scikit-learn's table of nodes, whose first is the root."""
    leaves: list[float] = []
    splits: list[tuple[Any, int]] = []

    def walk(node: Any) -> None:
        if node["is_leaf"]:
            leaves.append(node["value"])
            return
        first = len(leaves)
        walk(nodes[node["left"]])
        splits.append((node, 2 ** len(leaves) - 2**first))
        walk(nodes[node["right"]])

    walk(nodes[0])
    # The last leaf is on the left of no split, so no set holds its bit.
    bits = np.min_scalar_type(2 ** (len(leaves) - 1) - 1)
    return Tree([_split(*split, bits) for split in splits], np.array(leaves))


def _split(
    node: Any,
    left: int,
    bits: np.dtype[Any],
) -> Split:
    return Split(
        column=int(node["feature_idx"]),
        threshold=float(node["num_threshold"]),
        missing_goes_left=bool(node["missing_go_to_left"]),
        left=bits.type(left),
    )


def _add(
    tree: Tree,
    inputs: Inputs,
    log_odds: np.ndarray,
) -> None:
    """Add a tree's value to the log-odds, shape (1 + n_groups, n_rows)."""
    ruled_out: dict[int, np.ndarray] = {}
    for split in tree.splits:
        group = int(inputs.group[split.column])
        more = split.ruled_out(inputs.values[:, split.column])
        ruled_out[group] = ruled_out[group] | more if group in ruled_out else more
    whole = _value(tree, list(ruled_out.values()))
    log_odds[0] += whole
    for number in range(inputs.n_groups):
        replaced = {number}
        if number in inputs.forecasts:
            replaced.add(inputs.n_groups)
        if replaced.isdisjoint(ruled_out):
            log_odds[1 + number] += whole
            continue
        kept = [bits for group, bits in ruled_out.items() if group not in replaced]
        new = [
            split.ruled_out(_replacement(inputs, split.column, number))
            for split in tree.splits
            if inputs.group[split.column] in replaced
        ]
        log_odds[1 + number] += _value(tree, kept + new)


def _replacement(
    inputs: Inputs,
    column: int,
    number: int,
) -> np.ndarray:
    """What replaces a column with a group: one value, or one for each row."""
    if inputs.group[column] == number:
        return np.asarray(inputs.typical[column])
    return inputs.forecasts[number]


def _value(
    tree: Tree,
    ruled_out: Sequence[np.ndarray],
) -> np.ndarray:
    """The value of the first leaf that isn't ruled out, for each row."""
    nothing: Any = np.uint8(0)
    sets = np.atleast_1d(reduce(operator.or_, ruled_out, nothing))
    # Adding one carries through the lowest ones, which are the leaves before the first.
    n_before = np.bitwise_count(sets & ~(sets + 1))
    return np.asarray(tree.leaves.take(n_before))
