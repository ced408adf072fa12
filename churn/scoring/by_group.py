"""Scores of users by groups of buckets, in this process or in those of the study.

A group's features are gone once its probabilities and reasons are known. What remains
to be done for all users at once needs a few numbers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from churn.features import by_group, snapshots
from churn.features.by_group import Reading
from churn.scoring import deciles, ranks, segments
from churn.store import Store, grouped

if TYPE_CHECKING:
    from churn.model.fitting import Model

BEFORE = ("user_id", "segment", "decile", "reason_1")
"""What scores take over from those before."""


@dataclass(frozen=True)
class Scoring:
    """What every group is scored with, as plain values.

    - ``model``: the model, or its id where other processes find it in the store.
    - ``bins``: of a ``Baseline``, in which features are counted; null for none.
    """

    reading: Reading
    level: pl.DataFrame
    model: Model | str
    bins: pl.DataFrame | None


def scored(
    store: Store,
    fitted: Model,
    cutoff: date,
    before: pl.DataFrame | None,
    bins: pl.DataFrame | None,
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Everybody eligible at ``cutoff`` in order of user_id, and features by bin.

    Columns: those of ``reasons.explain``, ``ranks.keys``, segment_place and
    decile_place. ``before``: the columns ``BEFORE`` of earlier scores; null for none.
    Raises CutoffError for a cutoff outside the data.
    """
    from churn.model import baseline

    reading = snapshots.reading(store, [cutoff], fitted.plan)
    scoring = Scoring(
        reading,
        by_group.level(store, reading),
        _sent(store, fitted),
        bins,
    )
    groups = by_group.groups(store, reading)
    work = partial(_scored, scoring=scoring)
    made = grouped.results(store, work, groups, "scores", before)
    users = pl.concat([frame for frame, _ in made]).sort("user_id")
    if bins is None:
        return users, None
    return users, baseline.summed([counted for _, counted in made])


def _sent(store: Store, fitted: Model) -> Model | str:
    """The model as it is sent to those who score: its id, where the way to them is long.

    A process of this machine has it faster than it would open the file.
    """
    from churn.model import storage

    if store.settings.cluster.engine == "local":
        return fitted
    return fitted.model_id if storage.has(store, fitted.model_id) else fitted


_loaded: dict[tuple[str, str], Model] = {}
"""The last model that this process loaded, by address of the store and id."""


def _model(store: Store, sent: Model | str) -> Model:
    from churn.model import storage

    if not isinstance(sent, str):
        return sent
    key = (store.place.address, sent)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = storage.load(store, sent)
    return _loaded[key]


def _scored(
    store: Store,
    buckets: Sequence[int],
    before: pl.DataFrame | None = None,
    *,
    scoring: Scoring,
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """A group's users as in ``scored``, in any order, and their features by bin."""
    from churn.model import baseline
    from churn.scoring import reasons

    fitted = _model(store, scoring.model)
    snapshot = by_group.features_of(store, buckets, scoring.reading, scoring.level)
    explained = reasons.explain(fitted, snapshot, before)
    rows = explained.with_columns(snapshot["tenure_days"])
    users = explained.with_columns(
        *ranks.keys(rows, store.settings.policy),
        segments.places_before(rows, store.settings, before).alias("segment_place"),
        deciles.places_before(rows, before).alias("decile_place"),
    )
    if scoring.bins is None:
        return users, None
    features = snapshot.with_columns(explained[baseline.SCORES])
    return users, baseline.counted(scoring.bins, features)
