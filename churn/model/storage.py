"""Models on disk: skops files whose types are checked before anything is loaded."""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sklearn

from churn.errors import ModelError
from churn.features.catalogue import Plan, catalogue
from churn.model.correction import Correction
from churn.model.fitting import Model, log
from churn.model.pipelines import Recipe
from churn.settings import Settings
from churn.store import Store, write_atomically

# Written out on purpose: a model file that holds anything else is not opened.
TRUSTED_TYPES = (
    "churn.model.btyd.BuyTillYouDie",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.utils._bunch.Bunch",
)


STORED = (
    "windows",
    "churn_rate",
    "n_rows",
    "n_churned",
    "learned_from",
)  # as they are, in model.json


def save(model: Model, store: Store, metrics: dict[str, Any]) -> Path:
    """Write models/<model_id>/ with model.skops, model.json and card.md; returns the
    folder.
    """
    import skops.io  # here, since it loads every module of scikit-learn

    folder = store.path("models", model.model_id)
    fitted = skops.io.dumps({"pipeline": model.pipeline})
    write_atomically(folder / "model.skops", fitted)
    write_atomically(folder / "card.md", _card(model, metrics).encode())
    # Last, since a folder without it is no model.
    write_atomically(
        folder / "model.json", json.dumps(_facts(model, metrics), indent=1).encode()
    )
    log.info(
        "model %s: %d rows, %d churned", folder.name, model.n_rows, model.n_churned
    )
    return folder


def _facts(model: Model, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: getattr(model, name) for name in ("features", *STORED)},
        "recipe": asdict(model.recipe),
        "correction": asdict(model.correction),
        "calibration": model.calibration,
        "typical": model.typical,
        "plan": asdict(model.plan),
        "cutoffs": [c.isoformat() for c in model.cutoffs],
        "metrics": metrics,
        "scikit_learn": sklearn.__version__,
        "created_at": datetime.now(UTC).isoformat(),
    }


def _card(model: Model, metrics: dict[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in metrics.items())
    fix = model.correction
    return f"""# Model {model.model_id}

Probability that a user active before the cutoff is not active in the horizon after it.
Windows in days: {model.windows}.

- Weighted mean of {", ".join(f"{name} ({weight:.0%})" for name, weight in model.recipe.weights.items())}.
- Correction: **{fix.kind}**, log-odds times {fix.slope:.2f} and {fix.intercept:+.2f}.
- Trained on {model.n_rows} rows of {len(model.cutoffs)} cutoffs, {min(model.cutoffs)} to {max(model.cutoffs)};
  {model.churn_rate:.1%} of them churned.
- Made for the study it was trained on; ranks users by risk, says nothing of who can be persuaded to stay.
- Sees {len(model.features)} features: {", ".join(model.features)}.

| from the inner, time-ordered loop | |
|---|---|
{rows}
"""


def load(store: Store, model_id: str = "") -> Model:
    """A stored model, by default the one created last.

    Raises ModelError if there is none, if the file holds a type that isn't on the list
    above, if its features are no longer in the catalogue, or if it was trained for
    another definition of churn.
    """
    folder = store.path("models", model_id) if model_id else _newest(store)
    if not (folder / "model.json").exists():
        raise ModelError(
            f"there is no model {folder.name} in {folder.parent}; run `churn run train`"
        )
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    fitted = _open(folder / "model.skops")
    model = _from(facts, fitted)
    _check_fits(model, store.settings)
    return model


def _from(facts: dict[str, Any], fitted: dict[str, Any]) -> Model:
    if "recipe" not in facts:
        raise ModelError(
            "the model was stored by an earlier version; run `churn run train`"
        )
    plan: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v
        for name, v in facts["plan"].items()
    }
    correction = {
        **facts["correction"],
        "knots": tuple(map(tuple, facts["correction"]["knots"])),
    }
    return Model(
        recipe=Recipe(**facts["recipe"]),
        features=tuple(facts["features"]),
        typical=tuple(facts["typical"]),
        plan=Plan(**plan),
        correction=Correction(**correction),
        calibration=facts["calibration"] and tuple(facts["calibration"]),
        cutoffs=tuple(date.fromisoformat(c) for c in facts["cutoffs"]),
        **{name: facts[name] for name in STORED},
        **fitted,
    )


def _newest(store: Store) -> Path:
    made = {
        json.loads(file.read_text(encoding="utf-8"))["created_at"]: file.parent
        for file in store.path("models").glob("*/model.json")
    }
    if not made:
        raise ModelError(
            f"there is no model in {store.path('models')}; run `churn run train` first"
        )
    return made[max(made)]


def _open(file: Path) -> dict[str, Any]:
    import skops.io

    try:
        strange = sorted(
            set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED_TYPES)
        )
        if strange:
            raise ModelError(
                f"{file} holds {', '.join(strange)}, which no model of ours does; it is not opened"
            )
        return dict(skops.io.load(file, trusted=list(TRUSTED_TYPES)))
    except ModelError:
        raise
    except Exception as error:  # skops and zipfile raise many kinds for a damaged file
        raise ModelError(
            f"{file} can't be read ({type(error).__name__}); train again"
        ) from error


def _check_fits(model: Model, settings: Settings) -> None:
    unknown = [name for name in model.features if name not in catalogue(model.plan)]
    if unknown:
        raise ModelError(
            f"model {model.model_id} uses {', '.join(unknown[:5])}, no longer computed here; train again"
        )
    ours = (settings.windows.model_dump(), settings.activity.counts_as_active)
    if (model.windows, model.plan.counts_as_active) != ours:
        raise ModelError(
            f"model {model.model_id} was trained for windows {model.windows} and active events "
            f"{list(model.plan.counts_as_active)}, the study now says otherwise; run `churn run train`"
        )
