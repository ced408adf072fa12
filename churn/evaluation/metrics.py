"""Figures that say how good probabilities are: per test cutoff, together, with
intervals, and against the truth.

``predictions`` everywhere is a frame with user_id, cutoff, churned, model (chosen,
recency or another) and probability.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)

from churn.hashing import stable_hash
from churn.stats.probability import N_BINS, calibration_error, ceiling_skill
from churn.stats.probability import log_losses as _losses
from churn.stats.ranking import auc_of_weights, lift_quality


def figures(churned: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """AUC, average precision, log loss, Brier, calibration error, lift and capture in
    the top tenth, lift quality.

    With only one outcome AUC, average precision and lift quality are NaN.
    """
    y, p = np.asarray(churned, dtype=int), np.asarray(probability, dtype=float)
    both = len(np.unique(y)) == 2
    top = np.argsort(-p, kind="stable")[: max(1, len(p) // 10)]
    return {
        "n": len(y),
        "churn_rate": float(y.mean()),
        "auc": float(roc_auc_score(y, p)) if both else float("nan"),
        "average_precision": float(average_precision_score(y, p))
        if both
        else float("nan"),
        "log_loss": float(log_loss(y, p, labels=[0, 1])),
        "brier": float(brier_score_loss(y, p, pos_label=1))
        if both
        else float(np.mean((y - p) ** 2)),
        "calibration_error": calibration_error(y, p),
        "lift_top_tenth": float(y[top].mean() / y.mean()) if y.any() else float("nan"),
        "capture_top_tenth": float(y[top].sum() / y.sum()) if y.any() else float("nan"),
        **lift_quality(y, p),
    }


def by_cutoff(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row of metrics per model and test cutoff, then one per model over all (cutoff
    null).
    """
    groups = predictions.partition_by("model", "cutoff", maintain_order=True)
    pooled = predictions.partition_by("model", maintain_order=True)
    rows = [
        {"model": g["model"][0], "cutoff": g["cutoff"][0], **_figures_of(g)}
        for g in groups
    ]
    rows += [{"model": g["model"][0], "cutoff": None, **_figures_of(g)} for g in pooled]
    return pl.DataFrame(rows, schema_overrides={"cutoff": pl.Date})


def _figures_of(group: pl.DataFrame) -> dict[str, float]:
    return figures(group["churned"].to_numpy(), group["probability"].to_numpy())


def intervals(
    predictions: pl.DataFrame, random_state: int, n_resamples: int = 1000
) -> pl.DataFrame:
    """AUC and log loss of each model over all test cutoffs, and of each less each later
    one, with 95 % intervals.

    Columns: figure, model, less (null: the model itself), value, low, high. Paired
    bootstrap by user: all models are judged on the same drawn users, and a user's rows
    at several cutoffs go together, since they are not independent.
    """
    names = predictions["model"].unique(maintain_order=True).to_list()
    wide = predictions.pivot(
        "model", index=["user_id", "cutoff", "churned"], values="probability"
    ).sort("user_id")
    user, y = (
        wide["user_id"].rle_id().to_numpy(),
        wide["churned"].to_numpy().astype(float),
    )
    judges = [_judge(user, y, wide[name].to_numpy()) for name in names]
    rng, n = np.random.default_rng(random_state), int(user[-1]) + 1
    # The first draw is everybody once: the figure itself.
    draws = itertools.chain([np.ones(n)], (_counts(rng, n) for _ in range(n_resamples)))
    drawn = np.array([[judge(counts) for judge in judges] for counts in draws])
    pairs = [(m, None) for m in range(len(names))] + list(
        itertools.combinations(range(len(names)), 2)
    )
    rows = [
        (
            figure,
            names[m],
            None if less is None else names[less],
            *_span(drawn[:, :, k], m, less),
        )
        for k, figure in enumerate(("auc", "log_loss"))
        for m, less in pairs
    ]
    return pl.DataFrame(
        rows, schema=["figure", "model", "less", "value", "low", "high"], orient="row"
    )


def _counts(rng: np.random.Generator, n_users: int) -> np.ndarray:
    """How often each user is drawn: multinomial, in sum as many as there are."""
    return np.bincount(rng.integers(0, n_users, n_users), minlength=n_users).astype(
        float
    )


def _span(drawn: np.ndarray, model: int, less: int | None) -> tuple[float, ...]:
    values = drawn[:, model] - (0 if less is None else drawn[:, less])
    return float(values[0]), *map(float, np.nanquantile(values[1:], [0.025, 0.975]))


def _judge(
    user: np.ndarray, y: np.ndarray, p: np.ndarray
) -> Callable[[np.ndarray], tuple[float, float]]:
    """AUC and log loss as a function of how often each user counts.

    Sorting and logarithms are done once.
    """
    auc = auc_of_weights(y, p)
    losses = np.bincount(user, _losses(y, p))
    rows = np.bincount(user)

    def judged(counts: np.ndarray) -> tuple[float, float]:
        log_loss = counts @ losses / (counts @ rows)
        return float(auc(counts[user][None])[0]), float(log_loss)

    return judged


def calibration_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Ten bins of equal size per model: model, bin, mean_probability, churn_rate, n."""
    bins = (
        (pl.col("probability").rank("ordinal") - 1).over("model")
        * N_BINS
        // pl.len().over("model")
    )
    return (
        predictions.with_columns(bins.alias("bin"))
        .group_by("model", "bin")
        .agg(
            mean_probability=pl.col("probability").mean(),
            churn_rate=pl.col("churned").mean(),
            n=pl.len(),
        )
        .sort("model", "bin")
    )


def lift_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Cumulative gains: model, depth (share of users, riskiest first), capture (share
    of all churners), at each 2 %.
    """
    ties = stable_hash("user_id")
    ordered = predictions.sort(
        "model", "probability", ties, "cutoff", descending=[False, True, False, False]
    )
    fiftieth = (pl.int_range(1, pl.len() + 1) * 50 + pl.len() - 1) // pl.len()
    gains = ordered.with_columns(
        depth=fiftieth.over("model") / 50,
        capture=(pl.col("churned").cum_sum() / pl.col("churned").sum()).over("model"),
    )
    return (
        gains.group_by("model", "depth")
        .agg(pl.col("capture").last())
        .sort("model", "depth")
    )


def newest(predictions: pl.DataFrame, model: str = "chosen") -> pl.DataFrame:
    """One model's predictions at the newest test cutoff."""
    mine = predictions.filter(pl.col("model") == model)
    return mine.filter(pl.col("cutoff") == pl.col("cutoff").max())


def headline(table: pl.DataFrame) -> dict[str, Any]:
    """The pooled figures of the chosen model, and the recency baseline's AUC and log
    loss beside them.
    """
    pooled = {
        row["model"]: row
        for row in table.filter(pl.col("cutoff").is_null()).drop("cutoff").to_dicts()
    }
    chosen = {k: v for k, v in pooled["chosen"].items() if k != "model"}
    return {
        **chosen,
        "recency_auc": pooled["recency"]["auc"],
        "recency_log_loss": pooled["recency"]["log_loss"],
    }


def against_truth(predictions: pl.DataFrame, truth: str) -> float | None:
    """Ceiling skill of the chosen model over all test cutoffs; null without a file of
    true probabilities.
    """
    if not truth:
        return None
    known = pl.read_parquet(truth).rename({"probability": "truth"})
    both = predictions.filter(pl.col("model") == "chosen").join(
        known, on=["user_id", "cutoff"]
    )
    return ceiling_skill(both["probability"].to_numpy(), both["truth"].to_numpy())
