"""Features of activity, trend, depth and tenure, computed from a user's active days.

Each function returns name → (expression over ``columns``, one-line meaning).
"""

import polars as pl

from churn.features.columns import (
    APP_TREND,
    FIRST_ACTIVE,
    TENURE,
    decayed,
    habit,
    largest,
    mean,
    oldest,
    total,
)

HALF_LIVES = (3, 7, 14, 30, 60)
"""Half-lives in days of the decayed counts.

About doubling, from a few days to a season: a half-life between two of them gives nearly
the same order of users as one of the two.
"""


def activity(windows: list[int]) -> dict[str, tuple[pl.Expr, str]]:
    """Events and active days by window, with decaying weights, and per observed day.

    The last of ``windows`` is the observation window.
    """
    return _by_window(windows) | _decayed() | _per_observed_day(windows[-1])


def _by_window(windows: list[int]) -> dict[str, tuple[pl.Expr, str]]:
    counts = {
        f"n_events_{w}d": (
            total("n_active", w),
            f"active events in the last {w} days",
        )
        for w in windows
    }
    days = {
        f"active_days_{w}d": (
            total("active_day", w),
            f"active days in the last {w} days",
        )
        for w in windows
        if w > 1
    }
    return counts | days


def _decayed() -> dict[str, tuple[pl.Expr, str]]:
    counts = {
        f"decayed_events_{h}d": (
            decayed("n_active", h),
            f"active events, whose weight halves with every {h} days of age",
        )
        for h in HALF_LIVES
    }
    days = {
        f"decayed_days_{h}d": (
            decayed("active_day", h),
            f"active days, whose weight halves with every {h} days of age",
        )
        for h in HALF_LIVES
    }
    return counts | days


def _per_observed_day(whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Rates per day since first seen, or per day of the window if that is unknown."""
    since_first_seen = pl.max_horizontal(TENURE.fill_null(whole), oldest("n"))
    observed_days = pl.min_horizontal(since_first_seen, whole)
    return {
        "active_day_rate": (
            total("active_day") / observed_days,
            "share of active days, of the days since first seen inside the window",
        ),
        "event_rate": (
            total("n_active") / observed_days,
            "active events per day since first seen inside the window",
        ),
    }


def trend(whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Recent activity against earlier activity, within the window of ``whole`` days.

    A feature that looks further back than the window is left out.
    """
    return _paces(whole) | _changes(whole)


def _paces(whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Log ratios of events per day; each count is smoothed by one event."""
    longest = min(90, whole)
    recent = _log_pace(7) - _log_pace(28)
    features = {}
    if whole >= 28:
        features["trend_7d_28d"] = (
            recent,
            "log of events per day in the last 7 days over the last 28",
        )
    if whole > 28:
        features[f"trend_28d_{longest}d"] = (
            _log_pace(28) - _log_pace(longest),
            f"log of events per day in the last 28 days over the last {longest}",
        )
    if whole >= 28:
        features["trend_7d_28d_vs_app"] = (
            recent - APP_TREND,
            "trend_7d_28d less the trend of active days of all users (season)",
        )
    return features


def _log_pace(days: int) -> pl.Expr:
    return ((total("n_active", days) + 1) / days).log()


def _changes(whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Differences of active days between neighbouring windows of equal length."""
    features = {}
    if whole >= 14:
        features["active_days_change_7d"] = (
            total("active_day", 7) - _active_days(7, 14),
            "active days in the last 7 days less those in the 7 days before",
        )
    if whole >= 28:
        features["active_days_change_14d"] = (
            total("active_day", 14) - _active_days(14, 28),
            "active days in the last 14 days less those in the 14 days before",
        )
    if whole >= 21:
        features["active_days_acceleration_7d"] = (
            total("active_day", 7) - 2 * _active_days(7, 14) + _active_days(14, 21),
            "active_days_change_7d less its value one week earlier",
        )
    return features


def _active_days(newer: int, older: int) -> pl.Expr:
    """Active days with an age above ``newer`` and up to ``older``."""
    return total("active_day", older) - total("active_day", newer)


def depth() -> dict[str, tuple[pl.Expr, str]]:
    """How much the user does on an active day."""
    return {
        "events_per_active_day": (
            mean("n_active", "active_day"),
            "active events per active day",
        ),
        "events_per_active_day_28d": (
            mean("n_active", "active_day", 28),
            "active events per active day of the last 28 days; null without any",
        ),
        "n_events_last_day": (
            habit("n_last_day"),
            "active events on the last active day",
        ),
        "n_events_max_day": (largest("n_active"), "most active events on one day"),
        "minutes_per_active_day": (
            mean("minutes", "active_day"),
            "mean minutes between a day's first and last active event",
        ),
    }


def tenure() -> dict[str, tuple[pl.Expr, str]]:
    """How long the user has been known."""
    return {
        "tenure_days": (
            TENURE,
            "days since first seen, from the users table; null if not known by then",
        ),
        "first_active_days": (
            FIRST_ACTIVE,
            "days since the oldest active day in the window",
        ),
    }
