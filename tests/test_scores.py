"""Segments, scores and the gate on them."""

import polars as pl
import pytest

from churn import evaluate, forget, health, model, scores, segments, snapshots
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


def test_who_is_forgotten_while_scores_are_made_is_not_written(fitted: tuple[Study, Store, Model]) -> None:
    """Erased between scoring and writing: the scores file holds everybody else."""
    study, target, one = fitted
    table = scores.make(target, study, one, snapshots.covered_end(target))
    findings = scores.check(target, study, table, one)
    gone = table["user_id"][0]
    forget.forget(study, [gone])
    file = scores.write(target, table, findings)
    assert pl.read_parquet(file, hive_partitioning=False)["user_id"].to_list() == table["user_id"].to_list()[1:]


def test_scores_that_do_not_exist_are_refused(filled: tuple[Study, Store]) -> None:
    """Before any scoring, reading says what to run."""
    with pytest.raises(CutoffError, match="run `churn run score` first"):
        scores.read(filled[1])


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
