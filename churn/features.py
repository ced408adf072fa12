"""Catalogue of named expressions over the observation window: one row per user and cutoff.

Daily activity is first gathered to one row per user, cutoff and day; every feature is then an expression over a user's
days. ``age`` counts days back from the cutoff: the day before it has age 1. A window of w days is ``age <= w``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from churn.activity import counted_once, is_active, known_before

WINDOWS = (1, 3, 7, 14, 28, 60, 90, 180, 365)
EVENT_WINDOWS = (7, 28, 90)
HALF_LIVES = (3, 7, 14, 30)
GONE = ("erasure", "merge")  # asked to be erased, or became another user: never scored again


@dataclass(frozen=True)
class Plan:
    """What fixes the feature columns. It is stored with the model, so that a score sees what the training saw."""

    observation_days: int
    counts_as_active: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()  # event names counted one by one, commonest first
    sources: tuple[str, ...] = ()  # where several report the same, the first one counts


@dataclass(frozen=True)
class Feature:
    """An aggregation over a user's days, and what it means in one line."""

    expr: pl.Expr
    meaning: str


def catalogue(plan: Plan) -> dict[str, Feature]:
    """Every feature of a plan by name, in column order."""
    windows = [w for w in WINDOWS if w < plan.observation_days] + [plan.observation_days]
    return {
        **_recency(),
        **_volumes(windows),
        **_decayed(),
        **_rhythm(),
        **_trends(),
        **_money(windows),
        **_events(plan, windows),
    }


AGE, N, ACTIVE = pl.col("age"), pl.col("n_active"), pl.col("n_active") > 0


def _within(days: int) -> pl.Expr:
    return days >= AGE


def _recency() -> dict[str, Feature]:
    return {
        "recency_days": Feature(AGE.filter(ACTIVE).min(), "days since the last active day; 1 is the day before"),
        "tenure_days": Feature(
            pl.col("tenure_days").first(), "days since first seen, from the users table; null if not known then"
        ),
        "first_active_days": Feature(AGE.filter(ACTIVE).max(), "age of the oldest active day in the window"),
    }


def _volumes(windows: list[int]) -> dict[str, Feature]:
    counts = {
        f"n_events_{w}d": Feature(N.filter(_within(w)).sum(), f"active events in the last {w} days") for w in windows
    }
    days = {
        f"active_days_{w}d": Feature((ACTIVE & _within(w)).sum(), f"active days in the last {w} days")
        for w in windows
        if w > 1
    }
    passive = {
        f"n_passive_{w}d": Feature(
            pl.col("n_passive").filter(_within(w)).sum(), f"events that happened to the user in the last {w} days"
        )
        for w in (7, 28)
    }
    return counts | days | passive


def _decayed() -> dict[str, Feature]:
    weight = {h: (2.0 ** (-AGE / h)) for h in HALF_LIVES}
    counts = {
        f"decayed_events_{h}d": Feature((N * w).sum(), f"active events, each worth half per {h} days of age")
        for h, w in weight.items()
    }
    days = {
        f"decayed_days_{h}d": Feature(w.filter(ACTIVE).sum(), f"active days, each worth half per {h} days of age")
        for h, w in weight.items()
    }
    return counts | days


def _rhythm() -> dict[str, Feature]:
    ages = AGE.filter(ACTIVE).sort()
    gaps = ages.diff().drop_nulls()
    recency = AGE.filter(ACTIVE).min()
    weekend = (ACTIVE & pl.col("weekend")).sum() / ACTIVE.sum()
    return {
        "gap_mean_days": Feature(gaps.mean(), "mean days between active days; null with fewer than two"),
        "gap_max_days": Feature(gaps.max(), "longest days between active days; null with fewer than two"),
        "gap_std_days": Feature(gaps.std(), "spread of the days between active days; null with fewer than three"),
        "gap_last_days": Feature(gaps.first(), "days between the last two active days"),
        "recency_per_gap": Feature(recency / gaps.mean(), "current silence in units of the user's mean gap"),
        "recency_per_gap_max": Feature(recency / gaps.max(), "current silence in units of the user's longest gap"),
        "weekend_share": Feature(weekend, "share of active days on Saturday or Sunday"),
        "events_per_active_day": Feature(N.sum() / ACTIVE.sum(), "active events per active day"),
    }


def _trends() -> dict[str, Feature]:
    def ratio(new: int, old: int) -> pl.Expr:
        recent, before = N.filter(_within(new)).sum(), N.filter(_within(old)).sum()
        return ((recent + 1) / new).log() - ((before + 1) / old).log()

    change = (ACTIVE & _within(14)).sum().cast(pl.Int32) - (ACTIVE & _within(28) & ~_within(14)).sum().cast(pl.Int32)
    return {
        "trend_7d_28d": Feature(ratio(7, 28), "log of events a day in 7 days over that in 28"),
        "trend_28d_90d": Feature(ratio(28, 90), "log of events a day in 28 days over that in 90"),
        "active_days_change_14d": Feature(change, "active days in the last 14 days less those in the 14 before"),
    }


