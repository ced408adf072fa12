"""Fitting, saving and loading a model."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from churn import evaluate, labels, model, snapshots
from churn.errors import ModelError
from churn.model import Model
from churn.store import Store
from churn.study import Study


@pytest.fixture
def fitted(filled: tuple[Study, Store]) -> tuple[Study, Store, Model]:
    """A blend trained on the small app."""
    study, target = filled
    cutoffs = evaluate.training_cutoffs(target, study)
    plan = snapshots.plan(target, study, max(cutoffs))
    return study, target, model.fit(snapshots.build(target, study, cutoffs, plan), "blend", plan, study)


@pytest.mark.parametrize("candidate", list(model.CANDIDATES))
def test_a_stored_model_predicts_the_same(fitted: tuple[Study, Store, Model], candidate: str) -> None:
    """Every candidate, saved and loaded, gives bit-equal probabilities within [0, 1]."""
    study, target, blend = fitted
    snapshot = snapshots.build(target, study, list(blend.cutoffs), blend.plan)
    one = model.fit(snapshot, candidate, blend.plan, study)
    model.save(one, target, {"log_loss": 0.5})
    loaded = model.load(target, study, one.model_id)
    p = model.predict(loaded, snapshot)
    assert np.array_equal(p, model.predict(one, snapshot))
    assert p.min() >= 0
    assert p.max() <= 1


def test_the_card_and_facts_say_what_the_model_is(fitted: tuple[Study, Store, Model]) -> None:
    """card.md names candidate, cutoffs and figures; model.json lists the features."""
    study, target, blend = fitted
    folder = model.save(blend, target, {"log_loss": 0.5})
    card = (folder / "card.md").read_text()
    assert "**blend**" in card
    assert str(max(blend.cutoffs)) in card
    assert "| log_loss | 0.5 |" in card
    assert json.loads((folder / "model.json").read_text())["features"] == list(blend.features)
    assert model.load(target, study).model_id == blend.model_id


def test_a_file_with_a_type_that_is_not_on_the_list_is_not_opened(fitted: tuple[Study, Store, Model]) -> None:
    """A pipeline that carries a function of somebody's own is refused by name, before anything of it runs."""
    study, target, blend = fitted
    folder = model.save(blend, target, {})
    evil = {"pipeline": FunctionTransformer(func=timedelta), "calibrator": None}
    (folder / "model.skops").write_bytes(skops.io.dumps(evil))
    with pytest.raises(ModelError, match=r"datetime\.timedelta"):
        model.load(target, study)


def test_a_damaged_or_missing_file_is_one_sentence(fitted: tuple[Study, Store, Model]) -> None:
    """Bytes that are no model, an unknown model id, and a store without any model."""
    study, target, blend = fitted
    with pytest.raises(ModelError, match="run `churn run train` first"):
        model.load(target, study)
    folder = model.save(blend, target, {})
    (folder / "model.skops").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="can't be read"):
        model.load(target, study)
    with pytest.raises(ModelError, match="there is no model nope"):
        model.load(target, study, "nope")


def test_a_model_with_other_features_or_windows_is_refused(fitted: tuple[Study, Store, Model]) -> None:
    """A feature that is no longer computed, and a study that now means something else by churn."""
    study, target, blend = fitted
    folder = model.save(blend, target, {})
    other = study.model_copy(update={"windows": study.windows.model_copy(update={"horizon_days": 7})})
    with pytest.raises(ModelError, match="trained for windows"):
        model.load(target, other)
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace('"recency_days"', '"gone_days"'))
    with pytest.raises(ModelError, match="gone_days, no longer computed"):
        model.load(target, study)


def test_a_snapshot_without_a_needed_feature_is_refused(fitted: tuple[Study, Store, Model]) -> None:
    """Predicting never fills a missing column silently."""
    study, target, blend = fitted
    snapshot = snapshots.observe(target, study, [max(blend.cutoffs)], blend.plan)
    with pytest.raises(ModelError, match="recency_days"):
        model.predict(blend, snapshot.drop("recency_days"))


def test_training_twice_gives_the_same_model(filled: tuple[Study, Store], tmp_path: Path) -> None:
    """The same study and store: the same id and the same probabilities."""
    study, target = filled
    cutoffs = evaluate.training_cutoffs(target, study)
    first, _ = evaluate.train(target, study, cutoffs)
    second, _ = evaluate.train(target, study, cutoffs)
    snapshot = snapshots.observe(target, study, [labels.newest_mature(study.windows, target.covered_until)], first.plan)
    assert first.model_id == second.model_id
    assert np.array_equal(model.predict(first, snapshot), model.predict(second, snapshot))
