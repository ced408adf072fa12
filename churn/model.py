"""Candidates, fit, predict, save and load. A model is a scikit-learn pipeline, a calibrator or none, and its plan."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn
import skops.io
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from churn import features
from churn.errors import ModelError
from churn.features import Plan
from churn.store import Store, write_atomically
from churn.study import Study

log = logging.getLogger(__name__)

# Written out on purpose: a model file that holds anything else is not opened.
TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils._bunch.Bunch",
)


def _linear(random_state: int, strength: float = 0.02) -> Pipeline:
    """Logistic regression on log-like features; clipping to the trained range keeps drift from being extrapolated."""
    return make_pipeline(
        FunctionTransformer(np.arcsinh),
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        MinMaxScaler(clip=True),
        StandardScaler(),
        LogisticRegression(C=strength, max_iter=1000, random_state=random_state),
    )


def _recency(random_state: int) -> Pipeline:
    return _linear(random_state, strength=1.0)


def _boosting(random_state: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=120,
        max_leaf_nodes=6,
        min_samples_leaf=80,
        l2_regularization=20.0,
        max_features=0.3,
        early_stopping=False,  # it would hold out random rows, not later ones
        random_state=random_state,
    )


def _blend(random_state: int) -> VotingClassifier:
    parts = [("logistic", _linear(random_state)), ("boosting", _boosting(random_state))]
    return VotingClassifier(parts, voting="soft")


CANDIDATES: dict[str, Callable[[int], ClassifierMixin]] = {
    "recency": _recency,
    "logistic": _linear,
    "boosting": _boosting,
    "blend": _blend,
}
"""By name, simplest first; each takes a random_state. ``recency`` sees one feature, the others all."""


@dataclass(frozen=True)
class Model:
    """A fitted model with all that is needed to feed it."""

    candidate: str
    features: tuple[str, ...]
    plan: Plan
    pipeline: Any
    calibrator: Any  # a logistic regression on the log-odds, or None
    cutoffs: tuple[date, ...]
    windows: dict[str, int]
    churn_rate: float  # over the training rows
    n_rows: int
    n_churned: int
    learned_from: str  # SHA-256 of the training matrix and labels

    @property
    def model_id(self) -> str:
        """Newest training cutoff, candidate and what it learned from: the same training, the same id."""
        facts = json.dumps([self.features, self.learned_from, self.calibrator is not None])
        return f"{max(self.cutoffs)}-{self.candidate}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


STORED = ("candidate", "windows", "churn_rate", "n_rows", "n_churned", "learned_from")  # as they are, in model.json


def fit(
    snapshot: pl.DataFrame, candidate: str, plan: Plan, study: Study, calibrator: LogisticRegression | None = None
) -> Model:
    """Fit one candidate to a labelled snapshot; nothing is fitted outside the pipeline."""
    names = columns(candidate, plan)
    x, y = matrix(snapshot, names), target(snapshot)
    pipeline = CANDIDATES[candidate](study.random_state)
    pipeline.fit(x, y)
    return Model(
        candidate=candidate,
        features=names,
        plan=plan,
        pipeline=pipeline,
        calibrator=calibrator,
        cutoffs=tuple(sorted(snapshot["cutoff"].unique())),
        windows=study.windows.model_dump(),
        churn_rate=float(y.mean()),
        n_rows=len(y),
        n_churned=int(y.sum()),
        learned_from=hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest(),
    )


def columns(candidate: str, plan: Plan) -> tuple[str, ...]:
    """The features a candidate sees."""
    return ("recency_days",) if candidate == "recency" else tuple(features.catalogue(plan))


def matrix(snapshot: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Shape (n_rows, n_features) float64; null becomes NaN.

    Rounded to nine digits: a parallel engine's sums differ beyond them, and a tree would split on the difference.
    """
    values: np.ndarray = snapshot.select(pl.col(names).cast(pl.Float64).round_sig_figs(9)).to_numpy()
    return values


def target(snapshot: pl.DataFrame) -> np.ndarray:
    """Shape (n_rows,) of 0 and 1."""
    churned: np.ndarray = snapshot["churned"].cast(pl.Int8).to_numpy()
    return churned


