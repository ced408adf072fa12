"""The feature catalogue, computed by hand on a few events."""

import math
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from churn.events import activity, properties
from churn.features import app_week, versions
from churn.features import compute as features
from churn.features.catalogue import KINDS, Plan, catalogue
from churn.features.columns import app_days

from ..conftest import DAY0, event_log

PLAN = Plan(observation_days=28, vocabulary=("buy",))

MONDAY = date(2026, 1, 5)
LEFT = date(2026, 1, 30)
"""A Friday."""


NO_USERS = pl.LazyFrame(
    schema={"user_id": pl.String, "known_date": pl.Date, "first_date": pl.Date}
)


def daily(*rows: dict[str, Any]) -> pl.LazyFrame:
    """Daily activity of a log whose rows may have a property xp."""
    held = [
        [] if r.get("xp") is None else [{"name": "xp", "value": float(r["xp"])}]
        for r in rows
    ]
    log = event_log(*rows).with_columns(pl.Series("numbers", held, properties.NUMBERS))
    return activity.from_events(log.lazy(), "UTC", "USD")


def table(
    *rows: dict[str, Any],
    cutoffs: list[date],
    plan: Plan = PLAN,
    eligible_days: int = 14,
) -> pl.DataFrame:
    """Features of everybody eligible, by cutoff and user."""
    users = activity.users_from_events(event_log(*rows).lazy(), "UTC")
    first = users.select(
        "user_id", "known_date", pl.col("first_at").dt.date().alias("first_date")
    )
    return features.compute(daily(*rows), first, cutoffs, plan, eligible_days).sort(
        "cutoff", "user_id"
    )


def compute(
    *rows: dict[str, Any],
    cutoff: date = DAY0 + timedelta(days=20),
    plan: Plan = PLAN,
    eligible_days: int = 14,
) -> dict[str, Any]:
    """Features of the only user at one cutoff; empty if the user isn't eligible (14
    days).
    """
    got = table(*rows, cutoffs=[cutoff], plan=plan, eligible_days=eligible_days)
    return got.row(0, named=True) if got.height else {}


# One user by whom every feature is computed by hand, at Thursday 26 February, day 56;
# ``age`` counts days back from it.
EVERY = Plan(observation_days=56, vocabulary=("open", "buy"), properties=("xp",))
USER = [
    {"age": 36, "hour": 10, "event": "install", "kind": "install"},
    {
        "age": 35,
        "hour": 10,
        "event": "buy",
        "kind": "purchase",
        "revenue": 6.0,
        "xp": 5,
    },  # a Thursday
    {"age": 20, "hour": 10, "event": "push", "kind": "message_sent"},
    {"age": 14, "hour": 8, "event": "open"},
    {"age": 14, "hour": 9, "event": "buy", "kind": "purchase", "revenue": 10.0},
    {"age": 13, "hour": 20, "event": "open"},
    {"age": 12, "hour": 10, "event": "open", "xp": 2},  # a Saturday
    {"age": 6, "hour": 10, "event": "push", "kind": "message_sent"},
    {"age": 5, "hour": 10, "event": "open"},
    {"age": 4, "hour": 10, "event": "open", "xp": 4},  # a Sunday
    {"age": 4, "hour": 10.5, "event": "click", "kind": "message_engaged"},
    {"age": 4, "hour": 11.5, "event": "buy", "kind": "purchase", "revenue": 20.0},
]
COUNTS = {
    35: 1,
    14: 2,
    13: 1,
    12: 1,
    5: 1,
    4: 3,
}  # active events by age; gaps, newest first: 1, 7, 1, 1, 21
GAP = (1 + 7 + 1 + 1 + 21) / 5


def halved(half_life: float, since: int = 0, days: bool = False) -> float:
    """Active events, or days, each worth half per half-life of its age at ``since``
    days before the cutoff.
    """
    return sum(
        (1 if days else n) * 0.5 ** ((age - since) / half_life)
        for age, n in COUNTS.items()
    )


