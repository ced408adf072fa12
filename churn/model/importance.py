"""Which features carry the forecast: permutation importance in the newest fold.

A model of the chosen recipe, or the user's own classifier, learns from the fold's
training rows. In the validation rows, which are newer, the values of a feature are then
shuffled between users. The rise in log loss is what the feature adds to all the others.
Features of one kind can stand in for each other, so each alone may seem to add little;
a kind is therefore measured by shuffling all of its features together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import log_loss

from churn.features.catalogue import KINDS, catalogue
from churn.model import fitting, folds
from churn.model.fitting import Model
from churn.model.training import Trained
from churn.settings import Settings

# Most validation rows that are shuffled. Each feature is predicted anew, so that time
# grows with rows times features, while the error falls only with the root of the rows.
MAX_ROWS = 5_000
# Shuffles whose increases are averaged, so that no feature is ranked by one lucky order.
N_REPEATS = 2
# Most shuffled rows predicted in one call; many small calls cost more.
BATCH_ROWS = 50_000
SCHEMA = {
    "what": pl.String,
    "name": pl.String,
    "kind": pl.String,
    "meaning": pl.String,
    "log_loss_increase": pl.Float64,
}


def measure(
    trained: Trained,
    settings: Settings,
) -> pl.DataFrame:
    """The rise in log loss without each kind and each feature, the largest first.

    One row per kind (``what`` is "kind"), then one per feature ("feature"): what, name,
    kind, meaning, log_loss_increase. An increase near or below 0 means that the
    forecast doesn't need it. The frame is empty if there is no validation fold.
    """
    fold = trained.fold
    if fold is None:
        return pl.DataFrame(schema=SCHEMA)
    plan, recipe = trained.model.plan, trained.choice.recipe
    model = fitting.fit(fold.training, plan, settings, recipe, trained.estimator)
    rows = folds.sample(fold.validation, MAX_ROWS)
    entries = _kinds(model) + _features(model)
    groups = [positions for _, positions in entries]
    increases = _increases(model, rows, groups, settings.random_state)
    table = pl.DataFrame(
        [facts for facts, _ in entries], schema=SCHEMA, orient="row"
    ).with_columns(pl.Series("log_loss_increase", increases))
    return table.sort(
        "what", "log_loss_increase", "name", descending=[True, True, False]
    )


Entry = tuple[dict[str, Any], list[int]]
"""Facts of a row of the result, and the columns of the matrix to shuffle."""


def _features(model: Model) -> list[Entry]:
    known = catalogue(model.plan)
    return [
        (
            {
                "what": "feature",
                "name": name,
                "kind": known[name].kind,
                "meaning": known[name].meaning,
            },
            [position],
        )
        for position, name in enumerate(model.features)
    ]


def _kinds(model: Model) -> list[Entry]:
    known = catalogue(model.plan)
    columns: dict[str, list[int]] = {}
    for position, name in enumerate(model.features):
        columns.setdefault(known[name].kind, []).append(position)
    return [
        (
            {
                "what": "kind",
                "name": kind,
                "kind": kind,
                "meaning": KINDS[kind],
            },
            positions,
        )
        for kind, positions in columns.items()
    ]


def _increases(
    model: Model,
    rows: pl.DataFrame,
    groups: Sequence[list[int]],
    random_state: int,
) -> np.ndarray:
    """Mean rise of log loss when a group of columns is shuffled, shape (n_groups,)."""
    matrix = fitting.matrix(rows, model.features)
    churned = fitting.target(rows)
    rng = np.random.default_rng(random_state)
    shuffles = [
        (columns, rng.permutation(len(matrix)))
        for columns in groups
        for _ in range(N_REPEATS)
    ]
    losses: list[float] = []
    size = max(1, BATCH_ROWS // len(matrix))
    for start in range(0, len(shuffles), size):
        batch = shuffles[start : start + size]
        stacked = np.concatenate([_shuffled(matrix, *shuffle) for shuffle in batch])
        blocks = _probability(model, stacked).reshape(len(batch), -1)
        losses += [log_loss(churned, block, labels=[0, 1]) for block in blocks]
    before = log_loss(churned, _probability(model, matrix), labels=[0, 1])
    return np.asarray(np.reshape(losses, (-1, N_REPEATS)).mean(axis=1) - before)


def _shuffled(
    matrix: np.ndarray,
    columns: list[int],
    order: np.ndarray,
) -> np.ndarray:
    mixed = matrix.copy()
    mixed[:, columns] = matrix[order][:, columns]
    return mixed


def _probability(
    model: Model,
    matrix: np.ndarray,
) -> np.ndarray:
    with fitting.one_thread(model.recipe):
        return np.asarray(model.pipeline.predict_proba(matrix)[:, 1])
