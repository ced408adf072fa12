"""Which silence to call churn: definitions side by side, and a choice by a stated rule.

A definition is a pair of windows. Users active within ``eligible_days`` before a cutoff
count; those of them without activity in the ``horizon_days`` after the study's
``lead_days`` have churned. Eligible means the same as in ``features.compute``.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn.explore import past_cutoffs
from churn.explore.definition_figures import Figures, figures
from churn.features.cutoffs import Calendar
from churn.store import Store

log = logging.getLogger(__name__)

HORIZONS = (7, 14, 21, 28, 42, 60, 90)
"""Horizons compared, in days."""

ELIGIBLE = (7, 14, 28, 60, 90)
"""Eligible windows compared, in days."""

CANDIDATES = tuple((h, e) for h in HORIZONS for e in ELIGIBLE if e <= h)
"""Definitions compared; a user silent for longer than a horizon has churned already."""

SCHEMA = {
    "horizon_days": pl.Int64,
    "eligible_days": pl.Int64,
    "n_users": pl.Int64,
    "churn_rate": pl.Float64,
    "return_rate": pl.Float64,
    "followed_days": pl.Int64,
    "auc": pl.Float64,
    "head_start_days": pl.Int64,
    "misses": pl.String,
    "chosen_rate": pl.Float64,
}

Pair = tuple[int, int]
"""A definition: horizon_days and eligible_days."""


@dataclass(frozen=True)
class Rule:
    """Limits that a definition must keep.

    Among those that do, the shortest horizon is chosen, and in it the highest AUC.

    - ``max_return_rate``: the share of churned users who come back stays below it.
    - ``min_churn_rate``: with less churn there is hardly anybody to detect.
    - ``max_churn_rate``: with more churn there is hardly anybody to keep.
    - ``min_auc``: with less, the past hardly predicts who churns.
    - ``min_head_start_days``: with less, one may as well wait for the silence.
    """

    max_return_rate: float = 0.1
    min_churn_rate: float = 0.05
    max_churn_rate: float = 0.8
    min_auc: float = 0.65
    min_head_start_days: int = 3


def compare(
    store: Store,
    rule: Rule,
    candidates: Sequence[Pair] = CANDIDATES,
    n_resamples: int = 100,
) -> pl.DataFrame:
    """One row, in ``SCHEMA``'s columns, per definition that the log is long enough for.

    ``candidates`` are pairs of horizon_days and eligible_days; the study's own pair is
    added. The columns:

    - n_users, churn_rate, auc, head_start_days: at the newest four cutoffs whose
      horizon is over.
    - return_rate: of the users churned at all cutoffs, the share back within
      followed_days after the horizon (Kaplan-Meier: who is not back when the data ends
      counts for as long as it could be followed). followed_days is the longest time for
      which 50 of them could be followed; below the definition's horizon the definition
      is left out.
    - auc: of a logistic regression on recency, active days and the user's mean gap,
      fitted on cutoffs whose horizon was over by the first of the four. A model that
      knows more should do better.
    - head_start_days: horizon_days less the days of silence at the cutoff, median over
      the churners in the riskiest tenth: by how much the score is earlier than waiting
      for the silence.
    - misses: the limits of the rule that the definition does not keep; empty if none.
    - chosen_rate: share of resamples of the users (with the same regression) in which
      the rule chooses the definition.

    Nothing dated after coverage counts. At most 20,000 users count, by stable hash.
    """
    calendar = Calendar.of(store)
    end, windows = calendar.end, calendar.windows
    lead = windows.lead_days
    days, n_users = past_cutoffs.user_days(store, end)
    if not n_users:
        return _table({}, rule)
    pairs = sorted({*candidates, (windows.horizon_days, windows.eligible_days)})
    rows = past_cutoffs.rows(days, calendar, [e for _, e in pairs])
    weight = _weights(n_users, n_resamples, store.settings.random_state)
    compared = {}
    for horizon, eligible in pairs:
        labelled = past_cutoffs.label(rows, horizon, eligible, lead, end)
        # A resample may hold no churner at all, which gives NaN.
        with np.errstate(invalid="ignore"):
            values = figures(labelled, horizon, lead, weight)
        if values:
            compared[horizon, eligible] = values
    n_cutoffs = rows["cutoff"].n_unique()
    log.info(
        "definitions: %d with %d users, %d cutoffs", len(compared), n_users, n_cutoffs
    )
    return _table(compared, rule)


def _weights(
    n_users: int,
    n_resamples: int,
    seed: int,
) -> np.ndarray:
    """How often each user counts, shape (1 + n_resamples, n_users); first all once."""
    rng = np.random.default_rng(seed)
    share = [1 / n_users] * n_users
    resampled = rng.multinomial(n_users, share, n_resamples)
    return np.vstack([np.ones(n_users), resampled]).astype(np.float32)


def _table(compared: dict[Pair, Figures], rule: Rule) -> pl.DataFrame:
    kept = {pair: _kept(values, rule) for pair, values in compared.items()}
    costs = {pair: _cost(pair, compared[pair], kept[pair]) for pair in compared}
    lowest = np.array([*costs.values()]).min(axis=0) if costs else np.empty(0)
    rows = []
    for pair, values in compared.items():
        first = {name: _finite(value[0]) for name, value in values.items()}
        misses = [name for name, is_kept in kept[pair].items() if not is_kept[0]]
        is_chosen = (costs[pair] == lowest) & np.isfinite(lowest)
        rows.append(
            {
                "horizon_days": pair[0],
                "eligible_days": pair[1],
                **first,
                "misses": ", ".join(misses),
                "chosen_rate": float(np.mean(is_chosen[1:])),
            }
        )
    return pl.DataFrame(
        rows,
        schema=SCHEMA,
        strict=False,
    )


def _kept(values: Figures, rule: Rule) -> dict[str, np.ndarray]:
    """Whether each limit is kept: on the log, then on each resample."""
    churn = values["churn_rate"]
    return {
        "return rate": values["return_rate"] < rule.max_return_rate,
        "churn rate": (churn >= rule.min_churn_rate) & (churn <= rule.max_churn_rate),
        "AUC": values["auc"] >= rule.min_auc,
        "head start": values["head_start_days"] >= rule.min_head_start_days,
    }


def _cost(
    pair: Pair,
    values: Figures,
    kept: dict[str, np.ndarray],
) -> np.ndarray:
    """The lower, the better: whole days of horizon, less half the AUC; infinite if a
    limit is missed.
    """
    keeps_all = np.all([*kept.values()], axis=0)
    return np.where(keeps_all, pair[0] - values["auc"] / 2, np.inf)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def choose(table: pl.DataFrame) -> dict[str, Any] | None:
    """The row of the chosen definition; null if none keeps all limits.

    Of the definitions that miss nothing, the shortest horizon, in it the highest AUC.

    >>> horizons, aucs = [14, 28, 28], [0.9, 0.7, 0.8]
    >>> misses = ["return rate", "", ""]
    >>> rows = {"horizon_days": horizons, "auc": aucs, "misses": misses}
    >>> choose(pl.DataFrame(rows))["auc"]
    0.8
    """
    fitting = table.filter(pl.col("misses") == "")
    ordered = fitting.sort("horizon_days", "auc", descending=[False, True])
    return None if ordered.is_empty() else ordered.row(0, named=True)


def nearest(table: pl.DataFrame) -> dict[str, Any]:
    """The row of the definition that misses the fewest limits.

    Of several the one with the fewest returns, then the shortest horizon. The table
    holds at least one row.
    """
    n_missed = pl.col("misses").str.count_matches(",")
    ordered = table.sort(n_missed, "return_rate", "horizon_days")
    return ordered.row(0, named=True)


def shorter_days(n_days: int) -> int | None:
    """The longest pair of equal windows that a log of so many days can begin with.

    Null if it is too short for any. A definition can be used once a cutoff has its
    eligible days before it and its horizon behind it.

    >>> shorter_days(18), shorter_days(60), shorter_days(10)
    (7, 28, None)
    """
    fitting = [days for days in ELIGIBLE if 2 * days <= n_days]
    return max(fitting, default=None)
