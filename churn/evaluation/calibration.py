"""Can probabilities be taken at their word? Level, slope and error of each test cutoff,
beyond what chance explains.

``intercept``: by how much the log-odds were too low (fitted with slope 1), 0 is right.
``slope``: of a logistic regression on the log-odds, 1 is right, below 1 the
probabilities are too extreme.
"""

import polars as pl

from churn.stats.probability import calibration as figures


def by_cutoff(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row per test cutoff of the chosen model, oldest first: cutoff and
    ``figures``.
    """
    chosen = predictions.filter(pl.col("model") == "chosen").sort("cutoff")
    parts = chosen.partition_by("cutoff", maintain_order=True)
    rows = [
        {
            "cutoff": part["cutoff"][0],
            **figures(part["churned"].to_numpy(), part["probability"].to_numpy()),
        }
        for part in parts
    ]
    names = {"mean_probability": "forecast_churn_rate", "outcome_rate": "churn_rate"}
    return pl.DataFrame(rows).rename(names, strict=False)
