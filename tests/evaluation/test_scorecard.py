"""Tables for the business by segment, platform and tenth, profit, learning curve."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churn.errors import ParameterError
from churn.evaluation import learning_curve, scorecard
from churn.events import ingest
from churn.report import forecast_sentences as sentences
from churn.report import money_sentences, tables
from churn.settings import Settings
from churn.store import Store, open_filled

from ..conftest import DAY0

CUT = DAY0 + timedelta(days=40)  # 10 February 2026


def chosen(
    probability: list[float], churned: list[int], users: list[str] | None = None
) -> pl.DataFrame:
    """Predictions of the chosen model at one cutoff."""
    n = len(probability)
    return pl.DataFrame(
        {
            "user_id": users or [f"u{i}" for i in range(n)],
            "cutoff": [CUT] * n,
            "churned": [bool(c) for c in churned],
            "model": ["chosen"] * n,
            "probability": probability,
        }
    )


@pytest.fixture
def shop(make_study: Callable[..., Settings], tmp_path: Path) -> Store:
    """Four users around 10 February; the table states platform, revenue, currency and
    when a row was received.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,platform,revenue,currency,received_time\n"
        # 31 days before: too old
        "a,buy,2026-01-10T12:00:00Z,ios,100,USD,2026-01-10T12:00:00Z\n"
        # the first day of the thirty
        "a,buy,2026-01-11T12:00:00Z,ios,7,USD,2026-01-11T12:00:00Z\n"
        "a,buy,2026-02-09T12:00:00Z,ios,3,USD,2026-02-09T12:00:00Z\n"  # the last
        # at the cutoff
        "a,buy,2026-02-10T12:00:00Z,android,50,USD,2026-02-10T12:00:00Z\n"
        "b,buy,2026-02-01T12:00:00Z,android,4,USD,2026-02-01T12:00:00Z\n"
        # received after it
        "b,buy,2026-02-02T12:00:00Z,ios,9,USD,2026-02-12T12:00:00Z\n"
        # another currency
        "c,buy,2026-02-03T12:00:00Z,android,6,JPY,2026-02-03T12:00:00Z\n"
        "c,open,2026-02-03T12:00:00Z,ios,,,2026-02-03T12:00:00Z\n"
        "d,open,2026-02-04T12:00:00Z,,,,2026-02-04T12:00:00Z\n"
    )
    settings = make_study()
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


def test_revenue_is_that_of_thirty_days_as_known_at_the_cutoff(
    shop: Store,
) -> None:
    """User a has 7 + 3, without the day before the thirty and the cutoff's own; b has
    4, without the row received later; c has none in the study's currency.
    """
    store = shop
    rows = scorecard.revenue(store, chosen([0.5] * 4, [0] * 4, ["a", "b", "c", "d"]))
    assert dict(rows.iter_rows()) == {"a": 10, "b": 4, "c": 0, "d": 0}
    assert dict(scorecard.revenue(store, chosen([0.5], [0], ["b"])).iter_rows()) == {
        "b": 4
    }


def test_platforms_are_those_known_before_the_cutoff(
    shop: Store,
) -> None:
    """User a is on ios only, since the android row is the cutoff's own; b on android,
    since the ios row came late; c on both; d on none.
    """
    store = shop
    table = scorecard.by_platform(
        store, chosen([0.5] * 4, [1, 0, 0, 1], ["a", "b", "c", "d"])
    )
    assert dict(table.select("platform", "churn_rate").iter_rows()) == {
        "android": 0,
        "ios": 1,
        "not stated": 1,
        "several": 0,
    }
    assert table["churner_share"].to_list() == [0, 0.5, 0.5, 0]


def test_segments_are_cut_anew_at_each_cutoff_and_come_highest_first(
    shop: Store,
) -> None:
    """Thresholds of 0.6 and 0.3 make groups of two, one and one user; predicted and
    actual rates are means of the group.
    """
    store = shop
    table = scorecard.by_segment(
        store, chosen([0.9, 0.7, 0.4, 0.1], [1, 0, 1, 0], ["a", "b", "c", "d"])
    )
    assert table["segment"].to_list() == ["high", "medium", "low"]
    assert table["n"].to_list() == [2, 1, 1]
    assert table["predicted_rate"].to_list() == pytest.approx([0.8, 0.4, 0.1])
    assert table["churn_rate"].to_list() == [0.5, 1, 0]


