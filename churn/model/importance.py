"""Which features carry the forecast: permutation importance in the newest fold.

A model of the chosen recipe, or the own estimator, learns from the fold's training rows.
In the validation rows, which are newer, the values of a feature are then shuffled
between users: how much the log loss rises is what the feature is worth beside all
others. Features of one kind can stand in for each other, so that each alone may be
worth little; a kind is measured by shuffling all of its features together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss

from churn.features.catalogue import KINDS, catalogue
from churn.model import fitting, selection
from churn.model.fitting import Model
from churn.model.training import Trained
from churn.settings import Settings

MAX_ROWS = 5_000  # validation rows that are shuffled
N_REPEATS = 2  # shuffles that are averaged
SCHEMA = {
    "what": pl.String,
    "name": pl.String,
    "kind": pl.String,
    "meaning": pl.String,
    "log_loss_increase": pl.Float64,
}


def measure(trained: Trained, settings: Settings) -> pl.DataFrame:
    """How much log loss rises without each kind and each feature, the largest first.

    One row per kind (``what`` is "kind"), then one per feature ("feature"): what, name,
    kind, meaning, log_loss_increase. An increase near or below 0 means that the
    forecast does without. The frame has no rows where there is no validation fold.
    """
    fold = trained.fold
    if fold is None:
        return pl.DataFrame(schema=SCHEMA)
    plan, recipe = trained.model.plan, trained.choice.recipe
    model = fitting.fit(fold.learned, plan, settings, recipe, trained.estimator)
    rows = selection.sample(fold.judged, MAX_ROWS)
    entries = _kinds(model) + _features(model)
    groups = [positions for _, positions in entries]
    increases = _increases(model, rows, groups, settings.random_state)
    table = pl.DataFrame(
        [facts for facts, _ in entries], schema=SCHEMA, orient="row"
    ).with_columns(pl.Series("log_loss_increase", increases))
    return table.sort(
        "what", "log_loss_increase", "name", descending=[True, True, False]
    )


Entry = tuple[dict[str, Any], list[int]]  # facts of a row, and the columns to shuffle


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
            {"what": "kind", "name": kind, "kind": kind, "meaning": KINDS[kind]},
            positions,
        )
        for kind, positions in columns.items()
    ]


def _increases(
    model: Model, rows: pl.DataFrame, groups: Sequence[list[int]], random_state: int
) -> np.ndarray:
    """Mean rise of log loss when a group of columns is shuffled, shape (n_groups,).

    scikit-learn shuffles one column at a time. So it is given row numbers, a column per
    group, and the matrix is put together from the rows they name.
    """
    matrix = fitting.matrix(rows, model.features)
    row_numbers = np.tile(np.arange(len(matrix))[:, None], len(groups))

    def score(pipeline: Any, sources: np.ndarray, y: np.ndarray) -> float:
        mixed = matrix.copy()
        moved = (sources != row_numbers).any(axis=0)
        for group in np.flatnonzero(moved).tolist():
            columns = groups[group]
            mixed[:, columns] = matrix[sources[:, group]][:, columns]
        return -float(log_loss(y, pipeline.predict_proba(mixed)[:, 1], labels=[0, 1]))

    found = permutation_importance(
        model.pipeline,
        row_numbers,
        fitting.target(rows),
        scoring=score,
        n_repeats=N_REPEATS,
        random_state=random_state,
    )
    return np.asarray(found.importances_mean)
