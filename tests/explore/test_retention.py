"""Retention and the return curve, against values computed by hand."""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churn.events import ingest
from churn.explore import retention
from churn.report import history_sentences as sentences
from churn.settings import Settings
from churn.store import Store, open_filled

from ..conftest import DAY0


def test_retention_counts_users_by_months_since_first_seen(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of three users of January two are active in February: shares 1 and 2/3. March,
    which is not covered to its end, is not shown.
    """
    filler = "".join(
        f"z,open,2026-0{m}-{d:02d}\n"
        for m in (1, 2, 3)
        for d in range(1, 29 if m < 3 else 10)
    )
    (tmp_path / "events.csv").write_text(
        "user_id,event,time\na,open,2026-01-05\na,open,2026-02-07\nb,open,2026-01-09\n"
        + filler
    )
    settings = make_study()
    ingest.ingest(settings, progress=False)
    table = retention.retention(open_filled(settings))
    assert table["cohort"].unique().to_list() == [date(2026, 1, 1)]
    assert table["n_users"].to_list() == [3, 3]
    assert table["share"].to_list() == pytest.approx([1, 2 / 3])


def of_days(
    folder: Path, settings: Settings, days: dict[str, Iterable[int]], n_days: int
) -> Store:
    """The store of a log of so many days, with users active on these days from 0 on."""
    rows = [
        f"{user},{name},{DAY0 + timedelta(days=int(day))}"
        for user, own, name in [
            *((user, own, "open") for user, own in days.items()),
            ("nobody", range(n_days), "email_sent"),
        ]
        for day in own
    ]
    table = "\n".join(["user_id,event,time", *rows]) + "\n"
    (folder / "events.csv").write_text(table)
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


def test_only_silences_that_the_log_can_follow_count(
    tmp_path: Path, make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten days are followed for five. After two days of silence a, b and c count: a
    returned on the third day and b seven days later, which is within five days of it;
    c, who returned on the ninth, is too late. d was last seen too late to be followed.
    """
    monkeypatch.setattr(retention, "MIN_AT_RISK", 3)
    days = {"a": (0, 3), "b": (0, 7), "c": (0, 9), "d": (4,)}
    curve = retention.return_curve(of_days(tmp_path, make_study(), days, 10))
    row = curve.filter(silence_days=2).row(0, named=True)
    assert (row["followed_days"], row["n_users"]) == (5, 3)
    assert row["return_rate"] == pytest.approx(2 / 3)
    assert row["low"] < 2 / 3 < row["high"]
    assert curve["silence_days"].to_list() == [1, 2]


def test_where_everybody_returns_the_curve_says_so(
    tmp_path: Path, make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everybody comes every third day, silences of one and two days all end, and
    those cut off by the end of the data do not count as losses.
    """
    monkeypatch.setattr(retention, "MIN_AT_RISK", 1)
    days = {f"u{i}": range(i % 3, 30, 3) for i in range(20)}
    curve = retention.return_curve(of_days(tmp_path, make_study(), days, 30))
    assert curve["return_rate"].to_list() == [1, 1]


def test_where_nobody_leaves_no_silence_is_called_long_enough(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Everybody is active on each day with a chance of 1 in 40 for ever. Whatever the
    silence, two thirds return within 45 days, and a log of 90 days doesn't hide it.
    """
    rng = np.random.default_rng(0)
    days = {f"u{i}": np.flatnonzero(rng.random(90) < 1 / 40) for i in range(600)}
    settings = make_study(windows={"observation_days": 60, "horizon_days": 60})
    curve = retention.return_curve(of_days(tmp_path, settings, days, 90))
    true_rate = 1 - (39 / 40) ** 45
    assert (curve["low"] <= true_rate).mean() > 0.8
    assert (curve["high"] >= true_rate).mean() > 0.8
    assert retention.shortest_horizon(curve, 0.1) is None
    said = sentences.silence(curve, settings, 0.1)
    assert said.startswith("After no silence of up to")
    assert "For the study's 60 days it is not known." in said


def test_a_log_without_followed_silences_says_so(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """With ten users nothing is said of returns, and the curve is empty."""
    days = {f"u{i}": (0, 5) for i in range(10)}
    curve = retention.return_curve(of_days(tmp_path, make_study(), days, 10))
    assert curve.is_empty()
    assert "is not known" in sentences.silence(curve, make_study(), 0.1)


def test_the_shortest_horizon_is_the_first_whose_interval_is_below_the_share() -> None:
    """The first silence under the given share; null if no silence falls so low."""
    curve = pl.DataFrame({"silence_days": [1, 7, 14], "high": [0.9, 0.2, 0.05]})
    assert retention.shortest_horizon(curve, 0.1) == 14
    assert retention.shortest_horizon(curve, 0.01) is None
