"""Fitting, saving and loading a model."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import skops.io
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import ThreadpoolController, threadpool_limits

from churn.errors import ModelError
from churn.features import snapshots
from churn.features.catalogue import Plan, catalogue
from churn.features.cutoffs import Calendar
from churn.model import (
    fitting,
    forecasts,
    own,
    pipelines,
    storage,
    training,
    useful_features,
)
from churn.model.correction import Correction
from churn.model.fitting import Model
from churn.model.pipelines import Recipe
from churn.report import forecast_sentences
from churn.settings import Settings
from churn.store import Store, create_or_open

from .test_selection import PLAN, WINDOWS, rows

ALL = dict.fromkeys(pipelines.MEMBERS, 0.25)
DEFAULT = pipelines.default_weights(1000)


def learned(
    settings: Settings, weights: dict[str, float] = DEFAULT, rounds: int = 80
) -> Model:
    """A recipe fitted to 300 users at six cutoffs."""
    return fitting.fit(
        rows().drop_nulls("churned"), PLAN, settings, Recipe(weights, rounds)
    )


@pytest.fixture
def fitted(make_study: Callable[..., Settings]) -> tuple[Store, Model]:
    """A blend with default weights, and a store without any model."""
    settings = make_study(windows=WINDOWS)
    return create_or_open(settings), learned(settings)


@pytest.mark.parametrize(
    "weights", [*({name: 1.0} for name in pipelines.MEMBERS), DEFAULT, ALL]
)
def test_a_stored_model_predicts_the_same(
    fitted: tuple[Store, Model], weights: dict[str, float]
) -> None:
    """Every member and blend, saved and loaded, is the same model and gives bit-equal
    probabilities within [0, 1].
    """
    store, _ = fitted
    one = learned(store.settings, weights)
    storage.save(one, store, {"log_loss": 0.5})
    loaded = storage.load(store, one.model_id)
    p = fitting.predict(loaded, rows())
    assert np.array_equal(p, fitting.predict(one, rows()))
    assert p.min() >= 0
    assert p.max() <= 1
    assert replace(loaded, pipeline=None) == replace(one, pipeline=None)
    assert one.candidate in ({*weights} if len(weights) == 1 else {"blend"})


@pytest.mark.parametrize(
    "correction",
    [
        Correction("level", intercept=0.25),
        Correction("early", intercept=-0.1),
        Correction("platt", 0.7, 0.1),
        Correction("isotonic", knots=((-2.0, -1.5), (0.1, 0.0), (3.0, 1.0))),
    ],
    ids=lambda correction: correction.kind,
)
def test_a_stored_correction_is_the_same(
    fitted: tuple[Store, Model], correction: Correction
) -> None:
    """A correction of any kind is stored, knots included; it changes the probabilities
    and the model's id.
    """
    store, plain = fitted
    newest = date(2026, 2, 1)
    one = replace(
        plain,
        correction=correction,
        calibration=(-0.1, 0.2),
        calibration_cutoff=newest,
    )
    storage.save(one, store, {})
    loaded = storage.load(store)
    assert (loaded.correction, loaded.calibration) == (correction, (-0.1, 0.2))
    assert loaded.calibration_cutoff == newest
    assert loaded.model_id == one.model_id != plain.model_id
    assert np.array_equal(
        fitting.predict(loaded, rows()),
        correction.apply(fitting.predict(plain, rows())),
    )
    assert not np.allclose(fitting.predict(loaded, rows()), fitting.raw(loaded, rows()))


def test_a_model_tells_which_cutoffs_missing_days_have_cost(
    fitted: tuple[Store, Model],
) -> None:
    """The days and cutoffs are stored, and a sentence stands in the card and the report.
    A model of a log without holes says nothing of the kind.
    """
    store, plain = fitted
    assert plain.gaps == ""
    days = (date(2026, 2, 1), date(2026, 2, 2))
    one = replace(plain, missing=days, left_out=(date(2026, 2, 10),))
    folder = Path(storage.save(one, store, {}))
    loaded = storage.load(store)
    assert (loaded.missing, loaded.left_out) == (one.missing, one.left_out)
    expected = (
        "training cutoffs left out: 1, because 2 days from 2026-02-01 to 2026-02-02 "
        "have hardly any events"
    )
    assert f"\n- Missing data: {expected}" in (folder / "card.md").read_text()
    assert expected in forecast_sentences.training(loaded, store.settings)


def test_the_card_and_the_facts_describe_the_model(
    fitted: tuple[Store, Model],
) -> None:
    """card.md names members, correction, cutoffs and metrics; model.json lists the
    features.
    """
    store, blend = fitted
    folder = Path(storage.save(blend, store, {"log_loss": 0.5}))
    card = (folder / "card.md").read_text()
    assert "logistic (35%), boosting (40%), network (25%)" in card
    assert "**none**" in card
    assert str(max(blend.cutoffs)) in card
    assert "| log_loss | 0.5 |" in card
    assert json.loads((folder / "model.json").read_text())["features"] == list(
        blend.features
    )
    assert storage.load(store).model_id == blend.model_id


def test_the_model_stored_last_is_loaded_even_if_the_clock_was_set_back(
    fitted: tuple[Store, Model],
) -> None:
    """Not the time but the order of storing decides; a model of an earlier version,
    which has no number, is older than one that has.
    """
    store, first = fitted
    second = learned(store.settings, {"logistic": 1.0})
    for model in (first, second):
        storage.save(model, store, {})
    file = f"models/{second.model_id}/model.json"
    facts = json.loads(store.place.read(file) or b"")
    facts["created_at"] = "2020-01-01T00:00:00+00:00"
    store.place.write(file, json.dumps(facts).encode())
    assert storage.load(store).model_id == second.model_id
    del facts["number"]
    store.place.write(file, json.dumps(facts).encode())
    assert storage.load(store).model_id == first.model_id
    storage.save(second, store, {})
    assert storage.load(store).model_id == second.model_id


def test_a_file_with_a_type_that_is_not_trusted_is_not_loaded(
    fitted: tuple[Store, Model],
) -> None:
    """A pipeline with a foreign function is refused by name, before its code runs."""
    store, blend = fitted
    folder = Path(storage.save(blend, store, {}))
    evil = {"pipeline": FunctionTransformer(func=timedelta)}
    (folder / "model.skops").write_bytes(skops.io.dumps(evil))
    with pytest.raises(ModelError, match=r"datetime\.timedelta"):
        storage.load(store)


def test_the_list_of_types_holds_what_our_models_need_and_no_more(
    fitted: tuple[Store, Model],
) -> None:
    """A blend of all members needs every type on the list."""
    store, _ = fitted
    folder = Path(storage.save(learned(store.settings, ALL), store, {}))
    assert set(skops.io.get_untrusted_types(file=folder / "model.skops")) == set(
        storage.TRUSTED_TYPES
    )


def test_a_damaged_or_missing_file_is_one_sentence(
    fitted: tuple[Store, Model],
) -> None:
    """So are an unknown model id and a store without any model."""
    store, blend = fitted
    with pytest.raises(ModelError, match="run `churn run train` first"):
        storage.load(store)
    folder = Path(storage.save(blend, store, {}))
    (folder / "model.skops").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="can't be read"):
        storage.load(store)
    with pytest.raises(ModelError, match="there is no model nope"):
        storage.load(store, "nope")


def test_a_model_of_an_earlier_version_is_refused(
    fitted: tuple[Store, Model],
) -> None:
    """Its facts lack a recipe; the error says to train again."""
    store, blend = fitted
    folder = Path(storage.save(blend, store, {}))
    facts = json.loads((folder / "model.json").read_text())
    old = {
        name: value
        for name, value in facts.items()
        if name not in ("recipe", "correction", "typical")
    }
    (folder / "model.json").write_text(json.dumps(old | {"candidate": "blend"}))
    with pytest.raises(
        ModelError, match="stored by an earlier version; run `churn run train`"
    ):
        storage.load(store)


def test_a_model_with_other_features_or_windows_is_refused(
    fitted: tuple[Store, Model],
) -> None:
    """A feature that is no longer computed, or settings with another horizon."""
    store, blend = fitted
    folder = Path(storage.save(blend, store, {}))
    other = store.settings.model_copy(
        update={
            "windows": store.settings.windows.model_copy(update={"horizon_days": 7})
        }
    )
    with pytest.raises(ModelError, match="trained for windows"):
        storage.load(store.under(other))
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace('"recency_days"', '"gone_days"'))
    with pytest.raises(ModelError, match="gone_days, no longer computed"):
        storage.load(store)


def test_a_snapshot_without_a_needed_feature_is_refused(
    fitted: tuple[Store, Model],
) -> None:
    """A missing column is never filled silently; an empty snapshot gives no
    forecasts.
    """
    _, blend = fitted
    with pytest.raises(ModelError, match="recency_days"):
        fitting.predict(blend, rows().drop("recency_days"))
    assert fitting.predict(blend, rows().clear()).shape == (0,)


def test_a_feature_without_a_value_in_training_is_not_used(
    fitted: tuple[Store, Model],
) -> None:
    """A feature that is null or constant in training is left out, recency apart.

    Null in some training rows, or in all rows that are predicted, is no error.
    """
    store, _ = fitted
    table = rows().with_columns(
        pl.lit(None, pl.Float64).alias("gap_mean_days"),
        pl.lit(3).alias("recency_days"),
        tenure_days=pl.when(pl.int_range(pl.len()) % 3 == 0).then(
            pl.int_range(pl.len())
        ),
    )
    one = fitting.fit(table.drop_nulls("churned"), PLAN, store.settings, Recipe(ALL))
    assert set(one.features) == {
        "recency_days",
        "active_days_28d",
        "first_active_days",
        "tenure_days",
    }
    nothing = table.with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in one.features
    )
    assert np.isfinite(fitting.predict(one, nothing)).all()


def test_typical_is_the_median_of_the_training_rows(
    fitted: tuple[Store, Model],
) -> None:
    """It is given for each feature in order, and nulls don't count."""
    store, _ = fitted
    table = (
        rows()
        .drop_nulls("churned")
        .with_columns(tenure_days=pl.int_range(pl.len()).cast(pl.Float64))
    )
    table = table.with_columns(
        pl.when(pl.col("tenure_days") < 900).then("tenure_days").alias("tenure_days")
    )
    one = fitting.fit(table, PLAN, store.settings, Recipe({"logistic": 1.0}))
    assert dict(zip(one.features, one.typical, strict=True)) == table.select(
        one.features
    ).median().row(0, named=True)
    assert dict(zip(one.features, one.typical, strict=True))["tenure_days"] == 449.5


