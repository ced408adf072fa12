"""The peer BG/NBD (Fader, Hardie, Lee 2005), which needs no label.

It is fitted by maximum likelihood to the active days of all users first seen before the
test cutoff, as known by then.
"""

from datetime import date

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln, hyp2f1

from churn.clocks import known_before
from churn.features import by_group
from churn.kinds import is_active
from churn.settings import Windows
from churn.store import Store

from .peers import Task

STARTS = ((1.0, 2.0), (0.5, 5.0))
"""Values of a and b from which the likelihood is maximised."""

BOUND = 12
"""Largest absolute logarithm of a parameter."""

COLUMNS = ("repeats", "last", "age")


def history(store: Store, cutoff: date) -> pl.DataFrame:
    """All users active before a cutoff: user_id, repeats, last, age.

    ``repeats`` is the number of active days after the first; ``last`` and ``age`` are
    the days from the first active day to the last one and to the cutoff.
    """
    activity, _ = by_group.tables(store)
    active = is_active(store.settings.activity.counts_as_active)
    past = activity.filter(known_before(pl.lit(cutoff)) & active)
    day = pl.col("date")
    users = past.group_by("user_id").agg(
        repeats=day.n_unique().cast(pl.Float64) - 1,
        last=(day.max() - day.min()).dt.total_days().cast(pl.Float64),
        age=(pl.lit(cutoff) - day.min()).dt.total_days().cast(pl.Float64),
    )
    return users.sort("user_id").collect()


def predictions(
    task: Task, users: pl.DataFrame, windows: Windows
) -> dict[str, np.ndarray]:
    """Both churn scores that BG/NBD offers, for the rows of the test cutoff."""
    params = fit(users)
    rows = task.now.select("user_id").join(
        users, on="user_id", how="left", maintain_order="left"
    )
    alive, left = _terms(params, *_arrays(rows))
    until_end = expected(params, rows, windows.lead_days + windows.horizon_days)
    in_lead = expected(params, rows, windows.lead_days) if windows.lead_days else 0.0
    return {
        "BG/NBD 1-P(alive)": expit(left - alive),
        "BG/NBD exp(-E[N])": np.exp(-(until_end - in_lead)),
    }


def fit(users: pl.DataFrame) -> np.ndarray:
    """Logarithms of r, alpha, a and b, by maximum likelihood."""
    repeats, last, age = _arrays(users)

    def loss(params: np.ndarray) -> float:
        bounded = np.clip(params, -BOUND, BOUND)
        likelihood = np.logaddexp(*_terms(bounded, repeats, last, age)).mean()
        return float(1e-3 * ((params - bounded) ** 2).sum() - likelihood)

    fits = []
    for a, b in STARTS:
        start = np.log([1.0, age.mean() / (1 + repeats.mean()), a, b])
        options = {"maxiter": 2000}
        fits.append(minimize(loss, start, method="Nelder-Mead", options=options))
    best = min(fits, key=lambda result: result.fun)
    return np.clip(best.x, -BOUND, BOUND)


def expected(params: np.ndarray, users: pl.DataFrame, days: int) -> np.ndarray:
    """Expected number of active days in the ``days`` from the cutoff on."""
    x, last, age = _arrays(users)
    r, alpha, a, b = np.exp(params)
    a = a if abs(a - 1) > 1e-6 else 1 + 1e-6
    z = days / (alpha + age + days)
    # Euler's form of the hypergeometric function does not overflow.
    hypergeometric = hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
    series = (1 - z) ** (a - 1) * hypergeometric
    alive, left = _terms(params, x, last, age)
    if_alive = np.clip((a + b + x - 1) / (a - 1) * (1 - series), 0, None)
    return if_alive * expit(alive - left)


def _arrays(users: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    repeats, last, age = (users[name].to_numpy() for name in COLUMNS)
    return repeats, last, age


def _terms(
    params: np.ndarray, x: np.ndarray, last: np.ndarray, age: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood of each user as still alive, and as gone after the last day."""
    r, alpha, a, b = np.exp(params)
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = rate + betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    dropped = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b)
    left = rate + dropped - (r + x) * np.log(alpha + last)
    return alive, np.where(x > 0, left, -np.inf)
