"""Which stored model scores, when a training is due, and what takes whose place."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn.errors import BusyError, ModelError
from churn.evaluation import promotion
from churn.evaluation.promotion import CHALLENGER, CHAMPION, Margins
from churn.events import ingest
from churn.model import champion, due, fitting, listing, storage
from churn.model.pipelines import Recipe
from churn.settings import Settings
from churn.store import Store, create_or_open, locks, open_filled

from ..conftest import DAY0, at, random_log
from .test_selection import CUTOFFS, PLAN, WINDOWS, rows

LAST_DAY = CUTOFFS[-1] + timedelta(days=WINDOWS["horizon_days"] - 1)


@pytest.fixture
def store(make_study: Callable[..., Settings]) -> Store:
    """A store without any model, whose log ends when the outcomes of ``rows`` do."""
    empty = create_or_open(make_study(windows=WINDOWS))
    return replace(empty, first_date=DAY0, covered_until=LAST_DAY)


def save(store: Store, member: str = "logistic") -> str:
    """The id of a model with one member that was just stored."""
    labelled = rows().drop_nulls("churned")
    model = fitting.fit(labelled, PLAN, store.settings, Recipe({member: 1.0}))
    return Path(storage.save(model, store, {})).name


def pretend(store: Store, model_id: str, **facts: Any) -> None:
    """Change what the store says of a model."""
    name = f"models/{model_id}/model.json"
    known = json.loads(store.place.read(name) or b"")
    store.place.write(name, json.dumps(known | facts).encode())


def test_without_any_promotion_the_newest_model_scores(store: Store) -> None:
    """As in a store that an earlier version wrote; keep() makes it stay the champion."""
    first = save(store)
    second = save(store, "boosting")
    assert champion.current(store.place) == second
    champion.keep(store.place)
    champion.promote(store.place, first, "older and better")
    assert storage.load(store).model_id == first
    assert champion.rollback(store.place) == second
    assert storage.load(store).model_id == second


def test_a_rollback_goes_back_one_promotion_at_a_time(store: Store) -> None:
    """What was undone is never gone back to, and the first champion can't be undone."""
    ids = [save(store, member) for member in ("logistic", "boosting", "network")]
    for model_id in ids:
        champion.promote(store.place, model_id, "in turn")
    assert champion.rollback(store.place) == ids[1]
    assert champion.rollback(store.place) == ids[0]
    table = listing.models(store.settings)
    assert table.filter(role="champion")["model"].to_list() == [ids[0]]
    assert table["model"].to_list() == ids[::-1]
    champion.rollback(store.place)  # to the one that was newest at the first promotion
    with pytest.raises(ModelError, match="no earlier champion"):
        champion.rollback(store.place)


def test_the_champion_promoted_again_changes_nothing(store: Store) -> None:
    """Otherwise a rollback would go from a model to itself."""
    first, second = save(store), save(store, "boosting")
    champion.promote(store.place, first, "one")
    champion.promote(store.place, first, "two")
    assert [entry.why for entry in champion.promotions(store.place)][1:] == ["one"]
    assert champion.rollback(store.place) == second


def test_two_processes_never_promote_at_once(store: Store) -> None:
    """Each rewrites the whole file, so one of two promotions would be lost."""
    first = save(store)
    champion.promote(store.place, first, "one")
    second = save(store, "boosting")
    with locks.exclusively(store.place, name=locks.PROMOTION):
        with pytest.raises(BusyError, match="another promotion of a model"):
            champion.promote(store.place, second, "two")
        with pytest.raises(BusyError):
            champion.rollback(store.place)
    assert champion.current(store.place) == first


def test_a_model_that_is_not_stored_can_not_be_promoted(store: Store) -> None:
    """The sentence says where all models are listed."""
    save(store)
    with pytest.raises(ModelError, match="there is no model nope"):
        champion.promote(store.place, "nope", "")


def test_a_champion_of_other_settings_or_features_asks_for_a_training(
    store: Store,
) -> None:
    """It would otherwise be refused every night."""
    model_id = save(store)
    assert due.reason(store) == ""
    windows = {**WINDOWS, "horizon_days": 7}
    changed = store.settings.model_copy(
        update={"windows": type(store.settings.windows)(**windows)}
    )
    assert "another definition of churn" in due.reason(store.under(changed))
    pretend(store, model_id, features=["no_such_feature"])
    assert "no longer computed" in due.reason(store)
    pretend(store, model_id, plan={"a_choice_of_another_version": 1})
    assert "stored by another version" in due.reason(store)


