"""Fit, predict, save and load. A model is a scikit-learn pipeline, a correction of what
it says, and its plan.
"""

import hashlib
import itertools
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn
import skops.io
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from churn import candidates
from churn.candidates import Recipe
from churn.drift import Correction
from churn.errors import ModelError
from churn.features.catalogue import Plan, catalogue
from churn.settings import Settings
from churn.store import Store, write_atomically

log = logging.getLogger(__name__)

# Written out on purpose: a model file that holds anything else is not opened.
TRUSTED_TYPES = (
    "churn.btyd.BuyTillYouDie",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.utils._bunch.Bunch",
)


RECENCY = Recipe({"recency": 1.0})
"""The simple rule that everything is measured against: the longer silent, the likelier
gone.
"""


@dataclass(frozen=True)
class Model:
    """A fitted model with all that is needed to feed it."""

    recipe: Recipe
    features: tuple[str, ...]
    typical: tuple[
        float, ...
    ]  # of each feature the median over the training rows, NaN where most have none
    plan: Plan
    pipeline: Any
    correction: Correction
    calibration: (
        tuple[float, float] | None
    )  # of the inner loop's newest fold: 95 % interval of its level, in log-odds
    cutoffs: tuple[date, ...]
    windows: dict[str, int]
    churn_rate: float  # over the training rows
    n_rows: int
    n_churned: int
    learned_from: str  # SHA-256 of the training matrix and labels

    @property
    def candidate(self) -> str:
        """The only member's name, or ``blend``."""
        return (
            next(iter(self.recipe.weights))
            if len(self.recipe.weights) == 1
            else "blend"
        )

    @property
    def model_id(self) -> str:
        """Newest training cutoff, candidate and what it learned from: the same
        training, the same id.
        """
        facts = json.dumps(
            [
                self.features,
                self.learned_from,
                asdict(self.recipe),
                asdict(self.correction),
            ]
        )
        return f"{max(self.cutoffs)}-{self.candidate}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


STORED = (
    "windows",
    "churn_rate",
    "n_rows",
    "n_churned",
    "learned_from",
)  # as they are, in model.json


def fit(
    snapshot: pl.DataFrame, plan: Plan, settings: Settings, recipe: Recipe
) -> Model:
    """Fit a recipe to a labelled snapshot, uncorrected; nothing is fitted outside the
    pipeline.
    """
    names = (
        ("recency_days",)
        if set(recipe.weights) == {"recency"}
        else columns(snapshot, plan)
    )
    x, y = matrix(snapshot, names), target(snapshot)
    pipeline = candidates.blend(
        recipe, names, settings.windows.horizon_days, settings.random_state
    )
    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # the network stops after its rounds on purpose
        warnings.filterwarnings(
            "ignore", "Got `batch_size`", UserWarning
        )  # and takes all rows where they are few
        pipeline.fit(x, y)
    return Model(
        recipe=recipe,
        features=names,
        typical=_typical(x),
        plan=plan,
        pipeline=pipeline,
        correction=Correction(),
        calibration=None,
        cutoffs=tuple(sorted(snapshot["cutoff"].unique())),
        windows=settings.windows.model_dump(),
        churn_rate=float(y.mean()),
        n_rows=len(y),
        n_churned=int(y.sum()),
        learned_from=hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest(),
    )


def _typical(x: np.ndarray) -> tuple[float, ...]:
    """Of each column the median; NaN where most have none."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # a column may hold nothing at all
        return tuple(
            np.where(
                np.isnan(x).mean(axis=0) > 0.5, np.nan, np.nanmedian(x, axis=0)
            ).tolist()
        )


def columns(snapshot: pl.DataFrame, plan: Plan) -> tuple[str, ...]:
    """The features that differ between the rows; recency always."""
    names = list(catalogue(plan))
    varies = snapshot.select(pl.col(names).drop_nulls().n_unique() > 1).row(0)
    return tuple(
        name
        for name, v in zip(names, varies, strict=True)
        if v or name == "recency_days"
    )


def matrix(snapshot: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Shape (n_rows, n_features) float64; null becomes NaN.

    Rounded to nine digits: a parallel engine's sums differ beyond them, and a tree
    would split on the difference.
    """
    values: np.ndarray = snapshot.select(
        pl.col(names).cast(pl.Float64).round_sig_figs(9)
    ).to_numpy()
    return values


def target(snapshot: pl.DataFrame) -> np.ndarray:
    """Shape (n_rows,) of 0 and 1."""
    churned: np.ndarray = snapshot["churned"].cast(pl.Int8).to_numpy()
    return churned


def predict(model: Model, snapshot: pl.DataFrame) -> np.ndarray:
    """Corrected probability of churn of each row, shape (n_rows,). Raises ModelError
    where a feature is missing.
    """
    return model.correction.apply(raw(model, snapshot))


def raw(model: Model, snapshot: pl.DataFrame) -> np.ndarray:
    """The same as the pipeline says it, before the correction."""
    missing = [name for name in model.features if name not in snapshot.columns]
    if missing:
        raise ModelError(
            f"model {model.model_id} needs feature(s) {', '.join(missing[:10])} that the snapshot lacks"
        )
    if snapshot.is_empty():
        return np.empty(0)
    with _one_thread():
        return np.asarray(
            model.pipeline.predict_proba(matrix(snapshot, model.features))[:, 1]
        )


def _one_thread() -> Any:
    """For matrices so small more gain nothing, and beside other work they wait for each
    other ten times as long.
    """
    return threadpool_limits(1, "blas")


def stages(model: Model) -> Iterator[tuple[int, Callable[[pl.DataFrame], np.ndarray]]]:
    """Number of rounds and a prediction with so many, for a model of boosting alone;
    else 0 and the prediction.
    """
    if model.candidate != "boosting":
        yield 0, partial(raw, model)
        return
    first, voting = model.pipeline[0], model.pipeline[-1]
    for rounds in (n for n in candidates.ROUNDS if n <= model.recipe.rounds):
        yield (
            rounds,
            partial(_staged, model.features, first, voting.estimators_[0], rounds),
        )


def _staged(
    names: tuple[str, ...],
    first: Any,
    boosting: Any,
    rounds: int,
    snapshot: pl.DataFrame,
) -> np.ndarray:
    at_each = boosting.staged_predict_proba(first.transform(matrix(snapshot, names)))
    return np.asarray(next(itertools.islice(at_each, rounds - 1, None))[:, 1])


def save(model: Model, store: Store, metrics: dict[str, Any]) -> Path:
    """Write models/<model_id>/ with model.skops, model.json and card.md; returns the
    folder.
    """
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
