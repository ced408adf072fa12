"""Whether probabilities mean what they say, at each test cutoff."""

import polars as pl

from churn.stats.probability import calibration

NAMES = {"mean_probability": "forecast_churn_rate", "outcome_rate": "churn_rate"}
"""Names of the statistics in terms of churn."""


def by_cutoff(predictions: pl.DataFrame) -> pl.DataFrame:
    """Level, slope and error of the chosen model, a row per test cutoff, oldest first.

    Columns: cutoff, n, forecast_churn_rate, churn_rate, then intercept, slope and
    their 95 % intervals, calibration_error and error_beyond_noise, as
    ``churn.stats.probability.calibration`` defines them.
    """
    chosen = predictions.filter(pl.col("model") == "chosen").sort("cutoff")
    rows = []
    for part in chosen.partition_by("cutoff", maintain_order=True):
        churned = part["churned"].to_numpy()
        probability = part["probability"].to_numpy()
        figures = calibration(churned, probability)
        rows.append({"cutoff": part["cutoff"][0], **figures})
    return pl.DataFrame(rows).rename(NAMES, strict=False)