def _money(windows: list[int]) -> dict[str, Feature]:
    whole = windows[-1]
    spans = sorted({min(28, whole), whole})
    revenue = {
        f"revenue_{w}d": Feature(pl.col("revenue").filter(_within(w)).sum(), f"revenue of the last {w} days; none is 0")
        for w in spans
    }
    purchases = {
        f"n_purchases_{w}d": Feature(pl.col("n_purchases").filter(_within(w)).sum(), f"purchases in the last {w} days")
        for w in spans
    }
    return revenue | purchases


def _events(plan: Plan, windows: list[int]) -> dict[str, Feature]:
    spans = sorted({min(w, windows[-1]) for w in EVENT_WINDOWS})
    return {
        f"n_{name}_{w}d": Feature(pl.col(f"event:{name}").filter(_within(w)).sum(), f"{name} in the last {w} days")
        for name in plan.vocabulary
        for w in spans
    }


def vocabulary(
    activity: pl.LazyFrame, cutoff: date, observation_days: int, sources: Sequence[str] = (), size: int = 12
) -> tuple[str, ...]:
    """The commonest event names in the window before ``cutoff``, as known then; ties by name.

    Fixed at the newest training cutoff, so that no later event can choose a feature.
    """
    window = _observed(activity, cutoff, observation_days, sources)
    counts = window.group_by("event").agg(pl.col("n").sum()).sort("n", "event", descending=[True, False])
    return tuple(counts.head(size).collect()["event"])


def _observed(activity: pl.LazyFrame, cutoff: date, observation_days: int, sources: Sequence[str]) -> pl.LazyFrame:
    start = cutoff - timedelta(days=observation_days)
    return counted_once(activity.filter(known_before(pl.lit(cutoff)) & (pl.col("date") >= start)), sources)


def compute(
    activity: pl.LazyFrame, users: pl.LazyFrame, cutoffs: Sequence[date], plan: Plan, eligible_days: int
) -> pl.LazyFrame:
    """Features of every user eligible at each cutoff: user_id, cutoff, then the catalogue.

    Eligible: active within ``eligible_days`` before the cutoff by both clocks, and not known to have uninstalled since,
    to have asked for erasure, or to have become another user.
    Expects whole users: give it a user bucket of activity and of users, or all of them.
    """
    days = pl.concat([_days(activity, users, cutoff, plan, eligible_days) for cutoff in cutoffs])
    return days.group_by("user_id", "cutoff").agg(f.expr.alias(name) for name, f in catalogue(plan).items())


def _days(activity: pl.LazyFrame, users: pl.LazyFrame, cutoff: date, plan: Plan, eligible_days: int) -> pl.LazyFrame:
    active = is_active(plan.counts_as_active)
    day = (
        _observed(activity, cutoff, plan.observation_days, plan.sources)
        .group_by("user_id", "date")
        .agg(
            pl.col("n").filter(active).sum().alias("n_active"),
            pl.col("n").filter(~active).sum().alias("n_passive"),
            pl.col("revenue").sum(),
            pl.col("n").filter(pl.col("kind") == "purchase").sum().alias("n_purchases"),
            pl.col("last_at").filter(active).max().alias("active_at"),
            pl.col("last_at").filter(pl.col("kind") == "uninstall").max().alias("uninstalled_at"),
            *[pl.col("n").filter(pl.col("event") == name).sum().alias(f"event:{name}") for name in plan.vocabulary],
        )
        .with_columns(
            age=(pl.lit(cutoff) - pl.col("date")).dt.total_days().cast(pl.Int32),
            weekend=pl.col("date").dt.weekday() >= 6,
        )
    )
    gone = activity.filter(known_before(pl.lit(cutoff)) & pl.col("kind").is_in(GONE)).select("user_id")
    eligible = _eligible(day, eligible_days).join(gone, on="user_id", how="anti")
    eligible = eligible.join(_tenure(users, cutoff), on="user_id", how="left")
    return day.join(eligible, on="user_id", how="inner").with_columns(pl.lit(cutoff).alias("cutoff"))


def _eligible(day: pl.LazyFrame, eligible_days: int) -> pl.LazyFrame:
    state = day.group_by("user_id").agg(
        AGE.filter(ACTIVE).min().alias("silence"), pl.col("active_at", "uninstalled_at").max()
    )
    here = pl.col("uninstalled_at").is_null() | (pl.col("uninstalled_at") < pl.col("active_at"))
    return state.filter((pl.col("silence") <= eligible_days) & here).select("user_id")


def _tenure(users: pl.LazyFrame, cutoff: date) -> pl.LazyFrame:
    known = users.filter(pl.col("known_date").is_null() | (pl.col("known_date") < cutoff))
    first = known.group_by("user_id").agg(pl.col("first_date").min()).filter(pl.col("first_date") < cutoff)
    tenure = (pl.lit(cutoff) - pl.col("first_date")).dt.total_days().cast(pl.Int32).alias("tenure_days")
    return first.select("user_id", tenure)
