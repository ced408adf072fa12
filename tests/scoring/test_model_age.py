"""The age of the model: neither half a year old, nor one that knows the outcome."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

import churn
from churn.errors import GateError
from churn.features.catalogue import Plan
from churn.model.correction import Correction
from churn.model.fitting import Model
from churn.model.pipelines import Recipe
from churn.scoring.model_age import stale_model
from churn.settings import Settings, Windows, parse

from ..conftest import random_log

NEWEST = date(2026, 3, 1)
WINDOWS = Windows(lead_days=7, horizon_days=14)
UNTIL = NEWEST + timedelta(days=21)


def study(**gates: int) -> Settings:
    """Settings with these limits."""
    return parse(
        {"extracts": [{"source": "table", "path": "x"}], "gates": gates}, Path()
    )


def model() -> Model:
    """A model whose newest training cutoff is 1 March, and that can't be asked."""
    return Model(
        recipe=Recipe({"logistic": 1.0}),
        features=(),
        typical=(),
        plan=Plan(28),
        pipeline=None,
        correction=Correction(),
        calibration=None,
        calibration_cutoff=None,
        cutoffs=(NEWEST, NEWEST - timedelta(days=7)),
        windows=WINDOWS.model_dump(),
        churn_rate=0.5,
        n_rows=0,
        n_churned=0,
        learned_from="",
    )


@pytest.mark.parametrize(
    ("days_later", "passed"), [(-1, False), (0, True), (90, True), (91, False)]
)
def test_a_model_is_used_from_the_end_of_its_outcomes_for_ninety_days(
    days_later: int, passed: bool
) -> None:
    """Its outcomes end with the lead time and horizon of its newest training cutoff.
    A cutoff before that was part of the training.
    """
    found = stale_model(study(), UNTIL + timedelta(days=days_later), model())
    assert found["passed"] is passed
    assert "outcomes until 2026-03-22" in found["sentence"]


def test_the_study_may_allow_another_age() -> None:
    """With a limit of 10 days the eleventh fails, and the sentence says what to do."""
    assert stale_model(study(max_model_age_days=10), UNTIL + timedelta(10), model())[
        "passed"
    ]
    found = stale_model(study(max_model_age_days=10), UNTIL + timedelta(11), model())
    assert "11 days before the cutoff" in found["sentence"]
    assert "churn run train" in found["sentence"]


STUDY = """
[[extracts]]
source = "table"
path = "events.parquet"

[windows]
observation_days = 28
eligible_days = 14
horizon_days = 14

[backtest]
n_train_cutoffs = 3

[gates]
max_age_days = 3650
"""


def test_a_training_cutoff_is_not_scored_by_the_model_that_knows_its_outcome(
    tmp_path: Path,
) -> None:
    """Nothing is stored unless the gate is accepted by name; an earlier model may score
    that cutoff, and the newest model the newest one.
    """
    random_log().write_parquet(tmp_path / "events.parquet")
    (tmp_path / "churn.toml").write_text(STUDY)
    opened = churn.open(tmp_path / "churn.toml")
    opened.ingest()
    tree = HistGradientBoostingClassifier(max_iter=2)
    earlier = opened.train("2026-03-20", model=tree)
    earlier.save()
    newest = opened.train(model=tree)
    newest.save()
    past = str(max(newest.model.cutoffs))
    known = opened.score(past)
    with pytest.raises(GateError, match=f"stale_model: model .*, {past}: it learned"):
        known.save()
    known.save(accept=["stale_model"])
    opened.score(past, earlier.model.model_id).save()
    opened.score().save()
