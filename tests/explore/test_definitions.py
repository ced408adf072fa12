"""Definitions of churn side by side: figures by hand, the choice, and the honest answer
that none fits.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import vl_convert
from sklearn.metrics import roc_auc_score

from churn.events import ingest
from churn.explore import definitions
from churn.explore.definitions import Rule
from churn.report import charts, sentences, theme
from churn.settings import Settings
from churn.stats import ranking
from churn.store import Store, open_filled

DAY0 = date(2026, 1, 1)
Visits = list[tuple[str, int]]


@pytest.fixture
def ingested(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> Callable[..., Store]:
    """A store of visits (user, day) whose last complete day is n_days - 1; extra are
    x's (event, day, received).
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


# Two come daily. x is last seen on day 53, z on day 17, y stays away from day 39 to day
# 57. Ten weeks are covered.
TEN_WEEKS: Visits = [
    *[(user, day) for user in "ab" for day in range(70)],
    *[("x", day) for day in range(54)],
    *[("y", day) for day in range(70) if not 39 <= day < 58],
    *[("z", day) for day in range(18)],
]


def test_the_figures_of_a_small_log_are_those_computed_by_hand(
    ingested: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged on days 42 to 63 are 4 + 3 + 3 + 3 rows of four users, of which y on day
    42 and x on day 56 churned.

    z was the example learned from, on day 21. Of these three churned only y came back:
    9 days after its horizon, when z was still watched and x, with six days left, no
    more: 1 in 2. The riskiest tenth is one row, y, silent for 3 of 7.
    """
    monkeypatch.setattr(definitions, "MIN_AT_RISK", 1)
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
    ingested: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had x and z come back on the first uncovered day, no figure would change."""
    monkeypatch.setattr(definitions, "MIN_AT_RISK", 1)
    before = definitions.compare(ingested(TEN_WEEKS, 70), Rule())
    later = [(user, day) for user in "xz" for day in range(70, 75)]
    assert before.height > 1
    assert definitions.compare(ingested(TEN_WEEKS + later, 70), Rule()).equals(before)


def test_a_visit_learned_late_is_seen_late_but_was_a_return(
    ingested: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit by x of day 62 means that x had not churned on day 56; known by day 63, x
    is judged then, and churned.

    An uninstall on the same day takes x out again.
    """
    monkeypatch.setattr(definitions, "MIN_AT_RISK", 1)

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
    """Each of 200 comes every 40 days: however long a silence one takes for churn, all
    come back, and it says so.
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
        "No definition with a horizon of up to 28 days fits (this log can't judge longer ones)."
    )
    assert "100.0% of the churned come back anyway (limit 10%)" in sentence
    assert "some definition fits in 0% of draws" in sentence


WINDOWS = {"observation_days": 14, "eligible_days": 14, "horizon_days": 14}


def fortnightly(n_users: int, n_days: int, seed: int = 3) -> Visits:
    """Users come about every 14 days (12 to 16) and after each visit one in twelve
    never comes again.
    """
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
    """In a fortnightly world 28 days are chosen in nine resamples of ten, with the
    lines to paste.

    After 14 days many are only late. After 21 nobody comes back, but of those seen in
    the last 14 days nothing says who will; of those seen in the last 28 those silent
    for 17 and more are known to be gone.
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
        "\n\n```toml\n[windows]\nobservation_days = 28\neligible_days = 28\nhorizon_days = 28\n```"
    )
    assert "0% of them come back anyway" in sentence


def test_a_log_too_short_says_so(
    ingested: Callable[..., Store],
) -> None:
    """Three weeks judge nothing: an empty table, and a sentence instead of a choice;
    the study's are no exception.
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
    """With room for 150 of 600 users, no more are judged; the same ones every time."""
    monkeypatch.setattr(definitions, "MAX_USERS", 150)
    store = ingested(fortnightly(600, 200), 200)
    table = definitions.compare(store, Rule(), [(28, 28)], n_resamples=2)
    assert 20 < table["n_users"].item() <= 150
    assert definitions.compare(store, Rule(), [(28, 28)], n_resamples=2).equals(table)


def test_the_weighted_auc_is_that_of_repeated_rows() -> None:
    """With ties and whole weights it equals scikit-learn's."""
    rng = np.random.default_rng(1)
    y, risk, weight = (
        rng.random(60) < 0.4,
        rng.integers(0, 8, 60) / 8,
        rng.integers(0, 4, (3, 60)),
    )
    wanted = [roc_auc_score(y, risk, sample_weight=w) for w in weight]
    assert ranking.weighted_auc(y, risk, weight) == pytest.approx(wanted)


def test_the_chart_frames_what_fits() -> None:
    """One cell per definition with its share of returns and AUC; without any definition
    an empty chart.
    """
    rows = {
        "horizon_days": [14, 28],
        "eligible_days": [7, 28],
        "return_rate": [0.3, 0.05],
        "auc": [0.8, 0.75],
    }
    picture = vl_convert.vegalite_to_svg(
        charts.definitions(pl.DataFrame({**rows, "misses": ["AUC", ""]})).to_dict()
    )
    assert all(
        text in picture for text in ("30% back", "AUC 0.80", "5% back", "AUC 0.75")
    )
    assert picture.count(f'stroke="{theme.ACCENT}"') == 1
    assert "come back anyway" in vl_convert.vegalite_to_svg(
        charts.definitions(pl.DataFrame(schema=definitions.SCHEMA)).to_dict()
    )
