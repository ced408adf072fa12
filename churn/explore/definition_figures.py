"""The figures of one definition of churn, on the log and on resamples of its users."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from churn.explore import past_cutoffs, retention
from churn.stats.ranking import auc_within, chance_of_top, weighted_median
from churn.stats.survival import kaplan_meier

N_TEST_CUTOFFS = 4
"""Number of the newest cutoffs, with their horizon over, that give the figures.

More of them would leave short logs without cutoffs to learn from, and mix in seasons
long past.
"""

TOP = 0.1
"""Share of a cutoff's users whose head start is measured: those most at risk."""

MAX_TRAINING_ROWS = 20_000
"""Largest number of rows that the logistic regression learns from.

It has six features, so that more rows would only take longer.
"""

Figures = dict[str, np.ndarray]
"""Value of each figure on the log as it is, then on each resample of users."""


def figures(
    rows: pl.DataFrame, horizon: int, lead: int, weight: np.ndarray
) -> Figures | None:
    """The figures of one definition, from rows of ``past_cutoffs.label``.

    ``weight``: shape (1 + resamples, users). None where the log is too short for the
    definition, or training rows, or those of every test cutoff, have one outcome only.
    ``horizon`` and ``lead`` are days.
    """
    cutoffs = rows["cutoff"].unique().sort()
    if len(cutoffs) <= N_TEST_CUTOFFS:
        return None
    train, test = _split(rows, cutoffs[-N_TEST_CUTOFFS], lead + horizon)
    followed, return_rate = _returns(rows.filter("churned"), weight)
    in_cutoff = test.group_by("cutoff").agg(pl.col("churned").n_unique())["churned"]
    has_both = train["churned"].n_unique() == 2 and in_cutoff.max() == 2
    if followed < horizon or not has_both:
        return None
    score = _scores(train, test)
    y = test["churned"].to_numpy()
    weight = weight[:, test["user"].to_numpy()]
    cutoff = test["cutoff"].to_physical().to_numpy()
    chance = chance_of_top(score, cutoff, TOP)
    caught = np.flatnonzero(y & (chance > 0))
    silent_days = test["recency_days"].to_numpy()[caught] - 1
    weight_caught = weight[:, caught] * chance[caught]
    return {
        "n_users": np.array([test["user"].n_unique()]),
        "churn_rate": weight[:, y].sum(axis=1) / weight.sum(axis=1),
        "return_rate": return_rate,
        "followed_days": np.array([followed]),
        "auc": auc_within(y, score, cutoff, weight),
        "head_start_days": weighted_median(horizon - silent_days, weight_caught),
    }


def _split(
    rows: pl.DataFrame, first_test: date, days: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows whose outcome was known by the first test cutoff, and rows from it on."""
    is_known = pl.col("cutoff") + timedelta(days=days) <= first_test
    train = rows.filter(is_known).tail(MAX_TRAINING_ROWS)
    return train, rows.filter(pl.col("cutoff") >= first_test)


def _scores(train: pl.DataFrame, test: pl.DataFrame) -> np.ndarray:
    """Churn probabilities of the test rows, by logistic regression."""
    # Imported here: reports read definitions without loading scikit-learn.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(_matrix(train), train["churned"].to_numpy())
    return np.asarray(model.predict_proba(_matrix(test))[:, 1])


def _matrix(rows: pl.DataFrame) -> np.ndarray:
    values = rows.select(past_cutoffs.FEATURES).to_numpy()
    return np.asarray(np.log1p(values), dtype=float)


def _returns(churned: pl.DataFrame, weight: np.ndarray) -> tuple[int, np.ndarray]:
    """Days for which enough of the churned could be followed, and the share back by
    then (Kaplan-Meier).

    0 days and NaN with too few churned.
    """
    n_needed = retention.MIN_AT_RISK
    if churned.height < n_needed:
        return 0, np.full(len(weight), np.nan)
    followed = int(churned["followable"].sort(descending=True)[n_needed - 1])
    user = churned["user"].to_numpy()
    days, _, away = kaplan_meier(
        churned["followed"].to_numpy(), churned["is_back"].to_numpy(), weight[:, user]
    )
    n_within = int((days < followed).sum())
    if not n_within:
        return followed, np.zeros(len(weight))
    return followed, 1 - away[:, n_within - 1]