@pytest.mark.parametrize("weights", [DEFAULT, ALL])
def test_members_fitted_together_are_those_fitted_apart(
    fitted: tuple[Store, Model], weights: dict[str, float]
) -> None:
    """A copy of the pipeline that scikit-learn fits by itself, each member from the
    matrix on, gives the same probabilities but for a network's 32 bits, and so does a
    member alone.
    """
    store, _ = fitted
    one = learned(store.settings, weights)
    labelled = rows().drop_nulls("churned")
    x, y = fitting.matrix(labelled, one.features), fitting.target(labelled)
    with fitting.one_thread(one.recipe), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        apart = clone(one.pipeline).fit(x, y)
        expected = apart.predict_proba(x)[:, 1]
    assert fitting.raw(one, labelled) == pytest.approx(expected, rel=1e-4)
    for (name, _), probability in forecasts.staged(one, labelled).items():
        if name != "boosting":
            alone = fitting.raw(learned(store.settings, {name: 1.0}), labelled)
            assert probability == pytest.approx(alone, rel=1e-9)


def test_no_recipe_is_fitted_twice_to_the_same_rows(
    fitted: tuple[Store, Model],
) -> None:
    """Of four fits that remember each other the second takes the first's pipeline;
    other rows, or another random_state, are fitted anew, as they are alone.
    """
    settings = fitted[0].settings
    labelled, recipe = rows().drop_nulls("churned"), Recipe({"network": 1.0})
    other = settings.model_copy(update={"random_state": settings.random_state + 1})
    fits: fitting.Fits = {}
    first, again, fewer, reseeded = (
        fitting.fit(table, PLAN, given, recipe, fits=fits)
        for table, given in (
            (labelled, settings),
            (labelled.clone(), settings),
            (labelled[1:], settings),
            (labelled, other),
        )
    )
    assert again.pipeline is first.pipeline
    assert len(fits) == 3
    for model, table, given in (
        (fewer, labelled[1:], settings),
        (reseeded, labelled, other),
    ):
        alone = fitting.fit(table, PLAN, given, recipe)
        assert np.array_equal(fitting.raw(model, rows()), fitting.raw(alone, rows()))
        assert not np.allclose(fitting.raw(model, rows()), fitting.raw(first, rows()))


