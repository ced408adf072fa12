"""A challenger against the champion, on a small app, from training to promotion."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sklearn.dummy import DummyClassifier

from churn.features.cutoffs import Calendar
from churn.model import champion, due, listing, training
from churn.results import Training
from churn.results.challenge import Challenge
from churn.settings import Settings
from churn.store import Store


def trained(
    store: Store,
    days_before: int = 0,
    estimator: object = None,
) -> Training:
    """A model whose newest training cutoff lies so many days before the newest one."""
    newest = Calendar.of(store).newest_mature() - timedelta(days=days_before)
    cutoffs = training.training_cutoffs(store, newest)
    return Training(store, training.train(store, cutoffs, estimator))


def changed(settings: Settings, table: str, **values: object) -> Settings:
    """The settings with other values in one table."""
    updated = getattr(settings, table).model_copy(update=values)
    return settings.model_copy(update={table: updated})


def test_the_first_model_is_promoted_without_a_comparison(filled: Store) -> None:
    """It scores at once, which is recorded; the same training again changes nothing."""
    first = trained(filled)
    found = first.challenge()
    assert found.decision.promote
    assert found.champion_id == ""
    assert found.summary() == (
        "It scores from now on: there was no champion before it. Nothing was compared."
    )
    assert champion.current(filled.place) == first.model.model_id
    again = first.challenge()
    assert "it is the champion already" in again.sentence()
    assert len(champion.promotions(filled.place)) == 1


def test_an_equal_challenger_is_kept_but_does_not_score(filled: Store) -> None:
    """The list says why; no training is due, since the outcomes have been learned."""
    before = trained(filled, days_before=1).challenge().challenger_id
    found = trained(filled).challenge()
    assert not found.decision.promote
    assert champion.current(filled.place) == before
    assert found.table()["figure"].to_list() == ["auc", "log_loss"]
    assert before in found.sentence()
    assert due.reason(filled) == ""
    table = listing.models(filled.settings)
    assert table["model"].to_list() == [found.challenger_id, before]
    assert table["role"].to_list() == ["", "champion"]
    assert table["remark"][0].startswith("kept back: ")


def test_a_classifier_without_skill_loses_its_place(filled: Store) -> None:
    """A user's own classifier as champion learns anew as of each tested date."""
    own = trained(filled, estimator=DummyClassifier())
    own.save()
    found = trained(filled).challenge()
    assert found.decision.promote, found.summary()
    assert "it is better by its ranking" in found.decision.why
    assert found.champion_id == own.model.model_id
    assert champion.rollback(filled.place) == own.model.model_id


def test_a_champion_too_old_to_score_gives_way_without_a_comparison(
    filled: Store,
) -> None:
    """Its gate would stop every night; an even older challenger does not replace it."""
    limit = changed(filled.settings, "gates", max_model_age_days=5)
    store = filled.under(limit)
    old = trained(store, days_before=10).challenge().challenger_id
    older = trained(store, days_before=12).challenge()
    assert older.decision.differences
    assert champion.current(store.place) == old
    assert "learned from outcomes until" in due.reason(store)
    found = trained(store).challenge()
    assert found.decision.promote
    assert not found.decision.differences
    assert due.reason(store) == ""


def test_a_champion_that_cannot_be_opened_gives_way(filled: Store) -> None:
    """A damaged file would otherwise stop the training that could replace it."""
    before = trained(filled, days_before=1).challenge().challenger_id
    filled.place.write(f"models/{before}/model.skops", b"damaged")
    found = trained(filled).challenge()
    assert found.decision.promote
    assert "can't be used" in found.decision.why


@pytest.mark.parametrize(("every", "promoted"), [(1, True), (30, False)])
def test_where_history_is_too_short_only_an_old_champion_gives_way(
    filled: Store, every: int, promoted: bool
) -> None:
    """At no date with a known outcome could anything have been learned before."""
    end = Calendar.of(filled).earliest + timedelta(days=26)
    short = replace(filled, covered_until=end)
    store = short.under(changed(filled.settings, "nightly", train_every_days=every))
    before = trained(store, days_before=2).challenge().challenger_id
    found = trained(store).challenge()
    assert "allows no comparison" in found.decision.why
    assert found.decision.promote is promoted
    assert (champion.current(store.place) != before) is promoted


def test_a_person_who_promotes_meanwhile_has_the_last_word(filled: Store) -> None:
    """The comparison was with a champion that no longer is one."""
    before = trained(filled, estimator=DummyClassifier())
    before.save()
    chosen = trained(filled, days_before=1)
    chosen.save()
    challenger = trained(filled)
    challenger._store()
    found = Challenge.of(filled, challenger.model, before.model.model_id)
    assert not found.decision.promote
    assert champion.current(filled.place) == chosen.model.model_id
