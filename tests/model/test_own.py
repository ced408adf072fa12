"""A model of one's own: trained like the blend, stored only if its types are
trusted.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from churn.errors import ModelError
from churn.model import fitting, own, selection, storage, training
from churn.model.training import Trained
from churn.report import tables
from churn.scoring import reasons, scores
from churn.settings import ModelSettings, Settings
from churn.store import Store, create_or_open

from .test_selection import PLAN, STUDY, WINDOWS, rows


class BaseRate(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The churn rate of the training rows for everybody."""

    def fit(self, X: Any, y: Any) -> "BaseRate":  # noqa: N803
        """Remember the rate."""
        self.classes_ = np.array([0, 1])
        self.rate_ = float(np.mean(y))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Shape (n_rows, 2)."""
        return np.tile([1 - self.rate_, self.rate_], (len(X), 1))


CUSTOM = f"{BaseRate.__module__}.BaseRate"
BOOSTING = HistGradientBoostingClassifier(max_iter=20)
LINEAR = make_pipeline(
    SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression()
)
OWN = {"boosting": BOOSTING, "linear": LINEAR}


@pytest.fixture
def empty(make_study: Callable[..., Settings]) -> Store:
    """A store without any model."""
    return create_or_open(make_study(windows=WINDOWS))


def trusting(store: Store, *types: str) -> Store:
    """The store under settings that trust these types."""
    model = ModelSettings(trusted_types=types)
    return store.under(store.settings.model_copy(update={"model": model}))


@pytest.mark.parametrize("name", OWN)
def test_a_classifier_of_scikit_learn_is_trained_and_stored_without_trusted_types(
    empty: Store, name: str
) -> None:
    """Loaded again it gives bit-equal probabilities; its card shows the estimator."""
    trained = training.learn(rows(), PLAN, empty.settings, OWN[name])
    folder = Path(storage.save(trained.model, empty, {}))
    loaded = storage.load(empty, trained.model.model_id)
    expected = fitting.predict(trained.model, rows())
    assert fitting.predict(loaded, rows()).tobytes() == expected.tobytes()
    assert replace(loaded, pipeline=None) == replace(trained.model, pipeline=None)
    card = (folder / "card.md").read_text()
    assert f"A model supplied by the user: `{type(OWN[name]).__name__}(" in card
    assert "needs no entry in the study's `model.trusted_types`" in card


def test_an_own_model_sees_the_rows_and_features_that_the_blend_sees() -> None:
    """Same features, cutoffs, rows and windows; the forecast is the estimator's own."""
    ours = training.learn(rows(), PLAN, STUDY).model
    trained = training.learn(rows(), PLAN, STUDY, LINEAR)
    theirs = trained.model
    for name in ("features", "typical", "cutoffs", "windows", "n_rows", "churn_rate"):
        assert getattr(theirs, name) == getattr(ours, name)
    labelled = rows().drop_nulls("churned")
    x, y = fitting.matrix(labelled, ours.features), fitting.target(labelled)
    alone = LINEAR.fit(x, y).predict_proba(x)[:, 1]
    assert fitting.raw(theirs, labelled) == pytest.approx(alone, rel=1e-9)
    assert theirs.candidate == "own"
    assert theirs.model_id != ours.model_id


def test_an_own_model_is_measured_in_the_validation_folds() -> None:
    """Its log losses are its only row, and the newest fold gives its calibration."""
    trained = training.learn(rows(), PLAN, STUDY, LINEAR)
    metrics = selection.choice_metrics(trained.choice)
    assert list(metrics) == ["log_loss own"]
    assert metrics["log_loss own"] < np.log(2) - 0.05
    assert tables.members(trained.choice)["candidate"].to_list() == ["own"]
    assert trained.model.calibration is not None


def test_the_correction_of_an_own_model_is_kept_only_if_it_helped_in_every_fold() -> (
    None
):
    """A forecast whose level is off by one log-odd in every fold gets the
    correction.
    """
    off = make_pipeline(LINEAR, memory=None)
    assert training.learn(rows(), PLAN, STUDY, off).model.correction.kind == "none"
    biased = LogisticRegression(class_weight={0: 1, 1: 8})
    shifted = make_pipeline(SimpleImputer(keep_empty_features=True), biased)
    corrected = training.learn(rows(), PLAN, STUDY, shifted).model.correction
    assert corrected.kind != "none"


