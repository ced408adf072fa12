"""Features of named events, purchases and messages.

Each function returns name → (expression over ``columns``, one-line meaning).
"""

from collections.abc import Sequence

import polars as pl

from churn.features.columns import mean, newest, total

EVENT_WINDOWS = (7, 28, 90)
"""Windows in days over which single event names are counted."""


def variety(
    vocabulary: Sequence[str], properties: Sequence[str], whole: int
) -> dict[str, tuple[pl.Expr, str]]:
    """Counts and shares of each event name, sums of each property, and number of names.

    ``whole`` is the observation window in days; longer windows are cut to it.
    """
    windows = sorted({min(w, whole) for w in EVENT_WINDOWS})
    counts = {
        f"n_{name}_{w}d": (total(f"event:{name}", w), f"{name} in the last {w} days")
        for name in vocabulary
        for w in windows
    }
    shares = {f"share_{name}": _share(name) for name in vocabulary}
    sums = {
        f"sum_{name}_{w}d": (
            total(f"property:{name}", w),
            f"sum of the property {name} over the last {w} days",
        )
        for name in properties
        for w in windows[1:] or windows
    }
    numbers = {
        f"n_names_{w}d": (
            _n_names(vocabulary, w),
            f"number of the commonest event names in the last {w} days",
        )
        for w in windows
        if vocabulary
    }
    return counts | shares | sums | numbers


def _share(name: str) -> tuple[pl.Expr, str]:
    """The event's share of all events, smoothed: one of ten events added before."""
    share = (total(f"event:{name}") + 1) / (total("n") + 10)
    return share, f"{name} as a share of the events in the window, smoothed"


def _n_names(vocabulary: Sequence[str], days: int) -> pl.Expr:
    is_there = [(total(f"event:{n}", days) > 0).cast(pl.Int32) for n in vocabulary]
    return pl.sum_horizontal(is_there)


def purchases(whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Revenue and purchases of the last 28 days and of the window of ``whole`` days."""
    windows = sorted({min(28, whole), whole})
    revenue = {
        f"revenue_{w}d": (
            total("revenue", w),
            f"revenue of the last {w} days; 0 without any",
        )
        for w in windows
    }
    counts = {
        f"n_purchases_{w}d": (
            total("n_purchases", w),
            f"purchases in the last {w} days",
        )
        for w in windows
    }
    return {
        **revenue,
        **counts,
        "days_since_purchase": (
            newest("n_purchases"),
            "days since the last purchase in the window; null without any",
        ),
        "revenue_per_purchase": (
            mean("revenue_per_purchase", "purchase_day"),
            "mean over days with a purchase of revenue per purchase; null without any",
        ),
    }


def messages(whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Passive events and messages of up to 28 days, and responses to messages."""
    month = min(28, whole)
    n_sent = total("n_sent")
    n_engaged = total("n_engaged")
    passive = {
        f"n_passive_{w}d": (
            total("n_passive", w),
            f"passive events, not caused by the user, in the last {w} days",
        )
        for w in sorted({min(7, whole), month})
    }
    return {
        **passive,
        f"n_messages_{month}d": (
            total("n_sent", month),
            f"messages sent to the user in the last {month} days",
        ),
        "response_rate": (
            (n_engaged + 1) / (n_sent + n_engaged + 2),
            "messages opened or clicked as a share of messages and responses, smoothed",
        ),
        "days_since_response": (
            newest("n_engaged"),
            "days since the last response to a message; null without any",
        ),
    }
