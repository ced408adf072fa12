"""Past scores against their outcomes, as horizons close.

The figures of a closed cutoff are kept in the store, so that a night computes only what
is new. Users who got a message are among them: messages that work make forecasts of
churn look too high.
"""

import io
import logging
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from churn.evaluation import metrics, past_errors
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.monitoring import promises
from churn.monitoring.promises import Promise
from churn.scoring import scores
from churn.stats.probability import log_losses
from churn.store import Store

log = logging.getLogger(__name__)

FILE = "monitor/outcomes.parquet"

AGAIN_DAYS = 3
"""For so many days after it has closed a cutoff is computed again, for late rows."""

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
    }
)

SCHEMA: dict[str, Any] = {
    "cutoff": pl.Date,
    "tag": pl.String,
    "model_id": pl.String,
    "n": pl.Int64,
    "churn_rate": pl.Float64,
    "mean_probability": pl.Float64,
    "auc": pl.Float64,
    "auc_error": pl.Float64,
    "log_loss": pl.Float64,
    "gain": pl.Float64,
    "gain_error": pl.Float64,
    "shift": pl.Float64,
    "shift_error": pl.Float64,
    **EXPECTED,
    "score_drift": pl.Float64,
    "drift": pl.Float64,
    "segments": pl.List(SEGMENT),
    "back": pl.List(pl.Float64),
}
"""Columns of the kept figures, a row per closed cutoff.

``gain`` is by how much the log loss is below that of forecasting the actual churn rate
for everybody; ``shift`` the error of the level in log-odds, above 0 if more churned than
forecast. Columns that end in ``_error`` are standard errors from the number of users.
``back``: by day of the horizon, the share of all users back by then. ``tag`` identifies
the scores.
"""


def update(store: Store) -> pl.DataFrame:
    """Figures of every scored cutoff whose outcome is known, oldest first.

    Newly closed cutoffs are added and kept, also those that were scored again since.
    """
    kept = _kept(store)
    known = dict(kept.select("cutoff", "tag").iter_rows())
    calendar = Calendar.of(store)
    newest = calendar.newest_mature()
    again = newest - timedelta(days=AGAIN_DAYS)
    wanted = [
        cutoff
        for cutoff in scores.cutoffs(store)
        if cutoff <= newest
        and (cutoff > again or known.get(cutoff) != scores.tag(store, cutoff))
    ]
    rows = list(_closed(store, wanted))
    if not rows:
        return kept
    fresh = pl.DataFrame(rows, schema=SCHEMA)
    others = kept.join(fresh, on="cutoff", how="anti")
    every = pl.concat([others, fresh]).sort("cutoff")
    buffer = io.BytesIO()
    every.write_parquet(buffer)
    store.place.write(FILE, buffer.getvalue())
    log.info("monitor: %d cutoffs closed, %d computed now", every.height, len(rows))
    return every


def _kept(store: Store) -> pl.DataFrame:
    content = store.place.read(FILE)
    if content is None:
        return pl.DataFrame(schema=SCHEMA)
    table = pl.read_parquet(io.BytesIO(content))
    return table if dict(table.schema) == SCHEMA else pl.DataFrame(schema=SCHEMA)


def _closed(
    store: Store,
    cutoffs: list[date],
) -> Iterator[dict[str, Any]]:
    """The row of each cutoff whose outcome is known; holes leave it unknown."""
    if not cutoffs:
        return
    tables = {cutoff: scores.read(store, cutoff)[0] for cutoff in cutoffs}
    labelled = snapshots.label(pl.concat(tables.values()), store)
    for cutoff in cutoffs:
        of_cutoff = labelled.filter(pl.col("cutoff") == cutoff)
        if of_cutoff["churned"].null_count() == 0:
            yield _row(store, cutoff, of_cutoff)


def _row(
    store: Store,
    cutoff: date,
    labelled: pl.DataFrame,
) -> dict[str, Any]:
    churned = labelled["churned"].to_numpy().astype(int)
    probability = labelled["probability"].to_numpy()
    found = metrics.figures(churned, probability)
    gain, gain_error = _gain(churned, probability)
    missed = past_errors.misfits(labelled)
    shift = missed.row(0, named=True) if missed.height else {}
    return {
        "cutoff": cutoff,
        "tag": scores.tag(store, cutoff),
        "model_id": labelled["model_id"][0],
        "n": labelled.height,
        "churn_rate": found["churn_rate"],
        "mean_probability": float(probability.mean()),
        "auc": _known(found["auc"]),
        "auc_error": _auc_error(found["auc"], churned),
        "log_loss": found["log_loss"],
        "gain": gain,
        "gain_error": gain_error,
        "shift": shift.get("shift"),
        "shift_error": shift.get("shift_noise"),
        **_promised(promises.read(store, cutoff)),
        "segments": _segments(labelled),
        "back": _back(labelled, store.settings.windows.horizon_days),
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _gain(
    churned: np.ndarray,
    probability: np.ndarray,
) -> tuple[float, float]:
    """How much better than the actual rate for everybody, and its standard error."""
    rate = np.full(len(churned), churned.mean())
    saved = log_losses(churned, rate) - log_losses(churned, probability)
    error = saved.std(ddof=1) / np.sqrt(len(saved)) if len(saved) > 1 else np.inf
    return float(saved.mean()), float(error)


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


def _segments(labelled: pl.DataFrame) -> list[dict[str, Any]]:
    table = labelled.group_by("segment").agg(
        n=pl.len().cast(pl.Int64),
        churn_rate=pl.col("churned").mean(),
        mean_probability=pl.col("probability").mean(),
    )
    return table.sort("segment").to_dicts()


def _back(
    labelled: pl.DataFrame,
    horizon_days: int,
) -> list[float]:
    """Share of all users who were back by the end of each day of the horizon."""
    days = labelled["return_days"].drop_nulls()
    counts = [int((days <= day).sum()) for day in range(horizon_days)]
    return [count / labelled.height for count in counts]
