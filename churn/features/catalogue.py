"""The feature catalogue as data: name → (expression over a user's days, one-line
meaning, kind).

``age`` counts days back from the cutoff: the day before it has age 1. A window of w
days is ``age <= w``.
"""

import math
from dataclasses import dataclass

import polars as pl

WINDOWS = (1, 3, 7, 14, 28, 60, 90, 180, 365)
EVENT_WINDOWS = (7, 28, 90)
HALF_LIVES = (3, 7, 14, 30, 60)
KINDS = {
    "silence": "how long the user has been away, measured by the user's own habit",
    "activity": "how much the user does",
    "trend": "whether it grows or fades",
    "rhythm": "how regular it is, and on which days",
    "depth": "how much on a day that is active",
    "variety": "which events, and how many different ones",
    "purchases": "what the user buys",
    "messages": "what was sent to the user, and what came of it",
    "tenure": "how long the user has been known",
}
"""What a feature, and a reason that rests on it, speaks of."""


@dataclass(frozen=True)
class Plan:
    """What fixes the feature columns. It is stored with the model, so that a score sees
    what the training saw.
    """

    observation_days: int
    counts_as_active: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()  # event names counted one by one, commonest first
    properties: tuple[
        str, ...
    ] = ()  # numeric properties summed one by one, commonest first
    sources: tuple[str, ...] = ()  # where several report the same, the first one counts


@dataclass(frozen=True)
class Feature:
    """An aggregation over a user's days, what it means in one line, and its kind, a key
    of ``KINDS``.
    """

    expr: pl.Expr
    meaning: str
    kind: str


Found = dict[str, tuple[pl.Expr, str]]


def catalogue(plan: Plan) -> dict[str, Feature]:
    """Every feature of a plan by name, in column order."""
    windows = [w for w in WINDOWS if w < plan.observation_days] + [
        plan.observation_days
    ]
    groups = {
        "variety": _variety(
            plan, windows
        ),  # first, so that an event named "purchases" replaces no feature of ours
        "silence": _silence(),
        "activity": _volumes(windows) | _decayed() | _per_observed_day(windows[-1]),
        "trend": _trends(windows[-1]),
        "rhythm": _rhythm(),
        "depth": _depth(windows[-1]),
        "purchases": _money(windows),
        "messages": _messages(windows[-1]),
        "tenure": _tenure(),
    }
    return {
        name: Feature(expr, meaning, kind)
        for kind, found in groups.items()
        for name, (expr, meaning) in found.items()
    }


AGE, N, ACTIVE = pl.col("age"), pl.col("n_active"), pl.col("n_active") > 0
ACTIVE_AGE = pl.col("active_age")  # null on days without activity
GAP = pl.col("gap")  # days from an active day back to the one before; newest first
RECENCY = ACTIVE_AGE.min()


def _within(days: int) -> pl.Expr:
    return days >= AGE


def _decay(half_life: int) -> pl.Expr:
    return pl.lit(2.0).pow(-AGE / half_life)


def _silence() -> Found:
    before = {  # active days a day, as of the last active one
        h: (_decay(h) * ACTIVE).sum() * pl.lit(2.0).pow(RECENCY / h) * (math.log(2) / h)
        for h in (7, 30)
    }
    return {
        "recency_days": (
            RECENCY,
            "days since the last active day; 1 is the day before",
        ),
        "recency_per_gap": (
            RECENCY / GAP.mean(),
            "current silence in units of the user's mean gap",
        ),
        "recency_per_gap_max": (
            RECENCY / GAP.max(),
            "current silence in units of the user's longest gap",
        ),
        "gap_survival": (
            ((GAP >= RECENCY).sum() + 0.5) / (GAP.count() + 1),
            "share of the user's gaps at least as long as the current silence",
        ),
        "missed_weekdays": (
            _missed(),
            "active days to be expected in the silence by the user's own weekdays",
        ),
    } | {
        f"missed_days_{h}d": (
            RECENCY * rate,
            f"active days to be expected in the silence by the {h}-day habit before",
        )
        for h, rate in before.items()
    }


