"""What AUC and log loss are to be expected at the next scoring: an estimate and an
interval, before anybody can know.

The probabilities of the users scored are known, and so is what both figures would be if
these were right. They will not be: the whole level will be off by some log-odds, and
probabilities will be spread too far or not far enough. How much is learned from the
test cutoffs, from how far the churn rate moved over such a distance before, and, as
both are few, from what is usual. Outcomes are then drawn under many such errors; the
figures of the draws are the statement.
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit
from scipy.stats import rankdata

from churn.features import snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.stats.probability import log_odds, logistic
from churn.store import Store

COVERAGE = 0.8  # of the intervals stated: so many are meant to hold
N_DRAWS = 1000
MAX_CUTOFFS = 60  # whose churn rate is looked at
MAX_USERS = 50_000  # drawn outcomes of so many users have no noise worth naming
# What is usual, and how many independent periods that is worth beside those of the log.
# Fixed on development worlds.
USUAL_SHIFT = 0.25  # log-odds
USUAL_TILT = 0.08  # of a slope of 1
USUAL_PERIODS = 3.0
# horizons: a model learns from cutoffs that are older than the newest known outcome
LEARNED_AGO = 1.5


def stated(store: Store, tested: pl.DataFrame) -> pl.DataFrame:
    """``next_period`` for the day on which the newest test cutoff's outcome was known,
    trained and scored as of then.

    ``tested``: the predictions of a backtest.
    """
    newest: date = max(tested["cutoff"])
    cutoff = store.settings.windows.horizon(newest)[1]
    cutoffs = training.training_cutoffs(store, as_of=cutoff)
    fitted = training.train(store, cutoffs).model
    probability = fitting.predict(
        fitted, snapshots.observe(store, [cutoff], fitted.plan)
    )
    chosen, rates = (
        tested.filter(pl.col("model") == "chosen"),
        churn_rates(store, newest),
    )
    return next_period(
        chosen, probability, rates, (cutoff - newest).days, store.settings.random_state
    )


def churn_rates(store: Store, newest: date) -> pl.DataFrame:
    """The churn rate at every cutoff the log allows, a step apart up to ``newest``:
    cutoff, churn_rate.
    """
    cutoffs = Calendar.of(store).series(newest, MAX_CUTOFFS)
    bare = Plan(
        store.settings.windows.observation_days,
        store.settings.activity.counts_as_active,
        sources=store.settings.sources,
    )
    seen = snapshots.observe(store, cutoffs, bare, ("user_id", "cutoff"))
    rows = snapshots.label(seen, store, store.settings.windows.horizon(newest)[1])
    return (
        rows.group_by("cutoff").agg(churn_rate=pl.col("churned").mean()).sort("cutoff")
    )


def next_period(
    predictions: pl.DataFrame,
    probability: np.ndarray,
    churn_rates: pl.DataFrame,
    horizon_days: int,
    random_state: int,
    coverage: float = COVERAGE,
) -> pl.DataFrame:
    """What to expect of AUC and log loss where ``probability`` was scored: figure,
    estimate, low, high.

    ``predictions``: cutoff, churned, probability at the test cutoffs. ``churn_rates``:
    cutoff, churn_rate of the cutoffs whose outcome is known. ``horizon_days``: from a
    cutoff to its outcome, so lead and horizon.
    """
    rng = np.random.default_rng(random_state)
    x = log_odds(probability)
    x = x if len(x) <= MAX_USERS else rng.choice(x, MAX_USERS, replace=False)
    missed = misfits(predictions)
    weight = _n_periods(missed["cutoff"], horizon_days)
    moved = level_moves(churn_rates, round(LEARNED_AGO * horizon_days))
    level = (_n_periods(moved["cutoff"], horizon_days), moved["move"].to_numpy())
    shift = _errors(rng, USUAL_SHIFT, (weight, missed["shift"].to_numpy()), level)
    tilt = _errors(rng, USUAL_TILT, (weight, missed["tilt"].to_numpy()))
    drawn = _draws(rng, x, shift, np.exp(tilt))
    tail = (1 - coverage) / 2
    low, estimate, high = np.nanquantile(drawn, [tail, 0.5, 1 - tail], axis=0)
    return pl.DataFrame(
        {"figure": ["auc", "log_loss"], "estimate": estimate, "low": low, "high": high}
    )


def misfits(predictions: pl.DataFrame) -> pl.DataFrame:
    """How far each cutoff's outcomes were off its probabilities: cutoff, shift, tilt.

    Outcomes fit σ(shift + x + tilt · (x − mean x)) best, x being the log-odds. Cutoffs
    with one outcome only are left out. Tilts are on a log scale: 0 is right, above 0
    the probabilities were not spread far enough.
    """
    both = predictions.filter(pl.col("churned").n_unique().over("cutoff") == 2)
    rows = [
        (t["cutoff"][0], *_misfit(t))
        for t in both.sort("cutoff").partition_by("cutoff", maintain_order=True)
    ]
    found = pl.DataFrame(
        rows,
        schema={"cutoff": pl.Date, "shift": pl.Float64, "tilt": pl.Float64},
        orient="row",
    )
    return found.fill_nan(
        None
    ).drop_nulls()  # where a forecast tells all apart, none fits best


def _misfit(period: pl.DataFrame) -> tuple[float, float]:
    x = log_odds(period["probability"].to_numpy())
    beta, _ = logistic(
        np.column_stack([np.ones(len(x)), x - x.mean()]),
        period["churned"].to_numpy(),
        0 * x,
    )
    return float(beta[0] - x.mean()), float(np.log(np.clip(beta[1], 0.5, 2)))


def level_moves(churn_rates: pl.DataFrame, distance_days: int) -> pl.DataFrame:
    """How far the churn rate, in log-odds, had moved since the newest at least so many
    days older: cutoff, move.
    """
    rate = pl.col("churn_rate").clip(0.001, 0.999)
    levels = churn_rates.select("cutoff", level=(rate / (1 - rate)).log()).sort(
        "cutoff"
    )
    known = levels.select(
        pl.col("cutoff") + timedelta(days=distance_days),
        pl.col("level").alias("before"),
    )
    moved = levels.join_asof(known, on="cutoff", strategy="backward").drop_nulls()
    return moved.select("cutoff", move=pl.col("level") - pl.col("before"))


def _n_periods(cutoffs: pl.Series, horizon_days: int) -> float:
    """How many independent periods overlapping ones are worth."""
    days = cutoffs.to_physical().to_numpy()
    return 1 + float(np.ptp(days)) / horizon_days if len(days) else 0.0


def _errors(
    rng: np.random.Generator, usual: float, *seen: tuple[float, np.ndarray]
) -> np.ndarray:
    """Draws of the next error: Student's t around none, its scale from what is usual
    and what was seen.
    """
    weighed = [
        (USUAL_PERIODS, usual**2),
        *((weight, np.mean(values**2)) for weight, values in seen if weight),
    ]
    periods = sum(weight for weight, _ in weighed)
    scale = np.sqrt(sum(weight * square for weight, square in weighed) / periods)
    return np.asarray(scale * rng.standard_t(periods, N_DRAWS))


def _draws(
    rng: np.random.Generator, x: np.ndarray, shift: np.ndarray, slope: np.ndarray
) -> np.ndarray:
    """AUC and log loss of σ(x) under outcomes drawn with each error: shape (N_DRAWS,
    2); AUC NaN with one outcome.
    """
    rank, centre = rankdata(x), x.mean()
    base = np.logaddexp(0, x).mean()
    out = np.full((len(shift), 2), np.nan)
    for i, (a, b) in enumerate(zip(shift, slope, strict=True)):
        y = rng.random(len(x)) < expit(a + centre + b * (x - centre))
        n = y.sum()
        out[i, 1] = base - x[y].sum() / len(x)
        if 0 < n < len(x):
            out[i, 0] = (rank[y].sum() - n * (n + 1) / 2) / (n * (len(x) - n))
    return out


def headline(stated: pl.DataFrame) -> dict[str, Any]:
    """The statement as metrics of a run: next_auc, next_auc_low, next_auc_high, and so
    for log_loss.
    """
    return {
        f"next_{row['figure']}{end}": row[key]
        for row in stated.iter_rows(named=True)
        for key, end in (("estimate", ""), ("low", "_low"), ("high", "_high"))
    }
