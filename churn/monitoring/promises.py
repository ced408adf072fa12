"""What was promised at a scoring, and how far its inputs had drifted by then."""

import json
import logging
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta

import polars as pl

from churn.evaluation import next_period
from churn.features.catalogue import catalogue
from churn.model import baseline
from churn.model.baseline import SCORES, Baseline
from churn.model.fitting import Model
from churn.store import Store

log = logging.getLogger(__name__)

FOLDER = "promises"

MAX_USERS = 5_000
"""Most users whose outcomes are drawn for a promise; more would cost seconds a night."""


@dataclass(frozen=True)
class Promise:
    """What was known of a scoring when it was made.

    - ``expected``: estimate, low and high (80 %) of auc and log_loss for exactly these
      scores; empty if the model has no validation cutoff.
    - ``drift``: population stability index by feature, and of the scores themselves as
      ``probability``; empty for a model that an earlier version stored.
    - ``kinds``: mean index of the features of each kind.
    """

    cutoff: str
    model_id: str
    n: int
    mean_probability: float
    expected: dict[str, tuple[float | None, float | None, float | None]] = field(
        default_factory=dict
    )
    drift: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, float] = field(default_factory=dict)


def make(
    store: Store,
    model: Model,
    scores: pl.DataFrame,
    seen: Baseline | None,
    counted: pl.DataFrame | None,
) -> Promise:
    """The promise of a scoring.

    ``seen``: the model's baseline, null if it has none. ``counted``: the scored users
    in its bins.
    """
    facts = (
        str(scores["cutoff"][0]),
        model.model_id,
        scores.height,
        float(scores["probability"].to_numpy().mean()),
    )
    if seen is None or counted is None:
        return Promise(*facts)
    found = baseline.drift(counted)
    by_feature = dict(found.iter_rows())
    kinds = {name: feature.kind for name, feature in catalogue(model.plan).items()}
    of_kinds = found.filter(pl.col("feature") != SCORES).with_columns(
        kind=pl.col("feature").replace_strict(kinds, default=None)
    )
    by_kind = of_kinds.group_by("kind").agg(pl.col("psi").mean()).sort("kind")
    return Promise(
        *facts,
        expected=_expected(store, seen, scores),
        drift=by_feature,
        kinds=dict(by_kind.iter_rows()),
    )


def _expected(
    store: Store,
    seen: Baseline,
    scores: pl.DataFrame,
) -> dict[str, tuple[float | None, float | None, float | None]]:
    """What ``next_period`` expects of these scores, by figure."""
    if seen.validation.is_empty():
        return {}
    windows = store.settings.windows
    seed = store.settings.random_state
    drawn = scores["probability"]
    if len(drawn) > MAX_USERS:
        drawn = drawn.sample(MAX_USERS, seed=seed)
    found = next_period.estimate(
        seen.validation,
        drawn.to_numpy(),
        seen.churn_rates,
        windows.lead_days + windows.horizon_days,
        seed,
    )
    return {figure: (middle, low, high) for figure, middle, low, high in found.rows()}


def keep(
    store: Store,
    promise: Promise,
) -> None:
    """Store a promise beside its scores; it holds no users."""
    content = json.dumps(asdict(promise), indent=1)
    store.place.write(_name(promise.cutoff), content.encode())


def read(
    store: Store,
    cutoff: date,
) -> Promise | None:
    """The promise of a scoring; null if none was kept or it can't be read."""
    content = store.place.read(_name(str(cutoff)))
    if content is None:
        return None
    try:
        return Promise(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _name(cutoff: str) -> str:
    return f"{FOLDER}/cutoff={cutoff}.json"


def remove_old(
    store: Store,
    compared: set[date],
) -> int:
    """Remove scores, findings and promises older than ``scores.keep_days``.

    Their age counts from the newest cutoff, which stays, and so do scores that were not
    ``compared`` with their outcome yet. Returns how many cutoffs went.
    """
    days = store.settings.scores.keep_days
    names = {
        name: date.fromisoformat(name.split("cutoff=")[1].split(".")[0])
        for folder in ("scores", "findings", FOLDER)
        for name in store.place.names(folder)
        if "cutoff=" in name
    }
    if not days or not names:
        return 0
    oldest = max(names.values()) - timedelta(days=days)
    old = [
        name for name, cutoff in names.items() if cutoff < oldest and cutoff in compared
    ]
    if old:
        store.place.remove(*old)
    n_removed = len({names[name] for name in old})
    log.info("scores: %d old cutoffs removed", n_removed)
    return n_removed
