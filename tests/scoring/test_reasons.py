"""Reasons: contributions that can be computed by hand, and their order."""

from datetime import date
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression

from churn.features.catalogue import Plan
from churn.model import blend, fitting, own, pipelines
from churn.model.correction import Correction
from churn.model.pipelines import Recipe
from churn.report import people_sentences
from churn.scoring import drivers, reasons

FEATURES = ("recency_days", "active_days_28d", "tenure_days")
TYPICAL = (3.0, 8.0, 100.0)


def linear(
    *weights: float,
    features: tuple[str, ...] = FEATURES,
    typical: tuple[float, ...] = TYPICAL,
) -> Any:
    """A logistic model with these weights, in which a typical user's probability is the
    trained churn rate of a half.
    """
    fitted = LogisticRegression().fit(np.eye(2, len(weights)), [0, 1])
    fitted.coef_ = np.array([weights])
    fitted.intercept_ = np.array([-np.dot(weights, np.nan_to_num(typical))])
    facts = {
        "features": features,
        "typical": typical,
        "plan": Plan(28),
        "churn_rate": 0.5,
        "recipe": own.RECIPE,
    }
    return SimpleNamespace(
        pipeline=fitted, correction=Correction(), model_id="m", **facts
    )


def blended() -> Any:
    """A blend of all members, with what its parametric forecast needs."""
    features = ("recency_days", "active_days_28d", "first_active_days")
    x = np.random.default_rng(0).uniform(1, (14, 20, 200), (200, 3)).round()
    churned = (x[:, 0] - x[:, 1] / 2 + x[:, 2] / 100 > 3).astype(np.int8)
    recipe = Recipe(dict.fromkeys(pipelines.MEMBERS, 0.25), rounds=40)
    fitted = linear(0.2, -0.1, 0.01, features=features)
    fitted.pipeline = pipelines.fit(recipe, features, x, churned, 28, 0)
    fitted.recipe = recipe
    return fitted


def snapshot(*rows: tuple[float, ...], **more: pl.Series) -> pl.DataFrame:
    """Users u0, u1 … with these values of the three features."""
    table = pl.DataFrame(rows, schema=dict.fromkeys(FEATURES, pl.Float64), orient="row")
    key = pl.Series("user_id", [f"u{i}" for i in range(table.height)])
    return table.select(
        key, pl.lit(date(2026, 3, 1)).alias("cutoff"), pl.all()
    ).with_columns(**more)


def codes(
    fitted: Any, table: pl.DataFrame, previous: pl.DataFrame | None = None
) -> list[tuple[str | None, ...]]:
    """The three reasons of each user."""
    return reasons.explain(fitted, table, previous).select(reasons.COLUMNS).rows()


def test_a_contribution_is_weight_times_distance_from_typical() -> None:
    """It is exact in a logistic regression: 0.2 × (9 − 3), −0.1 × (4 − 8) and
    0.01 × (50 − 100).
    """
    found = reasons.contributions(linear(0.2, -0.1, 0.01), snapshot((9, 4, 50)))
    assert found.select("log_odds", "silence", "activity", "tenure").row(
        0
    ) == pytest.approx((1.1, 1.2, 0.4, -0.5))


def test_a_correction_of_the_level_is_no_reason() -> None:
    """A level raised by one in log-odds changes every risk, but no contribution."""
    plain, table = linear(0.2, -0.1, 0.01), snapshot((9, 4, 50))
    moved = SimpleNamespace(
        **{**vars(plain), "correction": Correction("level", intercept=1.0)}
    )
    one, other = (
        reasons.contributions(fitted, table)
        .drop("user_id", "cutoff", "probability")
        .row(0)
        for fitted in (plain, moved)
    )
    assert other == pytest.approx((one[0] + 1, *one[1:]))


def test_a_user_at_typical_values_has_no_reason() -> None:
    """Contributions below 0.1 in log-odds are no reason either."""
    assert (
        codes(linear(0.2, -0.1, 0.01), snapshot((3, 8, 100), (3, 8.9, 109)))
        == [(None, None, None)] * 2
    )


def test_reasons_on_the_side_of_the_user_come_first_and_larger_before_smaller() -> None:
    """A user at risk has silence 1.2, activity 0.4, and then the tenure of −0.5 that
    lowers the risk; for a safe user it is the other way round.
    """
    assert codes(
        linear(0.2, -0.1, 0.01), snapshot((9, 4, 50), (1, 12, 150), (1, 9, 100))
    ) == [
        ("risky_silence", "risky_activity", "safe_tenure"),
        ("safe_silence", "safe_activity", "risky_tenure"),
        ("safe_silence", "safe_activity", None),
    ]


