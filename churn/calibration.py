"""Can probabilities be taken at their word? Level, slope and error of each test cutoff,
beyond what chance explains.

``intercept``: by how much the log-odds were too low (fitted with slope 1), 0 is right.
``slope``: of a logistic regression on the log-odds, 1 is right, below 1 the
probabilities are too extreme.
"""

import polars as pl

from churn import metrics
from churn.health import calibration_finding
from churn.stats.probability import calibration as figures

SLOPES = (0.8, 1.25)


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
    return pl.DataFrame(rows)


def newest_sentence(table: pl.DataFrame, limit: float) -> str:
    """Whether the newest test cutoff's probabilities can be taken at their word, and if
    not, what to do.

    ``limit``: see ``calibration_finding``.
    """
    row = table.row(-1, named=True)
    forecast, came = row["forecast_churn_rate"], row["churn_rate"]
    said = f"At {row['cutoff']} a churn rate of {forecast:.1%} was forecast, {came:.1%} came"
    if not calibration_finding(row["intercept_low"], row["intercept_high"], limit)[
        "passed"
    ]:
        return (
            f"{said}. **OUT OF BOUNDS: the level of the probabilities is off**, so read them as a ranking, not as "
            "rates; train again on newer cutoffs, and cut segments by share rather than by probability until it holds."
        )
    if row["slope_low"] > SLOPES[1] or row["slope_high"] < SLOPES[0]:
        way = "too extreme" if row["slope"] < 1 else "too timid"
        return f"{said}. **OUT OF BOUNDS: high and low probabilities are {way}**; read them as a ranking, not as rates."
    if row["intercept_low"] > 0 or row["intercept_high"] < 0:
        way = "low" if came > forecast else "high"
        return f"{said}: too {way} by more than chance, but not by enough to warn of."
    return f"{said}: nothing speaks against taking the probabilities at their word."


def readable(table: pl.DataFrame) -> pl.DataFrame:
    """Calibration by test cutoff for readers; intervals as text."""
    return table.select(
        pl.col("cutoff").cast(pl.String).alias("test_cutoff"),
        pl.col("n").alias("users"),
        pl.col("forecast_churn_rate").alias("forecast_rate"),
        pl.col("churn_rate").alias("actual_rate"),
        metrics.between(table, "intercept", "+.2f").alias("level (0 is right)"),
        metrics.between(table, "slope", ".2f").alias("slope (1 is right)"),
        pl.col("error_beyond_noise").alias("excess_error_rate"),
    )
