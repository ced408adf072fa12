"""The backtest, own models in it, and its figures."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from churn.errors import CutoffError, ModelError, TrainingError
from churn.evaluation import backtest, intervals, metrics, predicting
from churn.events import ingest
from churn.features import leakage, snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.model import training
from churn.report import tables
from churn.settings import Settings
from churn.stats import probability
from churn.store import Store, open_filled

from ..conftest import DAY0, random_log


def test_metrics_of_a_perfect_and_a_useless_ranking() -> None:
    """A perfect ranking has AUC 1 and a lift of 1 / churn rate; one constant for
    everybody has AUC 0.5 and the log loss of that rate.
    """
    y = np.array([1] * 20 + [0] * 80)
    perfect = metrics.figures(y, np.where(y == 1, 0.99, 0.01))
    assert (
        perfect["auc"],
        perfect["lift_top_tenth"],
        perfect["capture_top_tenth"],
    ) == (1.0, 5.0, 0.5)
    constant = metrics.figures(y, np.full(100, 0.2))
    assert constant["auc"] == 0.5
    assert constant["log_loss"] == pytest.approx(
        -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    )
    assert constant["brier"] == pytest.approx(0.16)


def test_calibration_error_is_the_weighted_distance_over_equal_bins() -> None:
    """Half of the users are given 0.9 and half of those churn, a distance of 0.4; the
    others are given 0 rightly. Together that makes 0.2.
    """
    y = np.array([0, 1] * 50 + [0] * 100)
    p = np.array([0.9] * 100 + [0.0] * 100)
    assert probability.calibration_error(y, p) == pytest.approx(0.2)


def test_ceiling_skill_is_one_for_the_truth_and_zero_for_the_constant() -> None:
    """Nothing does better than the truth, and its mean given to everybody scores 0."""
    truth = np.random.default_rng(0).beta(1, 2, 500)
    assert probability.ceiling_skill(truth, truth) == 1
    assert probability.ceiling_skill(
        np.full(500, truth.mean()), truth
    ) == pytest.approx(0)
    assert probability.ceiling_skill(np.clip(truth + 0.1, 0, 1), truth) < 1


def test_plans_computed_together_give_what_each_gives_alone(
    filled: Store,
) -> None:
    """Columns of event names that only another plan counts change no feature of a
    plan, shares and the number of names in use included.
    """
    store = filled
    cutoffs = [DAY0 + timedelta(days=60)]
    names = {
        cutoffs[0]: ("open", "buy"),
        cutoffs[0] + timedelta(days=7): ("search", "open", "rare"),
    }
    plans = {
        cutoff: Plan(28, vocabulary=vocabulary) for cutoff, vocabulary in names.items()
    }
    together = backtest._union(list(plans.values()))
    assert together.vocabulary == ("open", "buy", "search", "rare")
    observed = snapshots.observe(store, cutoffs, together)
    for plan in plans.values():
        leakage.compare(
            predicting.columns(observed, plan),
            snapshots.observe(store, cutoffs, plan),
            DAY0,
        )


def test_a_backtest_knows_nothing_of_the_days_it_is_tested_on(
    filled: Store, make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """If everything from the test cutoff on is replaced by another world, the
    predictions at that cutoff stay the same.
    """
    store = filled
    expected = backtest.backtest(store, progress=False)
    first = expected.predictions["cutoff"].min()
    rows = random_log()
    start = pl.lit(first).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    past = rows.filter(pl.col("time") < start)
    future = rows.filter(pl.col("time") >= start).with_columns(
        ("user-" + (pl.int_range(pl.len()) % 40).cast(pl.String)).alias("user_id"),
        event=pl.lit("boom"),
    )
    pl.concat([past, future]).write_parquet(tmp_path / "other.parquet")
    other_study = make_study(
        extracts=[{"source": "table", "path": "other.parquet"}],
        store="other",
        windows=store.settings.windows.model_dump(),
        backtest=store.settings.backtest.model_dump(),
    )
    ingest.ingest(other_study, progress=False)
    other = backtest.backtest(
        open_filled(other_study),
        expected.predictions["cutoff"].max(),
        progress=False,
    )
    columns = ["user_id", "model", "probability"]
    a, b = (
        x.predictions.filter(pl.col("cutoff") == first).select(columns).sort(columns)
        for x in (expected, other)
    )
    assert a.height > 50
    assert a.drop("probability").equals(b.drop("probability"))
    assert np.allclose(a["probability"], b["probability"], rtol=1e-9)


def test_a_backtest_reports_each_cutoff_and_all_against_recency(
    filled: Store,
) -> None:
    """Two models at two cutoffs and over both make six rows, intervals hold the figure
    over both, and a table names what each cutoff was predicted with.
    """
    store = filled
    done = backtest.backtest(store, progress=False)
    assert set(done.choices["correction"]) <= {
        "none",
        "level",
        "early",
        "slope",
        "platt",
        "isotonic",
    }
    assert tables.choices(done.choices)["date_tested"].to_list() == sorted(
        map(str, done.predictions["cutoff"].unique())
    )
    table = metrics.by_cutoff(done.predictions)
    assert table.height == 6
    pooled = table.filter(
        (pl.col("model") == "chosen") & pl.col("cutoff").is_null()
    ).row(0, named=True)
    assert pooled["n"] == done.predictions.height // 2
    span = intervals.bootstrap(done.predictions, 14, 0, 50).row(
        0, named=True
    )  # AUC of chosen
    assert span["low"] <= pooled["auc"] <= span["high"]
    gains = metrics.lift_table(done.predictions)
    assert gains.filter(pl.col("depth") == 1)["capture"].to_list() == [1, 1]
    bins = metrics.calibration_table(done.predictions)
    assert (
        bins.group_by("model").agg(pl.col("n").max() - pl.col("n").min())["n"].max()
        <= 1
    )


def test_too_few_people_are_refused_at_however_many_cutoffs() -> None:
    """Thirteen people who left are 52 rows at four cutoffs: the error counts them once.
    Fifty people of each kind at one cutoff are enough.
    """
    cutoffs = [DAY0 + timedelta(days=9 * k) for k in range(4)]
    left = [f"left-{i}" for i in range(13)]
    stayed = [f"stayed-{i}" for i in range(60)]
    rows = pl.DataFrame(
        [(user, cutoff, user in left) for user in left + stayed for cutoff in cutoffs],
        ["user_id", "cutoff", "churned"],
        orient="row",
    )
    expected = "13 people churned and 60 stayed, at least 50 of each"
    with pytest.raises(TrainingError, match=expected):
        training.check_enough(rows)
    once = rows.filter(pl.col("cutoff") == cutoffs[0])
    others = once.with_columns(churned=~pl.col("churned"))
    training.check_enough(pl.concat([once, others]))


def test_training_on_a_cutoff_without_outcome_is_refused(
    filled: Store,
) -> None:
    """The error for a cutoff whose horizon isn't over names the newest that can be
    trained on.
    """
    store = filled
    with pytest.raises(CutoffError, match="has no outcome yet: train on cutoffs up to"):
        training.train(store, [Calendar.of(store).end])


def test_a_log_shorter_than_the_windows_is_refused(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """With ten days of events and a 28-day horizon the error asks for more history."""
    (tmp_path / "events.csv").write_text(
        "user_id,event,time\n"
        + "".join(f"a,open,2026-01-{d:02d}\n" for d in range(1, 11))
    )
    settings = make_study()
    ingest.ingest(settings, progress=False)
    with pytest.raises(TrainingError, match="more history"):
        training.training_cutoffs(open_filled(settings))


def test_own_models_are_compared_on_the_same_rows_and_ours_stay_as_they_are(
    filled: Store,
) -> None:
    """Two own models: each scores every row that ours score, and the tables for readers
    hold their figures and the difference; predictions of ours are bit-equal.
    """
    imputer = SimpleImputer(keep_empty_features=True)
    own = {
        "boosting": HistGradientBoostingClassifier(max_iter=20),
        "a linear one": make_pipeline(imputer, LogisticRegression(max_iter=2000)),
    }
    alone = backtest.backtest(filled, progress=False)
    done = backtest.backtest(filled, models=own, progress=False)
    names = ["chosen", "recency", *own]
    key = ["user_id", "cutoff", "churned"]
    rows = [done.predictions.filter(pl.col("model") == name) for name in names]
    assert all(part.select(key).equals(rows[0].select(key)) for part in rows)
    assert all(part["probability"].is_between(0, 1).all() for part in rows)
    ours = done.predictions.filter(pl.col("model").is_in(["chosen", "recency"]))
    assert ours.equals(alone.predictions)
    assert done.choices.equals(alone.choices)
    compared = tables.intervals(intervals.bootstrap(done.predictions, 14, 0, 9))[
        "of"
    ].to_list()
    assert {"boosting", "chosen less boosting", "chosen less a linear one"} <= {
        *compared
    }
    by_model = metrics.by_cutoff(done.predictions)
    assert tables.pooled(by_model).columns == ["figure", *names]
    shown = tables.by_cutoff(by_model)["model"].unique(maintain_order=True)
    assert shown.to_list() == names


@pytest.mark.parametrize("name", ["chosen", "recency", "", " "])
def test_an_own_model_needs_a_name_of_its_own(filled: Store, name: str) -> None:
    """The names of ours and an empty one are refused before anything is computed."""
    with pytest.raises(ModelError, match=f"can't be called '{name}'"):
        backtest.backtest(filled, models={name: LogisticRegression()}, progress=False)
