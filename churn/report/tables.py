"""Tables of training and evaluation as readers see them.

Columns are chosen and named for people; intervals are texts such as "7% to 11%".
"""

import polars as pl

from churn.evaluation.weekdays import NAMES
from churn.features.catalogue import catalogue
from churn.model.fitting import Model
from churn.model.selection import Choice, choice_metrics

FIGURES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier",
    "calibration_error": "calibration error",
    "lift_top_tenth": "lift, top tenth",
    "capture_top_tenth": "capture, top tenth",
    "lift_quality_gains": "lift quality, by gains",
    "lift_quality_lift": "lift quality, by lift",
}
"""Columns of ``metrics.by_cutoff`` that readers see, and their names."""

SHOWN_BY_CUTOFF = ("auc", "log_loss", "brier", "calibration_error", "lift_top_tenth")
"""Those of the figures that are shown for every test cutoff."""

HIGHER_IS_BETTER = {"auc": True, "log_loss": False}
"""Figures of ``intervals.bootstrap``, and whether a higher one is better."""


def members(chosen: Choice) -> pl.DataFrame:
    """Log losses that a choice rests on: a row per member, and one for the blend.

    Columns: candidate, one per validation fold, all (over all folds), weight.
    """
    folds = chosen.folds.with_columns(pl.col("cutoff").cast(pl.String))
    wide = folds.pivot(
        "cutoff",
        index="candidate",
        values="log_loss",
    )
    over_all = {
        name.removeprefix("log_loss "): loss
        for name, loss in choice_metrics(chosen).items()
    }
    weights = chosen.recipe.weights
    candidate = pl.col("candidate")
    return wide.with_columns(
        candidate.replace_strict(over_all, return_dtype=pl.Float64).alias("all"),
        candidate.replace_strict(
            weights,
            default=None,
            return_dtype=pl.Float64,
        ).alias("weight"),
    )


def features(fitted: Model) -> pl.DataFrame:
    """Every feature the model sees: feature, kind, meaning."""
    meanings = catalogue(fitted.plan)
    rows = []
    for name in fitted.features:
        feature = meanings[name]
        rows.append(
            {
                "feature": name,
                "kind": feature.kind,
                "meaning": feature.meaning,
            }
        )
    return pl.DataFrame(rows)


def choices(choices: pl.DataFrame) -> pl.DataFrame:
    """What the chosen model of each test cutoff was made of."""
    return choices.select(
        pl.col("cutoff").cast(pl.String).alias("date_tested"),
        "weights",
        "rounds",
        "correction",
        "n_train_rows",
    )


def pooled(table: pl.DataFrame) -> pl.DataFrame:
    """The figures over all test cutoffs: a row per figure, a column per model."""
    over_all = table.filter(pl.col("cutoff").is_null())
    figures = over_all.select("model", *FIGURES).rename(FIGURES)
    return figures.transpose(
        include_header=True, header_name="figure", column_names="model"
    )


def by_cutoff(table: pl.DataFrame) -> pl.DataFrame:
    """The main figures at every test cutoff, model by model."""
    order = pl.Enum(table["model"].unique(maintain_order=True))
    single = table.filter(pl.col("cutoff").is_not_null())
    rows = single.sort(pl.col("model").cast(order), "cutoff")
    names = {name: FIGURES[name] for name in SHOWN_BY_CUTOFF}
    shown = rows.select(
        "model",
        pl.col("cutoff").cast(pl.String).alias("date_tested"),
        pl.col("n").alias("users"),
        "churn_rate",
        *SHOWN_BY_CUTOFF,
    )
    return shown.rename(names)


