"""Tables about what came true of past scores, as readers see them."""

import polars as pl

from churn.stats.shares import Z


def figures(closed: pl.DataFrame) -> pl.DataFrame:
    """Forecast and outcome of each closed cutoff, newest first.

    Columns: cutoff, users, forecast_rate, actual_rate, level_log_odds (a text), auc,
    log_loss.
    """
    ordered = closed.sort("cutoff", descending=True)
    half = Z * ordered["shift_error"]
    level = _spans(ordered["shift"] - half, ordered["shift"] + half, "+.2f")
    return ordered.select(
        "cutoff",
        pl.col("n").alias("users"),
        pl.col("mean_probability").alias("forecast_rate"),
        pl.col("churn_rate").alias("actual_rate"),
        level.alias("level_log_odds"),
        "auc",
        "log_loss",
    )


def _spans(
    lows: pl.Series,
    highs: pl.Series,
    form: str,
) -> pl.Series:
    """Pairs of numbers as texts such as "0.70 to 0.75"; null where one is."""
    texts = [
        None if low is None or high is None else f"{low:{form}} to {high:{form}}"
        for low, high in zip(lows, highs, strict=True)
    ]
    return pl.Series(texts, dtype=pl.String)