def predict(model: Model, snapshot: pl.DataFrame) -> np.ndarray:
    """Calibrated probability of churn of each row, shape (n_rows,). Raises ModelError where a feature is missing."""
    missing = [name for name in model.features if name not in snapshot.columns]
    if missing:
        raise ModelError(f"model {model.model_id} needs feature(s) {', '.join(missing[:10])} that the snapshot lacks")
    if snapshot.is_empty():
        return np.empty(0)
    raw = model.pipeline.predict_proba(matrix(snapshot, model.features))[:, 1]
    return calibrate(model.calibrator, raw)


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Shape (n, 1), what the calibrator sees."""
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: np.ndarray = np.log(clipped / (1 - clipped))
    return odds.reshape(-1, 1)


def calibrate(calibrator: LogisticRegression | None, probability: np.ndarray) -> np.ndarray:
    """Probabilities after the calibrator, or as they are without one."""
    if calibrator is None:
        return probability
    return np.asarray(calibrator.predict_proba(log_odds(probability))[:, 1])


def save(model: Model, store: Store, metrics: dict[str, Any]) -> Path:
    """Write models/<model_id>/ with model.skops, model.json and card.md; returns the folder."""
    folder = store.path("models", model.model_id)
    fitted = skops.io.dumps({"pipeline": model.pipeline, "calibrator": model.calibrator})
    write_atomically(folder / "model.skops", fitted)
    write_atomically(folder / "card.md", _card(model, metrics).encode())
    # Last, since a folder without it is no model.
    write_atomically(folder / "model.json", json.dumps(_facts(model, metrics), indent=1).encode())
    log.info("model %s: %d rows, %d churned", folder.name, model.n_rows, model.n_churned)
    return folder


def _facts(model: Model, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: getattr(model, name) for name in ("features", *STORED)},
        "plan": asdict(model.plan),
        "cutoffs": [c.isoformat() for c in model.cutoffs],
        "calibrated": model.calibrator is not None,
        "metrics": metrics,
        "scikit_learn": sklearn.__version__,
        "created_at": datetime.now(UTC).isoformat(),
    }


def _card(model: Model, metrics: dict[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in metrics.items())
    return f"""# Model {model.model_id}

Probability that a user active before the cutoff is not active in the horizon after it.
Windows in days: {model.windows}.

- Candidate **{model.candidate}**, {"calibrated" if model.calibrator else "not calibrated: that was no better"}.
- Trained on {model.n_rows} rows of {len(model.cutoffs)} cutoffs, {min(model.cutoffs)} to {max(model.cutoffs)};
  {model.churn_rate:.1%} of them churned.
- Made for the study it was trained on; ranks users by risk, says nothing of who can be persuaded to stay.
- Sees {len(model.features)} features: {", ".join(model.features)}.

| from the inner, time-ordered loop | |
|---|---|
{rows}
"""


def load(store: Store, study: Study, model_id: str = "") -> Model:
    """A stored model, by default the one created last.

    Raises ModelError if there is none, if the file holds a type that isn't on the list above, if its features are no
    longer in the catalogue, or if it was trained for another definition of churn.
    """
    folder = store.path("models", model_id) if model_id else _newest(store)
    if not (folder / "model.json").exists():
        raise ModelError(f"there is no model {folder.name} in {folder.parent}; run `churn run train`")
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    fitted = _open(folder / "model.skops")
    stored = facts["plan"]
    names = {name: tuple(stored[name]) for name in ("counts_as_active", "vocabulary", "sources")}
    plan = Plan(stored["observation_days"], **names)
    kept = {name: facts[name] for name in STORED}
    cutoffs = tuple(date.fromisoformat(c) for c in facts["cutoffs"])
    model = Model(plan=plan, features=tuple(facts["features"]), cutoffs=cutoffs, **kept, **fitted)
    _check_fits(model, study)
    return model


def _newest(store: Store) -> Path:
    made = {
        json.loads(file.read_text(encoding="utf-8"))["created_at"]: file.parent
        for file in store.path("models").glob("*/model.json")
    }
    if not made:
        raise ModelError(f"there is no model in {store.path('models')}; run `churn run train` first")
    return made[max(made)]


def _open(file: Path) -> dict[str, Any]:
    try:
        strange = sorted(set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED_TYPES))
        if strange:
            raise ModelError(f"{file} holds {', '.join(strange)}, which no model of ours does; it is not opened")
        return dict(skops.io.load(file, trusted=list(TRUSTED_TYPES)))
    except ModelError:
        raise
    except Exception as error:  # skops and zipfile raise many kinds for a damaged file
        raise ModelError(f"{file} can't be read ({type(error).__name__}); train again") from error


def _check_fits(model: Model, study: Study) -> None:
    unknown = [name for name in model.features if name not in features.catalogue(model.plan)]
    if unknown:
        raise ModelError(f"model {model.model_id} uses {', '.join(unknown[:5])}, no longer computed here; train again")
    ours = (study.windows.model_dump(), study.activity.counts_as_active)
    if (model.windows, model.plan.counts_as_active) != ours:
        raise ModelError(
            f"model {model.model_id} was trained for windows {model.windows} and active events "
            f"{list(model.plan.counts_as_active)}, the study now says otherwise; run `churn run train`"
        )
