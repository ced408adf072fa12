"""What the validation folds decide, and from which rows."""

import itertools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from churn.features.catalogue import Plan, catalogue
from churn.model import (
    correction,
    fitting,
    folds,
    forecasts,
    pipelines,
    selection,
    training,
    weights,
)
from churn.model.correction import Outcomes
from churn.model.forecasts import Forecast
from churn.model.pipelines import Recipe
from churn.model.selection import Choice
from churn.report import tables
from churn.settings import Backtest, Settings, parse

from ..conftest import DAY0

PLAN = Plan(28)
WINDOWS = {"observation_days": 28, "eligible_days": 14, "horizon_days": 14}
STUDY = parse(
    {
        "extracts": [{"source": "table", "path": "x"}],
        "windows": WINDOWS,
        "backtest": {"step_days": 7},
    },
    Path(),
)
CUTOFFS = [DAY0 + timedelta(weeks=w) for w in range(6)]
# The open cutoff: seven days of its horizon are over when the newest one's ends.
OPEN = CUTOFFS[-1] + timedelta(weeks=1)

N_USERS = 300


def rows(n_users: int = N_USERS, later: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """A labelled snapshot at six cutoffs and an open one.

    At the open cutoff the log-odds of churn are higher by ``later``. Only recency,
    active days and the first active day are informative; all other features are 0.
    """
    rng = np.random.default_rng(seed)
    n = n_users * 7
    cutoff = [c for c in (*CUTOFFS, OPEN) for _ in range(n_users)]
    recency, active = rng.integers(1, 15, n), rng.integers(1, 12, n)
    odds = (
        0.4 * (recency - 7) - 0.2 * (active - 6) + later * (np.arange(n) >= n_users * 6)
    )
    back = np.where(rng.random(n) < expit(odds), None, rng.integers(0, 14, n))
    known = {
        "recency_days": recency,
        "active_days_28d": active,
        "first_active_days": recency + active,
    }
    table = pl.DataFrame(
        {"user_id": [f"u{i}" for i in range(n_users)] * 7, "cutoff": cutoff, **known},
    ).with_columns(
        [pl.lit(0.0).alias(name) for name in catalogue(PLAN) if name not in known]
    )
    away = pl.Series("return_days", back.tolist(), pl.Int32)
    labelled = table.with_columns(away, away.is_null().alias("churned"))
    is_open, seen = pl.col("cutoff") == OPEN, pl.col("return_days") < 7
    return labelled.with_columns(
        pl.when(~is_open).then("churned").alias("churned"),
        pl.when(~is_open | seen).then("return_days").alias("return_days"),
    )


@pytest.fixture(scope="module")
def chosen() -> Choice:
    """What the validation folds decide for that snapshot."""
    return selection.choose(rows(), PLAN, STUDY)


def test_a_fold_learns_only_from_cutoffs_mature_by_its_validation_cutoff() -> None:
    """Training horizons end by the validation cutoff, and the newest cutoff is among
    the few folds. Half of the open cutoff's horizon is over on that day.
    """
    many = [DAY0 + timedelta(weeks=w) for w in range(20)]
    chosen = folds.validation_cutoffs(many, STUDY)
    assert len(chosen) == folds.MAX_FOLDS
    assert chosen[-1][1] == many[-1]
    for learned, cutoff in chosen:
        assert learned == [c for c in many if STUDY.windows.horizon(c)[1] <= cutoff]
    for fold in folds.every(rows(20), STUDY):
        assert fold.open_cutoff is not None
        assert fold.open_cutoff["cutoff"].unique().to_list() == [
            fold.cutoff - timedelta(days=7)
        ]
        assert fold.newest["cutoff"].unique().to_list() == [
            fold.cutoff - timedelta(days=14)
        ]


@pytest.mark.parametrize("n_cutoffs", range(6, 40))
def test_folds_of_cutoffs_of_all_weekdays_are_of_several_weekdays(
    n_cutoffs: int,
) -> None:
    """Nine days apart, as by default, any number of cutoffs gives validation folds of
    different weekdays.
    """
    step = Backtest().step_days
    many = [DAY0 + timedelta(days=step * k) for k in range(n_cutoffs)]
    chosen = folds.validation_cutoffs(many, STUDY)
    weekdays = {cutoff.weekday() for _, cutoff in chosen}
    assert len(weekdays) == len(chosen) == folds.MAX_FOLDS


def test_without_a_mature_cutoff_before_another_there_is_no_fold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With two cutoffs a week apart and a horizon of two the default weights are taken,
    uncorrected and without any log loss.
    """
    assert folds.validation_cutoffs(CUTOFFS[:2], STUDY) == []
    monkeypatch.delattr(forecasts, "of_members")
    found = selection.choose(rows().filter(pl.col("cutoff") <= CUTOFFS[1]), PLAN, STUDY)
    assert (found.recipe, found.correction, found.calibration) == (
        Recipe(pipelines.default_weights(N_USERS), leaves=pipelines.leaves(N_USERS)),
        "none",
        None,
    )
    assert found.folds.is_empty()
    assert selection.choice_metrics(found) == {}


def test_what_is_chosen_is_among_what_was_tried(chosen: Choice) -> None:
    """Weights of known members sum to 1, the rounds are those for few rows, and the
    table holds all members and the blend.
    """
    assert set(chosen.recipe.weights) <= set(pipelines.MEMBERS)
    assert sum(chosen.recipe.weights.values()) == pytest.approx(1, abs=0.002)
    assert chosen.recipe.rounds in pipelines.rounds_to_try(N_USERS)
    assert chosen.recipe.leaves == pipelines.leaves(N_USERS)
    assert chosen.folds.select("candidate", "cutoff").is_unique().all()
    assert set(chosen.folds["candidate"]) == {*pipelines.MEMBERS, "blend"}
    cutoffs = [str(cutoff) for _, cutoff in folds.validation_cutoffs(CUTOFFS, STUDY)]
    assert tables.members(chosen).columns == [
        "candidate",
        *cutoffs,
        "all",
        "weight",
    ]


def test_the_blend_is_better_than_recency_alone(chosen: Choice) -> None:
    """With several informative features its log loss over all folds is lower."""
    loss = selection.choice_metrics(chosen)
    assert loss["log_loss blend"] < loss["log_loss recency"] - 0.01


def test_the_forecasts_of_the_folds_are_those_of_the_chosen_recipe(
    chosen: Choice,
) -> None:
    """Each is what a model of the chosen weights and rounds forecasts that is fitted to
    the fold's training rows.
    """
    usable = folds.usable(rows(), STUDY)
    for fold, outcomes in zip(usable, chosen.outcomes, strict=True):
        refitted = fitting.fit(fold.training, PLAN, STUDY, chosen.recipe)
        expected = fitting.raw(refitted, fold.validation)
        assert outcomes.probability == pytest.approx(expected, rel=1e-9)
        assert np.array_equal(outcomes.inactive, fold.y)


EQUAL = dict.fromkeys(("logistic", "boosting", "network"), 1 / 3)


def forecasts_of(**members: np.ndarray) -> list[dict[str, Forecast]]:
    """One fold's forecasts at the validation cutoff; other members always say 0.5."""
    other = dict.fromkeys(
        pipelines.MEMBERS, np.full(len(next(iter(members.values()))), 0.5)
    )
    return [{name: Forecast(p, p, None) for name, p in (other | members).items()}]


def test_a_wrong_level_costs_weight() -> None:
    """Of two members that rank alike, the one whose level is off by one in log-odds has
    less than a tenth of the weight after 30,000 rows.
    """
    rng = np.random.default_rng(2)
    p = rng.uniform(0.2, 0.8, 30_000)
    fold: Any = SimpleNamespace(y=(rng.random(len(p)) < p).astype(int))
    members = forecasts_of(logistic=p, network=p / (p + (1 - p) * np.e))
    found = weights.learn([fold], members, {"logistic": 0.5, "network": 0.5})
    assert found.get("network", 0.0) < 0.1


def test_sizes_grow_smoothly_with_the_number_of_users() -> None:
    """One per cent more users never moves a prior weight by more than 0.002, nor the
    number of leaves by more than one; more users never mean less of either.
    """
    counts = [round(100 * 1.01**k) for k in range(800)]
    for few, more in itertools.pairwise(counts):
        before, after = map(pipelines.default_weights, (few, more))
        assert sum(after.values()) == pytest.approx(1)
        assert abs(after["boosting"] - before["boosting"]) < 0.002
        assert 0 <= pipelines.leaves(more) - pipelines.leaves(few) <= 1
        tried = pipelines.rounds_to_try(more)
        assert 0 <= len(tried) - len(pipelines.rounds_to_try(few)) <= 1


def test_few_rows_hardly_move_the_default_weights() -> None:
    """The better of two members has all the weight after 30,000 rows, and little more
    than its default after 60.
    """
    rng = np.random.default_rng(1)
    prior = {"logistic": 0.5, "network": 0.5}
    found = {}
    for n in (60, 30_000):
        p = rng.uniform(0.2, 0.8, n)
        fold: Any = SimpleNamespace(y=(rng.random(n) < p).astype(int))
        members = forecasts_of(logistic=p, network=np.full(n, 0.5))
        found[n] = weights.learn([fold], members, prior).get("logistic", 0.0)
    assert found[30_000] == 1
    assert found[60] == pytest.approx(0.5, abs=0.15)


def test_an_unusual_period_has_one_vote_however_large_it_is() -> None:
    """One member is right in two periods, another in a third one ten times as large:
    the weights are two thirds and one third.
    """
    rng = np.random.default_rng(2)
    periods: list[Any] = []
    members = []
    for right, n in (("boosting", 3000), ("boosting", 3000), ("recency", 30_000)):
        p = rng.uniform(0.05, 0.95, n)
        periods.append(SimpleNamespace(y=(rng.random(n) < p).astype(int)))
        members += (
            forecasts_of(boosting=1 - p)
            if right == "recency"
            else forecasts_of(recency=1 - p)
        )
        members[-1][right] = Forecast(p, p, None)
    learned = weights.learn(periods, members, EQUAL)
    assert learned["boosting"] == pytest.approx(2 / 3, abs=0.05)
    assert learned["recency"] == pytest.approx(1 / 3, abs=0.05)


def test_a_useless_member_gets_no_weight() -> None:
    """A member that forecasts the opposite gets none, one that is right the most, and
    two equal ones the same.
    """
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 3000)
    fold: Any = SimpleNamespace(y=(rng.random(3000) < p).astype(int))
    learned = weights.learn([fold], forecasts_of(logistic=p, boosting=1 - p), EQUAL)
    assert "boosting" not in learned
    assert max(learned, key=lambda name: learned[name]) == "logistic"
    assert sum(learned.values()) == pytest.approx(1, abs=0.002)
    alike = weights.learn([fold], forecasts_of(logistic=p, boosting=p), EQUAL)
    assert alike["logistic"] == pytest.approx(alike["boosting"], abs=0.01)


