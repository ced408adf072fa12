"""The age of the data: an export that has stopped stops score and export."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

import churn
from churn.scoring.age_gate import stale_data, today
from churn.settings import Settings, parse
from churn.simulate import extracts, markov
from churn.store.schemas import Volume

from ..conftest import random_log

LAST = date(2026, 10, 17)
CUTOFF = LAST + timedelta(days=1)


def study(zone: str = "UTC", **gates: Any) -> Settings:
    """Two extracts: AppsFlyer settles for two days, a table at once."""
    found = [
        {"source": "appsflyer", "path": "af", "settling_days": 2},
        {"source": "table", "path": "shop"},
    ]
    return parse({"timezone": zone, "extracts": found, "gates": gates}, Path())


def until(**last_days: date) -> pl.DataFrame:
    """The volume of extracts that have a thousand events a day up to their last day."""
    rows = [
        (extract, "", last - timedelta(days=k), None, "open", "in_app", 1000, 0)
        for extract, last in last_days.items()
        for k in range(40)
    ]
    return pl.DataFrame(rows, schema=Volume.create_empty().schema, orient="row")


def finding(
    days_later: int, settings: Settings | None = None, **last_days: date
) -> dict[str, Any]:
    """What the gate says so many days after the cutoff.

    Without other ``last_days`` both extracts end so that each is complete up to it.
    """
    ends = {"af": LAST + timedelta(days=2), "shop": LAST, **last_days}
    present = CUTOFF + timedelta(days=days_later)
    return stale_data(until(**ends), settings or study(), CUTOFF, present)


def test_a_log_that_ended_weeks_ago_fails() -> None:
    """The extract, its newest whole day and its age are named."""
    found = finding(39)
    assert not found["passed"]
    assert found["days"] == "2026-10-17"
    assert (
        "af, 2026-10-17: the newest whole day, 39 days old (at most 4 allowed)"
        in found["sentence"]
    )
    assert "shop, 2026-10-17" in found["sentence"]


@pytest.mark.parametrize(("days_later", "passed"), [(0, True), (2, True), (3, False)])
def test_a_source_may_be_two_days_beyond_its_settling_days(
    days_later: int, passed: bool
) -> None:
    """The table settles at once, so on the third day it is too old."""
    assert finding(days_later)["passed"] is passed


def test_one_stopped_extract_of_two_fails_and_is_named_alone() -> None:
    """AppsFlyer goes on, the shop's table has stopped."""
    found = finding(10, af=LAST + timedelta(days=12))
    assert not found["passed"]
    assert "shop, 2026-10-17" in found["sentence"]
    assert "af," not in found["sentence"]


def test_the_study_may_allow_more_or_less() -> None:
    """With max_age_days = 30 a month passes, with 0 a day fails."""
    assert finding(30, study(max_age_days=30))["passed"]
    assert not finding(31, study(max_age_days=30))["passed"]
    assert not finding(1, study(max_age_days=0))["passed"]


def test_closed_days_are_not_due_in_an_app_with_events_on_every_weekday() -> None:
    """Ten days after the last whole one pass if the study calls nine of them closed."""
    season = ((LAST + timedelta(days=1), LAST + timedelta(days=9)),)
    assert not finding(10)["passed"]
    assert finding(10, study(closed=season))["passed"]


def test_an_old_cutoff_of_a_fresh_log_fails() -> None:
    """The data goes on, but the cutoff that was asked for is forty days old."""
    fresh = CUTOFF + timedelta(days=40)
    found = finding(40, af=fresh, shop=fresh)
    assert not found["passed"]
    assert found["sentence"].startswith("cutoff, 2026-10-18: 40 days old.")


def test_a_cutoff_in_the_future_fails() -> None:
    """A clock that was set back makes old data look new."""
    found = finding(-30)
    assert not found["passed"]
    assert "it lies in the future, today is 2026-09-18" in found["sentence"]
    assert finding(-1)["passed"]  # on the evening of a day that is complete


def test_the_present_day_is_that_of_the_study_zone() -> None:
    """At half past eleven in London it is the next day in Tokyo."""
    evening = datetime(2026, 10, 18, 23, 30, tzinfo=UTC)
    assert today(study(), evening) == date(2026, 10, 18)
    assert today(study("Asia/Tokyo"), evening) == date(2026, 10, 19)


