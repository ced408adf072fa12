"""Importance: what the forecast loses without a feature."""

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from churn.features.catalogue import KINDS, catalogue
from churn.model import importance, training
from churn.model.training import Trained

from .test_selection import CUTOFFS, PLAN, STUDY, rows

OWN = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=7)


def one_informative(n_users: int = 300) -> pl.DataFrame:
    """A snapshot in which only the tenure tells who churns, beside noise."""
    table = rows(n_users)
    rng = np.random.default_rng(5)
    noise = pl.Series(rng.normal(size=table.height))
    risk = pl.col("churned").fill_null(False).cast(pl.Float64)
    return table.with_columns(
        tenure_days=50 + 100 * risk + 30 * noise,
        recency_days=pl.Series(rng.integers(1, 15, table.height)),
        active_days_28d=pl.Series(rng.integers(1, 12, table.height)),
        first_active_days=pl.Series(rng.integers(1, 28, table.height)),
    )


@pytest.fixture(scope="module")
def trained() -> Trained:
    """The blend, learned from that snapshot."""
    return training.learn(one_informative(), PLAN, STUDY)


def test_the_one_informative_feature_comes_first(trained: Trained) -> None:
    """It and its kind cost most of the log loss, every other nearly nothing."""
    table = importance.measure(trained, STUDY)
    assert table.schema == importance.SCHEMA
    first = table.group_by("what", maintain_order=True).first()
    assert first.select("what", "name").rows() == [
        ("kind", "tenure"),
        ("feature", "tenure_days"),
    ]
    assert (first["log_loss_increase"] > 0.2).all()
    others = table.filter(pl.col("kind") != "tenure")
    assert others["log_loss_increase"].abs().max() < 0.03


def test_there_is_a_row_for_each_kind_and_feature_with_its_meaning(
    trained: Trained,
) -> None:
    """Kinds come before features; within both the order is by importance."""
    table = importance.measure(trained, STUDY)
    kinds = table.filter(pl.col("what") == "kind")
    features = table.filter(pl.col("what") == "feature")
    assert (
        table["what"].to_list()
        == ["kind"] * kinds.height + ["feature"] * features.height
    )
    assert set(features["name"]) == set(trained.model.features)
    assert set(kinds["name"]) == set(features["kind"])
    for part in (kinds, features):
        assert part["log_loss_increase"].is_sorted(descending=True)
    known = catalogue(PLAN)
    assert features["meaning"].to_list() == [
        known[name].meaning for name in features["name"]
    ]
    assert kinds["meaning"].to_list() == [KINDS[name] for name in kinds["name"]]


def test_measuring_again_gives_the_same_numbers(trained: Trained) -> None:
    """The study's random_state fixes them; another one gives others."""
    table = importance.measure(trained, STUDY)
    assert importance.measure(trained, STUDY).equals(table)
    other = STUDY.model_copy(update={"random_state": 1})
    assert not importance.measure(trained, other).equals(table)


def test_an_own_model_has_importance_too() -> None:
    """The own estimator is fitted to the fold and shuffled in the same way."""
    trained = training.learn(one_informative(), PLAN, STUDY, OWN)
    table = importance.measure(trained, STUDY)
    features = table.filter(pl.col("what") == "feature")
    assert features["name"][0] == "tenure_days"


def test_features_of_a_kind_are_shuffled_together() -> None:
    """Of the informative feature and its double each alone is worth less than their
    kind, in a linear model that uses both.
    """
    both = one_informative().with_columns(first_active_days=2 * pl.col("tenure_days"))
    linear = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    table = importance.measure(training.learn(both, PLAN, STUDY, linear), STUDY)
    kind = table.row(0, named=True)
    copies = table.filter(pl.col("name").is_in(["tenure_days", "first_active_days"]))
    assert kind["name"] == "tenure"
    assert (copies["log_loss_increase"] < 0.8 * kind["log_loss_increase"]).all()
    assert (copies["log_loss_increase"] > 0.1).all()


def test_without_a_validation_fold_nothing_is_claimed() -> None:
    """Two cutoffs a week apart, a horizon of two: a frame with columns and no rows."""
    short = one_informative().filter(pl.col("cutoff") <= CUTOFFS[1])
    trained = training.learn(short, PLAN, STUDY)
    assert trained.fold is None
    table = importance.measure(trained, STUDY)
    assert table.is_empty()
    assert table.schema == importance.SCHEMA


def test_at_most_so_many_rows_are_shuffled(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100 of the 300 rows of the newest validation cutoff the feature is found."""
    monkeypatch.setattr(importance, "MAX_ROWS", 100)
    sizes: list[int] = []
    target = importance.fitting.target

    def counted(rows: pl.DataFrame) -> np.ndarray:
        sizes.append(rows.height)
        return target(rows)

    monkeypatch.setattr(importance.fitting, "target", counted)
    table = importance.measure(trained, STUDY)
    assert table["name"][0] == "tenure"
    assert sizes[-1] == 100
