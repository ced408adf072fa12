"""AUC and log loss to expect of the next scoring, before its outcome is known.

There are two guesses. The first is what the probabilities of the scored users imply,
but their level will be off by some log-odds (shift), and they will be spread too far or
not far enough (tilt): how much is estimated from how far the churn rate moved before
and from the test cutoffs, and outcomes are drawn under many such errors. The second is
the mean over the past test cutoffs, and how far such means were off is known where
there are test cutoffs a horizon apart. Both are weighted so that the error to expect is
smallest, and the interval is as wide as that error. Priors stand in for what a short
history can't show, and lose weight as it grows.
"""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit

from churn.evaluation import past_errors, periods
from churn.features import snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.stats.probability import log_odds
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

MAX_RATE_USERS = 200_000
"""Number of users from whom churn rates are taken; of more, a share is taken.

A rate of so many users is known to 0.1 %, far better than it can be forecast.
"""

MIN_PERIODS = 2.0
"""Fewest independent periods, tested or with a move of the rate, for an interval."""

PRIOR_SHIFT = 0.2
"""Prior standard deviation of the shift, in log-odds; tuned on simulated worlds."""

PRIOR_TILT = 0.1
"""Prior standard deviation of the log of the slope; tuned on simulated worlds."""

PRIOR_PERIODS = 6.0
"""Weight of the priors of shift and tilt, in independent periods; tuned likewise."""

MOVE_PERIODS = 3.0
"""Weight of the prior shift against the moves of the churn rate; tuned likewise."""

UNFORESEEN = 0.5
"""Share of the variance of such moves that a model doesn't foresee; tuned likewise."""

PRIOR_RATIO = 1.4
"""Prior error of the mean over past cutoffs, as a multiple of the other guess's."""

TOGETHER = 0.7
"""Correlation of the errors of both guesses; seen, like the ratio, in such worlds."""

RATIO_PERIODS = 2.0
"""Weight of the prior ratio, in independent periods."""

TRAINING_AGE = 1.5
"""Age of what a model learned from, in horizons, when its forecast comes due."""


def forecast(
    store: Store,
    predictions: pl.DataFrame,
) -> pl.DataFrame:
    """``estimate`` for the day on which the newest test cutoff's outcome was known.

    A model is trained, and the users eligible on that day, or about ``MAX_USERS`` of
    them, are scored, as of then.
    ``predictions``: those of a backtest.
    """
    newest: date = max(predictions["cutoff"])
    cutoff = Calendar.of(store).horizon(newest)[1]
    cutoffs = training.training_cutoffs(store, as_of=cutoff)
    fitted = training.train(store, cutoffs).model
    share = snapshots.share_of(MAX_USERS, store, [cutoff], fitted.plan)
    scored = snapshots.observe(store, [cutoff], fitted.plan, share)
    return estimate(
        predictions.filter(pl.col("model") == "chosen"),
        fitting.predict(fitted, scored),
        churn_rates(store, newest),
        (cutoff - newest).days,
        store.settings.random_state,
    )


