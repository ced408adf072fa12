"""AUC and log loss to expect of the next scoring, before its outcome is known.

The probabilities of the scored users are known, and so are the AUC and log loss they
would have if they were right. They will not be: their level will be off by some
log-odds (shift), and they will be spread too far or not far enough (tilt). How large
such errors are is estimated from the test cutoffs, from how far the churn rate moved
over such a distance before, and, as both are few, from a prior. Outcomes are then drawn
under many such errors, and the figures of the draws are the forecast.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit

from churn.features import snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.stats.probability import log_odds, logistic
from churn.stats.ranking import auc_of_weights
from churn.store import Store

COVERAGE = 0.8
"""Share of the forecast intervals that are to hold the figure."""

N_DRAWS = 1000
"""Number of errors under which outcomes are drawn."""

MAX_CUTOFFS = 60
"""Largest number of cutoffs whose churn rate is compared."""

MAX_USERS = 50_000
"""Largest number of users whose outcomes are drawn; more would add no precision."""

PRIOR_SHIFT = 0.25
"""Prior standard deviation of the shift, in log-odds; tuned on simulated worlds."""

PRIOR_TILT = 0.08
"""Prior standard deviation of the log of the slope; tuned on simulated worlds."""

PRIOR_PERIODS = 3.0
"""Weight of the priors, in independent periods; tuned on simulated worlds."""

TRAINING_AGE = 1.5
"""Age of what a model learned from, in horizons, when its forecast comes due."""

Error = tuple[float, np.ndarray]
"""Observed errors of one kind, and how many independent periods they are worth."""


def forecast(store: Store, predictions: pl.DataFrame) -> pl.DataFrame:
    """``estimate`` for the day on which the newest test cutoff's outcome was known.

    A model is trained, and all users eligible on that day are scored, as of then.
    ``predictions``: those of a backtest.
    """
    newest: date = max(predictions["cutoff"])
    cutoff = Calendar.of(store).horizon(newest)[1]
    cutoffs = training.training_cutoffs(store, as_of=cutoff)
    fitted = training.train(store, cutoffs).model
    scored = snapshots.observe(store, [cutoff], fitted.plan)
    return estimate(
        predictions.filter(pl.col("model") == "chosen"),
        fitting.predict(fitted, scored),
        churn_rates(store, newest),
        (cutoff - newest).days,
        store.settings.random_state,
    )


def churn_rates(store: Store, newest: date) -> pl.DataFrame:
    """The churn rate at every cutoff the log allows, a step apart up to ``newest``.

    Columns: cutoff, churn_rate.
    """
    calendar = Calendar.of(store)
    cutoffs = calendar.series(newest, MAX_CUTOFFS)
    bare_plan = Plan(
        store.settings.windows.observation_days,
        store.settings.activity.counts_as_active,
        sources=store.settings.sources,
    )
    users = snapshots.eligible_users(store, cutoffs, bare_plan)
    rows = snapshots.label(users, store, calendar.horizon(newest)[1])
    rates = rows.group_by("cutoff").agg(churn_rate=pl.col("churned").mean())
    return rates.sort("cutoff")


def estimate(
    predictions: pl.DataFrame,
    probability: np.ndarray,
    churn_rates: pl.DataFrame,
    horizon_days: int,
    random_state: int,
    coverage: float = COVERAGE,
) -> pl.DataFrame:
    """The AUC and log loss to expect of scored probabilities, with intervals.

    Columns: figure (auc, log_loss), estimate, low, high.

    - ``predictions``: cutoff, churned, probability at the test cutoffs.
    - ``probability``: shape (n_users,), of the users scored.
    - ``churn_rates``: cutoff, churn_rate of the cutoffs whose outcome is known.
    - ``horizon_days``: days from a cutoff to its outcome, lead time included.
    - ``coverage``: share of such intervals that are to hold the figure.
    """
    rng = np.random.default_rng(random_state)
    x = log_odds(probability)
    if len(x) > MAX_USERS:
        x = rng.choice(x, MAX_USERS, replace=False)
    missed = misfits(predictions)
    n_tested = _n_periods(missed["cutoff"], horizon_days)
    moved = level_moves(churn_rates, round(TRAINING_AGE * horizon_days))
    n_moved = _n_periods(moved["cutoff"], horizon_days)
    shifts = [
        (n_tested, missed["shift"].to_numpy()),
        (n_moved, moved["move"].to_numpy()),
    ]
    tilts = [(n_tested, missed["tilt"].to_numpy())]
    shift = _draw_errors(rng, PRIOR_SHIFT, shifts)
    slope = np.exp(_draw_errors(rng, PRIOR_TILT, tilts))
    drawn = _draw_figures(rng, x, shift, slope)
    tail = (1 - coverage) / 2
    low, median, high = np.nanquantile(drawn, [tail, 0.5, 1 - tail], axis=0)
    names = ["auc", "log_loss"]
    return pl.DataFrame(
        {
            "figure": names,
            "estimate": median,
            "low": low,
            "high": high,
        }
    )


def misfits(predictions: pl.DataFrame) -> pl.DataFrame:
    """How far off each test cutoff's probabilities were: cutoff, shift, tilt.

    Outcomes are fitted best by σ(shift + x + (slope − 1) · (x − mean x)), x being the
    log-odds, and tilt is the log of that slope: 0 is right, above 0 the probabilities
    were not spread far enough. Cutoffs with one outcome only, or whose outcomes the
    probabilities separate, are left out.
    """
    has_both = pl.col("churned").n_unique().over("cutoff") == 2
    parts = predictions.filter(has_both).sort("cutoff").partition_by("cutoff")
    rows = [(part["cutoff"][0], *_misfit(part)) for part in parts]
    schema = {
        "cutoff": pl.Date,
        "shift": pl.Float64,
        "tilt": pl.Float64,
    }
    table = pl.DataFrame(
        rows,
        schema=schema,
        orient="row",
    )
    return table.fill_nan(None).drop_nulls()


def _misfit(period: pl.DataFrame) -> tuple[float, float]:
    x = log_odds(period["probability"].to_numpy())
    centred = np.column_stack([np.ones(len(x)), x - x.mean()])
    beta, _ = logistic(centred, period["churned"].to_numpy(), np.zeros(len(x)))
    slope = np.clip(beta[1], 0.5, 2)
    return float(beta[0] - x.mean()), float(np.log(slope))


def level_moves(churn_rates: pl.DataFrame, distance_days: int) -> pl.DataFrame:
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


def _n_periods(cutoffs: pl.Series, horizon_days: int) -> float:
    """Number of independent periods that overlapping ones are worth."""
    days = cutoffs.to_physical().to_numpy()
    return 1 + float(np.ptp(days)) / horizon_days if len(days) else 0.0


def _draw_errors(
    rng: np.random.Generator, prior: float, observed: Sequence[Error]
) -> np.ndarray:
    """Draws of the next error, shape (N_DRAWS,): Student's t around 0.

    Its variance is the mean of the prior's and the observed, weighted by periods.
    """
    n_periods = [PRIOR_PERIODS]
    variances = [prior**2]
    for weight, errors in observed:
        if weight:
            n_periods.append(weight)
            variances.append(np.mean(errors**2))
    scale = np.sqrt(np.average(variances, weights=n_periods))
    return np.asarray(scale * rng.standard_t(sum(n_periods), N_DRAWS))


def _draw_figures(
    rng: np.random.Generator, x: np.ndarray, shift: np.ndarray, slope: np.ndarray
) -> np.ndarray:
    """AUC and log loss of σ(x) under outcomes drawn with each error.

    ``x``: shape (n_users,). ``shift`` and ``slope``: shape (N_DRAWS,). Returns shape
    (N_DRAWS, 2); an AUC is NaN if all outcomes are the same.
    """
    # Every user stands there twice, as a churner and as a stayer; a draw of outcomes
    # gives one of them all the weight.
    auc = auc_of_weights(np.repeat([1, 0], len(x)), np.tile(x, 2))
    centre = x.mean()
    loss_of_stayers = np.logaddexp(0, x).mean()
    figures = np.empty((len(shift), 2))
    for i, (level, spread) in enumerate(zip(shift, slope, strict=True)):
        probability = expit(level + centre + spread * (x - centre))
        churned = rng.random(len(x)) < probability
        weight = np.concatenate([churned, ~churned])
        figures[i, 0] = auc(weight[None, :])[0]
        figures[i, 1] = loss_of_stayers - x[churned].sum() / len(x)
    return figures


def headline(expected: pl.DataFrame) -> dict[str, Any]:
    """The forecast for metrics.json: next_auc, next_auc_low, next_auc_high etc."""
    metrics = {}
    for row in expected.iter_rows(named=True):
        name = f"next_{row['figure']}"
        metrics[name] = row["estimate"]
        metrics[f"{name}_low"] = row["low"]
        metrics[f"{name}_high"] = row["high"]
    return metrics
