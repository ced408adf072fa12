"""Tables as readers see them: chosen columns, plain headings, intervals as text."""

import polars as pl

from churn.evaluation.intervals import bootstrap
from churn.features.catalogue import catalogue
from churn.model.fitting import Model
from churn.model.selection import Choice, choice_metrics


def calibration(table: pl.DataFrame) -> pl.DataFrame:
    """Calibration by test cutoff for readers; intervals as text."""
    return table.select(
        pl.col("cutoff").cast(pl.String).alias("test_cutoff"),
        pl.col("n").alias("users"),
        pl.col("forecast_churn_rate").alias("forecast_rate"),
        pl.col("churn_rate").alias("actual_rate"),
        between(table, "intercept", "+.2f").alias("level (0 is right)"),
        between(table, "slope", ".2f").alias("slope (1 is right)"),
        pl.col("error_beyond_noise").alias("excess_error_rate"),
    )


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


SHOWN_BY_CUTOFF = ("auc", "log_loss", "brier", "calibration_error", "lift_top_tenth")


def pooled(table: pl.DataFrame) -> pl.DataFrame:
    """The pooled figures for readers: one row per figure, a column per model."""
    pooled = (
        table.filter(pl.col("cutoff").is_null())
        .select("model", *FIGURES)
        .rename(FIGURES)
    )
    return pooled.transpose(
        include_header=True, header_name="figure", column_names="model"
    )


def by_cutoff(table: pl.DataFrame) -> pl.DataFrame:
    """The main figures at every test cutoff for readers, model by model."""
    order = pl.Enum(table["model"].unique(maintain_order=True))
    single = table.filter(pl.col("cutoff").is_not_null())
    rows = single.sort(pl.col("model").cast(order), "cutoff")
    return rows.select(
        "model",
        pl.col("cutoff").cast(pl.String),
        pl.col("n").alias("users"),
        "churn_rate",
        *SHOWN_BY_CUTOFF,
    ).rename({name: FIGURES[name] for name in SHOWN_BY_CUTOFF})


def intervals(predictions: pl.DataFrame, random_state: int) -> pl.DataFrame:
    """Intervals for readers: figure, of whom, value, from, to."""
    less = pl.col("model") + (" less " + pl.col("less")).fill_null("")
    name = pl.col("figure").replace(FIGURES)
    return bootstrap(predictions, random_state).select(
        name,
        less.alias("of"),
        "value",
        pl.col("low").alias("from"),
        pl.col("high").alias("to"),
    )


def between(table: pl.DataFrame, name: str, form: str) -> pl.Series:
    """The columns ``<name>_low`` and ``<name>_high`` as one text, for readers."""
    bounds = table.select(f"{name}_low", f"{name}_high").iter_rows()
    return pl.Series(
        name,
        [
            "–" if low is None or low != low else f"{low:{form}} to {high:{form}}"
            for low, high in bounds
        ],
    )


def rates(table: pl.DataFrame) -> pl.DataFrame:
    """``rates`` for readers: the interval as one text."""
    return table.select(
        table.columns[0],
        pl.col("n").alias("scored"),
        "predicted_rate",
        pl.col("churn_rate").alias("actual_rate"),
        between(table, "churn", ".1%").alias("95 % interval"),
        pl.col("churner_share").alias("share_of_all_churners"),
    )


def tenths(table: pl.DataFrame, currency: str) -> pl.DataFrame:
    """``tenths`` for readers, amounts in whole units."""
    return table.select(
        "group",
        pl.col("n").alias("users"),
        "predicted_rate",
        pl.col("churn_rate").alias("share_not_returning"),
        pl.col("revenue")
        .round()
        .cast(pl.Int64)
        .alias(f"revenue of 30 days, {currency}"),
        pl.col("at_risk").round().cast(pl.Int64).alias(f"of it at risk, {currency}"),
    )


def members(chosen: Choice) -> pl.DataFrame:
    """The inner loop for readers: one row per member and the blend, a column per judged
    cutoff, all, and the weight.
    """
    wide = chosen.folds.with_columns(pl.col("cutoff").cast(pl.String)).pivot(
        "cutoff", index="candidate", values="log_loss"
    )
    total = {
        name.removeprefix("log_loss "): loss
        for name, loss in choice_metrics(chosen).items()
    }
    together = (
        pl.col("candidate").replace_strict(total, return_dtype=pl.Float64).alias("all")
    )
    weight = pl.col("candidate").replace_strict(
        chosen.recipe.weights, default=None, return_dtype=pl.Float64
    )
    return wide.with_columns(together, weight.alias("weight"))


def features(fitted: Model) -> pl.DataFrame:
    """Every feature the model sees and what it means."""
    meanings = catalogue(fitted.plan)
    rows = [
        {"feature": n, "kind": meanings[n].kind, "meaning": meanings[n].meaning}
        for n in fitted.features
    ]
    return pl.DataFrame(rows)


def choices(choices: pl.DataFrame) -> pl.DataFrame:
    """What each test cutoff was predicted with."""
    return choices.select(
        pl.col("cutoff").cast(pl.String),
        "weights",
        "rounds",
        "correction",
        "n_train_rows",
    )
