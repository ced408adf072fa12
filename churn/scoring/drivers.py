"""Which kinds of features push the forecasts of users up, and which down."""

import numpy as np
import polars as pl
from polars import selectors as cs

from churn.features.catalogue import KINDS
from churn.model import folds
from churn.model.fitting import Model
from churn.model.training import Trained
from churn.scoring import reasons

MAX_USERS = 2_000
"""Most users whose forecasts are taken apart; a share among them is known to 2 %."""

SCHEMA = {
    "kind": pl.String,
    "meaning": pl.String,
    "share_with_higher_risk": pl.Float64,
    "mean_rise_rate": pl.Float64,
    "share_with_lower_risk": pl.Float64,
    "mean_fall_rate": pl.Float64,
}


def measure(trained: Trained) -> pl.DataFrame:
    """For each kind how many users it pushes up or down, and how far on average.

    A push is the change of a user's probability against the same user with typical
    values of that kind, see ``reasons``; one below ``reasons.FLOOR`` doesn't count.
    Columns: those of ``SCHEMA``, the kind that moves most first; the means are over the
    users pushed that way, null without any. Users are those of the newest validation
    fold; the frame is empty without one.
    """
    if trained.fold is None:
        return pl.DataFrame(schema=SCHEMA)
    users = folds.sample(trained.fold.validation, MAX_USERS)
    return of_users(trained.model, users)


def of_users(model: Model, snapshot: pl.DataFrame) -> pl.DataFrame:
    """The same for the users of one snapshot."""
    table = reasons.contributions(model, snapshot)
    log_odds = table["log_odds"].to_numpy()
    kinds = table.select(cs.exclude("user_id", "cutoff", "probability", "log_odds"))
    rows = [
        _pushes(kind.name, table["probability"].to_numpy(), log_odds, kind.to_numpy())
        for kind in kinds
    ]
    moved = pl.col("share_with_higher_risk") * pl.col("mean_rise_rate").fill_null(0)
    moved += pl.col("share_with_lower_risk") * pl.col("mean_fall_rate").fill_null(0)
    return pl.DataFrame(rows, SCHEMA, orient="row").sort(moved, descending=True)


def _pushes(
    kind: str,
    probability: np.ndarray,
    log_odds: np.ndarray,
    contribution: np.ndarray,
) -> tuple[str, str, float, float | None, float, float | None]:
    typical = 1 / (1 + np.exp(contribution - log_odds))
    push = probability - typical
    up, down = contribution > reasons.FLOOR, contribution < -reasons.FLOOR
    rise = float(push[up].mean()) if up.any() else None
    fall = float(-push[down].mean()) if down.any() else None
    return kind, KINDS[kind], float(up.mean()), rise, float(down.mean()), fall
