"""How far chance may have moved AUC and log loss, and differences of models."""

import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl

from churn.stats.probability import log_losses
from churn.stats.ranking import auc_of_weights

QUANTILES = [0.025, 0.975]
"""Ends of a 95 % interval."""

MAX_CELLS = 1_000_000
"""Largest number of row weights computed at once."""


def bootstrap(
    predictions: pl.DataFrame, random_state: int, n_resamples: int = 1000
) -> pl.DataFrame:
    """AUC and log loss of each model and of each pair's difference, 95 % intervals.

    Columns: figure, model, less, value, low, high. A row with a model in ``less`` is
    the difference ``model`` − ``less``; null there is the model's own figure. All test
    cutoffs count together.

    The bootstrap is paired and draws users: all models are compared on the same draw,
    and a user's rows at several cutoffs go together, since they are not independent.
    """
    models = predictions["model"].unique(maintain_order=True).to_list()
    wide = predictions.pivot(
        "model", index=["user_id", "cutoff", "churned"], values="probability"
    ).sort("user_id")
    user = wide["user_id"].rle_id().to_numpy()
    churned = wide["churned"].to_numpy().astype(float)
    probabilities = [wide[model].to_numpy() for model in models]
    figures = _resampled(user, churned, probabilities, random_state, n_resamples)
    rows = []
    for figure, drawn in figures.items():
        for k, model in enumerate(models):
            rows.append((figure, model, None, *_span(drawn[:, k])))
        for k, other in itertools.combinations(range(len(models)), 2):
            difference = drawn[:, k] - drawn[:, other]
            rows.append((figure, models[k], models[other], *_span(difference)))
    columns = ["figure", "model", "less", "value", "low", "high"]
    return pl.DataFrame(
        rows,
        schema=columns,
        orient="row",
    )


def _resampled(
    user: np.ndarray,
    churned: np.ndarray,
    probabilities: list[np.ndarray],
    random_state: int,
    n_resamples: int,
) -> dict[str, np.ndarray]:
    """AUC and log loss in each resample, shape (1 + n_resamples, n_models) each.

    The first resample holds every user once: the figure itself. ``user``: shape (n,),
    the number of each row's user, ascending.
    """
    aucs = [auc_of_weights(churned, p) for p in probabilities]
    # Log losses of one user always count together: they are added up beforehand.
    losses = [np.bincount(user, log_losses(churned, p)) for p in probabilities]
    n_rows = np.bincount(user)
    drawn: dict[str, list[np.ndarray]] = {"auc": [], "log_loss": []}
    for counts in _draws(len(n_rows), len(user), random_state, n_resamples):
        weight = counts[:, user]
        total = counts @ n_rows
        drawn["auc"].append(np.column_stack([auc(weight) for auc in aucs]))
        drawn["log_loss"].append(
            np.column_stack([counts @ loss / total for loss in losses])
        )
    return {figure: np.concatenate(parts) for figure, parts in drawn.items()}


def _draws(
    n_users: int, n_rows: int, random_state: int, n_resamples: int
) -> Iterator[np.ndarray]:
    """How often each user counts in each resample, in blocks of shape (k, n_users)."""
    rng = np.random.default_rng(random_state)
    yield np.ones((1, n_users))
    block = max(1, MAX_CELLS // n_rows)
    for start in range(0, n_resamples, block):
        n_draws = min(block, n_resamples - start)
        draws = [rng.integers(0, n_users, n_users) for _ in range(n_draws)]
        counts = [np.bincount(draw, minlength=n_users) for draw in draws]
        yield np.array(counts, dtype=float)


def _span(drawn: np.ndarray) -> tuple[float, float, float]:
    """The figure itself, and the ends of its interval over the resamples."""
    low, high = np.nanquantile(drawn[1:], QUANTILES)
    return float(drawn[0]), float(low), float(high)