def test_the_estimator_that_is_passed_stays_unfitted_and_is_seeded() -> None:
    """It is cloned; where it states no random_state, the study's makes fits repeatable,
    and another parameter makes a model of another id.
    """
    forest = HistGradientBoostingClassifier(max_iter=5, max_features=0.5)
    first, second = (training.learn(rows(), PLAN, STUDY, forest) for _ in range(2))
    assert not hasattr(forest, "n_iter_")
    assert forest.random_state is None
    assert first.model.pipeline.random_state == STUDY.random_state
    assert first.model.model_id == second.model.model_id
    shallow = forest.set_params(max_depth=2)
    assert (
        training.learn(rows(), PLAN, STUDY, shallow).model.model_id
        != first.model.model_id
    )


def test_functions_of_an_estimator_tell_models_apart_but_not_runs() -> None:
    """A function's address in memory is no part of the fingerprint, its name is."""
    one, other = (FunctionTransformer(f) for f in (own.fit, own.fingerprint))
    prints = [
        own.fingerprint(make_pipeline(step, LogisticRegression()), 0)
        for step in (one, other, one)
    ]
    assert prints[0] == prints[2] != prints[1]
    assert " at 0x" in repr(one.func)


def test_a_type_that_is_not_trusted_is_not_stored(empty: Store) -> None:
    """The error lists the line to add to model.trusted_types; with it the model is
    saved, its card names the type, and without it the file isn't opened.
    """
    model = training.learn(rows(), PLAN, empty.settings, BaseRate()).model
    with pytest.raises(ModelError, match=r"model\.trusted_types") as refused:
        storage.save(model, empty, {})
    assert str(refused.value).endswith(f'study file:\n  "{CUSTOM}",')
    assert not empty.place.names("models")
    store = trusting(empty, CUSTOM)
    folder = Path(storage.save(model, store, {}))
    assert f"`model.trusted_types`: `{CUSTOM}`" in (folder / "card.md").read_text()
    loaded = storage.load(store)
    assert np.array_equal(
        fitting.predict(loaded, rows()), fitting.predict(model, rows())
    )
    with pytest.raises(ModelError, match=CUSTOM):
        storage.load(empty)


def test_what_cannot_be_imported_again_is_not_stored(empty: Store) -> None:
    """A lambda inside a pipeline trains, but no trusted type would make it load."""
    filled = FunctionTransformer(lambda x: np.nan_to_num(x))
    estimator = make_pipeline(filled, LogisticRegression(max_iter=1000))
    model = training.learn(rows(), PLAN, empty.settings, estimator).model
    store = trusting(empty, f"{BaseRate.__module__}.<lambda>")
    with pytest.raises(ModelError, match="move it to a module that can be imported"):
        storage.save(model, store, {})


class Halved(BaseRate):
    """Gives one column of probabilities instead of two."""

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Shape (n_rows, 1), which is wrong."""
        return super().predict_proba(X)[:, :1]


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LogisticRegression(), "put an imputer, such as SimpleImputer"),
        (LinearSVC(), "has no predict_proba"),
        (LogisticRegression, "unfitted instance"),
        (Halved(), r"gave an array of shape \(2, 1\)"),
    ],
    ids=["takes no NaN", "no probabilities", "a class", "one column"],
)
def test_an_estimator_that_cannot_be_used_is_refused_in_training(
    estimator: Any, message: str
) -> None:
    """Also where only users to be scored would have gaps: the training rows have
    none.
    """
    with pytest.raises(ModelError, match=message):
        training.learn(rows(), PLAN, STUDY, estimator)


def trained_on(store: Store, estimator: Any) -> Trained:
    """An own model of the small app."""
    return training.train(store, training.training_cutoffs(store), estimator)


@pytest.mark.parametrize("name", OWN)
def test_scores_of_an_own_model_have_segments_reasons_and_findings(
    filled: Store, name: str
) -> None:
    """Scored, checked by every gate and written as with the blend."""
    model = trained_on(filled, OWN[name]).model
    table = scores.make(filled, model, filled.covered_until)
    findings = scores.check(filled, table, model)
    assert table["model_id"].unique().to_list() == [model.model_id]
    assert set(table["reason_1"].drop_nulls()) <= set(reasons.CODES)
    assert table["reason_1"].null_count() < table.height
    assert {"score_shift", "calibration", "match_rate"} <= set(findings["gate"])
    failed = findings.filter(~pl.col("passed"))["gate"].to_list()
    assert Path(scores.write(filled, table, findings, failed)).is_file()
