"""The scores table: made from a model and a snapshot, kept as one file per cutoff, with
the findings beside it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from churn.errors import CutoffError
from churn.events import addresses, erasure
from churn.features import snapshots
from churn.scoring import segments
from churn.scoring.gate import check_gates
from churn.settings import Settings
from churn.store import Store, write_atomically
from churn.store.schemas import Findings, Scores

if TYPE_CHECKING:
    from churn.model.fitting import Model

log = logging.getLogger(__name__)


def make(store: Store, fitted: Model, cutoff: date) -> pl.DataFrame:
    """Scores of every user eligible at ``cutoff``; what went before are the scores of
    the newest earlier cutoff.

    Raises CutoffError outside the data or with nobody to score.
    """
    # Here, so that reading scores, all that an export does, loads no scikit-learn.
    from churn.model import fitting
    from churn.scoring import reasons

    snapshot = snapshots.observe(store, [cutoff], fitted.plan)
    if snapshot.is_empty():
        raise CutoffError(
            f"nobody was active in the {store.settings.windows.eligible_days} days before {cutoff}"
        )
    probability = pl.Series("probability", fitting.predict(fitted, snapshot))
    scored = snapshot.select("user_id", "cutoff", "tenure_days", probability)
    before = previous(store, cutoff)
    scores = scored.drop("tenure_days").with_columns(
        segments.assign(scored, store.settings, before),
        segments.score(pl.col("probability")).alias("score"),
        *reasons.explain(fitted, snapshot, before).select(reasons.COLUMNS),
        pl.lit(fitted.model_id).alias("model_id"),
    )
    return addressed(store, scores)


def addressed(store: Store, scores: pl.DataFrame) -> pl.DataFrame:
    """The scores with each user's identifier of the study's kind, whatever kind the
    study named when they were made.
    """
    users = addresses.identifiers(store, scores["user_id"], scores["cutoff"][0]).select(
        "user_id", "identifier"
    )
    bare = scores.drop("identifier", strict=False)
    return Scores.validate(
        bare.join(users, on="user_id", how="left", maintain_order="left")
    )


def write(
    store: Store,
    scores: pl.DataFrame,
    findings: pl.DataFrame,
    accept: Sequence[str] = (),
) -> Path:
    """Replace the cutoff's scores and findings files; the same cutoff scored again
    leaves the same files.

    Raises GateError, and writes nothing, if a gate failed that isn't accepted by name.
    """
    check_gates(findings, accept)
    cutoff = scores["cutoff"][0]
    scores = erasure.without_forgotten(
        scores, store.reopened()
    )  # somebody may have been, meanwhile
    _write(_file(store, "findings", cutoff), findings)
    _write(_file(store, "scores", cutoff), scores)
    log.info("scores: %d users at %s", scores.height, cutoff)
    return _file(store, "scores", cutoff)


def _write(file: Path, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    write_atomically(file, buffer.getvalue())


def _file(store: Store, table: str, cutoff: date) -> Path:
    return store.path(table, f"cutoff={cutoff}.parquet")


def read(store: Store, cutoff: date | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores and findings of a cutoff, by default the newest scored. Raises CutoffError
    if there are none.
    """
    known = _cutoffs(store)
    wanted = cutoff or max(known, default=None)
    if wanted is None or wanted not in known:
        raise CutoffError(
            f"no scores for cutoff {wanted or '(any)'}; run `churn run score` first"
        )
    scores = _read(store, wanted)
    findings = Findings.validate(
        pl.read_parquet(_file(store, "findings", wanted), hive_partitioning=False)
    )
    return scores, findings


def previous(store: Store, cutoff: date) -> pl.DataFrame | None:
    """The newest scores of an earlier cutoff, whether sent or not; null if there are
    none.
    """
    earlier = [known for known in _cutoffs(store) if known < cutoff]
    return _read(store, max(earlier)) if earlier else None


def _cutoffs(store: Store) -> list[date]:
    return [
        date.fromisoformat(f.stem.removeprefix("cutoff="))
        for f in store.path("scores").glob("cutoff=*.parquet")
    ]


def _read(store: Store, cutoff: date) -> pl.DataFrame:
    table = pl.read_parquet(_file(store, "scores", cutoff), hive_partitioning=False)
    missing = [
        pl.lit(None, pl.String).alias(name)
        for name in Scores.column_names()
        if name.startswith("reason_") and name not in table.columns
    ]
    return Scores.validate(
        table.with_columns(missing)
    )  # files from before there were reasons have none


def recut(
    scores: pl.DataFrame, settings: Settings, previous: pl.DataFrame | None
) -> pl.DataFrame:
    """The same scores in another study's segments, or without regard to the previous
    ones (null).

    The table holds no tenure: who was unknown when scored is still, unless the study
    now judges everybody.
    """
    policy = settings.policy
    tenure = (
        pl.when(pl.col("segment") != policy.unknown_segment)
        .then(policy.min_tenure_days)
        .alias("tenure_days")
    )
    return scores.with_columns(
        segments.assign(scores.with_columns(tenure), settings, previous)
    )


def check(store: Store, scores: pl.DataFrame, fitted: Model) -> pl.DataFrame:
    """What the gates say of these scores and the data behind them."""
    from churn.scoring import gates

    return gates.check(store, scores["cutoff"][0], scores, fitted)