def test_users_with_too_little_tenure_are_a_segment_of_their_own(
    shop: Store,
) -> None:
    """With eight days of tenure required, d, first seen six days before, and c, seven
    days before, are unknown; a and b are not.
    """
    store = shop
    strict = store.settings.model_copy(
        update={
            "policy": store.settings.policy.model_copy(update={"min_tenure_days": 8})
        }
    )
    table = scorecard.by_segment(
        store.under(strict),
        chosen([0.9, 0.9, 0.9, 0.9], [1, 0, 1, 0], ["a", "b", "c", "d"]),
    )
    assert dict(table.select("segment", "n").iter_rows()) == {"high": 2, "unknown": 2}


def test_the_interval_is_wilsons_and_counts_a_user_once() -> None:
    """For 1 of 10 it is 1.8 to 40.4 %, as in the textbooks; the same users at a second
    cutoff make it no narrower.
    """
    one = chosen([0.2] * 10, [1] + [0] * 9)
    two = pl.concat([one, one.with_columns(cutoff=CUT + timedelta(days=7))])
    for rows in (one, two):
        got = scorecard.rates(rows, "model", 28).row(0, named=True)
        assert (got["churn_low"], got["churn_high"]) == pytest.approx(
            (0.0179, 0.4042), abs=1e-4
        )
        assert got["n"] == rows.height


def test_tenths_go_from_most_to_least_likely_to_return_and_carry_their_revenue() -> (
    None
):
    """Twenty users make groups of two; one of the two riskiest left, so half of the
    revenue of group 10 is at risk.
    """
    p = [i / 20 for i in range(20)]
    rows = chosen(p, [0] * 19 + [1])
    money = pl.DataFrame(
        {"user_id": ["u0", "u18", "u19"], "revenue": [100.0, 30.0, 10.0]}
    )
    table = scorecard.tenths(rows, money)
    assert table["group"].to_list() == list(range(1, 11))
    assert table["n"].to_list() == [2] * 10
    last = table.row(-1, named=True)
    assert last["predicted_rate"] == pytest.approx((18 + 19) / 40)
    assert (last["churn_rate"], last["revenue"], last["at_risk"]) == (0.5, 40, 20)
    assert table["at_risk"].sum() == 20
    assert money_sentences.revenue_at_risk(table, "EUR") == (
        "20 of 140 EUR (14%) were at risk, most of it in group 10 (20 EUR)."
    )
    assert "no revenue" in money_sentences.revenue_at_risk(
        scorecard.tenths(rows, money.clear()), "EUR"
    )


def test_a_contact_pays_from_cost_over_what_a_churner_brings() -> None:
    """At 0.5 a contact, with a tenth saved who are worth 20 each, it pays from 0.25; a
    free contact always pays, and one that brings nothing never does.
    """
    assert scorecard.profit_threshold(20, 0.5, 0.1) == pytest.approx(0.25)
    assert scorecard.profit_threshold(20, 0, 0.1) == 0
    assert scorecard.profit_threshold(0, 0.5, 0.1) == np.inf
    assert scorecard.profit_threshold(20, 0.5, 0) == np.inf


def test_profit_adds_up_from_the_riskiest_down() -> None:
    """With 2 to gain from a churner and a cost of 0.5 the expected profit is 1.3, 1.8
    and 1.5, in hindsight 1.5, 1.0 and 2.5; expected is highest at the threshold.
    """
    rows = chosen([0.1, 0.9, 0.5], [1, 1, 0])
    curve = scorecard.profit(rows, 20, 0.5, 0.1)
    assert curve["depth"].to_list() == pytest.approx([1 / 3, 2 / 3, 1])
    assert curve["expected"].to_list() == pytest.approx([1.3, 1.8, 1.5])
    assert curve["hindsight"].to_list() == pytest.approx([1.5, 1.0, 2.5])
    best = curve.sort("expected").row(-1, named=True)
    assert best["probability"] > scorecard.profit_threshold(20, 0.5, 0.1)


def test_a_profit_is_told_together_with_what_it_assumes() -> None:
    """The share that stays, its worth and the cost open the sentence; the share at
    which it breaks even, 2 x 0.5 / (20 x 1.4), follows; nothing is called earned.
    """
    rows = chosen([0.1, 0.9, 0.5], [1, 1, 0])
    assert scorecard.break_even_save_rate(rows[1:], 20, 0.5) == pytest.approx(1 / 28)
    sentence = money_sentences.profit(rows, 20, 0.5, 0.1, "USD")
    assert sentence == (
        "If 1 in 10 (10%) contacted leavers stays because of a message, worth 20 USD each, "
        "and a contact costs 0.5 USD, then a contact pays from a probability of 25.0%: 2 of "
        "3 users, for an expected profit of 2 USD, or of 1 USD by who then left. "
        "Contacting them breaks even if 1 in 28 (3.57%) of the leavers stays. Nothing "
        "of this was earned: how many stay because of a contact is an assumption until "
        "a holdout has measured it."
    )