def test_rows_without_an_outcome_serve_the_level_only(chosen: Choice) -> None:
    """Without them the recipe, the folds and the fitted pipeline stay the same."""
    there = rows()
    without = there.drop_nulls("churned")
    again = selection.choose(without, PLAN, STUDY)
    assert again.recipe == chosen.recipe
    assert again.folds.equals(chosen.folds)
    one, other = (
        training.learn(table, PLAN, STUDY).model for table in (there, without)
    )
    assert np.array_equal(fitting.raw(one, there), fitting.raw(other, there))
    assert one.n_rows == other.n_rows == without.height


def test_the_early_correction_needs_rows_whose_horizon_is_open() -> None:
    """The level rises if more users than before are inactive in the first days; without
    such rows there is no correction.
    """
    there = rows(later=2.0)
    fitted = fitting.fit(
        there.drop_nulls("churned"), PLAN, STUDY, Recipe({"logistic": 1.0})
    )
    early = Choice(fitted.recipe, "early")
    found = selection.correct(fitted, there, early, STUDY)
    assert found.kind == "early"
    assert found.intercept > 0.3
    assert (
        abs(selection.correct(fitted, rows(later=0.0), early, STUDY).intercept) < 0.15
    )
    assert (
        selection.correct(fitted, there.drop_nulls("churned"), early, STUDY)
        == correction.Correction()
    )


