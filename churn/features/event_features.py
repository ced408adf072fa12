"""Features of named events, of events of any kind, of purchases and of messages.

Each function returns name → (expression over ``columns``, one-line meaning).
"""

from collections.abc import Sequence

import polars as pl

from churn.features.columns import decayed, mean, newest, total

EVENT_WINDOWS = (1, 3, 7, 14, 28, 90)
"""Windows in days over which events are counted, by name and all together.

The short ones matter where few names count as active: what else a user did in the last
days then tells more than the active events do.
"""

SUM_WINDOWS = (7, 28, 90)
"""Windows in days over which properties are summed and names in use are counted."""

EVENT_HALF_LIVES = (3, 14, 60)
"""Half-lives in days of the decayed counts of events, by name and all together.

Two more, of 7 and 30 days, did not make forecasts better in simulated worlds.
"""


def variety(
    vocabulary: Sequence[str], properties: Sequence[str], whole: int
) -> dict[str, tuple[pl.Expr, str]]:
    """What the user did by event name, sums of each property, and number of names.

    ``whole`` is the observation window in days; longer windows are cut to it.
    """
    by_name = [_by_name(name, whole) for name in vocabulary]
    named = {key: feature for features in by_name for key, feature in features.items()}
    windows = _cut(SUM_WINDOWS, whole)
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
    return named | sums | numbers


def _by_name(name: str, whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Counts, decayed counts, age and share of one event name."""
    column = f"event:{name}"
    counts = {
        f"n_{name}_{w}d": (total(column, w), f"{name} in the last {w} days")
        for w in _cut(EVENT_WINDOWS, whole)
    }
    decays = {
        f"decayed_{name}_{h}d": (
            decayed(column, h),
            f"{name}, whose weight halves with every {h} days of age",
        )
        for h in EVENT_HALF_LIVES
    }
    return {
        **counts,
        **decays,
        f"days_since_{name}": (
            newest(column),
            f"days since the last {name} in the window; null without any",
        ),
        f"share_{name}": _share(name),
    }


def _cut(windows: Sequence[int], whole: int) -> list[int]:
    """The windows, none longer than the observation window."""
    return sorted({min(w, whole) for w in windows})


def any_event(whole: int) -> dict[str, tuple[pl.Expr, str]]:
    """Events of any kind, active or not, and days with any, by window and decayed."""
    windows = _cut(EVENT_WINDOWS, whole)
    counts = {
        f"n_any_event_{w}d": (total("n", w), f"events of any kind in the last {w} days")
        for w in windows
    }
    days = {
        f"any_event_days_{w}d": (
            total("any_day", w),
            f"days with an event of any kind in the last {w} days",
        )
        for w in windows
        if w > 1
    }
    decays = {
        f"decayed_any_event_{h}d": (
            decayed("n", h),
            f"events of any kind, whose weight halves with every {h} days of age",
        )
        for h in EVENT_HALF_LIVES
    }
    day_decays = {
        f"decayed_any_event_days_{h}d": (
            decayed("any_day", h),
            f"days with any event, whose weight halves with every {h} days of age",
        )
        for h in EVENT_HALF_LIVES
    }
    age = (newest("n"), "days since the last event of any kind")
    return {**counts, **days, **decays, **day_decays, "days_since_any_event": age}


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
