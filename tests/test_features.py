"""The feature catalogue, computed by hand on a few events."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from churn import activity, features
from churn.features import Plan

from .conftest import DAY0, event_log

PLAN = Plan(observation_days=28, vocabulary=("buy",))


def compute(*rows: dict[str, Any], cutoff: date = DAY0 + timedelta(days=20), plan: Plan = PLAN) -> dict[str, Any]:
    """Features of the only user at one cutoff; empty if the user isn't eligible (14 days)."""
    log = event_log(*rows).lazy()
    daily = activity.from_events(log, "UTC", "USD")
    first = pl.col("first_at").dt.date().alias("first_date")
    users = activity.users_from_events(log, "UTC").select("user_id", "known_date", first)
    got = features.compute(daily, users, [cutoff], plan, eligible_days=14).collect()
    return got.row(0, named=True) if got.height else {}


def test_windows_end_just_before_the_cutoff() -> None:
    """Day 19 has age 1 and is in every window, day 13 has age 7 and is in 7d, day 12 is not; day 20 is unseen."""
    got = compute({"day": 12.9}, {"day": 13}, {"day": 19}, {"day": 19.999}, {"day": 20})
    assert (got["n_events_1d"], got["n_events_7d"], got["n_events_14d"]) == (2, 3, 4)
    assert (got["active_days_7d"], got["active_days_14d"]) == (2, 3)
    assert got["recency_days"] == 1


def test_gaps_are_between_active_days() -> None:
    """Active on days 4, 6 and 12, asked on day 20: gaps 2 and 6, silence 8 is two mean gaps."""
    got = compute({"day": 4}, {"day": 6}, {"day": 12})
    assert (got["gap_mean_days"], got["gap_max_days"], got["gap_last_days"]) == (4, 6, 6)
    assert got["recency_per_gap"] == 2
    assert got["first_active_days"] == 16


def test_one_active_day_has_no_gap() -> None:
    """With a single active day every gap is null, not zero."""
    got = compute({"day": 15})
    assert got["gap_mean_days"] is None
    assert got["recency_per_gap"] is None


def test_decayed_counts_halve_per_half_life() -> None:
    """Events aged 7 and 14 days are worth a half and a quarter at a half-life of seven days."""
    got = compute({"day": 13}, {"day": 6})
    assert got["decayed_events_7d"] == pytest.approx(0.75)


def test_passive_events_are_counted_apart() -> None:
    """A message is no activity: it moves neither recency nor counts, only the passive count."""
    got = compute({"day": 10}, {"day": 19, "kind": "message_sent"})
    assert (got["recency_days"], got["n_events_28d"], got["n_passive_7d"]) == (10, 1, 1)


def test_revenue_is_summed_in_one_currency() -> None:
    """10 USD and 3 without currency are summed, 500 JPY are not."""
    got = compute(
        {"day": 18, "kind": "purchase", "revenue": 10.0, "currency": "USD"},
        {"day": 18, "kind": "purchase", "revenue": 3.0},
        {"day": 18, "kind": "purchase", "revenue": 500.0, "currency": "JPY"},
    )
    assert (got["revenue_28d"], got["n_purchases_28d"]) == (13.0, 3)


def test_named_events_get_their_own_counts() -> None:
    """Only the vocabulary's names have columns, by window."""
    got = compute({"day": 19, "event": "buy"}, {"day": 2, "event": "buy"}, {"day": 19, "event": "open"})
    assert (got["n_buy_7d"], got["n_buy_28d"]) == (1, 2)
    assert "n_open_7d" not in got


def test_what_became_known_later_is_not_seen() -> None:
    """An event of day 19 received on day 25 does not exist at day 20, and does at day 26."""
    rows = ({"day": 10}, {"day": 19, "received": 25})
    assert compute(*rows)["recency_days"] == 10
    assert compute(*rows, cutoff=DAY0 + timedelta(days=26), plan=PLAN)["n_events_28d"] == 2


def test_tenure_reaches_beyond_the_window_by_both_clocks() -> None:
    """Tenure counts from the earliest event known by then, even outside the observation window."""
    rows = ({"day": -100}, {"day": -300, "received": 30}, {"day": 18})
    assert compute(*rows)["tenure_days"] == 120
    assert compute({"day": 18}, {"day": -300, "received": 30})["tenure_days"] == 2


def test_only_the_eligible_get_a_row() -> None:
    """Silent for more than 14 days: no row. Uninstalled since the last activity: no row. Back after it: a row."""
    assert compute({"day": 5.9}) == {}
    assert compute({"day": 6}) != {}
    assert compute({"day": 18}, {"day": 19, "kind": "uninstall"}) == {}
    assert compute({"day": 18, "kind": "uninstall"}, {"day": 19}) != {}
    assert compute({"day": 18}, {"day": 19, "kind": "uninstall", "received": 22}) != {}


def test_who_asked_for_erasure_is_never_scored_again() -> None:
    """Not even long after, when the request has left the observation window."""
    rows = ({"day": -60, "kind": "erasure"}, {"day": 18})
    assert compute({"day": 18}) != {}
    assert compute(*rows) == {}


def test_named_activity_replaces_the_default() -> None:
    """With counts_as_active = kind:purchase, opening the app is a passive event."""
    plan = Plan(28, ("kind:purchase",))
    got = compute({"day": 19}, {"day": 15, "kind": "purchase"}, plan=plan)
    assert (got["recency_days"], got["n_events_28d"], got["n_passive_7d"]) == (5, 1, 1)


def test_estimated_times_are_never_features() -> None:
    """A back-dated, estimated event changes nothing."""
    assert compute({"day": 10}, {"day": 19, "basis": "estimated"})["recency_days"] == 10


def test_vocabulary_is_what_was_common_before_the_cutoff() -> None:
    """An event name that explodes after the cutoff, or is learned of later, can't enter the vocabulary."""
    late = [{"day": 25, "event": "new"}] * 50 + [{"day": 5, "event": "late", "received": 30}] * 50
    log = event_log({"day": 5, "event": "a"}, {"day": 6, "event": "b"}, {"day": 7, "event": "b"}, *late)
    daily = activity.from_events(log.lazy(), "UTC", "USD")
    assert features.vocabulary(daily, DAY0 + timedelta(days=20), 28) == ("b", "a")


def test_every_feature_says_what_it_means() -> None:
    """Each name in the catalogue has a one-line meaning, and windows never exceed the observation window."""
    catalogue = features.catalogue(Plan(observation_days=14, vocabulary=("buy",)))
    assert all(f.meaning and "\n" not in f.meaning for f in catalogue.values())
    assert not [name for name in catalogue if name.startswith(("n_events_", "active_days_2")) and "28d" in name]