def test_a_contact_that_cannot_pay_says_what_it_would_take() -> None:
    """At 1.5 a contact the riskiest user, 0.9 x 20, pays from 1 in 12 on; at 50 never.
    A free contact has no break-even, and 5 is no share.
    """
    rows = chosen([0.1, 0.9], [1, 1])
    no_contact = money_sentences.profit(rows, 20, 1.5, 0.01, "USD")
    assert (
        "no contact pays. Contacting the riskiest user breaks even if 1 in 12 (8."
        in (no_contact)
    )
    never = money_sentences.profit(rows, 20, 50, 0.01, "USD")
    assert never.endswith("would not pay even if all leavers stayed.")
    assert "costs nothing" in money_sentences.profit(rows, 20, 0, 0.01, "USD")
    with pytest.raises(ParameterError, match=r"save_rate=5 is no share: write 0\.05"):
        money_sentences.profit(rows, 20, 0.5, 5, "USD")


def test_without_a_value_no_profit_is_shown() -> None:
    """The curve is empty, and the sentence names the parameter to set."""
    rows = chosen([0.9], [1])
    assert scorecard.profit(rows, 0, 0.5, 0.1).is_empty()
    assert "value_per_saved" in money_sentences.profit(rows, 0, 0.5, 0.1, "USD")


def test_an_interval_of_a_rate_allows_for_other_periods() -> None:
    """Two cutoffs a horizon apart whose rates are forecast rightly leave the interval
    as it is for the users alone; if one came out higher, the interval is wider.
    """
    users = [f"u{i}" for i in range(100)]
    first = chosen([0.3] * 100, [1] * 30 + [0] * 70, users)
    as_before, higher = (
        first.with_columns(
            pl.col("cutoff") + timedelta(days=28), churned=pl.Series(users).is_in(left)
        )
        for left in (users[:30], users[:60])
    )
    right = scorecard.rates(pl.concat([first, as_before]), "model", 28)
    wrong = scorecard.rates(pl.concat([first, higher]), "model", 28)
    alone = scorecard.rates(first, "model", 28)
    ends = ["churn_low", "churn_high"]
    assert right.select(ends).row(0) == pytest.approx(alone.select(ends).row(0))
    width = wrong["churn_high"] - wrong["churn_low"]
    assert width.item() > 0.5


def test_tables_for_readers_have_whole_amounts_and_one_interval() -> None:
    """Revenue is in whole units under its currency, and an interval is one text."""
    rows = chosen([0.9, 0.1], [1, 0])
    shown = tables.tenths(
        scorecard.tenths(rows, pl.DataFrame({"user_id": ["u0"], "revenue": [1.6]})),
        "EUR",
    )
    assert shown["revenue of 30 days, EUR"].sum() == 2
    assert tables.rates(scorecard.rates(rows, "model", 28)).columns[4] == "95% interval"


def test_the_learning_curve_ends_with_all_there_is(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nested sets of users, then 1, 2, 4 and all five training cutoffs, both end with
    the model that learned from everything.
    """
    store = filled
    monkeypatch.setattr(learning_curve, "USERS", (5, 200, 10_000))
    table = learning_curve.curve(store)
    users, history = (part for part in table.partition_by("what", maintain_order=True))
    assert users["n"].to_list()[:2] == [5, 200]
    assert users["log_loss"][0] is None  # too few to learn from
    assert users["n_rows"].is_sorted()
    assert history["n"].to_list() == [
        42,
        51,
        69,
        78,
    ]  # 14 to the newest training cutoff, 28 observed before the oldest
    assert users.row(-1)[2:] == history.row(-1)[2:]


def test_the_sentence_says_from_where_on_more_data_gains_little() -> None:
    """Of users 1,000 come within 0.005 of all, of days only all do; without a curve the
    sentence says how to get one, and with one point that there are too few.
    """
    rows = [
        ("users", 500, 1, 0.8, 0.43),
        ("users", 1000, 1, 0.8, 0.404),
        ("users", 2000, 1, 0.8, 0.4),
        ("days of history", 100, 1, 0.8, 0.42),
        ("days of history", 200, 1, 0.8, 0.4),
    ]
    sentence = sentences.learning_curve(
        pl.DataFrame(rows, learning_curve.SCHEMA, orient="row")
    )
    assert sentence.startswith(
        "1,000 users are enough: with all 2,000 the log loss is lower by less than"
    )
    assert sentence.endswith(
        "More days of history than the 200 there are may still help."
    )
    assert "learning_curve=true" in sentences.learning_curve(learning_curve.EMPTY)
    assert "Too few users" in sentences.learning_curve(
        pl.DataFrame(rows[:1], learning_curve.SCHEMA, orient="row")
    )
