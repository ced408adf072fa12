"""Figures that say how good probabilities are: per test cutoff, together, with intervals, and against the truth.

``predictions`` everywhere is a frame with user_id, cutoff, churned, model (chosen or recency) and probability.
"""

from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

N_BINS = 10
FIGURES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier",
    "calibration_error": "calibration error",
    "lift_top_tenth": "lift, top tenth",
    "capture_top_tenth": "capture, top tenth",
}


def figures(churned: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """AUC, average precision, log loss, Brier, calibration error, lift and capture in the top tenth.

    AUC and the losses need both outcomes; with only one, AUC and average precision are NaN.
    """
    y, p = np.asarray(churned, dtype=int), np.asarray(probability, dtype=float)
    both = len(np.unique(y)) == 2
    top = np.argsort(-p, kind="stable")[: max(1, len(p) // 10)]
    return {
        "n": len(y),
        "churn_rate": float(y.mean()),
        "auc": float(roc_auc_score(y, p)) if both else float("nan"),
        "average_precision": float(average_precision_score(y, p)) if both else float("nan"),
        "log_loss": float(log_loss(y, p, labels=[0, 1])),
        "brier": float(brier_score_loss(y, p, pos_label=1)) if both else float(np.mean((y - p) ** 2)),
        "calibration_error": calibration_error(y, p),
        "lift_top_tenth": float(y[top].mean() / y.mean()) if y.any() else float("nan"),
        "capture_top_tenth": float(y[top].sum() / y.sum()) if y.any() else float("nan"),
    }


def calibration_error(churned: np.ndarray, probability: np.ndarray) -> float:
    """Mean distance of predicted and actual churn rate over ten bins of equal size, weighted by size.

    >>> round(calibration_error(np.array([0, 1] * 10), np.array([0.5] * 20)), 3)
    0.0
    """
    bins = np.array_split(np.argsort(probability, kind="stable"), N_BINS)
    gaps = [abs(churned[b].mean() - probability[b].mean()) * len(b) for b in bins if len(b)]
    return float(sum(gaps) / len(probability))


def by_cutoff(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row of metrics per model and test cutoff, then one per model over all (cutoff null)."""
    groups = predictions.partition_by("model", "cutoff", maintain_order=True)
    pooled = predictions.partition_by("model", maintain_order=True)
    rows = [{"model": g["model"][0], "cutoff": g["cutoff"][0], **_figures_of(g)} for g in groups]
    rows += [{"model": g["model"][0], "cutoff": None, **_figures_of(g)} for g in pooled]
    return pl.DataFrame(rows, schema_overrides={"cutoff": pl.Date})


def _figures_of(group: pl.DataFrame) -> dict[str, float]:
    return figures(group["churned"].to_numpy(), group["probability"].to_numpy())


def intervals(predictions: pl.DataFrame, random_state: int, n_resamples: int = 200) -> pl.DataFrame:
    """95 % intervals of AUC and log loss over all test cutoffs, and of chosen less recency: users are resampled.

    A user's rows at several cutoffs go together, since they are not independent.
    """
    wide = predictions.pivot("model", index=["user_id", "cutoff", "churned"], values="probability").sort("user_id")
    user = wide["user_id"].rle_id().to_numpy()
    y = wide["churned"].to_numpy().astype(int)
    rng = np.random.default_rng(random_state)
    draws = [_draw(rng, user, y, wide) for _ in range(n_resamples)]
    table = pl.DataFrame([d for d in draws if d]).unpivot(variable_name="figure")
    return table.group_by("figure", maintain_order=True).agg(
        low=pl.col("value").quantile(0.025), high=pl.col("value").quantile(0.975)
    )


def _draw(rng: np.random.Generator, user: np.ndarray, y: np.ndarray, wide: pl.DataFrame) -> dict[str, float]:
    n_users = int(user[-1]) + 1
    weight = np.bincount(rng.integers(0, n_users, n_users), minlength=n_users)[user]
    if len(np.unique(y[weight > 0])) < 2:
        return {}
    out = {}
    for name in ("chosen", "recency"):
        p = wide[name].to_numpy()
        out[f"auc {name}"] = roc_auc_score(y, p, sample_weight=weight)
        out[f"log_loss {name}"] = log_loss(y, p, sample_weight=weight)
    for figure in ("auc", "log_loss"):
        out[f"{figure} chosen less recency"] = out[f"{figure} chosen"] - out[f"{figure} recency"]
    return out


def calibration_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Ten bins of equal size per model: model, bin, mean_probability, churn_rate, n."""
    bins = (pl.col("probability").rank("ordinal") - 1).over("model") * N_BINS // pl.len().over("model")
    return (
        predictions.with_columns(bins.alias("bin"))
        .group_by("model", "bin")
        .agg(mean_probability=pl.col("probability").mean(), churn_rate=pl.col("churned").mean(), n=pl.len())
        .sort("model", "bin")
    )


def lift_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Cumulative gains: model, depth (share of users, riskiest first), capture (share of all churners), at each 2 %."""
    ordered = predictions.sort("model", "probability", descending=[False, True])
    gains = ordered.with_columns(
        depth=(pl.int_range(1, pl.len() + 1) / pl.len()).over("model"),
        capture=(pl.col("churned").cum_sum() / pl.col("churned").sum()).over("model"),
    )
    at = pl.col("depth").mul(50).ceil() / 50
    return gains.group_by("model", at.alias("depth")).agg(pl.col("capture").last()).sort("model", "depth")


def ceiling_skill(probability: np.ndarray, truth: np.ndarray) -> float:
    """(L_base − L_model) / (L_base − L_truth), log losses in expectation under the true probabilities.

    The base is the best constant, the mean of the true probabilities. 1 is all that could be known, 0 is no better than
    the constant.

    >>> ceiling_skill(np.array([0.2, 0.8]), np.array([0.2, 0.8]))
    1.0
    """
    base = expected_log_loss(np.full(len(truth), truth.mean()), truth)
    own = expected_log_loss(probability, truth)
    return float((base - own) / (base - expected_log_loss(truth, truth)))


def expected_log_loss(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss that ``probability`` would have over all outcomes that ``truth`` makes possible."""
    p = np.clip(probability, 1e-15, 1 - 1e-15)
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))


def summary_table(table: pl.DataFrame) -> pl.DataFrame:
    """The pooled figures for readers: one row per figure, a column per model."""
    pooled = table.filter(pl.col("cutoff").is_null()).select("model", *FIGURES).rename(FIGURES)
    return pooled.transpose(include_header=True, header_name="figure", column_names="model")


def cutoff_table(table: pl.DataFrame) -> pl.DataFrame:
    """Every figure at every test cutoff for readers, recency below the chosen model."""
    rows = table.filter(pl.col("cutoff").is_not_null()).sort("model", "cutoff")
    return rows.select(
        "model", pl.col("cutoff").cast(pl.String), pl.col("n").alias("users"), "churn_rate", *FIGURES
    ).rename(FIGURES)


def interval_table(predictions: pl.DataFrame, random_state: int) -> pl.DataFrame:
    """Intervals for readers: figure, from, to."""
    readable = pl.col("figure").str.replace("auc", "AUC", literal=True).str.replace("_", " ", literal=True)
    return intervals(predictions, random_state).select(
        readable, pl.col("low").alias("from"), pl.col("high").alias("to")
    )


def headline(table: pl.DataFrame) -> dict[str, Any]:
    """The pooled figures of the chosen model, and the recency baseline's AUC and log loss beside them."""
    pooled = {row["model"]: row for row in table.filter(pl.col("cutoff").is_null()).drop("cutoff").to_dicts()}
    chosen = {k: v for k, v in pooled["chosen"].items() if k != "model"}
    return {**chosen, "recency_auc": pooled["recency"]["auc"], "recency_log_loss": pooled["recency"]["log_loss"]}


def against_truth(predictions: pl.DataFrame, truth: str) -> float | None:
    """Ceiling skill of the chosen model over all test cutoffs; null without a file of true probabilities."""
    if not truth:
        return None
    known = pl.read_parquet(truth).rename({"probability": "truth"})
    both = predictions.filter(pl.col("model") == "chosen").join(known, on=["user_id", "cutoff"])
    return ceiling_skill(both["probability"].to_numpy(), both["truth"].to_numpy())


def ceiling_sentence(skill: float | None) -> str:
    """What a ceiling skill means, in one sentence; nothing where the truth is unknown."""
    if skill is None:
        return ""
    return f"This app is simulated: the model knows {skill:.0%} of what could be known (100 % is the true probability)."