def test_a_simulated_app_states_its_present_and_others_may_not(
    tmp_path: Path,
) -> None:
    """Whatever the clock says, its data is fresh; a given time counts all the same."""
    extracts.write(markov.markov(60, 90, 1), tmp_path, "table")
    settings = churn.open(tmp_path / "churn.toml").settings
    assert today(settings) == date(2025, 4, 6)
    assert today(settings, datetime(2026, 1, 1, tzinfo=UTC)) == date(2026, 1, 1)
    (tmp_path / "truth.parquet").unlink()
    with pytest.raises(churn.StudyError, match="now is for a simulated app"):
        churn.open(tmp_path / "churn.toml")


STUDY = """
[[extracts]]
source = "table"
path = "events.parquet"

[windows]
observation_days = 28
eligible_days = 14
horizon_days = 14

[backtest]
n_train_cutoffs = 4
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> churn.Study:
    """A study whose log ends on 30 April 2026, with a model of March and a new one."""
    folder = tmp_path_factory.mktemp("trained")
    random_log().write_parquet(folder / "events.parquet")
    (folder / "churn.toml").write_text(STUDY)
    opened = churn.open(folder / "churn.toml")
    opened.ingest()
    for cutoff in ("2026-03-18", ""):
        opened.train(cutoff, model=HistGradientBoostingClassifier(max_iter=2)).save()
    return opened


def test_a_stale_night_is_stopped_and_can_be_accepted(trained: churn.Study) -> None:
    """Nothing is stored and the age stands in the first line; on the day it passes."""
    late = trained.score(now="2026-06-10")
    assert "at 2026-05-01, data 40 days old" in late.summary()
    with pytest.raises(churn.GateError, match=r"stale_data: events\.parquet"):
        late.save()
    assert trained.score(now="2026-05-01").findings["passed"].all()
    late.save(accept=["stale_data"])


def test_an_old_cutoff_is_scored_and_not_exported(trained: churn.Study) -> None:
    """A cutoff that was asked for is stored with the finding, which stops an export."""
    day = "2026-04-01"
    earlier = min(name.split("/")[1] for name in trained.store.place.names("models"))
    trained.score(day, earlier, now="2026-05-01").save()
    found = trained.scores(day).findings
    assert found.filter(~pl.col("passed"))["gate"].to_list() == ["stale_data"]
    with pytest.raises(churn.GateError, match="cutoff, 2026-04-01: 30 days old"):
        trained.export(day, now="2026-05-01")
    accepted = trained.export(day, now="2026-05-01", accept=["stale_data"])
    assert accepted.summary().columns[0] == "dry run: nothing was sent"


def test_scores_that_have_grown_old_are_not_exported(trained: churn.Study) -> None:
    """An export asks for the age on its own day, not on that of the scoring."""
    trained.score(now="2026-05-01").save()
    trained.export(now="2026-05-02")
    with pytest.raises(churn.GateError, match="stale_data"):
        trained.export(now="2026-05-20")


def test_closed_days_do_not_count_towards_the_limit() -> None:
    """A shop without Saturdays, closed over Easter: on Wednesday morning Tuesday alone
    is due, without a country also Friday, Sunday and Monday.
    """
    thursday, wednesday = date(2026, 4, 2), date(2026, 4, 8)
    shop = until(af=wednesday, shop=thursday).filter(pl.col("date").dt.weekday() != 6)
    cutoff = thursday + timedelta(days=1)
    assert stale_data(shop, study(country="GB"), cutoff, wednesday)["passed"]
    found = stale_data(shop, study(), cutoff, wednesday)
    assert not found["passed"]
    assert "5 days old (at most 2 allowed); data was due on 4 days" in found["sentence"]
    later = wednesday + timedelta(days=3)
    assert not stale_data(shop, study(country="GB"), cutoff, later)["passed"]


def test_an_app_does_not_rest_at_christmas() -> None:
    """Where people are active every day, days off are due as well."""
    last, now = date(2026, 12, 18), date(2026, 12, 22)
    app = until(af=last)
    cutoff = last + timedelta(days=1)
    assert stale_data(app, study(country="GB"), cutoff, now - timedelta(days=1))[
        "passed"
    ]
    assert not stale_data(app, study(country="GB"), cutoff, now)["passed"]