def churn_rates(
    store: Store,
    newest: date,
) -> pl.DataFrame:
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
    n_rows = MAX_RATE_USERS * len(cutoffs)
    share = snapshots.share_of(n_rows, store, cutoffs, bare_plan)
    users = snapshots.eligible_users(store, cutoffs, bare_plan, share)
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

    Columns: figure (auc, log_loss), estimate, low, high; low and high are null where
    history is shorter than ``MIN_PERIODS``, and all three with fewer than two
    users, of whom no figure compares one with another.

    - ``predictions``: cutoff, churned, probability at the test cutoffs.
    - ``probability``: shape (n_users,), of the users scored.
    - ``churn_rates``: cutoff, churn_rate of the cutoffs whose outcome is known.
    - ``horizon_days``: days from a cutoff to its outcome, lead time included.
    - ``coverage``: share of such intervals that are to hold the figure.
    """
    if len(probability) < 2:
        return _stated(*[[None] * len(past_errors.FIGURES)] * 3)
    rng = np.random.default_rng(random_state)
    x = log_odds(probability)
    if len(x) > MAX_USERS:
        x = rng.choice(x, MAX_USERS, replace=False)
    missed = past_errors.misfits(predictions)
    n_tested = periods.n_independent(missed["cutoff"].to_list(), horizon_days)
    moves = past_errors.level_moves(churn_rates, round(TRAINING_AGE * horizon_days))
    n_moved = periods.n_independent(moves["cutoff"].to_list(), horizon_days)
    unforeseen = UNFORESEEN * moves["move"].to_numpy() ** 2
    prior = _updated(PRIOR_SHIFT**2, MOVE_PERIODS, unforeseen, n_moved)
    shift = _draw_errors(rng, prior, _squares(missed, "shift"), n_tested)
    tilt = _draw_errors(rng, PRIOR_TILT**2, _squares(missed, "tilt"), n_tested)
    drawn = _draw_figures(rng, x, shift, np.exp(tilt))
    implied = np.nanmedian(drawn, axis=0)
    tail = (1 - coverage) / 2
    spread = np.nanquantile(drawn, [tail, 1 - tail], axis=0) - implied
    middle, scale = _with_mean(drawn, predictions, horizon_days)
    low, high = middle + scale * spread
    is_known = n_tested + n_moved >= MIN_PERIODS
    unknown = [None] * len(past_errors.FIGURES)
    return _stated(middle, low if is_known else unknown, high if is_known else unknown)


def _stated(
    estimate: Any,
    low: Any,
    high: Any,
) -> pl.DataFrame:
    limits = {"estimate": estimate, "low": low, "high": high}
    return pl.DataFrame(
        {"figure": past_errors.FIGURES, **limits},
        schema_overrides=dict.fromkeys(limits, pl.Float64),
    )


def _squares(
    missed: pl.DataFrame,
    error: str,
) -> np.ndarray:
    """Squared errors less what chance adds; drawing outcomes adds that again."""
    squares = pl.col(error) ** 2 - pl.col(f"{error}_noise") ** 2
    return missed.select(squares).to_series().to_numpy()


def _updated(
    prior: Any,
    prior_periods: float,
    squares: np.ndarray,
    n_periods: float,
) -> Any:
    """A prior variance and the mean of observed squares, weighted by periods.

    ``squares``: shape (n,), or (n, n_figures) with a ``prior`` for each figure. A mean
    below 0 counts as 0.
    """
    if not n_periods:
        return prior
    weights = [prior_periods, n_periods]
    observed = np.maximum(squares.mean(axis=0), 0)
    return np.average([prior, observed], axis=0, weights=weights)


def _draw_errors(
    rng: np.random.Generator,
    prior: float,
    squares: np.ndarray,
    n_periods: float,
) -> np.ndarray:
    """Draws of the next error, shape (N_DRAWS,): Student's t around 0.

    ``prior`` is a variance, ``squares`` are those observed in ``n_periods``.
    """
    variance = _updated(prior, PRIOR_PERIODS, squares, n_periods)
    drawn = rng.standard_t(PRIOR_PERIODS + n_periods, N_DRAWS)
    return np.asarray(np.sqrt(variance) * drawn)


def _with_mean(
    drawn: np.ndarray,
    predictions: pl.DataFrame,
    horizon_days: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The middle of both guesses, and its error as a multiple of that of the draws.

    ``drawn``: shape (N_DRAWS, 2); both results have shape (2,). Without a past test
    cutoff that has both outcomes they are the median of the draws, and 1.
    """
    implied = np.nanmedian(drawn, axis=0)
    past = past_errors.figures(predictions)
    if past.is_empty():
        return implied, np.ones(len(implied))
    missed = past_errors.errors_of_the_mean(past, horizon_days)
    n_periods = periods.n_independent(missed["cutoff"].to_list(), horizon_days)
    squares = missed.select(past_errors.FIGURES).to_numpy() ** 2
    # Figures that can't vary have no error; the smallest one keeps ratios finite.
    variance = np.maximum(np.nanvar(drawn, axis=0), 1e-12)
    prior = PRIOR_RATIO**2 * variance
    of_mean = _updated(prior, RATIO_PERIODS, squares, n_periods)
    shared = TOGETHER * np.sqrt(variance * of_mean)
    best = (variance - shared) / (variance + of_mean - 2 * shared)
    weight = np.clip(best, 0, 1)
    combined = (
        (1 - weight) ** 2 * variance
        + weight**2 * of_mean
        + 2 * weight * (1 - weight) * shared
    )
    means = past.select(past_errors.FIGURES).to_numpy().mean(axis=0)
    middle = implied + weight * (means - implied)
    return middle, np.sqrt(combined / variance)


def _draw_figures(
    rng: np.random.Generator,
    x: np.ndarray,
    shift: np.ndarray,
    slope: np.ndarray,
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
    """The forecast for metrics.json: next_auc, next_auc_low, next_auc_high etc.

    Limits that aren't known are null.
    """
    metrics = {}
    for row in expected.iter_rows(named=True):
        name = f"next_{row['figure']}"
        metrics[name] = row["estimate"]
        metrics[f"{name}_low"] = row["low"]
        metrics[f"{name}_high"] = row["high"]
    return metrics
