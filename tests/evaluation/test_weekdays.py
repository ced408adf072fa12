"""Figures by weekday of scoring, worked out by hand on a few users."""

from datetime import date, timedelta

import polars as pl
import pytest

from churn.evaluation import weekdays
from churn.explore import past_cutoffs
from churn.features.cutoffs import Calendar
from churn.model import training
from churn.report import tables, weekday_sentences
from churn.settings import Backtest, Windows

MONDAY = date(2026, 1, 5)


def scored(
    cutoff: date, users: range, probability: float, n_churned: int
) -> pl.DataFrame:
    """One cutoff's predictions; the first users churned."""
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in users],
            "cutoff": [cutoff] * len(users),
            "churned": [place < n_churned for place in range(len(users))],
            "model": ["chosen"] * len(users),
            "probability": [probability] * len(users),
        }
    )


def test_the_figures_of_a_weekday_are_those_of_its_cutoffs_together() -> None:
    """Two Mondays with 1 of 4 and 3 of 4 churned at a forecast of 0.6: 50 % churned,
    and the level is a fifth too high; the baseline doesn't count.
    """
    users = range(4)
    chosen = pl.concat(
        [
            scored(MONDAY, users, 0.6, 1),
            scored(MONDAY + timedelta(days=14), users, 0.6, 3),
            scored(MONDAY + timedelta(days=3), users, 0.25, 1),
        ]
    )
    baseline = chosen.with_columns(model=pl.lit("recency"), probability=0.9)
    got = weekdays.by_weekday(pl.concat([chosen, baseline]))
    columns = ["weekday", "n_cutoffs", "n", "predicted_rate", "churn_rate"]
    assert got.select(columns).rows() == [
        (1, 2, 8, pytest.approx(0.6), 0.5),
        (4, 1, 4, 0.25, 0.25),
    ]
    assert got["level_off"].to_list() == [pytest.approx(0.2), pytest.approx(0)]


def test_the_same_users_on_a_second_monday_are_no_new_evidence() -> None:
    """The interval is as wide as that of one Monday if all come out the same again."""
    once = scored(MONDAY, range(100), 0.3, 20)
    again = once.with_columns(cutoff=MONDAY + timedelta(days=7))
    others = again.with_columns(pl.col("user_id") + "b")
    ends = ["off_low", "off_high"]
    one, same, new = (
        weekdays.by_weekday(frame).select(ends).row(0)
        for frame in (once, pl.concat([once, again]), pl.concat([once, others]))
    )
    assert same == pytest.approx(one)
    assert new[1] - new[0] == pytest.approx((one[1] - one[0]) / 2**0.5)


def test_a_weekday_that_is_off_beyond_chance_is_named() -> None:
    """Of 400 users 80 churned on Monday, as forecast, and 80 on Saturday, when 140 were
    expected, at two cutoffs each; three other weekdays were not tested.
    """
    weeks = (0, 7)
    days = [
        scored(MONDAY + timedelta(days=d + week), range(400), 0.2, 80)
        for d in (0, 1, 3)
        for week in weeks
    ]
    saturdays = [
        scored(MONDAY + timedelta(days=5 + week), range(400), 0.35, 80)
        for week in weeks
    ]
    table = weekdays.by_weekday(pl.concat([*days, *saturdays]))
    assert weekday_sentences.answer(table) == (
        "**On Saturday the probabilities are too high by more than chance: 35.0% were "
        "forecast to churn, and 20.0% did.** Scores of that weekday are a ranking, not "
        "rates. Not tested: Wednesday, Friday and Sunday."
    )
    calm = weekdays.by_weekday(pl.concat(days))
    assert weekday_sentences.answer(calm).startswith("On no weekday judged is the")
    once = weekdays.by_weekday(pl.concat([days[0], saturdays[0]]))
    assert weekday_sentences.answer(once).startswith("Each weekday was tested at one")
    assert tables.weekdays(table)["weekday"].to_list() == [
        "Monday",
        "Tuesday",
        "Thursday",
        "Saturday",
    ]


def test_without_churners_the_level_is_not_known() -> None:
    """A weekday on which nobody churned has rates and a log loss, but no ratio."""
    table = weekdays.by_weekday(scored(MONDAY, range(4), 0.1, 0))
    assert table.select("churn_rate", "level_off", "off_low").row(0) == (0, None, None)
    assert "at one date only" in weekday_sentences.answer(table)
    assert tables.weekdays(table)["level off by (95%)"].to_list() == ["–"]


def test_every_weekday_tested_leaves_none_to_name() -> None:
    """Seven test cutoffs nine days apart are of seven weekdays."""
    days = [scored(MONDAY + timedelta(days=9 * k), range(40), 0.2, 8) for k in range(7)]
    table = weekdays.by_weekday(pl.concat(days))
    assert weekdays.untested(table) == []
    assert "Not tested" not in weekday_sentences.answer(table)


def test_cutoffs_of_a_study_are_of_different_weekdays() -> None:
    """With the default step, four test cutoffs are of four weekdays, and any seven that
    are learned from are of all seven.
    """
    windows = Windows(eligible_days=28, horizon_days=28)
    step_days = Backtest().step_days
    calendar = Calendar(MONDAY, MONDAY + timedelta(days=400), windows, step_days, 0)
    tested = calendar.series(calendar.newest_mature(), 4)
    learned = calendar.series(calendar.newest_mature(tested[0]), 7)
    assert len({cutoff.weekday() for cutoff in tested}) == 4
    assert len({cutoff.weekday() for cutoff in learned}) == 7


def test_learning_from_one_weekday_only_is_said() -> None:
    """Cutoffs whole weeks apart are warned of; cutoffs of two weekdays, or a single
    cutoff, are not.
    """
    fortnight = [MONDAY, MONDAY + timedelta(days=14)]
    assert training.one_weekday(fortnight).startswith("all cutoffs are Mondays, so")
    assert training.one_weekday([MONDAY, MONDAY + timedelta(days=9)]) == ""
    assert training.one_weekday([MONDAY]) == ""


def test_definitions_are_compared_at_cutoffs_of_all_weekdays() -> None:
    """Whatever the length of the log, past cutoffs are no whole weeks apart."""
    for n_days in (60, 162, 168, 169, 340, 1000):
        ages = past_cutoffs.ages(n_days)
        assert {age % 7 for age in ages} == set(range(7)) or len(ages) < 7
        assert ages[0] == 0
        assert n_days - 60 <= ages[-1] <= n_days
        assert len(ages) <= past_cutoffs.MAX_CUTOFFS + 1