def test_the_first_reason_stays_until_another_is_half_as_large_again() -> None:
    """Activity at 0.9 stays before silence at 1.2, at 0.7 it doesn't; the same kind in
    the other direction is another reason.
    """
    fitted, table = (
        linear(0.2, -0.1, 0.0),
        snapshot((9, -1, 100), (9, 1, 100), (9, -1, 100)),
    )
    before = pl.DataFrame(
        {
            "user_id": ["u0", "u1", "u2"],
            "reason_1": ["risky_activity", "risky_activity", None],
        }
    )
    first = [found[0] for found in codes(fitted, table, before)]
    assert first == ["risky_activity", "risky_silence", "risky_silence"]
    other = before.with_columns(reason_1=pl.lit("safe_activity"))
    assert [found[0] for found in codes(fitted, table, other)] == ["risky_silence"] * 3


def test_a_user_without_previous_reasons_is_explained_as_new() -> None:
    """Previous scores of other users, or without reasons, change nothing."""
    fitted, table = linear(0.2, -0.1, 0.0), snapshot((9, -1, 100))
    stranger = pl.DataFrame({"user_id": ["x"], "reason_1": ["risky_activity"]})
    without = pl.DataFrame(
        {"user_id": ["u0"], "reason_1": [None]},
        schema_overrides={"reason_1": pl.String},
    )
    assert (
        codes(fitted, table, stranger)
        == codes(fitted, table, without)
        == codes(fitted, table)
    )


def test_a_model_that_sees_one_feature_gives_one_reason() -> None:
    """The second and the third reason are null."""
    fitted = linear(0.2, features=("recency_days",), typical=(3.0,))
    assert codes(fitted, snapshot((9, 4, 50))) == [("risky_silence", None, None)]


@pytest.mark.parametrize("module", [own, blend], ids=["own", "blend"])
def test_explaining_in_slices_is_explaining_at_once(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With seven users, two at a time, probabilities and contributions are the same up
    to the last bits, whether the model is a blend or one's own classifier.
    """
    fitted: Any = linear(0.2, -0.1, 0.01) if module is own else blended()
    users = [(float(i), 2.0 * i, 90.0 + i) for i in range(7)]
    table = snapshot(*users).with_columns(first_active_days="tenure_days")
    whole = reasons.contributions(fitted, table)
    monkeypatch.setattr(module, "CHUNK", 2)
    assert_frame_equal(reasons.contributions(fitted, table), whole, rel_tol=1e-9)
    assert whole["probability"].n_unique() == 7


def test_reasons_leave_snapshot_and_probability_as_they_were() -> None:
    """The snapshot is unchanged, and a forecast before and after is equal to the
    bit.
    """
    fitted, table = linear(0.2, -0.1, 0.01), snapshot((9, 4, 50), (1, 12, 150))
    kept, before = table.clone(), fitting.predict(fitted, table)
    reasons.explain(fitted, table)
    assert table.equals(kept)
    assert fitting.predict(fitted, table).tobytes() == before.tobytes()


def test_drivers_are_pushes_of_many_users_by_kind() -> None:
    """Five days of silence beyond the typical three, at 0.2 each, push log-odds by 1,
    a probability of a half by 23 points; the other user is typical and not pushed.
    """
    users = snapshot((8.0, 8.0, 100.0), (3.0, 8.0, 100.0))
    table = drivers.of_users(linear(0.2, 0.0, 0.0), users)
    silence = table.row(0, named=True)
    assert silence["kind"] == "silence"
    assert silence["share_with_higher_risk"] == 0.5
    assert silence["mean_rise_rate"] == pytest.approx(0.2311, abs=1e-3)
    assert silence["share_with_lower_risk"] == 0
    assert silence["mean_fall_rate"] is None
    sentence = people_sentences.drivers(table)
    assert "for 50% of users, by 23 points" in sentence
    assert sentence.endswith("Lowered most by nothing.")


def test_without_a_validation_fold_drivers_are_not_known() -> None:
    """The frame is empty, and the sentence says why."""
    trained: Any = SimpleNamespace(fold=None)
    table = drivers.measure(trained)
    assert table.is_empty()
    assert "too short" in people_sentences.drivers(table)
