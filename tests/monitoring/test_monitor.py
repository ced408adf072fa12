"""Past scores against their outcomes, on a store with all its steps."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

import churn
from churn.errors import GateError
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.monitoring import early, judgement, outcomes, promises
from churn.monitoring.judgement import Judgement
from churn.scoring import scores
from churn.store import Store
from churn.study import Study


@pytest.fixture
def study(filled: Store, tmp_path: Path) -> Study:
    """The small app, with a model that has learned until day 70 of 120."""
    one = Study(tmp_path / "churn.toml", filled.settings)
    one.train(cutoff=str(Calendar.of(filled).end - timedelta(days=64))).save()
    return one


def score(study: Study, days_ago: int) -> date:
    """Score so many days before the end, whatever the gates say; its cutoff."""
    cutoff = study.calendar.end - timedelta(days=days_ago)
    made = study.score(str(cutoff))
    failed = made.findings.filter(~pl.col("passed"))["gate"].to_list()
    made.save(failed)
    return cutoff


def test_closed_cutoffs_are_compared_with_what_happened(study: Study) -> None:
    """The rates are those of the stored scores and of the labels, and the promise is
    what was stated at the scoring.
    """
    for days_ago in (30, 20, 5):
        last = score(study, days_ago)
    monitor = study.monitor()
    assert monitor.closed["cutoff"].to_list() == [
        study.calendar.end - timedelta(days=days) for days in (30, 20)
    ]
    row = monitor.closed.row(0, named=True)
    table = scores.read(study.store, row["cutoff"])[0]
    labelled = snapshots.label(table, study.store)
    assert row["n"] == table.height
    assert row["churn_rate"] == pytest.approx(labelled["churned"].mean())
    assert row["mean_probability"] == pytest.approx(table["probability"].mean())
    kept = promises.read(study.store, row["cutoff"])
    assert kept is not None
    assert row["auc_expected"] == kept.expected["auc"][0]
    segments = pl.DataFrame(row["segments"])
    assert segments["n"].sum() == row["n"]
    early = monitor.early()
    assert early["cutoff"].unique().to_list() == [last]
    assert early["days_seen"].unique().to_list() == [5]
    assert monitor.by_age()["users"].sum() == monitor.closed["n"][-1]


def test_figures_of_closed_cutoffs_are_kept_and_not_computed_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is new is labelled, with the newest few and what the log has changed."""
    monkeypatch.setattr(outcomes, "N_AGAIN", 1)
    oldest, old = score(study, 30), score(study, 25)
    first = outcomes.update(study.store)
    asked: list[list[date]] = []
    compute = outcomes._closed

    def look(store: Store, cutoffs: list[date], n_events: dict[date, int]) -> object:
        asked.append(cutoffs)
        return compute(store, cutoffs, n_events)

    monkeypatch.setattr(outcomes, "_closed", look)
    assert outcomes.update(study.store).equals(first)
    newer = score(study, 20)
    assert outcomes.update(study.store).height == 3
    assert asked == [[old], [newer]]
    counted = outcomes._events
    with monkeypatch.context() as patch:
        patch.setattr(
            outcomes,
            "_events",
            lambda *known: counted(*known) | {oldest: 1},
        )
        outcomes.update(study.store)
    assert asked[-1] == [oldest, newer]


def test_a_hole_in_the_horizon_leaves_the_outcome_unknown(study: Study) -> None:
    """It is not silence; the night goes on."""
    score(study, 30)
    store = study.store
    known = Calendar.of(store)
    hole = frozenset(known.end - timedelta(days=k) for k in range(20, 28))
    with pytest.MonkeyPatch.context() as patch:
        with_hole = replace(known, missing=hole)
        patch.setattr(Calendar, "of", classmethod(lambda cls, store: with_hole))
        assert outcomes.update(store).is_empty()


def test_on_day_one_it_says_when_the_first_outcome_comes(study: Study) -> None:
    """Nothing is compared, drawn or held."""
    cutoff = score(study, 0)
    monitor = study.monitor()
    verdict = monitor.verdict()
    assert verdict.sentences[0].startswith(
        "No outcome is known yet. The first comes on"
    )
    assert str(cutoff + timedelta(days=14)) in verdict.sentences[0]
    assert monitor.judgement.decision != "hold"
    assert monitor.figures().is_empty()
    assert monitor.early().is_empty()
    assert churn.charts.levels(monitor) is None
    assert churn.charts.came_true(monitor, "auc", "AUC") is None


def test_scores_that_are_too_old_are_removed_but_not_their_figures(
    study: Study,
) -> None:
    """With their findings and promises; the newest cutoff always stays."""
    old, new = score(study, 30), score(study, 2)
    limited = study.settings.model_copy(
        update={"scores": study.settings.scores.model_copy(update={"keep_days": 10})}
    )
    one = Study(study.file, limited)
    monitor = one.monitor()
    assert monitor.save() == 1
    assert scores.cutoffs(one.store) == [new]
    assert promises.read(one.store, old) is None
    assert one.monitor().closed["cutoff"].to_list() == [old]


def test_a_hold_stops_the_next_scores_of_the_same_model(study: Study) -> None:
    """Nothing is stored until somebody accepts the gate, or another model scores."""
    model_id = study.model().model_id
    held = Judgement("hold", ("it was wrong",), True, model_id, "2026-03-20")
    judgement.write(study.store.place, held)
    made = study.score()
    with pytest.raises(GateError, match=r"monitor: .* said hold.*it was wrong"):
        made.save()
    assert not scores.cutoffs(study.store)
    other = Judgement("hold", ("it was wrong",), True, "another", "2026-03-20")
    judgement.write(study.store.place, other)
    assert study.score().findings.filter(gate="monitor")["passed"].item()


def test_risky_users_who_come_back_later_are_no_alarm() -> None:
    """Each segment is compared with how fast its own users came back before."""
    day = date(2026, 3, 1)
    segments = [
        {"segment": "high", "n": 100, "back": [0.0, 0.1, 0.2]},
        {"segment": "low", "n": 100, "back": [0.8, 0.8, 0.8]},
    ]
    rows = [{"cutoff": day, "segments": segments}]
    speed = early._speed(pl.DataFrame(rows, schema_overrides={"cutoff": pl.Date}))
    shares = {row[:2]: row[2] for row in speed.iter_rows()}
    assert shares["high", 2] == pytest.approx(0.5)
    assert shares["low", 1] == pytest.approx(1)


def test_a_model_of_an_earlier_version_has_no_promise(
    study: Study, make_study: Callable[..., object]
) -> None:
    """Its scores are compared all the same."""
    store = study.store
    kept = [name for name in store.place.names("models") if name.endswith(".parquet")]
    store.place.remove(*kept)
    score(study, 30)
    row = study.monitor().closed.row(0, named=True)
    assert row["auc"] is not None
    assert row["auc_expected"] is None
