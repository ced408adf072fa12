"""What models of several test cutoffs predict for everybody, and what happened."""

from collections.abc import Sequence
from datetime import date
from functools import partial

import polars as pl

from churn.features import by_group, snapshots
from churn.features.catalogue import Plan, catalogue
from churn.model import fitting
from churn.model.fitting import Model
from churn.store import Store, grouped

Fitted = dict[date, dict[str, Model]]
"""Models by test cutoff and name."""


def predictions(
    store: Store,
    fitted: Fitted,
    plan: Plan,
) -> pl.DataFrame:
    """What each model predicted for everybody at its test cutoff, and what happened.

    Features are computed for one group of users at a time, at all test cutoffs.
    """
    reading = snapshots.reading(store, list(fitted), plan)
    level = by_group.level(store, reading)
    work = partial(_of_group, reading=reading, level=level, fitted=fitted)
    groups = by_group.groups(store, reading)
    made = pl.concat(grouped.frames(store, work, groups, "predictions"))
    parts = made.partition_by("cutoff", "model", as_dict=True)
    nobody = made.clear()
    del made
    predictions = []
    for cutoff, models in fitted.items():
        of_models = [parts.pop((cutoff, name), nobody) for name in models]
        ordered = [part.sort("user_id") for part in of_models]
        outcomes = snapshots.label(ordered[0].select("user_id", "cutoff"), store)
        churned = outcomes["churned"]
        predictions += [part.insert_column(2, churned) for part in ordered]
    return pl.concat(predictions)


def _of_group(
    store: Store,
    buckets: Sequence[int],
    *,
    reading: by_group.Reading,
    level: pl.DataFrame,
    fitted: Fitted,
) -> pl.DataFrame:
    """The predictions for a group's users: user_id, cutoff, model, probability."""
    features = by_group.features_of(store, buckets, reading, level)
    parts = []
    for cutoff, models in fitted.items():
        rows = features.filter(pl.col("cutoff") == cutoff)
        for name, model in models.items():
            probability = fitting.predict(model, columns(rows, model.plan))
            part = rows.select(
                "user_id",
                "cutoff",
                model=pl.lit(name),
                probability=pl.Series(probability, dtype=pl.Float64),
            )
            parts.append(part)
    return pl.concat(parts)


def columns(
    observed: pl.DataFrame,
    plan: Plan,
) -> pl.DataFrame:
    """The columns that ``plan`` alone would have given.

    The number of event names in use (n_names_…) depends on the plan's vocabulary, so it
    is counted again.
    """
    names = catalogue(plan)
    counts = []
    for name in names:
        if name.startswith("n_names_"):
            of_names = [name.replace("names", event) for event in plan.vocabulary]
            in_use = [(pl.col(column) > 0).cast(pl.Int32) for column in of_names]
            counts.append(pl.sum_horizontal(in_use).alias(name))
    return observed.with_columns(counts).select("user_id", "cutoff", *names)
