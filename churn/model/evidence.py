"""Evidence about a forecast's level, gathered from snapshot rows."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from churn.features.cutoffs import Calendar
from churn.model import fitting
from churn.model.correction import Evidence, Outcomes
from churn.model.folds import Fold
from churn.model.forecasts import Forecast
from churn.settings import Settings


def of_fold(
    fold: Fold,
    forecast: Forecast,
    settings: Settings,
    earlier: Sequence[Outcomes] = (),
) -> Evidence:
    """What was known at a fold's cutoff about the level of a forecast."""
    return gather(
        newest=(fold.newest, forecast.newest),
        open_cutoff=(fold.open_cutoff, forecast.open_cutoff),
        earlier=earlier,
        settings=settings,
    )


def gather(
    newest: tuple[pl.DataFrame, np.ndarray],
    open_cutoff: tuple[pl.DataFrame | None, np.ndarray | None],
    earlier: Sequence[Outcomes],
    settings: Settings,
) -> Evidence:
    """Evidence from the rows and probabilities of the newest and the open cutoff.

    ``open_cutoff`` is a pair of nulls if there is none. It is used only if, at it and
    at the newest cutoff, some users were active in the first days and others were not.
    """
    newest_rows, newest_p = newest
    open_rows, open_p = open_cutoff
    at_newest = Outcomes(newest_p, fitting.target(newest_rows))
    if open_rows is None or open_p is None:
        return Evidence(at_newest, None, None, earlier)
    days = Calendar.without_log(settings).opening_days
    newest_inactive = inactive_in_opening(newest_rows, days)
    open_inactive = inactive_in_opening(open_rows, days)
    if min(len(np.unique(newest_inactive)), len(np.unique(open_inactive))) < 2:
        return Evidence(at_newest, None, None, earlier)
    return Evidence(
        newest=at_newest,
        newest_opening=Outcomes(newest_p, newest_inactive),
        open_cutoff=Outcomes(open_p, open_inactive),
        earlier=earlier,
    )


def inactive_in_opening(
    rows: pl.DataFrame,
    days: int,
) -> np.ndarray:
    """1 for users without activity in the first ``days`` of the horizon, shape (n,)."""
    returned = pl.col("return_days").is_not_null() & (pl.col("return_days") < days)
    return rows.select((~returned).cast(pl.Int8)).to_series().to_numpy()


def earlier_outcomes(
    folds: Sequence[Fold],
    forecasts: Sequence[Forecast],
    fold: Fold,
    settings: Settings,
) -> list[Outcomes]:
    """Outcomes of the folds whose horizon was over at the cutoff of ``fold``."""
    return [
        Outcomes(forecast.validation, other.y)
        for other, forecast in zip(folds, forecasts, strict=True)
        if settings.windows.horizon(other.cutoff)[1] <= fold.cutoff
    ]
