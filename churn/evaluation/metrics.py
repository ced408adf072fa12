"""How good probabilities are, per test cutoff and over all, and against the truth.

``predictions`` is throughout a frame with user_id, cutoff, churned, model (chosen,
recency or the name of an own model) and probability.
"""

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
from churn.stats.ranking import lift_quality

N_DEPTHS = 50
"""Number of points of a gains curve."""


def figures(churned: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """The figures of one set of predictions.

    ``churned``: shape (n,), bool or 0 and 1. ``probability``: shape (n,). Lift and
    capture are those of the riskiest tenth: its churn rate as a multiple of all users'
    rate, and its share of all churners.

    With one outcome only, AUC, average precision and lift quality are NaN; so are lift
    and capture if nobody churned.
    """
    y = np.asarray(churned, dtype=int)
    p = np.asarray(probability, dtype=float)
    nan = float("nan")
    auc = average_precision = nan
    if len(np.unique(y)) == 2:
        auc = float(roc_auc_score(y, p))
        average_precision = float(average_precision_score(y, p))
    top = y[np.argsort(-p, kind="stable")][: max(1, len(p) // 10)]
    return {
        "n": len(y),
        "churn_rate": float(y.mean()),
        "auc": auc,
        "average_precision": average_precision,
        "log_loss": float(log_loss(y, p, labels=[0, 1])),
        "brier": float(brier_score_loss(y, p, labels=[0, 1])),
        "calibration_error": calibration_error(y, p),
        "lift_top_tenth": float(top.mean() / y.mean()) if y.any() else nan,
        "capture_top_tenth": float(top.sum() / y.sum()) if y.any() else nan,
        **lift_quality(y, p),
    }


def by_cutoff(predictions: pl.DataFrame) -> pl.DataFrame:
    """``figures`` by model and test cutoff, then by model over all cutoffs.

    Columns: model, cutoff (null over all), and those of ``figures``.
    """
    rows = []
    for part in predictions.partition_by("model", "cutoff", maintain_order=True):
        rows.append({"cutoff": part["cutoff"][0], **_figures_of(part)})
    for part in predictions.partition_by("model", maintain_order=True):
        rows.append({"cutoff": None, **_figures_of(part)})
    table = pl.DataFrame(rows, schema_overrides={"cutoff": pl.Date})
    return table.select("model", pl.all().exclude("model"))


def _figures_of(part: pl.DataFrame) -> dict[str, Any]:
    churned = part["churned"].to_numpy()
    probability = part["probability"].to_numpy()
    return {"model": part["model"][0], **figures(churned, probability)}


def calibration_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Predicted and actual churn rate in ten groups of equal size per model.

    Columns: model, bin (0 is the least risky), mean_probability, churn_rate, n.
    """
    rank = pl.col("probability").rank("ordinal") - 1
    bins = rank.over("model") * N_BINS // pl.len().over("model")
    groups = predictions.with_columns(bins.alias("bin")).group_by("model", "bin")
    table = groups.agg(
        mean_probability=pl.col("probability").mean(),
        churn_rate=pl.col("churned").mean(),
        n=pl.len(),
    )
    return table.sort("model", "bin")


def lift_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Cumulative gains per model, at each fiftieth of the users.

    Columns: model, depth (share of the users, riskiest first), capture (share of all
    churners among them).
    """
    ordered = predictions.sort(
        "model",
        "probability",
        stable_hash("user_id"),
        "cutoff",
        descending=[False, True, False, False],
    )
    rank = pl.int_range(1, pl.len() + 1)
    # The fiftieth that a user belongs to, counted from 1 and rounded up.
    fiftieth = (rank * N_DEPTHS + pl.len() - 1) // pl.len()
    capture = pl.col("churned").cum_sum() / pl.col("churned").sum()
    gains = ordered.with_columns(
        depth=fiftieth.over("model") / N_DEPTHS, capture=capture.over("model")
    )
    table = gains.group_by("model", "depth").agg(pl.col("capture").last())
    return table.sort("model", "depth")


def newest(predictions: pl.DataFrame, model: str = "chosen") -> pl.DataFrame:
    """One model's predictions at the newest test cutoff."""
    of_model = predictions.filter(pl.col("model") == model)
    return of_model.filter(pl.col("cutoff") == pl.col("cutoff").max())


def headline(table: pl.DataFrame) -> dict[str, Any]:
    """Figures over all cutoffs for metrics.json, from ``by_cutoff``.

    All of the chosen model, and AUC and log loss of recency as recency_auc and
    recency_log_loss.
    """
    over_all = table.filter(pl.col("cutoff").is_null()).drop("cutoff")
    chosen = over_all.row(by_predicate=pl.col("model") == "chosen", named=True)
    recency = over_all.row(by_predicate=pl.col("model") == "recency", named=True)
    del chosen["model"]
    return {
        **chosen,
        "recency_auc": recency["auc"],
        "recency_log_loss": recency["log_loss"],
    }


def against_truth(predictions: pl.DataFrame, truth: str) -> float | None:
    """Ceiling skill of the chosen model over all test cutoffs.

    ``truth``: a Parquet file of true probabilities with user_id, cutoff and
    probability, as `churn simulate` writes it. Null if the path is empty.
    """
    if not truth:
        return None
    known = pl.read_parquet(truth).rename({"probability": "truth"})
    chosen = predictions.filter(pl.col("model") == "chosen")
    both = chosen.join(known, on=["user_id", "cutoff"])
    return ceiling_skill(both["probability"].to_numpy(), both["truth"].to_numpy())
