"""Scores, what they take from previous scores, and the gate on them."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn import forget
from churn.errors import CutoffError, StoreError
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.model.fitting import Model
from churn.model.pipelines import Recipe
from churn.report import reason_words
from churn.scoring import reasons, score_gates, scores, summary
from churn.settings import Policy, Settings, parse
from churn.store import Store
from churn.store.score_schemas import Scores


@pytest.fixture
def fitted(filled: Store) -> tuple[Store, Model]:
    """The small app with a fitted model."""
    store = filled
    cutoffs = training.training_cutoffs(store)[-3:]
    plan = snapshots.plan(store, cutoffs[-1])
    recipe = Recipe({"logistic": 0.5, "boosting": 0.5})
    return (
        store,
        fitting.fit(
            snapshots.build(store, cutoffs, plan), plan, store.settings, recipe
        ),
    )


def test_scoring_twice_writes_the_same_file(
    fitted: tuple[Store, Model],
) -> None:
    """There is one row per eligible user, and a second run gives the same bytes."""
    store, one = fitted
    cutoff = Calendar.of(store).end
    table = scores.make(store, one, cutoff)
    assert table["user_id"].is_unique().all()
    file = Path(scores.write(store, table, scores.check(store, table, one)))
    first = file.read_bytes()
    table = scores.make(store, one, cutoff)
    scores.write(store, table, scores.check(store, table, one))
    assert file.read_bytes() == first
    stored, findings = scores.read(store)
    assert stored.equals(table)
    assert findings["passed"].all()


def addressed_by(settings: Settings, kind: str) -> Settings:
    """The settings with another kind of identifier in Braze."""
    braze = settings.braze.model_copy(update={"identifier": kind})
    return settings.model_copy(update={"braze": braze})


def test_an_export_addresses_users_as_the_study_says_now(
    fitted: tuple[Store, Model],
) -> None:
    """Scored for external ids and exported by another kind, users without a known one
    have no identifier. E-mail addresses were not kept, so the extracts must be read
    again.
    """
    store, one = fitted
    table = scores.make(store, one, Calendar.of(store).end)
    assert table["identifier"].equals(table["user_id"].alias("identifier"))
    other = addressed_by(store.settings, "braze_id")
    identifiers = scores.addressed(store.under(other), table)["identifier"]
    assert identifiers.null_count() == table.height
    with pytest.raises(StoreError, match=r"braze\.identifier.*run `churn ingest`"):
        store.under(addressed_by(store.settings, "email"))
    assert scores.addressed(store, table).equals(table)


def test_a_user_erased_while_scores_are_made_is_not_written(
    fitted: tuple[Store, Model],
) -> None:
    """After an erasure between scoring and writing the file holds all other users."""
    store, one = fitted
    table = scores.make(store, one, Calendar.of(store).end)
    findings = scores.check(store, table, one)
    gone = table["user_id"][0]
    forget.forget(store.settings, [gone])
    file = Path(scores.write(store, table, findings))
    assert (
        pl.read_parquet(file, hive_partitioning=False)["user_id"].to_list()
        == table["user_id"].to_list()[1:]
    )


def test_scores_that_do_not_exist_are_refused(filled: Store) -> None:
    """The error names the command to run first."""
    with pytest.raises(CutoffError, match="run `churn run score` first"):
        scores.read(filled)


def test_scores_far_from_the_trained_churn_rate_fail(
    fitted: tuple[Store, Model],
) -> None:
    """With a mean of 0.95 and far fewer churners in training the gate fails and names
    both figures.
    """
    store, one = fitted
    table = scores.make(store, one, Calendar.of(store).end).with_columns(
        probability=pl.lit(0.95)
    )
    finding = score_gates.score_shift(store.settings, table["cutoff"][0], table, one)
    assert not finding["passed"]
    assert "95.0%" in finding["sentence"]
    assert f"{one.churn_rate:.1%}" in finding["sentence"]


def test_a_model_scores_only_its_own_features(
    fitted: tuple[Store, Model],
) -> None:
    """The model's plan decides the columns, so that predictions don't depend on the
    vocabulary of the present log.
    """
    store, one = fitted
    snapshot = snapshots.observe(store, [Calendar.of(store).end], one.plan)
    assert set(one.features) <= set(snapshot.columns)
    assert len(fitting.predict(one, snapshot)) == snapshot.height


def test_scores_hold_reasons_and_files_without_them_can_be_read(
    fitted: tuple[Store, Model],
) -> None:
    """Most users have a known first reason; in an old file reasons and deciles are
    null, and that doesn't change new ones.
    """
    store, one = fitted
    cutoff = Calendar.of(store).end
    table = scores.make(store, one, cutoff)
    assert set(table["reason_1"].drop_nulls()) <= set(reasons.CODES)
    assert table["reason_1"].null_count() < table.height / 2
    counts = summary.reason_counts(table)
    assert counts["n"].sum() == table.height
    assert counts["share"].sum() == pytest.approx(1)
    file = Path(scores.write(store, table, scores.check(store, table, one)))
    newer = pl.read_parquet(file, hive_partitioning=False)
    newer.drop(reasons.COLUMNS, "decile").write_parquet(file)
    old, _ = scores.read(store)
    assert old.columns == table.columns
    assert old["reason_1"].null_count() == old.height
    assert old["decile"].null_count() == old.height
    assert scores.make(store, one, cutoff).equals(table)


def test_examples_of_reasons_show_numbers_and_no_user(
    fitted: tuple[Store, Model],
) -> None:
    """One user per first reason, under a pseudonym, with the reason in words."""
    store, one = fitted
    table = scores.make(store, one, Calendar.of(store).end)
    shown = reason_words.examples(store, one, table)
    assert shown.columns == ["user", "probability", "reason", "why_1", "why_2", "why_3"]
    assert shown["reason"].is_unique().all()
    assert shown["user"].str.contains("^user-[0-9a-f]{8}$").all()
    assert shown.filter(pl.col("reason").is_not_null())["why_1"].null_count() == 0


def scored(day: int, **people: tuple[float, str]) -> pl.DataFrame:
    """A scores table of 1 January plus ``day``, given each user's probability and
    segment.

    All users but ``x`` have an identifier.
    """
    table = pl.DataFrame(
        {
            "user_id": list(people),
            "cutoff": [date(2026, 1, 1) + timedelta(days=day)] * len(people),
            "probability": [p for p, _ in people.values()],
            "segment": [segment for _, segment in people.values()],
            "score": [50] * len(people),
            "decile": pl.Series([None] * len(people), dtype=pl.Int64),
            **dict.fromkeys(
                reasons.COLUMNS, pl.Series([None] * len(people), dtype=pl.String)
            ),
            "model_id": ["m"] * len(people),
            "identifier": [None if user == "x" else user for user in people],
        }
    )
    return Scores.validate(table)


def halves(**policy: Any) -> Settings:
    """Settings that put the riskier half of users into the segment high."""
    cut = [{"name": "high", "share": 0.5}, {"name": "low"}]
    return parse(
        {
            "extracts": [{"source": "table", "path": "x"}],
            "segments": cut,
            "policy": policy,
        },
        Path(),
    )


def test_the_previous_scores_are_the_newest_of_an_earlier_cutoff(
    fitted: tuple[Store, Model],
) -> None:
    """The last of three cutoffs is scored twice, both times against the second, so that
    its scores stay the same. The model knows the outcome of the earlier ones.
    """
    store, one = fitted
    cutoffs = [Calendar.of(store).end - timedelta(weeks=k) for k in (2, 1, 0)]
    assert scores.previous(store, cutoffs[0]) is None
    for cutoff in [*cutoffs, cutoffs[-1]]:
        table = scores.make(store, one, cutoff)
        findings = scores.check(store, table, one)
        scores.write(store, table, findings, accept=["stale_model"])
        assert table.equals(scores.read(store, cutoff)[0])
    before = scores.previous(store, cutoffs[2])
    assert before is not None
    assert before.equals(scores.read(store, cutoffs[1])[0])
    recut = scores.recut(table, store.settings, before)
    assert table.select("segment", "decile").equals(recut.select("segment", "decile"))


def test_a_wide_margin_moves_fewer_users(fitted: tuple[Store, Model]) -> None:
    """Against the same previous scores fewer users have changed than without."""
    store, one = fitted
    cutoff = Calendar.of(store).end
    calm, plain = (
        store.settings.model_copy(update={"policy": Policy(margin=margin)})
        for margin in (0.1, 0.0)
    )
    before = scores.make(store.under(plain), one, cutoff - timedelta(weeks=1))
    findings = scores.check(store.under(plain), before, one)
    scores.write(store, before, findings, accept=["stale_model"])
    with_margin, without = (
        scores.make(store.under(settings), one, cutoff) for settings in (calm, plain)
    )
    frame = summary.stability(with_margin, before, calm)
    assert frame["n_changed"][0] < frame["n_changed"][1]
    assert frame.rows()[1] == (
        "without",
        *summary.stability(without, before, plain).rows()[0][1:],
    )


def test_users_with_too_short_a_tenure_are_written_as_unknown(
    fitted: tuple[Store, Model],
) -> None:
    """With min_tenure_days the newest users are unknown, also when recut; without it no
    user is.
    """
    store, one = fitted
    careful = store.settings.model_copy(update={"policy": Policy(min_tenure_days=100)})
    table = scores.make(store.under(careful), one, Calendar.of(store).end)
    counts = summary.segment_counts(table, careful)
    assert counts["segment"].to_list() == ["high", "medium", "low", "unknown"]
    assert 0 < counts["n"][3] < table.height
    is_unknown = table["segment"] == "unknown"
    assert table["decile"].is_null().equals(is_unknown.alias("decile"))
    assert scores.recut(table, careful, None).equals(table)
    assert "unknown" not in scores.recut(table, store.settings, None)["segment"]


def test_stability_counts_moves_writes_and_expected_churners() -> None:
    """Users a and b pass each other by one rank, x is new without an identifier, and e
    is no longer scored.

    Without a band a and b change, so that with e three users are written; with a band
    of two ranks only e is. The segment high then holds 0.6 + 0.9 of 2.4 expected
    churners instead of 0.7 + 0.9.
    """
    before = scored(0, a=(0.7, "high"), b=(0.6, "low"), d=(0.9, "high"), e=(0.1, "low"))
    now = scored(7, a=(0.6, "high"), b=(0.7, "low"), d=(0.9, "high"), x=(0.2, "low"))
    assert scores.in_segments(now, halves(band=1.0), before).equals(now)
    frame = summary.stability(now, before, halves(band=1.0))
    assert frame.drop("expected_recall_rate").to_dicts() == [
        {
            "hysteresis": "with",
            "n_known": 3,
            "n_changed": 0,
            "changed_rate": 0.0,
            "n_data_points": 1,
            "n_top": 2,
        },
        {
            "hysteresis": "without",
            "n_known": 3,
            "n_changed": 2,
            "changed_rate": 2 / 3,
            "n_data_points": 3,
            "n_top": 2,
        },
    ]
    assert frame["expected_recall_rate"].to_list() == pytest.approx(
        [1.5 / 2.4, 1.6 / 2.4]
    )


def test_where_nobody_is_expected_to_churn_there_is_no_recall() -> None:
    """All probabilities are 0, so no share of the expected churners can be given; the
    same holds where nobody is scored.
    """
    nobody = scored(0, a=(0.0, "low"), b=(0.0, "low"))
    for table in (nobody, nobody.clear()):
        frame = summary.stability(table, nobody, halves())
        assert frame["expected_recall_rate"].to_list() == [None, None]


def test_on_a_first_run_no_rate_of_change_is_given() -> None:
    """Without previous scores every user with an identifier is written."""
    frame = summary.stability(
        scored(0, a=(0.7, "high"), x=(0.6, "low")), None, halves()
    )
    assert (
        frame.select("n_known", "n_changed", "changed_rate", "n_data_points").rows()
        == [(0, 0, None, 1)] * 2
    )


def test_the_histogram_shows_where_segments_begin() -> None:
    """With segments cut by rank it is the lowest probability in the segment, otherwise
    the study's threshold; the last segment begins at 0.
    """
    table = scored(0, a=(0.8, "high"), b=(0.7, "high"), c=(0.2, "low"), d=(0.1, "low"))
    assert summary.thresholds(table, halves()) == {"high": 0.7, "low": 0.0}
    by_probability = parse({"extracts": [{"source": "table", "path": "x"}]}, Path())
    assert summary.thresholds(table, by_probability) == {
        "high": 0.6,
        "medium": 0.3,
        "low": 0.0,
    }
