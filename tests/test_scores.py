"""Segments, scores and the gates before them."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn import evaluate, events, health, model, scores, segments, snapshots, store
from churn.errors import CutoffError
from churn.model import Model
from churn.store import Store
from churn.study import Segment, Study


@pytest.fixture
def fitted(filled: tuple[Study, Store]) -> tuple[Study, Store, Model]:
    """The small app with a trained model."""
    study, target = filled
    return study, target, evaluate.train(target, study, evaluate.training_cutoffs(target, study))[0]


def test_a_threshold_belongs_to_the_segment_it_starts() -> None:
    """0.6 is high, just below is medium, 0 is the last one."""
    bands = [Segment(name=n, from_probability=p) for n, p in (("high", 0.6), ("medium", 0.3), ("low", 0.0))]
    p = pl.Series([0.6, 0.5999, 0.3, 0.0, 1.0])
    assert pl.select(segments.cut(pl.lit(p), bands)).to_series().to_list() == [
        "high",
        "medium",
        "medium",
        "low",
        "high",
    ]
    assert pl.select(segments.score(pl.lit(p))).to_series().to_list() == [60, 60, 30, 0, 100]


def test_scoring_twice_writes_the_same_file(fitted: tuple[Study, Store, Model]) -> None:
    """Scores of the newest cutoff: one row per eligible user, the same bytes when run again."""
    study, target, one = fitted
    cutoff = snapshots.covered_end(target)
    table = scores.make(target, study, one, cutoff)
    assert table["user_id"].is_unique().all()
    file = scores.write(target, table, scores.check(target, study, table, one))
    first = file.read_bytes()
    table = scores.make(target, study, one, cutoff)
    scores.write(target, table, scores.check(target, study, table, one))
    assert file.read_bytes() == first
    stored, findings = scores.read(target)
    assert stored.equals(table)
    assert findings["passed"].all()


def test_scores_that_do_not_exist_are_refused(filled: tuple[Study, Store]) -> None:
    """Before any scoring, reading says what to run."""
    with pytest.raises(CutoffError, match="run `churn run score` first"):
        scores.read(filled[1])


def judged(study: Study) -> dict[str, dict[str, Any]]:
    """Findings about the log at the end of the sixty days."""
    volume = store.scan(store.open_filled(study), "volume").collect()
    return {finding["gate"]: finding for finding in health.data(volume, study, date(2026, 3, 2))}


def daily(
    tmp_path: Path,
    missing: frozenset[date] = frozenset(),
    extra: dict[date, int] | None = None,
    renamed: date | None = None,
) -> None:
    """Hundred users active on each of sixty days, but for the missing ones; ``extra`` sets another number for a day."""
    days = [date(2026, 1, 1) + timedelta(days=k) for k in range(60)]
    lines = [
        f"u{i},{'launch' if day == renamed else 'open'},{day}"
        for day in days
        if day not in missing
        for i in range((extra or {}).get(day, 100))
    ]
    (tmp_path / "events.csv").write_text("user_id,event,time\n" + "\n".join(lines) + "\n")


def test_a_missing_day_fails_its_gate_and_is_named(tmp_path: Path, make_study: Callable[..., Study]) -> None:
    """A day without events among busy ones fails, one that lies outside the judged days doesn't."""
    daily(tmp_path, frozenset({date(2026, 2, 20), date(2026, 1, 10)}))
    study = make_study()
    events.ingest(study, progress=False)
    finding = judged(study)["missing_day"]
    assert not finding["passed"]
    assert finding["days"] == "2026-02-20"


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        ({"extra": {date(2026, 2, 20): 45}}, "missing_day"),
        ({"extra": {date(2026, 2, 20): 200}}, "excess_day"),
        ({"renamed": date(2026, 3, 1)}, "vanished_event"),
    ],
)
def test_half_a_day_a_doubled_day_and_a_renamed_event_each_fail_their_gate(
    tmp_path: Path, make_study: Callable[..., Study], fault: dict[str, Any], gate: str
) -> None:
    """Exactly one gate speaks, and names the day or the event."""
    daily(tmp_path, **fault)
    study = make_study()
    events.ingest(study, progress=False)
    failed = [f for f in judged(study).values() if not f["passed"]]
    assert [f["gate"] for f in failed] == [gate]
    assert "2026-02-20" in failed[0]["days"] or "open" in failed[0]["seen"]


def test_users_who_lose_their_id_fail_the_gate(tmp_path: Path, make_study: Callable[..., Study]) -> None:
    """In the last week half the events carry no user any more."""
    days = [date(2026, 1, 1) + timedelta(days=k) for k in range(60)]
    lines = [f"{'' if day > days[-7] and i % 2 else f'u{i}'},open,{day}" for day in days for i in range(20)]
    (tmp_path / "events.csv").write_text("user_id,event,time\n" + "\n".join(lines) + "\n")
    study = make_study()
    events.ingest(study, progress=False)
    assert [f["gate"] for f in judged(study).values() if not f["passed"]] == ["unknown_users"]


def test_growth_and_weekends_are_nobodys_fault(tmp_path: Path, make_study: Callable[..., Study]) -> None:
    """An app that grows by a tenth a week and rests on weekends passes every gate."""
    days = [date(2026, 1, 1) + timedelta(days=k) for k in range(60)]
    daily(tmp_path, extra={d: int((40 if d.weekday() > 4 else 100) * 1.1 ** (k / 7)) for k, d in enumerate(days)})
    study = make_study()
    events.ingest(study, progress=False)
    assert [f["gate"] for f in judged(study).values() if not f["passed"]] == []


def test_whole_days_pass(tmp_path: Path, make_study: Callable[..., Study]) -> None:
    """Sixty whole days: nothing to say."""
    daily(tmp_path)
    study = make_study()
    events.ingest(study, progress=False)
    assert [f["gate"] for f in judged(study).values() if not f["passed"]] == []


def test_scores_far_from_the_trained_churn_rate_fail(fitted: tuple[Study, Store, Model]) -> None:
    """Everybody at 0.95 though far fewer churned in training: the gate fails and says both figures."""
    study, target, one = fitted
    table = scores.make(target, study, one, snapshots.covered_end(target)).with_columns(probability=pl.lit(0.95))
    finding = health.score_shift(study, table["cutoff"][0], table, one)
    assert not finding["passed"]
    assert "95.0%" in finding["sentence"]
    assert f"{one.churn_rate:.1%}" in finding["sentence"]


def test_a_model_scores_only_its_own_features(fitted: tuple[Study, Store, Model]) -> None:
    """The stored plan decides the columns: predictions come from the model's vocabulary, not from today's log."""
    study, target, one = fitted
    snapshot = snapshots.observe(target, study, [snapshots.covered_end(target)], one.plan)
    assert set(one.features) <= set(snapshot.columns)
    assert len(model.predict(one, snapshot)) == snapshot.height