def test_a_training_is_due_once_enough_outcomes_are_new(store: Store) -> None:
    """Counted from the newest training, also of one that was not promoted."""
    old = save(store)
    later = replace(store, covered_until=LAST_DAY + timedelta(days=7))
    assert due.reason(later).startswith("7 days of outcomes are known")
    assert due.reason(replace(store, covered_until=LAST_DAY + timedelta(days=6))) == ""
    champion.keep(store.place)
    challenger = save(store, "boosting")
    newest = [str(day + timedelta(days=7)) for day in CUTOFFS]
    pretend(store, challenger, cutoffs=newest)
    assert champion.current(store.place) == old
    # Its training was killed before anybody could judge it.
    assert due.reason(later).startswith("7 days of outcomes are known")
    champion.write_challenge(store.place, challenger, {"promote": False})
    assert due.reason(later) == ""


def test_a_hole_in_the_log_causes_no_training_every_night(
    make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """A training would learn from the cutoff of day 79; later ones a step apart have
    days 96 to 101 in their windows, and that of day 84, which hasn't, is no step.
    """
    is_missing = pl.col("time").is_between(at(96), at(102))
    random_log().filter(~is_missing).write_parquet(tmp_path / "events.parquet")
    settings = make_study(
        extracts=[{"source": "table", "path": "events.parquet"}],
        windows=WINDOWS,
        nightly={"train_every_days": 5},
    )
    ingest.ingest(settings, progress=False)
    holed = open_filled(settings)
    model_id = save(holed)
    day_79 = DAY0 + timedelta(days=79)
    pretend(holed, model_id, cutoffs=[str(day_79)])
    assert due.reason(holed) == ""
    pretend(holed, model_id, cutoffs=[str(day_79 - timedelta(days=5))])
    assert due.reason(holed).startswith("5 days of outcomes are known")


def test_a_challenger_kept_back_is_not_trained_again_every_night(
    store: Store,
) -> None:
    """The first one comes at once; the next one when the usual days have passed."""
    old = save(store)
    pretend(store, old, calibration=[0.9, 1.4])
    champion.promote(store.place, old, "the first")
    challenger = save(store, "boosting")
    tomorrow = [str(day + timedelta(days=1)) for day in CUTOFFS]
    pretend(store, challenger, cutoffs=tomorrow)
    champion.write_challenge(store.place, challenger, {"promote": False})
    for days_later, is_due in ((1, False), (7, False), (8, True)):
        later = replace(store, covered_until=LAST_DAY + timedelta(days=days_later))
        assert bool(due.reason(later)) is is_due


def test_a_model_too_old_is_not_replaced_by_one_that_is_no_newer(
    make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """Days 70 to 118 are missing, so a training could learn no more than it has."""
    is_missing = pl.col("time").is_between(at(70), at(119))
    random_log().filter(~is_missing).write_parquet(tmp_path / "events.parquet")
    settings = make_study(
        extracts=[{"source": "table", "path": "events.parquet"}],
        windows=WINDOWS,
        gates={"max_model_age_days": 20},
    )
    ingest.ingest(settings, progress=False)
    holed = open_filled(settings)
    model_id = save(holed)
    pretend(holed, model_id, cutoffs=[str(DAY0 + timedelta(days=57))])
    assert due.reason(holed) == ""
    pretend(holed, model_id, cutoffs=[str(DAY0 + timedelta(days=20))])
    assert "learned from outcomes until" in due.reason(holed)


def test_a_level_that_was_off_and_the_monitor_ask_for_a_training(store: Store) -> None:
    """Only once newer outcomes are known, since a training would learn the same."""
    model_id = save(store)
    pretend(store, model_id, calibration=[0.9, 1.4])
    assert due.reason(store) == ""
    later = replace(store, covered_until=LAST_DAY + timedelta(days=1))
    assert "the level of model" in due.reason(later)
    pretend(store, model_id, calibration=None)
    assert due.reason(later) == ""
    verdict = {"train": True, "model_id": model_id}
    store.place.write(due.VERDICT, json.dumps(verdict).encode())
    assert "the monitor asks for it" in due.reason(later)


def pair(gain: float, n_users: int = 3000, seed: int = 0) -> pl.DataFrame:
    """Predictions of two models at four dates a horizon apart.

    The challenger sees the same signal with less noise, for a ``gain`` above 0.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(4):
        signal = rng.normal(size=n_users)
        churned = signal + rng.logistic(size=n_users) > 0.5
        shared = rng.normal(size=n_users)
        own = rng.normal(size=(2, n_users)) * 0.2
        spread = {CHAMPION: 1.0, CHALLENGER: 1.0 - gain}
        for model, noise in zip(spread, own, strict=True):
            score = signal + spread[model] * shared + noise
            parts.append(
                pl.DataFrame(
                    {
                        "user_id": [f"u{n}" for n in range(n_users)],
                        "churned": churned,
                        "probability": 1 / (1 + np.exp(0.5 - score)),
                    }
                ).with_columns(
                    cutoff=DAY0 + timedelta(days=28 * k), model=pl.lit(model)
                )
            )
    return pl.concat(parts)


@pytest.mark.parametrize(
    ("gain", "is_old", "promoted"),
    [
        (0.3, False, True),
        (0.0, False, False),
        (0.0, True, True),
        (-0.3, True, False),
    ],
)
def test_a_challenger_is_promoted_if_better_or_as_good_as_an_old_champion(
    gain: float, is_old: bool, promoted: bool
) -> None:
    """Equal ones only in place of an old champion, worse ones never."""
    margins = Margins(0.01, 0.01)
    decision = promotion.decide(pair(gain), 28, is_old, margins, 0, 200)
    assert decision.promote is promoted, decision
    assert decision.n_cutoffs == 4
    auc, loss = decision.differences
    assert auc.low <= auc.gain <= auc.high
    assert (auc.gain > 0) == (loss.gain > 0) or gain == 0


def test_one_date_rests_on_users_alone_and_says_so() -> None:
    """Otherwise the interval of a young study would be infinite and nothing promoted."""
    one = pair(0.3).filter(pl.col("cutoff") == DAY0)
    decision = promotion.decide(one, 28, False, Margins(0.01, 0.01), 0, 200)
    assert decision.by_users_alone
    assert np.isfinite(decision.differences[0].low)


@pytest.mark.parametrize(("shift", "promoted"), [(0.0, True), (0.5, False)])
def test_log_loss_keeps_a_challenger_back_if_it_was_higher_by_more_than_its_margin(
    shift: float, promoted: bool
) -> None:
    """A level that swings from date to date makes the interval wide, which alone keeps
    nobody back.
    """
    swing = (pl.col("cutoff") - DAY0).dt.total_days() / 28 - 1.5
    level = shift + 0.25 * swing
    odds = pl.col("probability") / (1 - pl.col("probability")) * level.exp()
    is_challenger = pl.col("model") == CHALLENGER
    moved = pair(0.0).with_columns(
        probability=pl.when(is_challenger)
        .then(odds / (1 + odds))
        .otherwise("probability")
    )
    margins = Margins(0.01, 0.01)
    decision = promotion.decide(moved, 28, True, margins, 0, 200)
    _, loss = decision.differences
    assert loss.low < -margins.log_loss_rise
    assert decision.promote is promoted, decision


def test_a_date_with_one_outcome_only_does_not_keep_a_better_one_back() -> None:
    """Its AUC is unknown, so that the AUC of other periods is, with one date left."""
    two = pair(0.3).filter(pl.col("cutoff") <= DAY0 + timedelta(days=28))
    all_stayed = two.with_columns(
        pl.col("churned") & (pl.col("cutoff") == DAY0),
    )
    decision = promotion.decide(all_stayed, 28, False, Margins(0.01, 0.5), 0, 200)
    assert decision.by_users_alone
    assert decision.differences[0].low > 0


@pytest.mark.parametrize("is_old", [True, False])
def test_without_two_outcomes_age_alone_decides(is_old: bool) -> None:
    """No ranking can be compared, and the sentence says so."""
    nobody_left = pair(0.3).with_columns(churned=pl.lit(False))
    margins = Margins(0.01, 0.01)
    decision = promotion.decide(nobody_left, 28, is_old, margins, 0, 200)
    assert decision.promote is is_old
    assert "allows no comparison" in decision.why