def test_fewer_rounds_are_a_stage_of_more(
    fitted: tuple[Store, Model],
) -> None:
    """Boosting of 60 rounds predicts after 20 and 40 as boosting of that many does."""
    store, _ = fitted
    staged = forecasts.staged(learned(store.settings, {"boosting": 1.0}, 60), rows())
    assert list(staged) == [("boosting", n) for n in (20, 40, 60)]
    for (_, rounds), probability in staged.items():
        one = learned(store.settings, {"boosting": 1.0}, rounds)
        assert np.allclose(probability, fitting.raw(one, rows()), rtol=1e-12)


def test_the_last_digits_of_a_parallel_sum_do_not_reach_the_matrix() -> None:
    """Values equal to nine digits become equal, and null becomes NaN."""
    table = pl.DataFrame({"a": [1 / 3, 1 / 3 * (1 + 1e-14), None]})
    got = fitting.matrix(table, ("a",))
    assert got[0] == got[1]
    assert np.isnan(got[2, 0])


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinite_values_are_refused_by_name(
    fitted: tuple[Store, Model], infinity: float
) -> None:
    """In training, with one's own classifier too, in scoring and in reasons; only the
    features with such a value are named, and one in a single row is enough.
    """
    store, blend = fitted
    at = pl.int_range(pl.len()) == 7
    table = rows().with_columns(
        pl.when(~at).then(name).otherwise(infinity).alias(name)
        for name in ("recency_days", "first_active_days")
    )
    labelled, settings = table.drop_nulls("churned"), store.settings
    classifier = HistGradientBoostingClassifier(max_iter=20)
    for refused in (
        lambda: fitting.fit(labelled, PLAN, settings, blend.recipe),
        lambda: fitting.fit(labelled, PLAN, settings, own.RECIPE, classifier),
        lambda: fitting.predict(blend, table),
        lambda: fitting.without(blend, table, [blend.features]),
    ):
        with pytest.raises(ModelError, match="infinite values: correct") as error:
            refused()
        assert "recency_days" in str(error.value)
        assert "first_active_days" in str(error.value)
        assert "active_days_28d" not in str(error.value)


