"""How good forecasts are on each weekday of scoring.

People use many apps otherwise on some weekdays than on others, so that forecasts which
are right on one weekday may be off on another.
"""

import calendar

import polars as pl
from scipy.stats import norm

from churn.stats.probability import log_losses

NAMES = tuple(calendar.day_name)
"""The weekdays by name, Monday first."""


def by_weekday(predictions: pl.DataFrame) -> pl.DataFrame:
    """Forecast and actual churn of the chosen model, a row per weekday tested.

    Columns: weekday (1 is Monday), n_cutoffs, n (a user counts once per test cutoff),
    predicted_rate, churn_rate, level_off (predicted over actual rate, less 1), off_low,
    off_high and log_loss. ``level_off`` and its interval are null where nobody churned.

    The interval takes all rows of a user together, since they depend on each other. All
    intervals together hold with 95 % (Bonferroni), as far as users decide
    independently.
    """
    chosen = predictions.filter(pl.col("model") == "chosen")
    loss = log_losses(chosen["churned"].to_numpy(), chosen["probability"].to_numpy())
    rows = chosen.with_columns(
        pl.Series("loss", loss),
        weekday=pl.col("cutoff").dt.weekday(),
        excess=pl.col("probability") - pl.col("churned"),
    )
    of_users = rows.group_by("weekday", "user_id").agg(pl.col("excess").sum())
    error = pl.col("excess").pow(2).sum().sqrt()
    errors = of_users.group_by("weekday").agg(error_of_sum=error)
    means = rows.group_by("weekday").agg(
        n_cutoffs=pl.col("cutoff").n_unique(),
        n=pl.len(),
        predicted_rate=pl.col("probability").mean(),
        churn_rate=pl.col("churned").mean(),
        log_loss=pl.col("loss").mean(),
    )
    return _with_level(means.join(errors, on="weekday")).sort("weekday")


def _with_level(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the level and its interval, which replace the error of the sum."""
    n_errors = norm.isf(0.025 / max(1, table.height))
    n_churned = pl.col("n") * pl.col("churn_rate")
    off = pl.col("predicted_rate") / pl.col("churn_rate") - 1
    spread = n_errors * pl.col("error_of_sum") / n_churned
    values = {"level_off": off, "off_low": off - spread, "off_high": off + spread}
    known = {
        name: pl.when(pl.col("churn_rate") > 0).then(value)
        for name, value in values.items()
    }
    order = pl.exclude("error_of_sum", "log_loss")
    return table.with_columns(**known).select(order, "log_loss")


def untested(table: pl.DataFrame) -> list[str]:
    """Names of the weekdays that a table of ``by_weekday`` has no row for."""
    tested = set(table["weekday"])
    return [name for number, name in enumerate(NAMES, 1) if number not in tested]
