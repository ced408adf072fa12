"""Models and scores are kept in an object store as in a folder."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from churn.errors import CutoffError, ModelError, StoreError
from churn.events import ingest
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.model import fitting, storage, training
from churn.model.pipelines import Recipe
from churn.scoring import scores
from churn.settings import Settings
from churn.store import Store, open_filled

from ..conftest import random_log
from ..object_server import Server


@pytest.fixture
def remote(
    server: Server, make_study: Callable[..., Settings], tmp_path: Path
) -> Store:
    """A store of the small app in the object store."""
    random_log().write_parquet(tmp_path / "events.parquet")
    settings = make_study(
        store="s3://exports/data/store",
        extracts=[{"source": "table", "path": "events.parquet"}],
        windows={"observation_days": 28, "eligible_days": 14, "horizon_days": 14},
        backtest={"n_train_cutoffs": 5, "n_test_cutoffs": 2},
    )
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


def test_models_and_scores_in_an_object_store(remote: Store) -> None:
    """Both come back as they were stored, by name and as the newest ones; a file that
    is missing or damaged is one sentence.
    """
    with pytest.raises(ModelError, match=r"no model in s3://exports/data/store/models"):
        storage.load(remote)
    with pytest.raises(CutoffError, match="no scores for cutoff"):
        scores.read(remote)
    end = Calendar.of(remote).end
    cutoffs = training.training_cutoffs(remote)[-2:]
    plan = snapshots.plan(remote, cutoffs[-1])
    rows = snapshots.build(remote, cutoffs, plan)
    model = fitting.fit(rows, plan, remote.settings, Recipe({"logistic": 1.0}))
    folder = storage.save(model, remote, {})
    assert folder == f"s3://exports/data/store/models/{model.model_id}"
    for loaded in (storage.load(remote), storage.load(remote, model.model_id)):
        assert replace(loaded, pipeline=None) == replace(model, pipeline=None)
    table = scores.make(remote, loaded, end)
    present = datetime.combine(end, time(12), UTC)
    findings = scores.check(remote, table, loaded, present)
    assert scores.write(remote, table, findings) == remote.place.below(
        "scores", f"cutoff={end}.parquet"
    )
    stored, found = scores.read(remote)
    assert stored.equals(table)
    assert found.equals(findings)
    assert scores.previous(remote, end) is None
    assert stored.equals(scores.previous(remote, end + timedelta(days=1)))
    assert remote.place.names("findings") == [f"findings/cutoff={end}.parquet"]
    assert remote.place.names("scores") == [f"scores/cutoff={end}.parquet"]
    assert remote.place.names("models") == [
        f"models/{model.model_id}/card.md",
        f"models/{model.model_id}/model.json",
        f"models/{model.model_id}/model.skops",
    ]
    remote.place.remove(f"findings/cutoff={end}.parquet")
    with pytest.raises(StoreError, match=r"s3://exports/.*is missing: score"):
        scores.read(remote)
    remote.place.write(f"models/{model.model_id}/model.skops", b"nonsense")
    with pytest.raises(ModelError, match=r"model.skops can't be read"):
        storage.load(remote)
