"""Reasons: contributions that can be computed by hand, their order, their words, and
that they change nothing.
"""

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression

from churn.features.catalogue import KINDS, Plan, catalogue
from churn.model import fitting
from churn.model.correction import Correction
from churn.report import reason_words
from churn.scoring import reasons

FEATURES = ("recency_days", "active_days_28d", "tenure_days")
TYPICAL = (3.0, 8.0, 100.0)


def linear(
    *weights: float,
    features: tuple[str, ...] = FEATURES,
    typical: tuple[float, ...] = TYPICAL,
) -> Any:
    """A logistic model with these weights; a typical user is at the trained churn rate
    of a half.
    """
    fitted = LogisticRegression().fit(np.eye(2, len(weights)), [0, 1])
    fitted.coef_ = np.array([weights])
    fitted.intercept_ = np.array([-np.dot(weights, np.nan_to_num(typical))])
    facts = {
        "features": features,
        "typical": typical,
        "plan": Plan(28),
        "churn_rate": 0.5,
    }
    return SimpleNamespace(
        pipeline=fitted, correction=Correction(), model_id="m", **facts
    )


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
    """In a logistic regression that is exact: 0.2 × (9 − 3), −0.1 × (4 − 8) and 0.01 ×
    (50 − 100).
    """
    found = reasons.contributions(linear(0.2, -0.1, 0.01), snapshot((9, 4, 50)))
    assert found.select("log_odds", "silence", "activity", "tenure").row(
        0
    ) == pytest.approx((1.1, 1.2, 0.4, -0.5))


def test_a_correction_of_the_level_is_no_reason() -> None:
    """Moved by one log-odd everybody is at more risk, and nobody for another reason."""
    plain, table = linear(0.2, -0.1, 0.01), snapshot((9, 4, 50))
    moved = SimpleNamespace(
        **{**vars(plain), "correction": Correction("level", intercept=1.0)}
    )
    one, other = (
        reasons.contributions(fitted, table).drop("user_id", "cutoff").row(0)
        for fitted in (plain, moved)
    )
    assert other == pytest.approx((one[0] + 1, *one[1:]))


def test_a_user_at_typical_values_has_no_reason() -> None:
    """Nor has one so near them that nothing moves by 0.1."""
    assert (
        codes(linear(0.2, -0.1, 0.01), snapshot((3, 8, 100), (3, 8.9, 109)))
        == [(None, None, None)] * 2
    )


def test_reasons_for_the_side_the_user_is_on_come_first_and_the_larger_before_the_smaller() -> (
    None
):
    """At risk: silence 1.2, activity 0.4, and then the tenure of −0.5 that speaks
    against it; at no risk likewise.
    """
    assert codes(
        linear(0.2, -0.1, 0.01), snapshot((9, 4, 50), (1, 12, 150), (1, 9, 100))
    ) == [
        ("risky_silence", "risky_activity", "safe_tenure"),
        ("safe_silence", "safe_activity", "risky_tenure"),
        ("safe_silence", "safe_activity", None),
    ]


def test_what_was_the_first_reason_stays_first_until_another_is_half_as_large_again() -> (
    None
):
    """Activity at 0.9 keeps its place before silence at 1.2, at 0.7 it doesn't; another
    direction is another reason.
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


def test_who_was_not_scored_before_has_no_past() -> None:
    """Previous scores of others, and such from before there were reasons, change
    nothing.
    """
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
    """The other places stay empty."""
    fitted = linear(0.2, features=("recency_days",), typical=(3.0,))
    assert codes(fitted, snapshot((9, 4, 50))) == [("risky_silence", None, None)]


def test_explaining_in_slices_is_explaining_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seven users, two at a time: the same contributions in the same order, but for the
    last bits of a sum.
    """
    fitted, table = (
        linear(0.2, -0.1, 0.01),
        snapshot(*[(float(i), 2.0 * i, 90.0 + i) for i in range(7)]),
    )
    whole = reasons.contributions(fitted, table)
    monkeypatch.setattr(reasons, "CHUNK", 2)
    assert_frame_equal(reasons.contributions(fitted, table), whole, rel_tol=1e-9)


def test_reasons_leave_snapshot_and_probability_as_they_were() -> None:
    """Predicted before and after, to the bit."""
    fitted, table = linear(0.2, -0.1, 0.01), snapshot((9, 4, 50), (1, 12, 150))
    kept, before = table.clone(), fitting.predict(fitted, table)
    reasons.explain(fitted, table)
    assert table.equals(kept)
    assert fitting.predict(fitted, table).tobytes() == before.tobytes()


def test_sentences_read_well_with_and_without_gaps() -> None:
    """Two numbers where there are gaps, one where the user has a single active day; one
    day isn't days.
    """
    fitted = linear(0.2, -0.1, 0.01)
    table = snapshot(
        (9, 4, 50), (9, 1, 50), (1, 28, 50), gap_mean_days=pl.Series([2.3, None, 1.0])
    )
    said = reason_words.sentences(fitted, table, reasons.explain(fitted, table))
    assert said["reason_1"].to_list() == [
        "silent for 9 days, usually returns within 2",
        "silent for 9 days",
        "active on 28 of the last 28 days (typical: 8)",
    ]
    assert said.select("reason_2", "reason_3").row(2) == (
        "first seen 50 days ago (typical: 100)",
        "silent for 1 day, usually returns within 1",
    )


def test_a_typical_value_that_is_not_known_is_not_told() -> None:
    """A feature that was null for everybody in training has none; a user without the
    number gets the kind's meaning.
    """
    fitted = linear(0.0, 0.0, 0.0, typical=(3.0, 8.0, float("nan")))
    table = snapshot((9, 4, 50), (9, 4, None)).with_columns(
        reason_1=pl.lit("risky_tenure"), reason_2=None, reason_3=None
    )
    table = table.with_columns(pl.col("reason_2", "reason_3").cast(pl.String))
    explained = table.select("user_id", "cutoff", *reasons.COLUMNS)
    said = reason_words.sentences(fitted, table.drop(reasons.COLUMNS), explained)
    assert said["reason_1"].to_list() == ["first seen 50 days ago", KINDS["tenure"]]
    assert said["reason_2"].to_list() == [None, None]


def test_every_kind_of_the_catalogue_has_words_with_features_that_exist() -> None:
    """At most a dozen kinds, each with a sentence, filled from the catalogue."""
    there = catalogue(Plan(90, vocabulary=("open",)))
    assert (
        {feature.kind for feature in there.values()}
        <= set(reason_words.WORDS)
        == set(KINDS)
    )
    assert len(KINDS) <= 12
    assert {
        name for clauses in reason_words.WORDS.values() for _, name in clauses
    } <= set(there)