@pytest.mark.parametrize(
    ("recipe", "openmp"), [(Recipe(DEFAULT), 1), (own.RECIPE, 2)], ids=["blend", "own"]
)
def test_only_the_blend_is_kept_from_threads_of_openmp(
    recipe: Recipe, openmp: int
) -> None:
    """Of two threads, one's own classifier keeps both where they are OpenMP's, whereas
    linear algebra is always limited to one.
    """
    with threadpool_limits(2), fitting.one_thread(recipe):
        pools = ThreadpoolController().info()
    threads = {(pool["user_api"], pool["num_threads"]) for pool in pools}
    assert threads == {("blas", 1), ("openmp", openmp)}


def test_training_twice_gives_the_same_model(filled: Store, tmp_path: Path) -> None:
    """The id, the choice and the probabilities are the same."""
    store = filled
    cutoffs = training.training_cutoffs(store)
    one, other = (training.train(store, cutoffs) for _ in range(2))
    first, second = one.model, other.model
    chosen, again = one.choice, other.choice
    snapshot = snapshots.observe(
        store,
        [Calendar.of(store).newest_mature()],
        first.plan,
    )
    assert first.model_id == second.model_id
    assert (chosen.recipe, chosen.correction) == (again.recipe, again.correction)
    assert np.array_equal(
        fitting.predict(first, snapshot), fitting.predict(second, snapshot)
    )


def test_copies_of_a_feature_are_left_out_of_the_model() -> None:
    """Where one event name is all that counts as active, its counts are those of
    activity and only these are learned from.
    """
    plan = Plan(28, vocabulary=("open", "buy"))
    values = {name: [0.0, 0.0, 0.0] for name in catalogue(plan)}
    values |= {
        "recency_days": [1.0, 2.0, 3.0],
        "n_events_7d": [3.0, 2.0, 1.0],
        "n_open_7d": [3.0, 2.0, 1.0],
        "n_buy_7d": [1.0, 2.0, 1.0],
    }
    assert set(useful_features.of(pl.DataFrame(values), plan)) == {
        "recency_days",
        "n_events_7d",
        "n_buy_7d",
    }


def test_recency_stays_where_it_is_the_age_of_an_event() -> None:
    """Where purchases are all that counts, days since the last purchase are recency,
    and recency is learned from.
    """
    plan = Plan(28, vocabulary=("purchase",))
    values = {name: [0.0, 0.0, 0.0] for name in catalogue(plan)}
    ages = [1.0, 2.0, 3.0]
    table = pl.DataFrame(values | {"days_since_purchase": ages, "recency_days": ages})
    assert useful_features.of(table, plan) == ("recency_days",)