def intervals(table: pl.DataFrame) -> pl.DataFrame:
    """AUC and log loss of each model, and what their differences mean.

    Columns: figure, of (a model, or "chosen less recency"), value, from, to (null with
    one test cutoff: not known), and conclusion, null for a single model: which of two
    models is better; which only was better at these cutoffs, because other periods may
    show another; or that chance alone could explain the difference. ``table``: that of
    ``evaluation.intervals.bootstrap``.
    """
    difference = pl.col("model") + " less " + pl.col("less")
    end = pl.when(pl.col("low").is_finite())
    return table.select(
        pl.col("figure").replace(FIGURES),
        pl.coalesce(difference, "model").alias("of"),
        "value",
        end.then("low").alias("from"),
        end.then("high").alias("to"),
        _conclusion().alias("conclusion"),
    )


def _conclusion() -> pl.Expr:
    known = pl.col("less").is_not_null() & pl.col("value").is_not_nan()
    is_here = _better("users_low", "users_high")
    return (
        pl.when(~known)
        .then(None)
        .otherwise(
            pl.coalesce(
                _better("low", "high") + " is better",
                is_here + " was better at these cutoffs",
                pl.lit("may be chance"),
            )
        )
    )


def _better(low: str, high: str) -> pl.Expr:
    """The better of two models; null where the interval doesn't exclude 0."""
    is_high_good = pl.col("figure").replace_strict(HIGHER_IS_BETTER)
    first, second = pl.col("model"), pl.col("less")
    return (
        pl.when(pl.col(low) > 0)
        .then(pl.when(is_high_good).then(first).otherwise(second))
        .when(pl.col(high) < 0)
        .then(pl.when(is_high_good).then(second).otherwise(first))
    )


def calibration(table: pl.DataFrame) -> pl.DataFrame:
    """Level and slope of the probabilities by test cutoff, with their intervals."""
    return table.select(
        pl.col("cutoff").cast(pl.String).alias("date_tested"),
        pl.col("n").alias("users"),
        pl.col("forecast_churn_rate").alias("forecast_rate"),
        pl.col("churn_rate").alias("actual_rate"),
        between(table, "intercept", "+.2f").alias("level (0 is right)"),
        between(table, "slope", ".2f").alias("slope (1 is right)"),
        pl.col("error_beyond_noise").alias("excess_error_rate"),
    )


def weekdays(table: pl.DataFrame) -> pl.DataFrame:
    """Forecast and actual churn by weekday, from ``evaluation.weekdays.by_weekday``."""
    name = pl.col("weekday").replace_strict(dict(enumerate(NAMES, 1)))
    return table.select(
        name,
        pl.col("n_cutoffs").alias("dates_tested"),
        pl.col("n").alias("scored"),
        "predicted_rate",
        pl.col("churn_rate").alias("actual_rate"),
        between(table, "off", "+.0%").alias("level off by (95%)"),
        pl.col("log_loss").alias(FIGURES["log_loss"]),
    )


def rates(table: pl.DataFrame) -> pl.DataFrame:
    """Predicted and actual churn by group, from ``scorecard.rates``."""
    return table.select(
        table.columns[0],
        pl.col("n").alias("scored"),
        "predicted_rate",
        pl.col("churn_rate").alias("actual_rate"),
        between(table, "churn", ".0%").alias("95% interval"),
        pl.col("churner_share").alias("share_of_all_churners"),
    )


def tenths(table: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Ten groups by risk with their revenue in whole units of the currency."""
    revenue = pl.col("revenue").round().cast(pl.Int64)
    at_risk = pl.col("at_risk").round().cast(pl.Int64)
    return table.select(
        "group",
        pl.col("n").alias("users"),
        "predicted_rate",
        pl.col("churn_rate").alias("actual_rate"),
        revenue.alias(f"revenue of 30 days, {currency}"),
        at_risk.alias(f"of it at risk, {currency}"),
    )


def between(
    table: pl.DataFrame,
    name: str,
    form: str,
) -> pl.Series:
    """The columns ``<name>_low`` and ``<name>_high`` as one text per row.

    ``form`` is a format specification; a dash stands for null and NaN.
    """
    texts = []
    for low, high in table.select(f"{name}_low", f"{name}_high").iter_rows():
        is_known = low is not None and low == low
        texts.append(f"{low:{form}} to {high:{form}}" if is_known else "–")
    return pl.Series(name, texts)
