"""A model that other versions of the libraries stored: used, or trained anew."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sklearn
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import FunctionTransformer

from churn.errors import ModelError
from churn.model import champion, due, fitting, storage, versions
from churn.model.own import RECIPE
from churn.model.pipelines import Recipe
from churn.settings import Settings
from churn.store import Store, create_or_open

from ..conftest import DAY0
from .test_selection import CUTOFFS, PLAN, WINDOWS, rows

LOGISTIC = Recipe({"logistic": 1.0})
LAST_DAY = CUTOFFS[-1] + timedelta(days=WINDOWS["horizon_days"] - 1)
SAME_LINE = ".".join(sklearn.__version__.split(".")[:2])


@pytest.fixture
def store(make_study: Callable[..., Settings]) -> Store:
    """A store without any model, whose log ends when the outcomes of ``rows`` do."""
    empty = create_or_open(make_study(windows=WINDOWS))
    return replace(empty, first_date=DAY0, covered_until=LAST_DAY)


def stored(store: Store, recipe: Recipe = LOGISTIC, estimator: Any = None) -> Path:
    """The folder of a model that was just stored."""
    labelled = rows().drop_nulls("churned")
    model = fitting.fit(labelled, PLAN, store.settings, recipe, estimator)
    return Path(storage.save(model, store, {}))


def pretend(folder: Path, **stated: str) -> None:
    """Change the versions that a model was stored with."""
    file = folder / "model.json"
    facts = json.loads(file.read_text())
    facts["versions"] |= {name.replace("_", "-"): v for name, v in stated.items()}
    file.write_text(json.dumps(facts))


def test_a_model_of_another_scikit_learn_asks_for_a_training(store: Store) -> None:
    """Both versions are named before the file, whose types look foreign, is opened."""
    folder = stored(store)
    pretend(folder, scikit_learn="1.2.3")
    (folder / "model.skops").write_bytes(b"not looked at")
    with pytest.raises(ModelError) as refused:
        storage.load(store)
    assert str(refused.value) == (
        f"model {folder.name} was stored with scikit-learn 1.2.3, this is "
        f"{sklearn.__version__}: run `churn run train`"
    )


def test_a_bug_fix_release_needs_no_training(store: Store) -> None:
    """The last part of a version may differ, and so may libraries that store nothing of
    their own in a model.
    """
    folder = stored(store)
    pretend(folder, scikit_learn=f"{SAME_LINE}.99", numpy="2.0.0", skops="0.14.0")
    assert storage.load(store).model_id == folder.name
    assert due.reason(store) == ""


def test_a_file_that_cannot_be_opened_names_the_versions_that_differ(
    store: Store,
) -> None:
    """Untrusted types and damage may come from them; without a difference neither
    error speaks of versions.
    """
    folder = stored(store)
    evil = {"pipeline": FunctionTransformer(func=timedelta)}
    for content in (skops.io.dumps(evil), b"nonsense"):
        (folder / "model.skops").write_bytes(content)
        with pytest.raises(ModelError) as plain:
            storage.load(store)
        assert "stored with" not in str(plain.value)
    pretend(folder, numpy="2.0.0")
    for content in (skops.io.dumps(evil), b"nonsense"):
        (folder / "model.skops").write_bytes(content)
        with pytest.raises(
            ModelError, match=r"It was stored with numpy 2\.0\.0, this is .*: if that"
        ):
            storage.load(store)


def test_features_that_mean_something_else_ask_for_a_training(store: Store) -> None:
    """Their names would fit; a model stored before such changes were counted is old."""
    folder = stored(store)
    pretend(folder, features="0")
    with pytest.raises(ModelError, match="features meant something else: run `churn"):
        storage.load(store)
    facts = json.loads((folder / "model.json").read_text())
    del facts["versions"]
    assert "meant something else" in versions.reason_to_train(facts)
    assert "scikit-learn 1.0" in versions.reason_to_train(
        facts | {"scikit_learn": "1.0"}
    )


def test_the_library_of_a_users_classifier_has_its_version_stored() -> None:
    """It is found by the module of a type; a module that nothing installed has none."""
    found = versions.present({"great_tables.gt.GT", "numpy.dtype", "mine.Model"})
    assert set(found) == {"features", *versions.OF_OURS, "great-tables"}
    assert versions.differences(found) == {}
    gone = {"versions": {"no-such-library": "1.0"}}
    assert versions.reason_to_train(gone) == (
        "stored with no-such-library 1.0, this is an environment without it"
    )


def test_a_training_is_due_for_our_model_but_never_replaces_a_users(
    store: Store,
) -> None:
    """A user's classifier has to be trained again by its user."""
    assert due.reason(store) == "there is no model yet"
    pretend(stored(store), scikit_learn="1.2.3")
    assert "was stored with scikit-learn 1.2.3" in due.reason(store)
    tree = HistGradientBoostingClassifier(max_iter=2)
    folder = stored(store, RECIPE, tree)
    pretend(folder, scikit_learn="1.2.3")
    champion.promote(store.place, folder.name, "a better one")
    assert due.reason(store) == ""
    with pytest.raises(ModelError, match="train your classifier again"):
        storage.load(store)


@pytest.mark.parametrize(
    ("days_later", "is_due"), [(-1, True), (90, False), (91, True)]
)
def test_a_training_is_due_when_the_model_is_too_old_for_the_newest_cutoff(
    store: Store, days_later: int, is_due: bool
) -> None:
    """It is due after 90 days, and if an extract was replaced by a shorter one, so that
    the model has learned from days that the log no longer covers.
    """
    stored(store)
    later = replace(store, covered_until=LAST_DAY + timedelta(days=days_later))
    said = due.reason(later)
    assert ("learned from outcomes until 2026-02-19" in said) is is_due
