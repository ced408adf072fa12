"""Stored models: skops files whose types are checked before anything is loaded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from churn.errors import ModelError
from churn.features.catalogue import Plan, catalogue
from churn.model import card, champion, versions
from churn.model.correction import Correction
from churn.model.fitting import Model, log
from churn.model.pipelines import Recipe
from churn.settings import Settings
from churn.store import Store

# The only types that a model may hold, together with those that skops itself trusts
# (such as scikit-learn's common classifiers) and those in the study's
# model.trusted_types.
TRUSTED_TYPES = (
    "churn.model.btyd.BuyTillYouDie",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.utils._bunch.Bunch",
)

# Fields of a model that model.json stores unchanged.
STORED = ("windows", "churn_rate", "n_rows", "n_churned", "learned_from")

# Fields that are days. Models of earlier versions lack the last two.
DATES = ("cutoffs", "missing", "left_out")


def save(
    model: Model,
    store: Store,
    metrics: dict[str, Any],
) -> str:
    """Write models/<model_id>/ with model.skops, model.json and card.md.

    Returns the path or URL of that folder. Raises ModelError for a model that
    could not be loaded again, or that holds types which neither ``TRUSTED_TYPES`` nor
    the study's ``model.trusted_types`` names.
    """
    import skops.io  # here, since it loads every module of scikit-learn

    fitted = _dumped(model)
    types = set(skops.io.get_untrusted_types(data=fitted))
    _check_importable(types)
    _check_trusted(types, store.settings, f"model {model.model_id}")
    described = card.text(model, metrics, sorted(types - set(TRUSTED_TYPES)))
    orders = map(champion.order, champion.stored(store.place).values())
    number = 1 + max(orders, default=(0, ""))[0]
    facts = json.dumps(_facts(model, metrics, types, number), indent=1)
    folder = f"models/{model.model_id}"
    store.place.write(f"{folder}/model.skops", fitted)
    store.place.write(f"{folder}/card.md", described.encode())
    # model.json is written last: a folder without it does not count as a model.
    store.place.write(f"{folder}/model.json", facts.encode())
    log.info(
        "model %s: %d rows, %d churned", model.model_id, model.n_rows, model.n_churned
    )
    return store.place.below(folder)


def _dumped(model: Model) -> bytes:
    import skops.io

    try:
        return bytes(skops.io.dumps({"pipeline": model.pipeline}))
    except Exception as error:  # skops raises many types of errors here
        raise ModelError(
            f"model {model.model_id} can't be stored ({type(error).__name__}: {error})"
        ) from error


def _check_importable(types: set[str]) -> None:
    """Raise ModelError for types that another process could not import on loading."""
    for name in sorted(types):
        if name.startswith("__main__.") or "<" in name:
            raise ModelError(
                f"{name} is defined in a notebook or inside a function, so that no "
                "other run could load it: move it to a module that can be imported"
            )


def _check_trusted(
    types: set[str],
    settings: Settings,
    what: str,
) -> None:
    """Raise ModelError for untrusted types; it shows the lines to add to the study."""
    lacking = sorted(types - {*TRUSTED_TYPES, *settings.model.trusted_types})
    if not lacking:
        return
    lines = "\n".join(f'  "{name}",' for name in lacking)
    raise ModelError(
        f"{what} holds types that aren't trusted. The code of a trusted type runs when "
        "a model is loaded; if you trust these, add to model.trusted_types in the "
        f"study file:\n{lines}"
    )


def _facts(
    model: Model,
    metrics: dict[str, Any],
    types: set[str],
    number: int,
) -> dict[str, Any]:
    newest = model.calibration_cutoff
    return {
        **{name: getattr(model, name) for name in ("features", *STORED)},
        "recipe": asdict(model.recipe),
        "correction": asdict(model.correction),
        "calibration": model.calibration,
        "calibration_cutoff": newest and newest.isoformat(),
        "typical": model.typical,
        "plan": asdict(model.plan),
        **{name: [day.isoformat() for day in getattr(model, name)] for name in DATES},
        "metrics": metrics,
        "versions": versions.present(types),
        "created_at": datetime.now(UTC).isoformat(),
        "number": number,
    }


def has(
    store: Store,
    model_id: str,
) -> bool:
    """Whether the store has this model."""
    return store.place.tagged(f"models/{model_id}/model.json") is not None


def load(
    store: Store,
    model_id: str = "",
) -> Model:
    """A stored model, by default the champion.

    Raises ModelError if there is none, if another version stored it, if the file holds
    a type that isn't trusted, if its features are no longer in the catalogue, or if it
    was trained for another definition of churn.
    """
    model_id = model_id or champion.of(store)
    stored = store.place.read(f"models/{model_id}/model.json")
    if stored is None:
        raise ModelError(
            f"there is no model {model_id} in {store.place.below('models')}; "
            "run `churn run train`"
        )
    facts = json.loads(stored)
    # Compared before the file is opened: the types in a file of another version may be
    # unknown here, which would look as if somebody had tampered with it.
    versions.check(model_id, facts)
    opened = _open(store, f"models/{model_id}/model.skops", versions.hint(facts))
    model = _from(facts, opened["pipeline"])
    _check_fits(model, store.settings)
    return model


def _from(
    facts: dict[str, Any],
    pipeline: Any,
) -> Model:
    if "recipe" not in facts:
        raise ModelError(
            "the model was stored by an earlier version; run `churn run train`"
        )
    plan: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in facts["plan"].items()
    }
    knots = tuple(map(tuple, facts["correction"]["knots"]))
    dates: dict[str, Any] = {name: _days(facts.get(name, [])) for name in DATES}
    # Models of earlier versions don't say of which cutoff their calibration is.
    newest = facts.get("calibration_cutoff")
    return Model(
        recipe=Recipe(**facts["recipe"]),
        features=tuple(facts["features"]),
        typical=tuple(facts["typical"]),
        plan=Plan(**plan),
        pipeline=pipeline,
        correction=Correction(**{**facts["correction"], "knots": knots}),
        calibration=facts["calibration"] and tuple(facts["calibration"]),
        calibration_cutoff=newest and date.fromisoformat(newest),
        **dates,
        **{name: facts[name] for name in STORED},
    )


def _days(stored: Sequence[str]) -> tuple[date, ...]:
    return tuple(date.fromisoformat(day) for day in stored)


def _open(
    store: Store,
    name: str,
    hint: str,
) -> dict[str, Any]:
    """The content of a model file; ``hint`` ends the error if it can't be opened."""
    import skops.io

    address = store.place.below(name)
    content = store.place.read(name)
    if content is None:
        raise ModelError(f"{address} is missing; train again")
    trusted = [*TRUSTED_TYPES, *store.settings.model.trusted_types]
    try:
        types = set(skops.io.get_untrusted_types(data=content))
        _check_trusted(types, store.settings, address)
        return dict(skops.io.loads(content, trusted=trusted))
    except ModelError as error:
        raise ModelError(f"{error}{hint and '.' + hint}") from None
    except Exception as error:  # skops and zipfile raise many types for damage
        raise ModelError(
            f"{address} can't be read ({type(error).__name__}: {error}); train again"
            f"{hint and '.' + hint}"
        ) from error


def _check_fits(
    model: Model,
    settings: Settings,
) -> None:
    known = catalogue(model.plan)
    unknown = [name for name in model.features if name not in known]
    if unknown:
        raise ModelError(
            f"model {model.model_id} uses {', '.join(unknown[:5])}, no longer computed "
            "here; train again"
        )
    plan, windows = model.plan, settings.windows.model_dump()
    trained = _definition(model.windows, plan.counts_as_active, plan.timezone)
    expected = _definition(
        windows, settings.activity.counts_as_active, settings.timezone
    )
    if trained != expected:
        raise ModelError(
            f"model {model.model_id} was trained for {trained}, but the study has "
            f"{expected}; run `churn run train`"
        )


def _definition(
    windows: Mapping[str, int],
    counts_as_active: Sequence[str],
    timezone: str,
) -> str:
    """What a model and its study must agree on."""
    return (
        f"windows {dict(windows)}, active events {list(counts_as_active)} and time "
        f"zone {timezone}"
    )
