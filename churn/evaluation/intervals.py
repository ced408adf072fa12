"""How far chance may have moved AUC and log loss, and differences of models.

Two kinds of chance count: other users, by a bootstrap, and other periods, by how far
the figure differs from test cutoff to test cutoff.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl

from churn.evaluation import periods
from churn.stats.probability import log_losses
from churn.stats.ranking import auc_of_weights, mean_of_known

QUANTILES = [0.025, 0.975]
"""Ends of a 95 % interval."""

MAX_CELLS = 1_000_000
"""Largest number of row weights computed at once."""

SCHEMA = {
    "figure": pl.String,
    "model": pl.String,
    "less": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "users_low": pl.Float64,
    "users_high": pl.Float64,
}


def bootstrap(
    predictions: pl.DataFrame,
    horizon_days: int,
    random_state: int,
    n_resamples: int = 1000,
) -> pl.DataFrame:
    """AUC and log loss of each model and of each pair's difference, 95 % intervals.

    Columns: those of ``SCHEMA``. A row with a model in ``less`` is the difference
    ``model`` − ``less``; null there is the model's own figure. Values are means over
    the test cutoffs, weighted by rows. ``users_low`` and ``users_high`` hold for other
    users in the same periods, ``low`` and ``high`` for other users in other periods,
    see ``periods.half_width``; with one test cutoff these are infinite.

    The bootstrap is paired and draws users: all models are compared on the same draw,
    and a user's rows at several cutoffs go together, since they are not independent.
    """
    models = predictions["model"].unique(maintain_order=True).to_list()
    key = ["user_id", "cutoff", "churned"]
    wide = predictions.pivot("model", index=key, values="probability")
    wide = wide.sort("cutoff", "user_id")
    n_rows, figures = _resampled(wide, models, random_state, n_resamples)
    cutoffs = wide["cutoff"].unique().sort()
    rows = []
    for figure, values in figures.items():
        own = [(model, None, values[model]) for model in models]
        pairs = [
            (one, other, values[one] - values[other])
            for one, other in itertools.combinations(models, 2)
        ]
        for model, less, drawn in own + pairs:
            span = _span(drawn, n_rows, cutoffs, horizon_days)
            if less is None and np.isfinite(span).all():
                span = tuple(np.clip(span, *POSSIBLE[figure]))
            rows.append((figure, model, less, *span))
    return pl.DataFrame(rows, SCHEMA, orient="row")


POSSIBLE = {"auc": (0.0, 1.0), "log_loss": (0.0, float("inf"))}
"""Least and largest value that a model's own figure can have."""

Figures = dict[str, dict[str, np.ndarray]]
"""By figure and model, the values at each cutoff in each resample."""


def _resampled(
    wide: pl.DataFrame,
    models: list[str],
    random_state: int,
    n_resamples: int,
) -> tuple[np.ndarray, Figures]:
    """Rows at each cutoff in each resample, and AUC and log loss there.

    All of shape (n_cutoffs, 1 + n_resamples). The first resample holds every user once:
    it gives the figure itself. An AUC is NaN with one outcome only.
    """
    user = wide["user_id"].rank("dense").to_numpy().astype(int) - 1
    churned = wide["churned"].to_numpy().astype(float)
    starts = np.flatnonzero(np.append(True, np.diff(wide["cutoff"].to_physical()) > 0))
    parts = np.split(np.arange(len(user)), starts[1:])
    losses = {m: log_losses(churned, wide[m].to_numpy()) for m in models}
    aucs = {
        m: [auc_of_weights(churned[part], wide[m].to_numpy()[part]) for part in parts]
        for m in models
    }
    n_rows = []
    drawn: dict[str, dict[str, list[np.ndarray]]] = {
        figure: {m: [] for m in models} for figure in ("auc", "log_loss")
    }
    for counts in _draws(int(user.max()) + 1, len(user), random_state, n_resamples):
        weights = [counts[:, user[part]] for part in parts]
        totals = np.array([weight.sum(axis=1) for weight in weights])
        n_rows.append(totals)
        for m in models:
            auc = [of(weight) for of, weight in zip(aucs[m], weights, strict=True)]
            lost = [w @ losses[m][part] for w, part in zip(weights, parts, strict=True)]
            drawn["auc"][m].append(np.array(auc))
            drawn["log_loss"][m].append(np.array(lost) / totals)
    joined = {
        figure: {m: np.hstack(blocks) for m, blocks in by_model.items()}
        for figure, by_model in drawn.items()
    }
    return np.hstack(n_rows), joined


def _draws(
    n_users: int,
    n_rows: int,
    random_state: int,
    n_resamples: int,
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


def _span(
    drawn: np.ndarray,
    n_rows: np.ndarray,
    cutoffs: pl.Series,
    horizon_days: int,
) -> tuple[float, float, float, float, float]:
    """Value, ends of the interval, and ends of the one by users alone.

    NaN where the figure is unknown at every cutoff.
    """
    known = ~np.isnan(drawn[:, 0])
    if not known.any():
        unknown = float("nan")
        return unknown, unknown, unknown, unknown, unknown
    drawn, n_rows = drawn[known], n_rows[known]
    means = mean_of_known(drawn, n_rows)
    value = float(means[0])
    low, high = (float(end) for end in np.nanquantile(means[1:], QUANTILES))
    whole = drawn[:, 1:][:, ~np.isnan(drawn[:, 1:]).any(axis=0)]
    noise = np.atleast_2d(np.cov(whole))
    half = periods.half_width(
        drawn[:, 0], n_rows[:, 0], noise, cutoffs.filter(known).to_list(), horizon_days
    )
    return (
        value,
        value - float(np.hypot(value - low, half)),
        value + float(np.hypot(high - value, half)),
        low,
        high,
    )
