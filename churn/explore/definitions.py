"""Which silence to call churn: every definition that the log can judge, side by side,
and the choice by a stated rule.

A definition is a pair of windows: who was active within ``eligible_days`` before a
cutoff is judged, and who is then not active for ``horizon_days`` (after the study's
``lead_days``) has churned. Eligible is meant as in ``features.compute``.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from churn.clocks import known_before, known_by
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.features.user_days import GONE
from churn.hashing import stable_hash
from churn.kinds import is_active
from churn.stats.ranking import weighted_auc, weighted_median
from churn.stats.survival import kaplan_meier
from churn.store import Store

log = logging.getLogger(__name__)
HORIZONS = (7, 14, 21, 28, 42, 60, 90)
ELIGIBLE = (7, 14, 28, 60, 90)
CANDIDATES = tuple(
    (h, e) for h in HORIZONS for e in ELIGIBLE if e <= h
)  # silent for longer, one has churned already
MAX_USERS = 20_000  # drawn by their stable hash
MAX_CUTOFFS = 24  # spread over the whole log, whole weeks apart
N_JUDGED = 4  # newest cutoffs whose horizon is over
MAX_TRAINING_ROWS = 20_000
# silences, or churned rows, to be watched; with fewer the share of returns is noise
MIN_AT_RISK = 50
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
FEATURES = (
    "recency_days",
    "active_days_7d",
    "active_days_28d",
    "active_days",
    "gap_days",
    "recency_per_gap",
)
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
Figures = dict[
    str, np.ndarray
]  # of one definition: the value of the log as it is, then one per resample


@dataclass(frozen=True)
class Rule:
    """What a definition must keep. Of those that do, the shortest horizon is chosen,
    and in it the highest AUC.
    """

    max_return_rate: float = (
        0.1  # fewer than this share of the churned come back anyway
    )
    min_churn_rate: float = 0.05  # with less there is hardly anybody to find
    max_churn_rate: float = 0.8  # with more there is hardly anybody to keep
    min_auc: float = 0.65  # with less the past hardly says who will churn
    min_head_start_days: int = 3  # with less one may as well wait for the silence


def compare(
    store: Store,
    rule: Rule,
    candidates: Sequence[tuple[int, int]] = CANDIDATES,
    n_resamples: int = 100,
) -> pl.DataFrame:
    """One row per definition that the log is long enough to judge, the study's own
    among them, in ``SCHEMA``'s columns.

    ``candidates`` are pairs of horizon_days and eligible_days. What the columns mean:

    - churn_rate, auc, head_start_days: at the newest four cutoffs whose horizon is
      over; n_users are judged there.
    - return_rate: of the churned at all cutoffs, the share that comes back after its
      horizon. Who isn't back when the data ends counts for as long as it was watched
      (Kaplan-Meier), up to followed_days, for which 50 could be watched.
    - auc: of a logistic regression on recency, active days and the user's own mean gap,
      fitted on cutoffs whose horizon was over by the first of the four; a model that
      sees more should do better.
    - head_start_days: horizon_days less the days silent by the cutoff, median over the
      churners among the riskiest tenth: how long before the rule "silent for
      horizon_days" the score names them.
    - misses: what of the rule it doesn't keep; empty if it fits.
    - chosen_rate: share of resamples of the users (the regression stays the same) in
      which the rule chooses it.

    A definition is left out unless followed_days reaches its own horizon. Nothing dated
    after coverage counts. Of more than 20,000 users that many are taken, by their hash.
    """
    end, lead = Calendar.of(store).end, store.settings.windows.lead_days
    days, n_users = _days(store, end)
    pairs = sorted(
        {
            *candidates,
            (store.settings.windows.horizon_days, store.settings.windows.eligible_days),
        }
    )
    if not n_users:
        return _table({}, rule)
    rows = _rows(days, end, [e for _, e in pairs], lead)
    resampled = np.random.default_rng(store.settings.random_state).multinomial(
        n_users, [1 / n_users] * n_users, n_resamples
    )
    weight = np.vstack([np.ones(n_users), resampled]).astype(np.float32)
    with np.errstate(invalid="ignore"):  # a resample may hold nobody who churned
        figures = {
            (h, e): _judge(_label(rows, h, e, lead, end), h, lead, weight)
            for h, e in pairs
        }
    judged = {pair: found for pair, found in figures.items() if found}
    log.info(
        "definitions: %d judged on %d users at %d cutoffs",
        len(judged),
        n_users,
        rows["cutoff"].n_unique(),
    )
    return _table(judged, rule)


def _days(store: Store, end: date) -> tuple[pl.DataFrame, int]:
    """User (a number), date, known_date, and the instants of the day's last activity
    and of leaving; how many users.

    Known is what ``snapshots.label`` counts: received before the last covered day had
    settled.
    """
    rows, _ = snapshots.tables(store)
    covered = rows.filter(
        (pl.col("date") < end) & known_by(pl.lit(Calendar.of(store).settled(end)))
    )
    active, gone = (
        is_active(store.settings.activity.counts_as_active),
        pl.col("kind").is_in(GONE),
    )
    users = covered.filter(active).select("user_id").unique()
    users = users.sort(stable_hash("user_id")).head(MAX_USERS).with_row_index("user")
    left_at = (
        pl.when(gone)
        .then(pl.lit(NEVER))
        .when(pl.col("kind") == "uninstall")
        .then("last_at")
    )
    days = (
        covered.with_columns(active_at=pl.when(active).then("last_at"), left_at=left_at)
        .filter(pl.any_horizontal(pl.col("active_at", "left_at").is_not_null()))
        .join(users, on="user_id")
        .group_by("user", "date", "known_date")
        .agg(pl.col("active_at", "left_at").max())
        .sort("date")
        .collect()
    )
    return days, days["user"].n_unique()


def _rows(
    days: pl.DataFrame, end: date, eligible: Sequence[int], lead: int
) -> pl.DataFrame:
    """What a cutoff's past says of each user active lately, and the first active day of
    what follows.
    """
    active = days.filter(pl.col("active_at").is_not_null())
    first = active.select(
        pl.col("date").quantile(0.001, "lower").cast(pl.Date)
    ).item()  # a stray old row moves nothing
    n_weeks = max(0, (end - first).days - min(eligible)) // 7
    step = 7 * max(1, -(-n_weeks // MAX_CUTOFFS))
    cutoffs = [end - timedelta(days=d) for d in range(0, 7 * n_weeks + 1, step)]
    seen = pl.concat(
        [_seen(days.lazy(), cutoff, max(eligible)) for cutoff in cutoffs]
    ).collect()
    starts = seen.with_columns(start=pl.col("cutoff") + timedelta(days=lead)).sort(
        "start"
    )
    nexts = active.select("user", pl.col("date").alias("next"))
    joined = starts.join_asof(
        nexts,
        left_on="start",
        right_on="next",
        by="user",
        strategy="forward",
        check_sortedness=False,
    )
    return joined.with_columns(
        log_days=(pl.col("cutoff") - first).dt.total_days()
    ).sort("cutoff", "user")


def _seen(days: pl.LazyFrame, cutoff: date, longest: int) -> pl.LazyFrame:
    """Cheap features of the users here at a cutoff, by both clocks; a user with one
    active day has the longest gap.
    """
    age, active = (
        (pl.lit(cutoff) - pl.col("date")).dt.total_days(),
        pl.col("active_at").is_not_null(),
    )
    ages = age.filter(active & (age <= longest))
    past = days.filter(
        known_before(pl.lit(cutoff))
        & ((age <= longest) | pl.col("left_at").is_not_null())
    )
    windows = {f"active_days_{w}d": ages.filter(ages <= w).n_unique() for w in (7, 28)}
    state = past.group_by("user").agg(
        pl.col("active_at", "left_at").max(),
        recency_days=ages.min(),
        span=ages.max() - ages.min(),
        active_days=ages.n_unique(),
        **windows,
    )
    here = pl.col("recency_days").is_not_null() & (
        pl.col("left_at").is_null() | (pl.col("left_at") < pl.col("active_at"))
    )
    gap = (
        pl.when(pl.col("span") > 0)
        .then(pl.col("span") / (pl.col("active_days") - 1))
        .otherwise(pl.lit(longest))
    )
    return (
        state.filter(here)
        .with_columns(gap_days=gap, recency_per_gap=pl.col("recency_days") / gap)
        .select("user", pl.lit(cutoff).alias("cutoff"), *FEATURES)
    )


def _label(
    rows: pl.DataFrame, horizon: int, eligible: int, lead: int, end: date
) -> pl.DataFrame:
    """The eligible of cutoffs whose horizon is over: churned, back since, days watched
    until then, days watchable.
    """
    closes = pl.col("cutoff") + timedelta(days=lead + horizon)
    back_after = (pl.col("next") - closes).dt.total_days()
    return rows.filter(
        (pl.col("recency_days") <= eligible)
        & (pl.col("log_days") >= eligible)
        & (closes <= end)
    ).with_columns(
        churned=pl.col("next").is_null() | (pl.col("next") >= closes),
        back=pl.col("next").is_not_null(),
        watched=pl.coalesce(back_after, (pl.lit(end) - closes).dt.total_days() - 1),
        watchable=(pl.lit(end) - closes).dt.total_days(),
    )


def _judge(
    rows: pl.DataFrame, horizon: int, lead: int, weight: np.ndarray
) -> Figures | None:
    """Figures of one definition; null where the log is too short for it, or a side is
    empty.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cutoffs = rows["cutoff"].unique().sort()
    if len(cutoffs) <= N_JUDGED:
        return None
    closed = pl.col("cutoff") + timedelta(days=lead + horizon) <= cutoffs[-N_JUDGED]
    train, test = (
        rows.filter(closed).tail(MAX_TRAINING_ROWS),
        rows.filter(pl.col("cutoff") >= cutoffs[-N_JUDGED]),
    )
    followed, return_rate = _returns(rows.filter("churned"), weight)
    if (
        followed < horizon
        or train["churned"].n_unique() < 2
        or test["churned"].n_unique() < 2
    ):
        return None
    classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        _matrix(train), train["churned"].to_numpy()
    )
    risk = classifier.predict_proba(_matrix(test))[:, 1]
    y, w = test["churned"].to_numpy(), weight[:, test["user"].to_numpy()]
    top = np.argsort(-risk, kind="stable")[: max(1, len(y) // 10)]
    caught = top[y[top]]
    silent = test["recency_days"].to_numpy()[caught] - 1
    return {
        "n_users": np.array([test["user"].n_unique()]),
        "churn_rate": w[:, y].sum(1) / w.sum(1),
        "return_rate": return_rate,
        "followed_days": np.array([followed]),
        "auc": weighted_auc(y, risk, w),
        "head_start_days": weighted_median(horizon - silent, w[:, caught]),
    }


def _matrix(rows: pl.DataFrame) -> np.ndarray:
    return np.asarray(np.log1p(rows.select(FEATURES).to_numpy()), dtype=float)


def _returns(churned: pl.DataFrame, weight: np.ndarray) -> tuple[int, np.ndarray]:
    """Days for which enough of the churned could be watched, and the share back within
    them (Kaplan-Meier).
    """
    if churned.height < MIN_AT_RISK:
        return 0, np.full(len(weight), np.nan)
    followed = int(churned["watchable"].sort(descending=True)[MIN_AT_RISK - 1])
    watched, back, user = (
        churned[name].to_numpy() for name in ("watched", "back", "user")
    )
    days, _, away = kaplan_meier(watched, back, weight[:, user])
    within = int((days < followed).sum())
    return followed, 1 - away[:, within - 1] if within else np.zeros(len(weight))


def _kept(figures: Figures, rule: Rule) -> dict[str, np.ndarray]:
    churn = figures["churn_rate"]
    return {
        "return rate": figures["return_rate"] < rule.max_return_rate,
        "churn rate": (churn >= rule.min_churn_rate) & (churn <= rule.max_churn_rate),
        "AUC": figures["auc"] >= rule.min_auc,
        "head start": figures["head_start_days"] >= rule.min_head_start_days,
    }


def _table(judged: dict[tuple[int, int], Figures], rule: Rule) -> pl.DataFrame:
    kept = {pair: _kept(figures, rule) for pair, figures in judged.items()}
    cost = [
        np.where(np.all([*kept[p].values()], axis=0), p[0] - f["auc"] / 2, np.inf)
        for p, f in judged.items()
    ]
    best = np.array(cost).min(0, initial=np.inf) if cost else np.empty(0)
    rows = [
        {
            **{"horizon_days": pair[0], "eligible_days": pair[1]},
            **{
                name: value[0] if np.isfinite(value[0]) else None
                for name, value in figures.items()
            },
            "misses": ", ".join(
                what for what, is_kept in kept[pair].items() if not is_kept[0]
            ),
            "chosen_rate": float(np.mean((mine == best)[1:] & np.isfinite(best[1:]))),
        }
        for (pair, figures), mine in zip(judged.items(), cost, strict=True)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, strict=False)


def choose(table: pl.DataFrame) -> dict[str, Any] | None:
    """The chosen definition's row: the shortest horizon that misses nothing, the
    highest AUC in it; null if none fits.

    >>> rows = {"horizon_days": [14, 28, 28], "auc": [0.9, 0.7, 0.8], "misses": ["return rate", "", ""]}
    >>> choose(pl.DataFrame(rows))["auc"]
    0.8
    """
    fits = table.filter(pl.col("misses") == "").sort(
        "horizon_days", "auc", descending=[False, True]
    )
    return None if fits.is_empty() else fits.row(0, named=True)
