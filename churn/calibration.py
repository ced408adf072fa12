"""Can probabilities be taken at their word? Level, slope and error of each test cutoff,
beyond what chance explains.

``intercept``: by how much the log-odds were too low (fitted with slope 1), 0 is right.
``slope``: of a logistic regression on the log-odds, 1 is right, below 1 the
probabilities are too extreme.
"""

from typing import Any

import numpy as np
import polars as pl

from churn import metrics
from churn.drift import log_odds, logistic

SLOPES = (0.8, 1.25)
Z = 1.96


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


def figures(churned: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Forecast and actual rate, intercept and slope each with its 95 % interval,
    calibration error beyond noise.
    """
    y, x = (
        np.asarray(churned, dtype=float),
        log_odds(np.asarray(probability, dtype=float)),
    )
    one = np.ones_like(x)
    intercept = _interval(one[:, None], y, x)
    slope = (
        _interval(np.column_stack([one, x]), y, 0 * x)
        if np.ptp(x)
        else (np.nan, np.nan, np.nan)
    )
    return {
        "n": len(y),
        "forecast_churn_rate": float(np.mean(probability)),
        "churn_rate": float(y.mean()),
        **dict(
            zip(
                ("intercept", "intercept_low", "intercept_high"), intercept, strict=True
            )
        ),
        **dict(zip(("slope", "slope_low", "slope_high"), slope, strict=True)),
        "calibration_error": metrics.calibration_error(y, probability),
        "error_beyond_noise": metrics.calibration_error(y, probability)
        - noise_floor(probability),
    }


def _interval(
    x: np.ndarray, y: np.ndarray, offset: np.ndarray
) -> tuple[float, float, float]:
    """Last coefficient of a logistic regression and its 95 % interval; NaN where there
    is none.
    """
    if len(np.unique(y)) < 2:
        return np.nan, np.nan, np.nan
    beta, error = (float(found[-1]) for found in logistic(x, y, offset))
    return beta, beta - Z * error, beta + Z * error


def noise_floor(probability: np.ndarray) -> float:
    """The calibration error to expect of probabilities that are exactly right: chance
    alone, over the same ten bins.

    A bin's gap is then normal about 0 with variance sum p (1 − p) / n², and its mean
    distance from 0 is √(2/π) of that deviation.

    >>> round(noise_floor(np.full(1000, 0.5)), 3), noise_floor(np.ones(1000))
    (0.04, 0.0)
    """
    p = np.sort(np.asarray(probability, dtype=float))
    bins = np.array_split(p, metrics.N_BINS)
    return float(
        np.sqrt(2 / np.pi) * sum(np.sqrt(np.sum(b * (1 - b))) for b in bins) / len(p)
    )


def calibration_finding(low: float, high: float, limit: float) -> dict[str, Any]:
    """What the gate ``calibration`` says of the 95 % interval of the newest intercept:
    fails if all of it is beyond.

    So a small sample, whose interval is wide, never stops a run by chance alone; NaN,
    nothing to judge by, passes.
    """
    passed = not (low > limit or high < -limit)
    way = "fewer" if high < 0 else "more"
    seen = f"{low:+.2f} to {high:+.2f}"
    cure = f"{way} users churned than was forecast: train again on newer cutoffs; cut segments by share until it holds"
    calm = (
        "the newest outcomes are near their forecast"
        if low <= high
        else "no outcome yet to judge the forecast by"
    )
    sentence = (
        calm if passed else f"probabilities are off by {seen} in log-odds, {cure}"
    )
    expected = f"within ±{limit:g} in log-odds"
    return {
        "gate": "calibration",
        "passed": passed,
        "sentence": sentence,
        "expected": expected,
        "seen": seen,
    }


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
