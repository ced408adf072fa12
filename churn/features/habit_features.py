"""Features of silence and rhythm, which compare a user's absence with earlier habits.

Each function returns name → (expression over ``columns``, one-line meaning).
"""

import math

import polars as pl

from churn.features.columns import (
    CUTOFF,
    FIRST_ACTIVE,
    N_GAPS,
    RECENCY,
    decayed,
    divided,
    habit,
    mean,
    total,
)

HABIT_HALF_LIVES = (7, 30)
"""Half-lives in days of the rates of activity that the silence is compared with."""


def silence() -> dict[str, tuple[pl.Expr, str]]:
    """How long the user has been away; ratios to gaps are null without a gap."""
    return {
        "recency_days": (
            RECENCY,
            "days since the last active day; 1 is the day before the cutoff",
        ),
        "recency_per_gap": (
            RECENCY / _mean_gap(),
            "current silence divided by the user's mean gap between active days",
        ),
        "recency_per_gap_max": (
            RECENCY / habit("gap_max"),
            "current silence divided by the user's longest gap",
        ),
        "gap_survival": (
            (habit("n_gaps_as_long") + 0.5) / (N_GAPS + 1),
            "share of the user's gaps at least as long as the current silence",
        ),
        "missed_weekdays": (
            _missed_weekdays(),
            "active days expected during the silence from the user's weekday habit",
        ),
        **_missed_days(),
    }


def _missed_days() -> dict[str, tuple[pl.Expr, str]]:
    """Length of the silence times the rate of active days up to the last active day."""
    features = {}
    for half_life in HABIT_HALF_LIVES:
        at_last_day = decayed("active_day", half_life) * pl.lit(2.0).pow(
            RECENCY / half_life
        )
        rate = at_last_day * (math.log(2) / half_life)
        features[f"missed_days_{half_life}d"] = (
            RECENCY * rate,
            f"active days expected during the silence from the {half_life}-day habit",
        )
    return features


def _missed_weekdays() -> pl.Expr:
    """Sum over weekdays of (share of them that were active) × (number in the silence).

    The share is taken over the weeks from the first to the last active day.
    """
    cutoff_weekday = CUTOFF.dt.weekday().cast(pl.Int32)
    weeks = (FIRST_ACTIVE - RECENCY) / 7 + 1
    parts = []
    for weekday in range(1, 8):
        newest_age = (cutoff_weekday - weekday - 1).mod(7) + 1
        n_silent = (RECENCY - 1 - newest_age + 7) // 7
        parts.append(total(f"weekday:{weekday}") / weeks * n_silent)
    return pl.sum_horizontal(parts)


def rhythm() -> dict[str, tuple[pl.Expr, str]]:
    """How regularly the user comes, on which days and at which hour."""
    return _gaps() | _streaks() | _hours()


def _gaps() -> dict[str, tuple[pl.Expr, str]]:
    return {
        "gap_mean_days": (
            _mean_gap(),
            "mean days between active days; null with fewer than two",
        ),
        "gap_max_days": (
            habit("gap_max"),
            "longest time between active days; null with fewer than two",
        ),
        "gap_std_days": (
            habit("gap_std"),
            "standard deviation of the gaps; null with fewer than three active days",
        ),
        "gap_last_days": (
            habit("gap_last"),
            "days between the last two active days; null with fewer than two",
        ),
    }


def _mean_gap() -> pl.Expr:
    return divided(FIRST_ACTIVE - RECENCY, N_GAPS)


def _streaks() -> dict[str, tuple[pl.Expr, str]]:
    on_weekend = total("weekday:6") + total("weekday:7")
    return {
        "streak_last_days": (
            habit("streak_last"),
            "consecutive active days up to the last active day",
        ),
        "streak_max_days": (
            habit("streak_max"),
            "longest run of consecutive active days",
        ),
        "weekend_share": (
            on_weekend / total("active_day"),
            "share of active days on Saturday or Sunday",
        ),
    }


def _hours() -> dict[str, tuple[pl.Expr, str]]:
    """The hour of each day's last active event, as a point on a 24-hour circle.

    It is the hour in the study's time zone, whatever the season.
    """
    sine = mean("hour_sin", "active_day")
    cosine = mean("hour_cos", "active_day")
    return {
        "hour_sin": (
            sine,
            "mean sine of the local hour of a day's last active event on a 24-hour circle",
        ),
        "hour_cos": (cosine, "mean cosine of the same hour"),
        "hour_regularity": (
            (sine**2 + cosine**2).sqrt(),
            "regularity of that hour: 1 if always the same, 0 if evenly spread",
        ),
    }
