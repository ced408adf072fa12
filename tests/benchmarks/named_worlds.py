"""The default model beside one booster on simple counts, where events tell a lot.

    python -m tests.benchmarks.named_worlds --users 6000 --seeds 2000 2001 2002

In the worlds `names` of `churn simulate` one, some or all event names count as active,
and the others follow the users' hidden state. Both models learn from the same rows and
score the newest mature cutoff. The booster is scikit-learn's HistGradientBoosting on
counts by event name and of active events in several windows, such counts decayed,
recency and tenure: what one would try first.

Printed is the ceiling skill in each world, and over all worlds together (pooled: the
share of all log loss that could be won). Worlds in which less than 0.02 nats can be won
tell little by themselves.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from churn.features import snapshots
from churn.features.catalogue import Plan, catalogue
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.stats.probability import ceiling_skill

from .common import filled, parser, show, wide_tables
from .quality_worlds import written

MIN_NATS = 0.02
"""Log loss that can be won in a world, below which its own skill tells little."""

ACTIVE = ("n_events_", "active_days_", "decayed_events_")
"""How the names of the simple features of active events begin."""


def measured(n_users: int, n_days: int, seed: int) -> dict[str, Any]:
    """The skill of both models in one world, and what can be won there."""
    with tempfile.TemporaryDirectory() as home:
        settings = written("names", n_users, n_days, seed, Path(home))
        store = filled(settings)
        truth = pl.read_parquet(Path(home) / "truth.parquet")
        newest = Calendar.of(store).newest_mature()
        cutoffs = training.training_cutoffs(store, as_of=newest)
        plan = snapshots.plan(store, max(cutoffs))
        past = snapshots.training_rows(store, cutoffs, plan, newest)
        now = snapshots.build(store, [newest], plan)
    trained = training.learn(past, plan, settings)
    probability = now.select("user_id", "cutoff").join(
        truth, on=["user_id", "cutoff"], how="left", maintain_order="left"
    )["probability"]
    true = probability.to_numpy()
    simple = boosted(past.drop_nulls("churned"), now, plan)
    return {
        "seed": seed,
        "names": len(plan.vocabulary),
        "active": len(settings.activity.counts_as_active),
        "rows": now.height,
        "nats": loss(true, np.full(len(true), true.mean())) - loss(true, true),
        "skill": ceiling_skill(fitting.predict(trained.model, now), true),
        "simple": ceiling_skill(simple, true),
        "weights": ", ".join(
            f"{name} {share:.0%}"
            for name, share in trained.choice.recipe.weights.items()
        ),
        "rounds": trained.choice.recipe.rounds,
        "correction": trained.model.correction.kind,
    }


def loss(true: np.ndarray, probability: np.ndarray) -> float:
    """The expected log loss of probabilities under the true ones."""
    p = probability.clip(1e-9, 1 - 1e-9)
    return float(-(true * np.log(p) + (1 - true) * np.log(1 - p)).mean())


def boosted(past: pl.DataFrame, now: pl.DataFrame, plan: Plan) -> np.ndarray:
    """Predictions of the booster on simple features."""
    names = tuple(simple_features(plan))
    booster = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=200,
        max_leaf_nodes=16,
        min_samples_leaf=50,
        early_stopping=False,
        random_state=0,
    )
    booster.fit(fitting.matrix(past, names), fitting.target(past))
    return np.asarray(booster.predict_proba(fitting.matrix(now, names))[:, 1])


def simple_features(plan: Plan) -> Iterator[str]:
    """Counts and decayed counts by event name and of active events, recency, tenure."""
    named = [(f"n_{name}_", f"decayed_{name}_") for name in plan.vocabulary]
    starts = (*ACTIVE, *(start for pair in named for start in pair))
    for name in catalogue(plan):
        if name.startswith(starts) or name in ("recency_days", "tenure_days"):
            yield name


def pooled(table: pl.DataFrame, model: str) -> float:
    """The share of all log loss to be won that a model wins, all rows counted alike."""
    weight = (table["rows"] * table["nats"]).to_numpy()
    return float(np.average(table[model].to_numpy(), weights=weight))


def main() -> None:
    """Print a row per world, and what they give together."""
    command = parser(__doc__)
    command.add_argument("--users", type=int, default=6_000)
    command.add_argument("--days", type=int, default=240)
    command.add_argument("--seeds", type=int, nargs="+", required=True)
    work = Path(tempfile.gettempdir()) / "named_worlds.csv"
    command.add_argument("--out", type=Path, default=work)
    given = command.parse_args()
    rows = []
    for seed in given.seeds:
        rows.append(measured(given.users, given.days, seed))
        print(rows[-1], flush=True)
    table = pl.DataFrame(rows)
    rich = table.filter(pl.col("nats") >= MIN_NATS)
    with wide_tables(float_precision=3):
        show(table, given.out)
    for model in ("skill", "simple"):
        print(
            f"{model}: pooled {pooled(table, model):.3f}, median "
            f"{table[model].median():.3f}, at least 0.92 in "
            f"{rich.filter(pl.col(model) >= 0.92).height} of {rich.height} worlds with "
            f"{MIN_NATS} nats to win"
        )


if __name__ == "__main__":
    main()
