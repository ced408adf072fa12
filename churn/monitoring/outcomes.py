"""Past scores against their outcomes, as horizons close.

The figures of a closed cutoff are kept in the store, so that a night computes only what
is new. Users who got a message are among them: messages that work make forecasts of
churn look too high.
"""

import io
import logging
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from churn.evaluation import past_errors
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.monitoring import promises
from churn.monitoring.promises import Promise
from churn.scoring import scores
from churn.settings import Windows
from churn.stats.probability import log_losses, log_odds, logistic
from churn.store import Store

log = logging.getLogger(__name__)

FILE = "monitor/outcomes.parquet"

N_AGAIN = 3
"""Newest closed cutoffs that are always computed again, as they may be scored again."""

EXPECTED = {
    f"{figure}_{end}": pl.Float64
    for figure in past_errors.FIGURES
    for end in ("expected", "low", "high")
}

SEGMENT = pl.Struct(
    {
        "segment": pl.String,
        "n": pl.Int64,
        "churn_rate": pl.Float64,
        "mean_probability": pl.Float64,
        "back": pl.List(pl.Float64),
    }
)

SCHEMA: dict[str, Any] = {
    "cutoff": pl.Date,
    "n_events": pl.Int64,
    "model_id": pl.String,
    "n": pl.Int64,
    "churn_rate": pl.Float64,
    "mean_probability": pl.Float64,
    "auc": pl.Float64,
    "auc_error": pl.Float64,
    "log_loss": pl.Float64,
    "log_loss_error": pl.Float64,
    "gain": pl.Float64,
    "gain_error": pl.Float64,
    "shift": pl.Float64,
    "shift_error": pl.Float64,
    **EXPECTED,
    "score_drift": pl.Float64,
    "drift": pl.Float64,
    "segments": pl.List(SEGMENT),
}
"""Columns of the kept figures, a row per closed cutoff.

``n_events``: events of the log in the horizon, by which a change of the log shows.
``gain`` is by how much the log loss is below that of the mean probability for everybody;
``shift`` the error of the level in log-odds, above 0 if more churned than forecast, as
the gate ``calibration`` counts it. Columns that end in ``_error`` are standard errors
from the number of users. ``back``: by day of the horizon, the share of a segment's users
back by then. All figures are null where too many days of the horizon are missing.
"""


def update(store: Store) -> pl.DataFrame:
    """Figures of every scored cutoff whose outcome is known, oldest first.

    Computed are newly closed cutoffs, the newest few, and those in whose horizon the log
    has changed since; all others are kept and their files not read. One that was scored
    again long after its horizon is not noticed.
    """
    kept = _kept(store)
    known = dict(kept.select("cutoff", "n_events").iter_rows())
    calendar = Calendar.of(store)
    closed = [day for day in scores.cutoffs(store) if day <= calendar.newest_mature()]
    n_events = _events(store, calendar.windows, closed)
    wanted = [
        day
        for day in closed
        if day in closed[-N_AGAIN:] or known.get(day) != n_events[day]
    ]
    rows = list(_closed(store, wanted, n_events))
    fresh = pl.DataFrame(rows, schema=SCHEMA)
    others = kept.join(fresh, on="cutoff", how="anti")
    every = pl.concat([others, fresh]).sort("cutoff")
    buffer = io.BytesIO()
    every.write_parquet(buffer)
    store.place.write(FILE, buffer.getvalue())
    log.info("monitor: %d cutoffs closed, %d computed now", every.height, len(rows))
    return every.drop_nulls("churn_rate")


def compared(store: Store) -> set[date]:
    """The closed cutoffs that are kept, with an outcome or without."""
    return set(_kept(store)["cutoff"])


def _events(
    store: Store,
    windows: Windows,
    cutoffs: list[date],
) -> dict[date, int]:
    """Number of events of the log in the horizon of each cutoff."""
    volume = store.scan("volume").group_by("date").agg(pl.col("n").sum())
    by_day = volume.sort("date").collect()
    days = by_day["date"].to_numpy()
    totals = np.concatenate([[0], np.cumsum(by_day["n"].to_numpy())])
    found = {}
    for cutoff in cutoffs:
        first, end = np.searchsorted(days, np.array(windows.horizon(cutoff), "M8[D]"))
        found[cutoff] = int(totals[end] - totals[first])
    return found


