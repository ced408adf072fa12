"""How good probabilities are, per test cutoff and over all, and against the truth.

``predictions`` is throughout a frame with user_id, cutoff, churned, model (chosen,
recency or the name of an own model) and probability.

Users are ranked within their test cutoff, as they are when they are scored. Over all
cutoffs a figure is its mean over the cutoffs, weighted by rows: users of different
cutoffs are never ranked against each other. Where probabilities are tied, figures are
expected values over random orders of the tied users, whatever the order of the rows.
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

from churn.stats.probability import N_BINS, calibration_error, ceiling_skill
from churn.stats.ranking import gains, lift_quality

TOP = 0.1
"""Share of the users that is the riskiest tenth."""

DEPTHS = np.arange(1, 51) / 50
"""Shares of the users at which a gains curve has its points."""


def figures(
    churned: np.ndarray,
    probability: np.ndarray,
) -> dict[str, float]:
    """The figures of one set of predictions at one cutoff.

    ``churned``: shape (n,), bool or 0 and 1. ``probability``: shape (n,). Lift and
    capture are those of the riskiest tenth: its churn rate (churn_rate_top_tenth) as a
    multiple of all users' rate, and its share of all churners.

    With one outcome only, AUC, average precision and lift quality are NaN; so are lift
    and capture if nobody churned.
    """
    y = np.asarray(churned, dtype=int)
    p = np.asarray(probability, dtype=float)
    auc = average_precision = float("nan")
    if len(np.unique(y)) == 2:
        auc = float(roc_auc_score(y, p))
        average_precision = float(average_precision_score(y, p))
    capture = float(gains(y, p, np.array([TOP]))[0])
    lift = capture / TOP
    return {
        "n": len(y),
        "churn_rate": float(y.mean()),
        "auc": auc,
        "average_precision": average_precision,
        "log_loss": float(log_loss(y, p, labels=[0, 1])),
        "brier": float(brier_score_loss(y, p, labels=[0, 1])),
        "calibration_error": calibration_error(y, p),
        "churn_rate_top_tenth": lift * float(y.mean()) if y.any() else 0.0,
        "lift_top_tenth": lift,
        "capture_top_tenth": capture,
        **lift_quality(y, p),
    }


def by_cutoff(predictions: pl.DataFrame) -> pl.DataFrame:
    """``figures`` by model and test cutoff, then by model over all cutoffs.

    Columns: model, cutoff (null over all), and those of ``figures``. Over all cutoffs
    ``n`` is the sum, and each other figure the mean, see ``over_cutoffs``.
    """
    rows = []
    for part in predictions.partition_by("model", "cutoff", maintain_order=True):
        key = part.select("model", "cutoff").row(0, named=True)
        rows.append({**key, **figures(*_outcome_and_probability(part))})
    table = pl.DataFrame(rows)
    means = over_cutoffs(table, "model")
    return pl.concat([table, means], how="diagonal")


def _outcome_and_probability(part: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return part["churned"].to_numpy(), part["probability"].to_numpy()


def over_cutoffs(
    table: pl.DataFrame,
    *by: str,
) -> pl.DataFrame:
    """Mean of each figure over the cutoffs, weighted by ``n``, and the sum of ``n``.

    Cutoffs where a figure is NaN don't count for it; if it is NaN at all, so is the
    mean.
    """
    n = pl.col("n")
    known = pl.exclude("cutoff", "n", *by).fill_nan(None)
    mean = (known * n).sum() / (known.is_not_null() * n).sum()
    return table.group_by(by, maintain_order=True).agg(n.sum(), mean)


def tied(
    column: str,
    *within: str,
) -> pl.Expr:
    """A column whose value in each row is the mean of the rows tied with it.

    Rows are tied that have the same ``probability`` and are equal in ``within``. Sums
    by rank are then the expected ones over random orders of the tied.
    """
    return pl.col(column).cast(pl.Float64).mean().over(*within, "probability")


def calibration_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Predicted and actual churn rate in ten groups of equal size per model.

    Columns: model, bin (0 is the least risky), mean_probability, churn_rate, n. Rows of
    all cutoffs count together here, since a probability should mean the same at each.
    """
    rank = pl.col("probability").rank("ordinal") - 1
    bins = rank.over("model") * N_BINS // pl.len().over("model")
    shared = predictions.with_columns(bins.alias("bin"), tied("churned", "model"))
    table = shared.group_by("model", "bin").agg(
        mean_probability=pl.col("probability").mean(),
        churn_rate=pl.col("churned").mean(),
        n=pl.len(),
    )
    return table.sort("model", "bin")


def lift_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Cumulative gains per model, at each fiftieth of the users of a cutoff.

    Columns: model, depth (share of the users, riskiest first), capture (share of all
    churners among them; NaN if nobody churned). The mean over the cutoffs, as in
    ``by_cutoff``.
    """
    parts = []
    for part in predictions.partition_by("model", "cutoff", maintain_order=True):
        capture = gains(*_outcome_and_probability(part), DEPTHS)
        facts = part.select("model", pl.len().alias("n")).head(1)
        curve = pl.DataFrame({"depth": DEPTHS, "capture": capture})
        parts.append(facts.join(curve, how="cross"))
    means = over_cutoffs(pl.concat(parts), "model", "depth")
    return means.select("model", "depth", "capture").sort("model", "depth")


def newest(
    predictions: pl.DataFrame,
    model: str = "chosen",
) -> pl.DataFrame:
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


def against_truth(
    predictions: pl.DataFrame,
    truth: str,
) -> float | None:
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