@pytest.mark.parametrize("kind", ["none", "level", "platt", "isotonic"])
def test_every_correction_can_be_estimated_for_the_final_model(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shapes are fitted to forecasts of validation folds; corrected probabilities stay
    in (0, 1).
    """
    monkeypatch.setattr(correction, "MIN_ISOTONIC", 100)
    there = rows()
    fitted = fitting.fit(
        there.drop_nulls("churned"), PLAN, STUDY, Recipe({"logistic": 1.0})
    )
    validation = rows(seed=1).drop_nulls("churned")
    outcomes = Outcomes(fitting.raw(fitted, validation), fitting.target(validation))
    choice = Choice(fitted.recipe, kind, outcomes=(outcomes,))
    found = selection.correct(fitted, there, choice, STUDY)
    assert found.kind == kind
    p = fitting.predict(replace(fitted, correction=found), there)
    assert 0 < p.min() < p.max() < 1


def test_a_sample_is_of_whole_users_nested_and_never_too_large() -> None:
    """Users have one to seven rows; a sample holds all or none of a user's rows, and a
    smaller one is a part of a larger one.
    """
    number = pl.col("user_id").str.slice(1).cast(pl.Int32)
    uneven = rows(100).filter(
        (pl.col("cutoff") - DAY0).dt.total_days() // 7 <= number % 7
    )
    sizes = {n: folds.sample(uneven, n) for n in (10, 50, 51, 200)}
    whole = uneven.group_by("user_id").len().sort("user_id")
    for n, sampled in sizes.items():
        assert n - 7 < sampled.height <= n
        assert (
            sampled.group_by("user_id")
            .len()
            .sort("user_id")
            .equals(whole.filter(pl.col("user_id").is_in(sampled["user_id"].implode())))
        )
    assert (
        set(sizes[10]["user_id"])
        < set(sizes[50]["user_id"])
        < set(sizes[200]["user_id"])
    )
    assert folds.sample(uneven, uneven.height).equals(uneven)


def test_a_training_learns_from_at_most_max_training_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 1,800 rows with an outcome and 300 without, 1,000 are taken for the choice and
    the fit.
    """
    few = STUDY.model_copy(
        update={
            "backtest": STUDY.backtest.model_copy(update={"max_training_rows": 1000})
        }
    )
    seen: list[int] = []

    def look(
        snapshot: pl.DataFrame,
        plan: Plan,
        settings: Settings,
        estimator: Any,
        fits: fitting.Fits | None,
        recipe: Recipe | None,
    ) -> Choice:
        seen.append(snapshot.height)
        return Choice(Recipe({"logistic": 1.0}))

    monkeypatch.setattr(selection, "choose", look)
    fitted = training.learn(rows(), PLAN, few).model
    assert 990 < seen[0] <= 1000
    assert fitted.n_rows == seen[0] * 6 // 7


def test_two_hundred_users_are_enough() -> None:
    """There are validation folds, and the model ranks new users well above chance."""
    trained = training.learn(rows(200), PLAN, STUDY)
    assert not trained.choice.folds.is_empty()
    new = rows(1000, seed=1).drop_nulls("churned")
    y, p = fitting.target(new), fitting.predict(trained.model, new)
    assert p[y == 1].mean() > p[y == 0].mean() + 0.2
