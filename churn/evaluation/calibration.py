"""Whether probabilities mean what they say, at each test cutoff."""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from churn.stats.probability import calibration, level_holds

NAMES = {"mean_probability": "forecast_churn_rate", "outcome_rate": "churn_rate"}
"""Names of the statistics in terms of churn."""

SLOPES = (0.8, 1.25)
"""Slopes between which probabilities are neither too extreme nor too timid."""

Fault = Literal["none", "unknown", "off", "slightly off", "flat", "extreme", "timid"]
"""What may be wrong with the probabilities of a test cutoff, see ``judge``."""


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


def judge(
    row: Mapping[str, Any],
    limit: float,
) -> Fault:
    """What is wrong with the probabilities of one row of ``by_cutoff``.

    - off: the level is beyond ``limit`` in log-odds; slightly off: by more than chance.
    - flat: they don't separate churners from stayers, or do so completely.
    - extreme, timid: the slope is beyond ``SLOPES``.
    - unknown: all users had the same outcome.
    """
    low, high = row["intercept_low"], row["intercept_high"]
    if not low <= high:
        return "unknown"
    if not level_holds(low, high, limit):
        return "off"
    if not row["slope_low"] <= row["slope_high"]:
        return "flat"
    if row["slope_low"] > SLOPES[1] or row["slope_high"] < SLOPES[0]:
        return "extreme" if row["slope"] < 1 else "timid"
    return "slightly off" if low > 0 or high < 0 else "none"
