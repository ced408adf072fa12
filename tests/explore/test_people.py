"""What users did before they left, and the days of one user."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

import churn
from churn import results
from churn.events import ingest
from churn.explore import leaving, one_user
from churn.report import people_sentences
from churn.settings import Settings
from churn.store import Store, open_filled

FIRST = date(2026, 1, 1)


@pytest.fixture
def store(make_study: Callable[..., Settings], tmp_path: Path) -> Store:
    """60 days of 50 users who open the app every third day and search each time.

    Half of them search no more after day 25 and leave after day 36; the newest date
    whose outcome is known is day 46. One user opens it only once, and another leaver
    comes on day 30.
    """
    rows = [("single", "open", FIRST + timedelta(days=55))]
    rows += [("late", "open", FIRST + timedelta(days=day)) for day in (30, 33, 36)]
    for k in range(50):
        is_leaver = k % 2 == 0
        for day in range(0, 37 if is_leaver else 60, 3):
            at = FIRST + timedelta(days=day)
            rows.append((f"u{k:02}", "open", at))
            if not is_leaver or day <= 25:
                rows.append((f"u{k:02}", "search", at))
    frame = pl.DataFrame(rows, ["user_id", "event", "time"], orient="row")
    frame.write_csv(tmp_path / "events.csv")
    settings = make_study(
        windows={"observation_days": 28, "eligible_days": 14, "horizon_days": 14},
        gates={"max_age_days": 3650},
    )
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


def test_an_event_that_leavers_stopped_is_rarer_in_their_last_weeks(
    store: Store,
) -> None:
    """Leavers last opened on day 36. Their last week holds the visits of days 30, 33
    and 36 without a search; the week that ends on day 15 those of 9, 12 and 15 with
    one. Those who stayed search on every visit. Who came on day 30 has no such week.
    """
    table = leaving.before_leaving(store)
    search = table.filter(event="search").rows_by_key("weeks_before", named=True)
    assert search[0][0]["leavers"] == 0
    assert search[3][0]["leavers"] == 3
    assert search[0][0]["stayers"] == 3
    assert (search[0][0]["n_leavers"], search[0][0]["n_stayers"]) == (26, 25)
    assert (search[3][0]["n_leavers"], search[3][0]["n_stayers"]) == (25, 25)
    opened = table.filter(event="open", weeks_before=0).row(0, named=True)
    assert opened["leavers"] == 3
    sentence = people_sentences.before_leaving(table)
    assert "`search` became rarest" in sentence
    assert "3.00 times per user 3 weeks before" in sentence


def test_too_few_leavers_are_not_compared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer than the least number the frame is empty, and a sentence says so."""
    monkeypatch.setattr(leaving, "MIN_USERS", 26)
    table = leaving.before_leaving(store)
    assert table.is_empty()
    assert table.schema == leaving.SCHEMA
    assert people_sentences.before_leaving(table).startswith("Too few users left")


def test_the_days_of_a_user_have_every_day(store: Store) -> None:
    """All 90 days stand there, with 0 on days without; the typical user is one with
    the median number of active days, and readers see a pseudonym.
    """
    days = one_user.user_days(store, "single")
    assert days.height == one_user.DAYS
    assert days["n"].sum() == 1
    assert days.filter(pl.col("n") > 0)["date"].to_list() == [date(2026, 2, 25)]
    typical = one_user.user_days(store)
    assert typical.filter(pl.col("n") > 0)["date"].n_unique() == 13
    shown = results.Inventory(store).user_days("single")
    assert shown.columns == ["user", "date", "event", "n"]
    assert shown["user"].str.starts_with("user-").all()


def test_beyond_twelve_events_the_rest_count_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one name left, the commonest keeps its own."""
    monkeypatch.setattr(one_user, "MAX_EVENTS", 1)
    days = one_user.user_days(store, "u00")
    assert set(days["event"]) == {"open", "other events"}


def test_an_unknown_user_is_refused_without_being_named(store: Store) -> None:
    """The error says which time it looked at."""
    with pytest.raises(churn.ParameterError, match="no event in the 90 days") as error:
        one_user.user_days(store, "nobody@example.com")
    assert "example.com" not in str(error.value)
