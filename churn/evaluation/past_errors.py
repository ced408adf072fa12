"""How far off forecasts were at past cutoffs, and how far the churn rate moved."""

from datetime import timedelta

import numpy as np
import polars as pl

from churn.evaluation import metrics
from churn.stats.probability import log_odds, logistic

FIGURES = ("auc", "log_loss")
"""Figures that are forecast."""


def misfits(predictions: pl.DataFrame) -> pl.DataFrame:
    """How far off each test cutoff's probabilities were.

    Columns: cutoff, shift, tilt, and the standard errors shift_noise and tilt_noise,
    by which both are off because the users are few.

    Outcomes are fitted best by σ(shift + x + (slope − 1) · (x − mean x)), x being the
    log-odds, and tilt is the log of that slope: 0 is right, above 0 the probabilities
    were not spread far enough. Cutoffs with one outcome only, or whose outcomes the
    probabilities separate, are left out.
    """
    # Where all probabilities are the same, outcomes say nothing of their spread.
    is_spread = pl.col("probability").n_unique().over("cutoff") > 1
    parts = _cutoffs(predictions.filter(is_spread))
    rows = [(part["cutoff"][0], *_misfit(part)) for part in parts]
    schema = {
        "cutoff": pl.Date,
        "shift": pl.Float64,
        "tilt": pl.Float64,
        "shift_noise": pl.Float64,
        "tilt_noise": pl.Float64,
    }
    table = pl.DataFrame(
        rows,
        schema=schema,
        orient="row",
    )
    return table.fill_nan(None).drop_nulls()


def _cutoffs(predictions: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each cutoff at which some users churned and some stayed."""
    has_both = pl.col("churned").n_unique().over("cutoff") == 2
    return predictions.filter(has_both).sort("cutoff").partition_by("cutoff")


def _misfit(period: pl.DataFrame) -> tuple[float, float, float, float]:
    """Shift, tilt and the standard error of each; NaN where they aren't known."""
    x = log_odds(period["probability"].to_numpy())
    centred = np.column_stack([np.ones(len(x)), x - x.mean()])
    beta, errors = logistic(centred, period["churned"].to_numpy(), np.zeros(len(x)))
    slope = np.clip(beta[1], 0.5, 2)
    shift, tilt = beta[0] - x.mean(), np.log(slope)
    return float(shift), float(tilt), float(errors[0]), float(errors[1] / slope)


def figures(predictions: pl.DataFrame) -> pl.DataFrame:
    """AUC and log loss of each test cutoff: cutoff, auc, log_loss.

    Cutoffs with one outcome only are left out.
    """
    rows = []
    for part in _cutoffs(predictions):
        churned, probability = (
            part["churned"].to_numpy(),
            part["probability"].to_numpy(),
        )
        known = metrics.figures(churned, probability)
        rows.append((part["cutoff"][0], *(known[name] for name in FIGURES)))
    schema = {"cutoff": pl.Date} | dict.fromkeys(FIGURES, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def errors_of_the_mean(
    past: pl.DataFrame,
    horizon_days: int,
) -> pl.DataFrame:
    """How far each cutoff's figures lay from the mean of those known on its day.

    ``past``: that of ``figures``, and so are the columns. At a cutoff the figures are
    known of those that are at least ``horizon_days`` older; cutoffs without any are
    left out.

    >>> from datetime import date
    >>> days = [date(2026, 1, 1), date(2026, 1, 15), date(2026, 1, 29)]
    >>> losses = pl.DataFrame({"cutoff": days, "auc": 0.8, "log_loss": [0.3, 0.5, 0.6]})
    >>> errors_of_the_mean(losses, 28)["log_loss"].round(3).to_list()
    [0.3]
    """
    known_on = pl.col("cutoff") + timedelta(days=horizon_days)
    means = [pl.col(name).cum_sum() / pl.int_range(1, pl.len() + 1) for name in FIGURES]
    earlier = past.select(known_on, *means)
    both = past.join_asof(earlier, on="cutoff", strategy="backward").drop_nulls()
    errors = [pl.col(name) - pl.col(f"{name}_right") for name in FIGURES]
    return both.select("cutoff", *errors)


def level_moves(
    churn_rates: pl.DataFrame,
    distance_days: int,
) -> pl.DataFrame:
    """By how many log-odds the churn rate moved over ``distance_days``: cutoff, move.

    Each cutoff is compared with the newest that is at least so many days older; those
    without one are left out.
    """
    rate = pl.col("churn_rate").clip(0.001, 0.999)
    level = (rate / (1 - rate)).log()
    levels = churn_rates.select("cutoff", level=level).sort("cutoff")
    earlier = levels.select(
        pl.col("cutoff") + timedelta(days=distance_days),
        pl.col("level").alias("earlier"),
    )
    both = levels.join_asof(
        earlier,
        on="cutoff",
        strategy="backward",
    ).drop_nulls()
    return both.select("cutoff", move=pl.col("level") - pl.col("earlier"))