def _missed() -> pl.Expr:
    """Per weekday, the share of such days that were active, times how many of them lie
    in the silence.
    """
    today = pl.col("cutoff").first().dt.weekday().cast(pl.Int32)
    weeks = (ACTIVE_AGE.max() - RECENCY) / 7 + 1
    parts = []
    for weekday in range(1, 8):
        first = (today - weekday - 1).mod(7) + 1  # age of the newest such day
        n_silent = (RECENCY - 1 - first + 7) // 7
        parts.append((ACTIVE & (pl.col("weekday") == weekday)).sum() / weeks * n_silent)
    return pl.sum_horizontal(parts)


def _volumes(windows: list[int]) -> Found:
    counts = {
        f"n_events_{w}d": (
            (N * _within(w)).sum(),
            f"active events in the last {w} days",
        )
        for w in windows
    }
    days = {
        f"active_days_{w}d": (
            (ACTIVE & _within(w)).sum(),
            f"active days in the last {w} days",
        )
        for w in windows
        if w > 1
    }
    return counts | days


def _decayed() -> Found:
    counts = {
        f"decayed_events_{h}d": (
            (N * _decay(h)).sum(),
            f"active events, each worth half per {h} days of age",
        )
        for h in HALF_LIVES
    }
    days = {
        f"decayed_days_{h}d": (
            (_decay(h) * ACTIVE).sum(),
            f"active days, each worth half per {h} days of age",
        )
        for h in HALF_LIVES
    }
    return counts | days


def _observed(whole: int) -> pl.Expr:
    """Days of the window in which the user was known already; all of them where the
    tenure is unknown.
    """
    return pl.min_horizontal(
        pl.col("tenure_days").first().fill_null(whole).clip(lower_bound=AGE.max()),
        whole,
    )


def _per_observed_day(whole: int) -> Found:
    days = _observed(whole)
    return {
        "active_day_rate": (
            ACTIVE.sum() / days,
            "active days a day, of the days since first seen inside the window",
        ),
        "event_rate": (
            N.sum() / days,
            "active events a day, of the days since first seen inside the window",
        ),
    }


def _tenure() -> Found:
    return {
        "tenure_days": (
            pl.col("tenure_days").first(),
            "days since first seen, from the users table; null if not known then",
        ),
        "first_active_days": (
            ACTIVE_AGE.max(),
            "age of the oldest active day in the window",
        ),
    }


def _rhythm() -> Found:
    streak = pl.col("streak")
    turn = pl.col("active_at").dt.hour() * (math.tau / 24)
    sine, cosine = turn.sin().mean(), turn.cos().mean()
    return {
        "gap_mean_days": (
            GAP.mean(),
            "mean days between active days; null with fewer than two",
        ),
        "gap_max_days": (
            GAP.max(),
            "longest days between active days; null with fewer than two",
        ),
        "gap_std_days": (
            GAP.std(),
            "spread of the days between active days; null with fewer than three",
        ),
        "gap_last_days": (
            GAP.drop_nulls().first(),
            "days between the last two active days",
        ),
        "streak_last_days": (
            (streak == streak.min()).sum(),
            "active days in a row up to the last one",
        ),
        "streak_max_days": (pl.col("streak_days").max(), "most active days in a row"),
        "weekend_share": (
            (ACTIVE & (pl.col("weekday") >= 6)).sum() / ACTIVE.sum(),
            "share of active days on Saturday or Sunday",
        ),
        "hour_sin": (
            sine,
            "mean sine of the hour of a day's last active event, a day being a full turn",
        ),
        "hour_cos": (cosine, "mean cosine of that hour"),
        "hour_regularity": (
            (sine**2 + cosine**2).sqrt(),
            "1: always at the same hour; 0: at any",
        ),
    }


def _trends(whole: int) -> Found:
    def pace(days: int) -> pl.Expr:
        return (((N * _within(days)).sum() + 1) / days).log()

    def active(newer: int, older: int) -> pl.Expr:
        return (ACTIVE & _within(older) & ~_within(newer)).sum().cast(pl.Int32)

    recent, longest = pace(7) - pace(28), min(90, whole)
    weeks = active(0, 7) - 2 * active(7, 14) + active(14, 21)
    needs = {  # days of the window that the feature looks at
        "trend_7d_28d": (28, recent, "log of events a day in 7 days over that in 28"),
        f"trend_28d_{longest}d": (
            29,
            pace(28) - pace(longest),
            f"log of events a day in 28 days over that in {longest}",
        ),
        "trend_7d_28d_vs_app": (
            28,
            recent - pl.col("app_trend").first(),
            "the same, less that of all users' active days: a season isn't a person leaving",
        ),
        "active_days_change_7d": (
            14,
            active(0, 7) - active(7, 14),
            "active days in the last 7 days less those before",
        ),
        "active_days_change_14d": (
            28,
            active(0, 14) - active(14, 28),
            "active days in the last 14 days less those before",
        ),
        "active_days_acceleration_7d": (
            21,
            weeks,
            "change of that change from week to week",
        ),
    }
    return {
        name: (expr, meaning)
        for name, (days, expr, meaning) in needs.items()
        if days <= whole
    }


