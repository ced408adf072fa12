"""Reasons in words: sentences with the user's numbers and typical values."""

import polars as pl

from churn.features.catalogue import KINDS, Plan, catalogue
from churn.report import reason_words
from churn.scoring import reasons

from ..scoring.test_reasons import linear, snapshot


def test_sentences_read_well_with_and_without_gaps() -> None:
    """Two numbers where the user has gaps, one for a single active day; "1 day" is
    singular.
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


def test_a_typical_value_that_is_not_known_is_left_out() -> None:
    """A feature that was null in training has no typical value; a user without a value
    gets the kind's meaning.
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
    """There are at most a dozen kinds, each with a sentence."""
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
