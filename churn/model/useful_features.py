"""Which features of a snapshot a model can learn from."""

import hashlib
from collections.abc import Iterable, Sequence

import polars as pl

from churn.features.catalogue import KINDS, Plan, catalogue


def of(
    snapshot: pl.DataFrame,
    plan: Plan,
) -> tuple[str, ...]:
    """The features to learn from: each tells rows apart, and none copies another.

    Recency is always included. Where one event name is all that counts as active, its
    features are those of activity; of such copies the one by event name is left out.
    """
    features = catalogue(plan)
    names = list(features)
    # Silence is the first of the kinds, so recency is a copy of nothing.
    kinds = [*(kind for kind in KINDS if kind != "variety"), "variety"]
    rank = {name: kinds.index(feature.kind) for name, feature in features.items()}
    varies = snapshot.select(pl.col(names).drop_nulls().n_unique() > 1).row(0)
    useful = [
        name
        for name, is_useful in zip(names, varies, strict=True)
        if is_useful or name == "recency_days"
    ]
    kept = set(_first_of_equal(snapshot, sorted(useful, key=lambda n: rank[n])))
    return tuple(name for name in useful if name in kept)


def _first_of_equal(
    snapshot: pl.DataFrame,
    names: Sequence[str],
) -> Iterable[str]:
    """The names of columns without those that are equal to an earlier one."""
    first: dict[bytes, str] = {}
    for name in names:
        values = snapshot[name].cast(pl.Float64).to_numpy()
        first.setdefault(hashlib.blake2b(values.tobytes()).digest(), name)
    return first.values()