def _depth(whole: int) -> Found:
    recent = N.filter(ACTIVE & _within(28)).mean()
    minutes = pl.col("active_minutes")
    return {
        "events_per_active_day": (
            N.sum() / ACTIVE.sum(),
            "active events per active day",
        ),
        "events_per_active_day_28d": (
            recent,
            "the same of the last 28 days; null without any",
        ),
        "n_events_last_day": (
            (N * (AGE == RECENCY)).sum(),
            "active events on the last active day",
        ),
        "n_events_max_day": (N.max(), "most active events on a day"),
        "minutes_per_active_day": (
            minutes.mean(),
            "mean minutes between a day's first and last active event",
        ),
    }


def _variety(plan: Plan, windows: list[int]) -> Found:
    spans = sorted({min(w, windows[-1]) for w in EVENT_WINDOWS})
    counts = {
        f"n_{name}_{w}d": (
            (pl.col(f"event:{name}") * _within(w)).sum(),
            f"{name} in the last {w} days",
        )
        for name in plan.vocabulary
        for w in spans
    }
    shares = {
        f"share_{name}": (
            (pl.col(f"event:{name}").sum() + 1)
            / (N.sum() + pl.col("n_passive").sum() + 10),
            f"{name} as a share of the events in the window, smoothed",
        )
        for name in plan.vocabulary
    }
    sums = {
        f"sum_{name}_{w}d": (
            (pl.col(f"property:{name}") * _within(w)).sum(),
            f"sum of the property {name} over the last {w} days",
        )
        for name in plan.properties
        for w in spans[1:] or spans
    }
    kinds = {
        f"n_names_{w}d": (
            _n_names(plan, w),
            f"how many of the commonest event names in the last {w} days",
        )
        for w in spans
        if plan.vocabulary
    }
    return counts | shares | sums | kinds


def _n_names(plan: Plan, days: int) -> pl.Expr:
    return pl.sum_horizontal(
        [
            ((pl.col(f"event:{name}") * _within(days)).sum() > 0).cast(pl.Int32)
            for name in plan.vocabulary
        ]
    )


def _money(windows: list[int]) -> Found:
    whole = windows[-1]
    spans = sorted({min(28, whole), whole})
    bought = pl.col("n_purchases") > 0
    revenue = {
        f"revenue_{w}d": (
            (pl.col("revenue") * _within(w)).sum(),
            f"revenue of the last {w} days; none is 0",
        )
        for w in spans
    }
    purchases = {
        f"n_purchases_{w}d": (
            (pl.col("n_purchases") * _within(w)).sum(),
            f"purchases in the last {w} days",
        )
        for w in spans
    }
    return (
        revenue
        | purchases
        | {
            "days_since_purchase": (
                AGE.filter(bought).min(),
                "days since the last purchase in the window, else null",
            ),
            "revenue_per_purchase": (
                (pl.col("revenue") / pl.col("n_purchases")).filter(bought).mean(),
                "revenue per purchase on an average day with one, else null",
            ),
        }
    )


def _messages(whole: int) -> Found:
    month = min(28, whole)
    sent, engaged = pl.col("n_sent"), pl.col("n_engaged")
    passive = {
        f"n_passive_{w}d": (
            (pl.col("n_passive") * _within(w)).sum(),
            f"events that happened to the user in the last {w} days",
        )
        for w in sorted({min(7, whole), month})
    }
    return passive | {
        f"n_messages_{month}d": (
            (sent * _within(month)).sum(),
            f"messages sent to the user in the last {month} days",
        ),
        "response_rate": (
            (engaged.sum() + 1) / (sent.sum() + engaged.sum() + 2),
            "messages opened or clicked, as a share of those sent, smoothed",
        ),
        "days_since_response": (
            AGE.filter(engaged > 0).min(),
            "days since the last response to a message, else null",
        ),
    }
