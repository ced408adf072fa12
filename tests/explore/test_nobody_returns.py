"""An app to which nobody comes back: explore says so, and asks about the user id."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from churn.events import ingest
from churn.explore import definitions, retention
from churn.report import history_sentences as sentences
from churn.settings import Settings
from churn.store import Store, open_filled

START = date(2026, 1, 1)


def single_visits(
    folder: Path, settings: Settings, n_days: int, n_returning: int = 0
) -> Store:
    """Two new users a day, the first of whom come back a day later; a mail follows."""
    rows = []
    for user in range(2 * n_days):
        day = START + timedelta(days=user // 2)
        rows.append(f"u{user},open,{day}")
        rows.append(f"u{user},email_sent,{day + timedelta(days=1)}")
        if user < n_returning:
            rows.append(f"u{user},open,{day + timedelta(days=1)}")
    table = "user_id,event,time\n" + "\n".join(rows) + "\n"
    (folder / "events.csv").write_text(table)
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


@pytest.mark.parametrize(("n_returning", "rate"), [(0, 0), (3, 0.01)])
def test_where_nobody_returns_the_log_is_not_called_too_short(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    n_returning: int,
    rate: float,
) -> None:
    """Of users who had four weeks to come back (almost) none did: that is what both
    sentences say, and they ask whether the user id lasts. A message that a user got
    later is no return.
    """
    settings = make_study()
    store = single_visits(tmp_path, settings, 170, n_returning)
    found = retention.second_day_rate(store)
    assert found == pytest.approx(rate, abs=0.002)
    rule = definitions.Rule()
    table = definitions.compare(store, rule, n_resamples=2)
    word = "Almost nobody" if n_returning else "Nobody"
    expected = (
        f"{word} comes back: of the users who could have, {found:.1%} were active"
    )
    curve = retention.return_curve(store)
    for said in (
        sentences.definition(table, settings, rule, found),
        sentences.silence(curve, settings, 0.1, found),
    ):
        assert said.startswith(expected)
        assert "whether the user id lasts" in said
        assert "too short" not in said


def test_with_few_users_or_days_nothing_is_said_of_returns(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Fewer than 50 users who had four weeks prove nothing, and the log is too short."""
    settings = make_study()
    store = single_visits(tmp_path, settings, 45)
    rate = retention.second_day_rate(store)
    assert rate is None
    table = definitions.compare(store, definitions.Rule(), n_resamples=2)
    said = sentences.definition(table, settings, definitions.Rule(), rate)
    assert said.startswith("The log is too short")


def test_people_who_return_get_their_definitions() -> None:
    """With a share of 5 % who come back, the figures are shown as ever."""
    assert sentences.nobody_returns(0.05) == ""
    assert sentences.nobody_returns(None) == ""
