"""The features of three real logs are what they were when their values were kept."""

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from churn.features import snapshots
from churn.hashing import stable_hash

from ..benchmarks import common, real_logs

KEPT = Path(__file__).with_name("real_log_features.json")

pytestmark = pytest.mark.skipif(
    not common.DATA.exists(), reason="the real logs are not in the repository"
)


def figures(snapshot: pl.DataFrame) -> dict[str, list[float]]:
    """By feature: number of values, their sum, and a sum weighted by user and cutoff.

    The weights are between 0 and 1 and follow from the user's hash, so that values of
    two users that are swapped change the sum.
    """
    key = pl.concat_str("user_id", "cutoff", separator=" ")
    weight = stable_hash(key).cast(pl.Float64) / 2**64
    rows = snapshot.with_columns(weight=weight)
    names = snapshot.drop("user_id", "cutoff").columns
    return {
        name: list(
            rows.select(
                n=pl.col(name).count().cast(pl.Float64),
                total=pl.col(name).cast(pl.Float64).sum(),
                weighted=(pl.col(name).cast(pl.Float64) * pl.col("weight")).sum(),
            ).row(0)
        )
        for name in names
    }


@pytest.mark.parametrize("name", list(real_logs.LOGS))
def test_features_and_labels_of_a_real_log_have_not_changed(
    name: str, tmp_path: Path
) -> None:
    """Every feature, with the label, at the third and the fourth test cutoff."""
    settings = real_logs.study(name, common.DATA, tmp_path)
    store = common.filled(settings)
    cutoffs: list[date] = real_logs.cutoffs(name)[2:4]
    plan = snapshots.plan(store, cutoffs[0])
    found = figures(snapshots.build(store, cutoffs, plan))
    expected = json.loads(KEPT.read_text())[name]
    assert list(found) == list(expected)
    for feature, values in expected.items():
        assert found[feature] == pytest.approx(values, rel=1e-9, abs=1e-9), feature