# Ages of the events of either name, and of all events.
OPENS, BUYS = (14, 13, 12, 5, 4), (35, 14, 4)
ALL = (*OPENS, *BUYS, 36, 20, 6, 4)


def decayed(ages: Iterable[int], half_life: float) -> float:
    """As many as there are ages, each worth half per half-life of its age."""
    return sum(0.5 ** (age / half_life) for age in ages)


SINE, COSINE = (
    sum(f(h * math.tau / 24) for h in (10, 9, 20, 10, 10, 11)) / 6
    for f in (math.sin, math.cos)
)

# The app is this user. Of the last four weeks' days none had an age of 1 to 3, one of
# 4, two of 5 and one of 6 and 7, counted modulo 7; twenty are added to each.
APP_DAY = 145 / 7
SILENT = 3 * 20 / APP_DAY

EXPECTED: dict[str, dict[str, float]] = {
    "silence": {
        "recency_days": 4,
        "recency_per_gap": 4 / GAP,
        "recency_per_gap_max": 4 / 21,
        "gap_survival": (2 + 0.5) / (5 + 1),  # 7 and 21 are at least 4
        # silent from Monday to Wednesday, on which the user never was active
        "missed_weekdays": 0,
        "missed_days_7d": 4 * halved(7, since=4, days=True) * math.log(2) / 7,
        "missed_days_30d": 4 * halved(30, since=4, days=True) * math.log(2) / 30,
        "recency_app_days": SILENT,
        "missed_app_days": 6 / (35 - SILENT) * SILENT,
    },
    "activity": {
        **{
            "n_events_1d": 0,
            "n_events_3d": 0,
            "n_events_7d": 4,
            "n_events_14d": 8,
            "n_events_28d": 8,
        },
        **{
            "n_events_56d": 9,
            "active_days_3d": 0,
            "active_days_7d": 2,
            "active_days_14d": 5,
            "active_days_28d": 5,
        },
        **{"active_days_56d": 6, "active_day_rate": 6 / 36, "event_rate": 9 / 36},
        **{f"decayed_events_{h}d": halved(h) for h in (3, 7, 14, 30, 60)},
        **{f"decayed_days_{h}d": halved(h, days=True) for h in (3, 7, 14, 30, 60)},
        **{
            "n_any_event_1d": 0,
            "n_any_event_3d": 0,
            "n_any_event_7d": 5,
            "n_any_event_14d": 9,
            "n_any_event_28d": 10,
            "n_any_event_56d": 12,
        },
        **{
            "any_event_days_3d": 0,
            "any_event_days_7d": 3,
            "any_event_days_14d": 6,
            "any_event_days_28d": 7,
            "any_event_days_56d": 9,
        },
        **{f"decayed_any_event_{h}d": decayed(ALL, h) for h in (3, 14, 60)},
        **{f"decayed_any_event_days_{h}d": decayed(set(ALL), h) for h in (3, 14, 60)},
        "days_since_any_event": 4,
    },
    "trend": {
        "trend_7d_28d": math.log((5 / 7) / (9 / 28)),
        "trend_28d_56d": math.log((9 / 28) / (10 / 56)),
        "trend_7d_28d_vs_app": math.log((5 / 7) / (9 / 28))
        - math.log((3 / 7) / (6 / 28)),  # the app is this user
        "active_days_change_7d": 2 - 3,
        "active_days_change_14d": 5 - 0,
        "active_days_acceleration_7d": (2 - 3) - (3 - 0),
    },
    "rhythm": {
        "gap_mean_days": GAP,
        "gap_max_days": 21,
        "gap_std_days": math.sqrt(
            (3 * (1 - GAP) ** 2 + (7 - GAP) ** 2 + (21 - GAP) ** 2) / 4
        ),
        "gap_last_days": 1,
        "streak_last_days": 2,
        "streak_max_days": 3,
        "weekend_share": 3 / 6,
        "hour_sin": SINE,
        "hour_cos": COSINE,
        "hour_regularity": math.hypot(SINE, COSINE),
        # 0.97, 2.90, 1.01 and 3.09, rounded to halves
        **{"app_days_1d": 1, "app_days_3d": 3},
        **{"app_days_next_1d": 1, "app_days_next_3d": 3},
    },
    "depth": {
        "events_per_active_day": 9 / 6,
        "events_per_active_day_28d": 8 / 5,
        "n_events_last_day": 3,
        "n_events_max_day": 3,
        "minutes_per_active_day": (60 + 90) / 6,
    },
    "variety": {
        **{
            "n_open_1d": 0,
            "n_open_3d": 0,
            "n_open_7d": 2,
            "n_open_14d": 5,
            "n_open_28d": 5,
            "n_open_56d": 5,
            "n_buy_1d": 0,
            "n_buy_3d": 0,
            "n_buy_7d": 1,
            "n_buy_14d": 2,
            "n_buy_28d": 2,
            "n_buy_56d": 3,
        },
        **{f"decayed_open_{h}d": decayed(OPENS, h) for h in (3, 14, 60)},
        **{f"decayed_buy_{h}d": decayed(BUYS, h) for h in (3, 14, 60)},
        **{"days_since_open": 4, "days_since_buy": 4},
        **{
            "share_open": (5 + 1) / (9 + 3 + 10),
            "share_buy": (3 + 1) / (9 + 3 + 10),
            "sum_xp_28d": 6,
            "sum_xp_56d": 11,
        },
        **{"n_names_7d": 2, "n_names_28d": 2, "n_names_56d": 2},
    },
    "purchases": {
        **{
            "revenue_28d": 30,
            "revenue_56d": 36,
            "n_purchases_28d": 2,
            "n_purchases_56d": 3,
        },
        **{"days_since_purchase": 4, "revenue_per_purchase": (6 + 10 + 20) / 3},
    },
    "messages": {
        **{"n_passive_7d": 1, "n_passive_28d": 2, "n_messages_28d": 2},
        **{"response_rate": (1 + 1) / (1 + 2 + 2), "days_since_response": 4},
    },
    "tenure": {"tenure_days": 36, "first_active_days": 35},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_feature_has_the_value_worked_out_by_hand(kind: str) -> None:
    """For one user whose days are written out above, each feature of the kind has the
    value worked out there.
    """
    rows = [{**row, "day": 56 - row["age"] + row["hour"] / 24} for row in USER]
    got = compute(*rows, cutoff=DAY0 + timedelta(days=56), plan=EVERY)
    assert {name: got[name] for name in EXPECTED[kind]} == pytest.approx(EXPECTED[kind])


def test_no_feature_is_without_a_value_computed_by_hand() -> None:
    """The values above cover the whole catalogue, each under its kind."""
    assert {name: f.kind for name, f in catalogue(EVERY).items()} == {
        name: kind for kind, values in EXPECTED.items() for name in values
    }


def test_windows_end_just_before_the_cutoff() -> None:
    """Day 19 has age 1 and is in every window, day 13 has age 7 and is in 7d, day 12 is
    not; day 20 is unseen.
    """
    got = compute({"day": 12.9}, {"day": 13}, {"day": 19}, {"day": 19.999}, {"day": 20})
    assert (got["n_events_1d"], got["n_events_7d"], got["n_events_14d"]) == (2, 3, 4)
    assert (got["active_days_7d"], got["active_days_14d"]) == (2, 3)
    assert got["recency_days"] == 1


def test_gaps_are_between_active_days() -> None:
    """Active on days 4, 6 and 12, asked on day 20: gaps 2 and 6, silence 8 is two mean
    gaps.
    """
    got = compute({"day": 4}, {"day": 6}, {"day": 12})
    assert (got["gap_mean_days"], got["gap_max_days"], got["gap_last_days"]) == (
        4,
        6,
        6,
    )
    assert got["recency_per_gap"] == 2
    assert got["first_active_days"] == 16


def test_one_active_day_has_no_gap() -> None:
    """With a single active day every gap is null, not zero."""
    got = compute({"day": 15})
    assert got["gap_mean_days"] is None
    assert got["recency_per_gap"] is None


def test_decayed_counts_halve_per_half_life() -> None:
    """Events aged 7 and 14 days are worth a half and a quarter at a half-life of seven
    days.
    """
    got = compute({"day": 13}, {"day": 6})
    assert got["decayed_events_7d"] == pytest.approx(0.75)


def test_passive_events_are_counted_apart() -> None:
    """A message is no activity: it changes only the passive count."""
    got = compute({"day": 10}, {"day": 19, "kind": "message_sent"})
    assert (got["recency_days"], got["n_events_28d"], got["n_passive_7d"]) == (10, 1, 1)


def test_messages_received_make_nobody_eligible() -> None:
    """Active means that a person did something: a user who only got messages, or whose
    last visit is older than the eligible window, has no features.
    """
    message = {"day": 19, "kind": "message_sent"}
    assert compute(message) == {}
    assert compute({"day": 5}, message) == {}
    assert compute({"day": 6}, message)["recency_days"] == 14


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
    got = compute(
        {"day": 19, "event": "buy"},
        {"day": 2, "event": "buy"},
        {"day": 19, "event": "open"},
    )
    assert (got["n_buy_7d"], got["n_buy_28d"]) == (1, 2)
    assert "n_open_7d" not in got


def test_what_became_known_later_is_not_seen() -> None:
    """An event of day 19 received on day 25 counts at day 26, but not at day 20."""
    rows = ({"day": 10}, {"day": 19, "received": 25})
    assert compute(*rows)["recency_days"] == 10
    assert (
        compute(*rows, cutoff=DAY0 + timedelta(days=26), plan=PLAN)["n_events_28d"] == 2
    )


def test_tenure_reaches_beyond_the_window_by_both_clocks() -> None:
    """Tenure counts from the earliest event known by then, even outside the observation
    window.
    """
    rows = ({"day": -100}, {"day": -300, "received": 30}, {"day": 18})
    assert compute(*rows)["tenure_days"] == 120
    assert compute({"day": 18}, {"day": -300, "received": 30})["tenure_days"] == 2


def test_only_the_eligible_get_a_row() -> None:
    """Users silent for more than 14 days, or uninstalled since the last activity, have
    no row; users active after an uninstall have one.
    """
    assert compute({"day": 5.9}) == {}
    assert compute({"day": 6}) != {}
    assert compute({"day": 18}, {"day": 19, "kind": "uninstall"}) == {}
    assert compute({"day": 18, "kind": "uninstall"}, {"day": 19}) != {}
    assert compute({"day": 18}, {"day": 19, "kind": "uninstall", "received": 22}) != {}


def test_users_who_asked_for_erasure_are_never_scored_again() -> None:
    """Not even after the request has left the observation window."""
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
    """An event name that becomes common, or becomes known, after the cutoff does not
    enter the vocabulary.
    """
    late = [{"day": 25, "event": "new"}] * 50 + [
        {"day": 5, "event": "late", "received": 30}
    ] * 50
    log = event_log(
        {"day": 5, "event": "a"},
        {"day": 6, "event": "b"},
        {"day": 7, "event": "b"},
        *late,
    )
    rows = activity.from_events(log.lazy(), "UTC", "USD")
    counts = features.name_counts(rows, DAY0 + timedelta(days=20), 28)
    assert features.vocabulary([counts]) == ("b", "a")


def test_vocabulary_is_what_most_users_do() -> None:
    """One crawler with more rows than everybody else chooses no feature. Of names with
    as many users, the one of more user-days comes first.
    """
    crawler = [
        {"u": "crawler", "day": day, "event": f"probe_{number:02}"}
        for day in range(1, 19)
        for number in range(features.N_NAMES)
    ]
    log = event_log(
        {"u": "u1", "day": 5, "event": "view"},
        {"u": "u1", "day": 5.5, "event": "view"},
        {"u": "u2", "day": 6, "event": "view"},
        {"u": "u1", "day": 5, "event": "buy"},
        {"u": "u1", "day": 6, "event": "buy"},
        {"u": "u2", "day": 6, "event": "buy"},
        *crawler,
    )
    rows = activity.from_events(log.lazy(), "UTC", "USD")
    counts = features.name_counts(rows, DAY0 + timedelta(days=20), 28)
    chosen = features.vocabulary([counts])
    assert chosen[:3] == ("buy", "view", "probe_00")
    assert len(chosen) == features.N_NAMES


def test_properties_are_those_on_most_days_known_before_the_cutoff(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Property b was on two days of the one user, a and c on one. Properties of later days, or known
    later, do not count however common they are.
    """
    days = [
        (1, "b"),
        (2, "b"),
        (3, "c"),
        (4, "a"),
        *[(30 + d, "new") for d in range(9)],
    ]
    rows = [{"day": day} for day, _ in days] + [
        {"day": d, "received": 40} for d in range(9)
    ]
    names = [name for _, name in days] + ["late"] * 9
    held = pl.Series(
        "numbers",
        [[{"name": name, "value": 1.0}] for name in names],
        properties.NUMBERS,
    )
    log = activity.from_events(event_log(*rows).with_columns(held).lazy(), "UTC", "USD")
    counts = features.name_counts(log, DAY0 + timedelta(days=20), 28)
    assert features.properties([counts]) == ("b", "a", "c")
    monkeypatch.setattr(features, "N_PROPERTIES", 2)
    assert features.properties([counts]) == ("b", "a")


def test_missed_weekdays_follow_the_habit_of_each_weekday() -> None:
    """Mondays aged 24, 17 and 10 and the Tuesday aged 16, over three weeks: 1 and 1/3
    of those weekdays.

    The silence, ages 1 to 9 before a Thursday, holds one Monday and two Tuesdays: 1 × 1
    + 2 × 1/3.
    """
    got = compute(
        *[{"day": 28 - age} for age in (24, 17, 16, 10)],
        cutoff=DAY0 + timedelta(days=28),
    )
    assert got["missed_weekdays"] == pytest.approx(5 / 3)
    always = compute(
        *[{"day": 28 - age} for age in range(10, 24)], cutoff=DAY0 + timedelta(days=28)
    )
    assert always["missed_weekdays"] == pytest.approx(
        9 * 2 / (13 / 7 + 1)
    )  # twice each in 2 6/7 weeks


def test_rates_of_new_users_are_over_the_days_since_first_seen() -> None:
    """Rates are over two of four days, not of 28; for users first seen before the
    window, or at an unknown time, they are over the window.
    """
    days = ({"day": 16}, {"day": 19}, {"day": 19.5})
    young, old = compute(*days), compute({"day": -50}, *days)
    assert (young["active_day_rate"], young["event_rate"]) == (2 / 4, 3 / 4)
    assert (old["active_day_rate"], old["event_rate"]) == (2 / 28, 3 / 28)
    nobody = pl.LazyFrame(
        schema={"user_id": pl.String, "known_date": pl.Date, "first_date": pl.Date}
    )
    got = features.compute(daily(*days), nobody, [DAY0 + timedelta(days=20)], PLAN, 14)
    assert got.select("active_day_rate", "tenure_days").row(0) == (2 / 28, None)


def test_streaks_are_each_users_own() -> None:
    """Days with passive events alone neither make nor break a run of active days.

    U1 is active on days 14 to 16, u2 on 10, 11 and 13, so that u1's row would go on in
    u2's; u2 is sent a message on days 11, 12, 14 and 18.
    """
    mine = [{"day": d} for d in (14, 15, 16)]
    other = [{"u": "u2", "day": d} for d in (10, 11, 13)]
    sent = [
        {"u": "u2", "day": d + 0.5, "kind": "message_sent"} for d in (11, 12, 14, 18)
    ]
    got = table(*mine, *other, *sent, cutoffs=[DAY0 + timedelta(days=20)])
    assert got.select("user_id", "streak_last_days", "streak_max_days").rows() == [
        ("u1", 3, 3),
        ("u2", 1, 2),
    ]
    assert got["gap_last_days"].to_list() == [1, 2]


def test_cutoffs_computed_together_are_computed_alone() -> None:
    """Gaps and streaks of one cutoff do not depend on another cutoff."""
    log = [
        {"u": u, "day": d}
        for u, days in {"u1": (8, 9, 12), "u2": (9, 12, 13)}.items()
        for d in days
    ]
    cutoffs = [DAY0 + timedelta(days=d) for d in (13, 14, 20)]
    alone = pl.concat([table(*log, cutoffs=[cutoff]) for cutoff in cutoffs])
    assert_frame_equal(table(*log, cutoffs=cutoffs), alone, rel_tol=1e-9)


def test_cutoffs_ten_years_apart_are_computed_alone() -> None:
    """Weights that halve every three days are numbers at both cutoffs."""
    days = (1, 5, 9, 3651, 3655, 3659)
    cutoffs = [DAY0 + timedelta(days=d) for d in (10, 3660)]
    got = table(*({"day": day} for day in days), cutoffs=cutoffs)
    assert got["decayed_events_3d"].to_list() == pytest.approx(
        [2 ** (-1 / 3) + 2 ** (-5 / 3) + 2 ** (-9 / 3)] * 2
    )


def test_where_every_row_is_late_cutoffs_are_computed_in_groups() -> None:
    """A source that states receipt three days later: each cutoff sees what was known by
    then, and no table holds more second versions than rows.
    """
    log = [{"u": u, "day": d, "received": d + 3} for u in ("a", "b") for d in range(20)]
    cutoffs = [DAY0 + timedelta(days=d) for d in (12, 14, 16, 18)]
    alone = pl.concat([table(*log, cutoffs=[cutoff]) for cutoff in cutoffs])
    assert alone["recency_days"].to_list() == [4] * 8
    assert_frame_equal(table(*log, cutoffs=cutoffs), alone, rel_tol=1e-9)
    rows, _ = versions.by_number(daily(*log), NO_USERS, PLAN)
    groups = list(versions.groups(rows, cutoffs, PLAN))
    assert [len(group) for group in groups] == [1, 1, 2]


def test_the_last_and_the_busiest_day_are_distinguished() -> None:
    """Three events on day 12 and one on day 18; only one of the two names occurs in the
    last week.
    """
    plan = Plan(28, vocabulary=("open", "buy"))
    rows = ({"day": 12}, {"day": 12, "event": "buy"}, {"day": 12}, {"day": 18})
    got = compute(*rows, plan=plan)
    assert (got["n_events_max_day"], got["n_events_last_day"]) == (3, 1)
    assert (got["n_names_7d"], got["n_names_28d"]) == (1, 2)


def test_depth_of_a_month_without_activity_is_null() -> None:
    """Where users stay eligible for more than 28 days, the last 28 may hold no active
    day.
    """
    got = compute(
        {"day": 0}, cutoff=DAY0 + timedelta(days=40), plan=EVERY, eligible_days=60
    )
    assert (got["events_per_active_day"], got["events_per_active_day_28d"]) == (1, None)


def test_the_app_level_is_read_by_both_clocks() -> None:
    """Of three users' days before day 20 one lies in the last week; day 20 and what is
    learned then are unseen.
    """
    log = [
        {"day": 19},
        {"u": "u2", "day": 10},
        {"u": "u3", "day": 10},
        {"u": "u3", "day": 10.5},
    ]
    unseen = [
        {"u": "u4", "day": 20},
        {"u": "u5", "day": 19, "received": 20},
        {"u": "u6", "day": -9},
    ]
    passive = [{"u": "u7", "day": 19, "kind": "message_sent"}]
    got = features.app_level(
        [daily(*log, *unseen, *passive)], [DAY0 + timedelta(days=20)], PLAN
    )
    assert got["app_trend"].item() == pytest.approx(
        math.log(((1 + 1) / 7) / ((3 + 1) / 28))
    )


def test_every_feature_says_what_it_means() -> None:
    """Each name in the catalogue has a one-line meaning, and windows never exceed the
    observation window.
    """
    found = catalogue(Plan(observation_days=14, vocabulary=("buy",)))
    assert all(f.meaning and "\n" not in f.meaning for f in found.values())
    assert not [
        name
        for name in found
        if name.startswith(("n_events_", "active_days_2")) and "28d" in name
    ]


def test_hours_are_those_of_the_studys_time_zone_in_every_season() -> None:
    """An event at 20:00 in New York has the same hour in February, when that is 01:00
    UTC, and in July, when it is midnight UTC.
    """
    plan = Plan(28, timezone="America/New_York")
    angle = 20 * math.tau / 24
    for first, hour in ((date(2026, 2, 10), 25), (date(2026, 7, 10), 24)):
        rows = [{"day": (first - DAY0).days + day + hour / 24} for day in (0, 3)]
        log = activity.from_events(event_log(*rows).lazy(), "America/New_York", "USD")
        cutoff = first + timedelta(days=7)
        got = features.compute(log, NO_USERS, [cutoff], plan, 14).row(0, named=True)
        assert got["hour_sin"] == pytest.approx(math.sin(angle))
        assert got["hour_cos"] == pytest.approx(math.cos(angle))
        assert got["hour_regularity"] == pytest.approx(1)


def test_days_on_which_nobody_uses_the_app_are_no_silence() -> None:
    """Of 500 users of an app for work, active from Monday to Friday, one who left on
    Thursday: seen on Saturday and on Monday, this user missed a fifth of a week, the
    others nothing. A day after the weekend all have missed as much as they did.
    """
    days = [MONDAY + timedelta(days=d) for d in range(29)]
    log = daily(
        *[
            {"u": f"u{n}", "day": (day - DAY0).days}
            for n in range(500)
            for day in days
            if day.weekday() < 5 and (n > 0 or day < LEFT)
        ]
    )
    cutoffs = [LEFT + timedelta(days=d) for d in (1, 3, 4)]
    got = features.compute(log, NO_USERS, cutoffs, PLAN, 14).sort("cutoff", "user_id")
    left = got.filter(pl.col("user_id") == "u0")
    stayed = got.filter(pl.col("user_id") == "u1")
    assert left["recency_app_days"].to_list() == pytest.approx(
        [7 / 5, 7 / 5, 14 / 5], abs=0.05
    )
    assert left["missed_app_days"].to_list() == pytest.approx([1, 1, 2], abs=0.05)
    assert stayed["recency_days"].to_list() == [1, 3, 1]
    assert stayed["recency_app_days"].to_list() == pytest.approx([0, 0, 0], abs=0.05)
    place = ["app_days_1d", "app_days_3d", "app_days_next_1d", "app_days_next_3d"]
    assert stayed.select(place).rows() == [
        (1.5, 4, 0, 1.5),
        (0, 1.5, 1.5, 4),
        (1.5, 1.5, 1.5, 4),
    ]


def test_the_apps_week_needs_whole_weeks() -> None:
    """In an observation window of six days every day is one app day."""
    known = pl.DataFrame({"date": [DAY0], "n": [100]})
    week = app_week.of(known, DAY0 + timedelta(days=1), 6)
    assert list(week.values()) == [1, 2, 3, 4, 5, 6]


@given(
    st.lists(st.integers(0, 10_000), min_size=28, max_size=28),
    st.integers(7, 60),
    st.integers(0, 60),
)
def test_every_week_holds_seven_app_days(
    users: list[int], observation_days: int, days: int
) -> None:
    """Whatever the weekdays are like, seven more days are seven more app days, and no
    day counts less than nothing.
    """
    dates = [DAY0 + timedelta(days=d) for d in range(28)]
    known = pl.DataFrame({"date": dates, "n": users})
    week = app_week.of(known, DAY0 + timedelta(days=28), observation_days)
    number = pl.lit(days)
    terms = [app_days(number), app_days(number + 1), app_days(number + 7)]
    names = ["now", "next", "week"]
    got = pl.DataFrame([week]).select(
        term.alias(name) for term, name in zip(terms, names, strict=True)
    )
    now, following, week_later = got.row(0)
    assert following >= now
    assert week_later == pytest.approx(now + 7)
