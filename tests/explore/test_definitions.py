"""Definitions of churn side by side: figures computed by hand, the choice, and the
answer that none fits.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import vl_convert

from churn.events import ingest
from churn.explore import definitions, past_cutoffs, retention
from churn.explore.definitions import Rule
from churn.report import charts, theme
from churn.report import history_sentences as sentences
from churn.settings import Settings
from churn.store import Store, open_filled

DAY0 = date(2026, 1, 1)
Visits = list[tuple[str, int]]


@pytest.fixture
def ingested(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> Callable[..., Store]:
    """A function that makes a store of visits (user, day) covering n_days days.

    ``extra`` are further events of user x: (event, day, day received).
    """

    def make(
        visits: Visits,
        n_days: int,
        extra: Sequence[tuple[str, int, int]] = (),
        **parts: Any,
    ) -> Store:
        day = [str(DAY0 + timedelta(days=i)) for i in range(n_days + 10)]
        rows = [f"{user},open,{day[at]}," for user, at in visits]
        rows += [
            f"x,{event},{day[at]},{day[received]}" for event, at, received in extra
        ]
        (tmp_path / "events.csv").write_text(
            "\n".join(["user_id,event,time,received_time", *rows]) + "\n"
        )
        table = {
            "source": "table",
            "path": "events.csv",
            "covered_until": day[n_days - 1],
        }
        settings = make_study(
            extracts=[table], store=f"store-{len(list(tmp_path.iterdir()))}", **parts
        )
        ingest.ingest(settings, progress=False)
        return open_filled(settings)

    return make


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One user is enough, and cutoffs are a week apart, which makes sums by hand short."""
    monkeypatch.setattr(retention, "MIN_AT_RISK", 1)
    monkeypatch.setattr(past_cutoffs, "ages", lambda n_days: range(0, n_days + 1, 7))


# Two come daily. x is last seen on day 53, z on day 17, y stays away from day 39 to day
# 57. Ten weeks are covered.
TEN_WEEKS: Visits = [
    *[(user, day) for user in "ab" for day in range(70)],
    *[("x", day) for day in range(54)],
    *[("y", day) for day in range(70) if not 39 <= day < 58],
    *[("z", day) for day in range(18)],
]


def test_the_figures_of_a_small_log_are_those_computed_by_hand(
    ingested: Callable[..., Store], few: None
) -> None:
    """The figures come from 4 + 3 + 3 + 3 rows of four users on days 42 to 63, of which
    y churned on day 42 and x on day 56.

    The regression learned from z, which churned on day 21. Of these three only y came
    back, 9 days after its horizon. By then z was still followed but x, with six days of
    data left, was not: 1 in 2. The riskiest tenth is one row, y, silent for 3 of the 7
    days.
    """
    store = ingested(TEN_WEEKS, 70)
    row = definitions.compare(store, Rule(), [(7, 7)]).row(0, named=True)
    assert (
        row["horizon_days"],
        row["eligible_days"],
        row["n_users"],
        row["followed_days"],
    ) == (7, 7, 4, 42)
    assert row["churn_rate"] == pytest.approx(2 / 13)
    assert row["return_rate"] == pytest.approx(1 / 2)
    assert (row["auc"], row["head_start_days"]) == (1, 4)
    assert row["misses"] == "return rate"


def test_nothing_after_coverage_counts(
    ingested: Callable[..., Store], few: None
) -> None:
    """Had x and z come back on the first uncovered day, no figure would change."""
    before = definitions.compare(ingested(TEN_WEEKS, 70), Rule())
    later = [(user, day) for user in "xz" for day in range(70, 75)]
    assert before.height > 1
    assert definitions.compare(ingested(TEN_WEEKS + later, 70), Rule()).equals(before)


def test_a_visit_learned_late_is_seen_late_but_was_a_return(
    ingested: Callable[..., Store], few: None
) -> None:
    """With a visit on day 62, x had not churned on day 56. If the visit was known by
    day 63, x is eligible then, and churned; not after an uninstall on the same day.
    """

    def churn_rate(*extra: tuple[str, int, int]) -> float:
        store = ingested(TEN_WEEKS, 70, extra)
        return float(definitions.compare(store, Rule(), [(7, 7)])["churn_rate"][0])

    assert churn_rate(("open", 62, 64)) == pytest.approx(1 / 13)
    assert churn_rate(("open", 62, 62)) == pytest.approx(2 / 14)
    assert churn_rate(("open", 61, 62), ("uninstall", 62, 62)) == pytest.approx(1 / 13)
    assert churn_rate(("open", 61, 62), ("uninstall", 62, 64)) == pytest.approx(2 / 14)


