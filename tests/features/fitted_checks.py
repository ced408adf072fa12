"""Leakage checks of fitted models: predictions and validation folds.

They depend on the code alone and cost whole trainings, so only tests run them. A
training checks its features and labels (``churn.features.leakage``).
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from churn.features import corruption
from churn.features.cutoffs import Calendar
from churn.features.leakage import KEY, LABELS, compare
from churn.settings import Settings
from churn.store import Store

ALL_USERS = 10**9
Judge = Callable[[pl.DataFrame], pl.DataFrame]


def check_predictions(
    predict: Callable[[Store], pl.DataFrame], store: Store, day: date
) -> int:
    """Predictions for cutoffs up to ``day`` must not depend on data from that day on.

    ``predict`` takes a store and returns user_id, cutoff and numbers. It runs twice, on
    all users. Raises LeakError; returns the number of rows compared.
    """
    sample = corruption.sample(store, date.min, date.max, ALL_USERS)
    settled = Calendar.of(store).settled(day)
    with TemporaryDirectory() as folder:
        original = corruption.write_copy(store, Path(folder, "original"), sample)
        predicted = predict(original)
        false_tables = corruption.corrupt(sample, day, settled, store.settings)
        place = Path(folder, "corrupted")
        corrupted = predict(corruption.write_copy(store, place, false_tables))
    is_past = pl.col("cutoff") <= day
    compare(predicted.filter(is_past), corrupted.filter(is_past), day)
    return predicted.filter(is_past).height


def check_folds(judge: Judge, snapshot: pl.DataFrame, settings: Settings) -> int:
    """The first validation fold must not depend on outcomes unknown at its cutoff.

    ``judge`` takes a labelled snapshot and returns candidate, cutoff and figures. It
    runs twice. Raises LeakError; returns the number of rows compared.
    """
    original = judge(snapshot)
    first: date = original["cutoff"].min()  # type: ignore[assignment]
    corrupted = judge(corrupted_after(snapshot, first, settings))
    before, after = (
        folds.filter(pl.col("cutoff") == first).rename({"candidate": "user_id"})
        for folds in (original, corrupted)
    )
    compare(before, after, first)
    return before.height


def corrupted_after(
    snapshot: pl.DataFrame, first: date, settings: Settings
) -> pl.DataFrame:
    """The snapshot with everything corrupted that was unknown at the cutoff ``first``.

    These are the features of later cutoffs, the labels of other cutoffs whose horizon
    was not over, and returns from that day on.
    """
    windows = settings.windows
    unknown = [
        cutoff
        for cutoff in snapshot["cutoff"].unique()
        if windows.horizon(cutoff)[1] > first and cutoff != first
    ]
    features = [name for name in snapshot.columns if name not in (*KEY, *LABELS)]
    is_later = pl.col("cutoff") > first
    is_unknown = pl.col("cutoff").is_in(unknown)
    days = pl.col("return_days") + windows.lead_days
    was_back = pl.col("cutoff") + pl.duration(days=days) < first
    number = pl.col(features).cast(pl.Float64)
    false_label = pl.when(is_unknown).then(~pl.col("churned")).otherwise("churned")
    return snapshot.with_columns(
        pl.when(is_later).then(-1e6).otherwise(number).name.keep(),
        false_label.alias("churned"),
        pl.when(~is_unknown | was_back).then("return_days").alias("return_days"),
    )
