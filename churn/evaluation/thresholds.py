"""What each threshold would have selected: users, churners among them, and others."""

import numpy as np
import polars as pl

from churn.evaluation.metrics import newest, over_cutoffs
from churn.scoring import ranks

STEPS = 100
"""Number of steps in which thresholds go from 0 to 1."""

SCHEMA = {
    "threshold": pl.Float64,
    "n_users": pl.Int64,
    "expected": pl.Float64,
    "n_churned": pl.Int64,
    "n_others": pl.Int64,
    "user_rate": pl.Float64,
    "reached_rate": pl.Float64,
}


def by_threshold(predictions: pl.DataFrame) -> pl.DataFrame:
    """Whom the chosen model would have selected from each threshold on.

    Columns: threshold (0 to 1 in hundredths); at the newest test cutoff n_users, whose
    probability reaches it, expected (churners among them by their probabilities),
    n_churned and n_others (those who left, and stayed); over the test cutoffs, as means
    weighted by users, user_rate (share of a cutoff's users selected) and reached_rate
    (share of its churners among them, null if nobody churned).
    """
    chosen = predictions.filter(pl.col("model") == "chosen")
    parts = chosen.partition_by("cutoff", maintain_order=True)
    rates = [
        _selected(part).with_columns(cutoff=part["cutoff"][0], n=pl.lit(part.height))
        for part in parts
    ]
    shares = pl.concat(rates).select("threshold", "cutoff", "n", *_shares())
    means = over_cutoffs(shares, "threshold").drop("n").fill_nan(None)
    counts = _selected(newest(predictions))
    joined = counts.join(means, on="threshold", how="left", maintain_order="left")
    return joined.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _shares() -> tuple[pl.Expr, pl.Expr]:
    """Share of the users, and of the churners, who are selected at one cutoff."""
    n_churned = pl.col("n_churned").max().over("cutoff")
    return (
        (pl.col("n_users") / pl.col("n")).alias("user_rate"),
        (pl.col("n_churned") / n_churned).alias("reached_rate"),
    )


def of_scores(probability: pl.Series) -> pl.DataFrame:
    """The same of scored users whose outcome isn't known: those columns are null."""
    users = pl.DataFrame({"probability": probability, "churned": False})
    counts = _selected(users).select("threshold", "n_users", "expected")
    shares = counts.with_columns(user_rate=pl.col("n_users") / len(probability))
    absent = [name for name in SCHEMA if name not in shares.columns]
    table = shares.with_columns(pl.lit(None).alias(name) for name in absent)
    return table.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _selected(users: pl.DataFrame) -> pl.DataFrame:
    """Counts of one cutoff's users at or above each threshold."""
    thresholds = np.arange(STEPS + 1) / STEPS
    ordered = users.sort("probability")
    probability = ordered["probability"].round(ranks.DIGITS).to_numpy()
    churned = ordered["churned"].to_numpy().astype(np.int64)
    first = np.searchsorted(probability, thresholds)
    n_churned = _from(churned)[first]
    n_users = len(probability) - first
    return pl.DataFrame(
        {
            "threshold": thresholds,
            "n_users": n_users,
            "expected": _from(probability)[first],
            "n_churned": n_churned,
            "n_others": n_users - n_churned,
        }
    )


def _from(values: np.ndarray) -> np.ndarray:
    """The sum of the values from each position to the end, and 0 beyond it."""
    return np.append(np.cumsum(values[::-1])[::-1], 0)