def test_where_everybody_returns_no_definition_fits(
    ingested: Callable[..., Store],
) -> None:
    """Where each of 200 users comes every 40 days, all churned users come back under
    any definition, and the sentence says so.
    """
    store = ingested(
        [(f"u{i}", day) for i in range(200) for day in range(i % 40, 300, 40)], 300
    )
    table = definitions.compare(store, Rule())
    assert table["return_rate"].to_list() == pytest.approx([1] * table.height)
    assert table["chosen_rate"].sum() == 0
    assert definitions.choose(table) is None
    sentence = sentences.definition(table, store.settings, Rule())
    assert sentence.startswith(
        "No definition with a horizon of up to 28 days keeps all limits "
        "(this log is too short for longer ones). The best available one"
    )
    assert "100.0% of the churned come back anyway (limit 10%)" in sentence
    assert "some definition keeps all limits in 0% of draws" in sentence
    nearest = definitions.nearest(table)
    assert f"horizon_days = {nearest['horizon_days']}\n```" in sentence


WINDOWS = {"observation_days": 14, "eligible_days": 14, "horizon_days": 14}


def fortnightly(n_users: int, n_days: int, seed: int = 3) -> Visits:
    """Visits every 12 to 16 days; after each, one user in twelve leaves for good."""
    rng = np.random.default_rng(seed)
    visits: Visits = []
    for i in range(n_users):
        day = int(rng.integers(0, 120))
        while day < n_days:
            visits.append((f"u{i}", day))
            day += int(rng.integers(12, 17)) if rng.random() > 1 / 12 else n_days
    return visits


def test_a_clear_rhythm_gives_a_stable_horizon(
    ingested: Callable[..., Store],
) -> None:
    """In a fortnightly world a horizon of 28 days is chosen in nine resamples of ten,
    with the lines to paste.

    After 14 days many users are only late. After 21 nobody comes back, but among users
    active in the last 14 days nothing predicts who does; among those active in the last
    28 days, a silence of 17 days or more means that the user has left.
    """
    store = ingested(fortnightly(1200, 300), 300, windows=WINDOWS)
    table = definitions.compare(store, Rule())
    at = {(row["horizon_days"], row["eligible_days"]): row for row in table.to_dicts()}
    assert at[14, 14]["return_rate"] > 0.2
    assert (
        at[21, 14]["return_rate"]
        == at[28, 28]["return_rate"]
        == pytest.approx(0, abs=1e-6)
    )
    assert at[21, 14]["misses"] == "AUC"
    assert at[28, 28]["misses"] == ""
    assert table.filter(horizon_days=28)["chosen_rate"].sum() >= 0.9
    sentence = sentences.definition(table, store.settings, Rule())
    assert sentence.endswith(
        "\n\n```toml\n[windows]\nobservation_days = 28\neligible_days = 28\n"
        "horizon_days = 28\n```"
    )
    assert "0% of them come back anyway" in sentence


def test_a_log_too_short_says_so(
    ingested: Callable[..., Store],
) -> None:
    """Three weeks are too short for any definition, the study's own included: the table
    is empty and a sentence stands in for the choice.
    """
    store = ingested(
        [(f"u{i}", day) for i in range(60) for day in range(i % 3, 21, 3)], 21
    )
    table = definitions.compare(store, Rule())
    assert table.is_empty()
    assert table.columns == list(definitions.SCHEMA)
    assert sentences.definition(table, store.settings, Rule()).startswith(
        "The log is too short"
    )


def test_many_users_are_sampled(
    ingested: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of 150, at most 150 of 600 users count, the same ones every time."""
    monkeypatch.setattr(past_cutoffs, "MAX_USERS", 150)
    store = ingested(fortnightly(600, 200), 200)
    table = definitions.compare(store, Rule(), [(28, 28)], n_resamples=2)
    assert 20 < table["n_users"].item() <= 150
    assert definitions.compare(store, Rule(), [(28, 28)], n_resamples=2).equals(table)


def test_the_chart_frames_what_fits() -> None:
    """There is one cell per definition with its return rate and AUC, and an empty chart
    without any definition.
    """
    rows = {
        "horizon_days": [14, 28],
        "eligible_days": [7, 28],
        "return_rate": [0.3, 0.05],
        "auc": [0.8, 0.75],
        "churn_rate": [0.2, 0.3],
    }
    picture = vl_convert.vegalite_to_svg(
        charts.definitions(pl.DataFrame({**rows, "misses": ["AUC", ""]})).to_dict()
    )
    assert all(text in picture for text in (">30%<", ">0.80<", ">5%<", ">0.75<"))
    assert picture.count(f'stroke="{theme.MARK}"') == 1
    assert "come back anyway" in vl_convert.vegalite_to_svg(
        charts.definitions(pl.DataFrame(schema=definitions.SCHEMA)).to_dict()
    )