def _kept(store: Store) -> pl.DataFrame:
    content = store.place.read(FILE)
    if content is None:
        return pl.DataFrame(schema=SCHEMA)
    table = pl.read_parquet(io.BytesIO(content))
    return table if dict(table.schema) == SCHEMA else pl.DataFrame(schema=SCHEMA)


def _closed(
    store: Store,
    cutoffs: list[date],
    n_events: dict[date, int],
) -> Iterator[dict[str, Any]]:
    """The row of each cutoff; its outcome is unknown if the horizon has a hole."""
    for cutoff in cutoffs:
        table = scores.read(store, cutoff)[0]
        labelled = snapshots.label(table, store)
        row = {"cutoff": cutoff, "n_events": n_events[cutoff], "n": labelled.height}
        is_known = labelled.height and labelled["churned"].null_count() == 0
        yield {**row, **_row(store, cutoff, labelled)} if is_known else row


def _row(
    store: Store,
    cutoff: date,
    labelled: pl.DataFrame,
) -> dict[str, Any]:
    churned = labelled["churned"].to_numpy().astype(int)
    probability = labelled["probability"].to_numpy()
    return {
        "model_id": labelled["model_id"][0],
        **figures(churned, probability),
        **_promised(promises.read(store, cutoff)),
        "segments": _segments(labelled, store.settings.windows.horizon_days),
    }


def figures(
    churned: np.ndarray,
    probability: np.ndarray,
) -> dict[str, float | None]:
    """How right one cutoff's probabilities were, and the standard error of each figure.

    Both have shape (n,). Figures that one outcome alone can't give are null.
    """
    losses = log_losses(churned, probability)
    gains = log_losses(churned, np.full(len(churned), probability.mean())) - losses
    auc = float("nan")
    shift = (float("nan"), float("nan"))
    if 0 < churned.mean() < 1:
        auc = float(roc_auc_score(churned, probability))
        ones = np.ones((len(churned), 1))
        beta, error = logistic(ones, churned, log_odds(probability))
        shift = (float(beta[0]), float(error[0]))
    return {
        "churn_rate": float(churned.mean()),
        "mean_probability": float(probability.mean()),
        "auc": _known(auc),
        "auc_error": _auc_error(auc, churned),
        "log_loss": float(losses.mean()),
        "log_loss_error": _error_of_mean(losses),
        "gain": float(gains.mean()),
        "gain_error": _error_of_mean(gains),
        "shift": _known(shift[0]),
        "shift_error": _known(shift[1]),
    }


def _error_of_mean(values: np.ndarray) -> float | None:
    if len(values) < 2:
        return None
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _auc_error(
    auc: float,
    churned: np.ndarray,
) -> float | None:
    """Standard error of an AUC (Hanley and McNeil, 1982); null if it isn't known."""
    n_left = int(churned.sum())
    n_stayed = len(churned) - n_left
    if not np.isfinite(auc) or not n_left or not n_stayed:
        return None
    one = auc / (2 - auc) - auc**2
    two = 2 * auc**2 / (1 + auc) - auc**2
    own = auc * (1 - auc) + (n_left - 1) * one + (n_stayed - 1) * two
    return float(np.sqrt(own / (n_left * n_stayed)))


def _promised(promise: Promise | None) -> dict[str, Any]:
    """What was expected, and the drift: null where nothing was kept."""
    if promise is None:
        return dict.fromkeys([*EXPECTED, "score_drift", "drift"])
    stated = {
        f"{figure}_{end}": value
        for figure, values in promise.expected.items()
        for end, value in zip(("expected", "low", "high"), values, strict=True)
    }
    return {
        **dict.fromkeys(EXPECTED),
        **stated,
        "score_drift": promise.drift.get("probability"),
        "drift": max(promise.kinds.values(), default=None),
    }


def _segments(
    labelled: pl.DataFrame,
    horizon_days: int,
) -> list[dict[str, Any]]:
    back = [
        (pl.col("return_days") <= day).sum() / pl.len() for day in range(horizon_days)
    ]
    table = labelled.group_by("segment").agg(
        n=pl.len().cast(pl.Int64),
        churn_rate=pl.col("churned").mean(),
        mean_probability=pl.col("probability").mean(),
        back=pl.concat_list(back),
    )
    return table.sort("segment").to_dicts()
