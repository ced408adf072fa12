"""The scores table: made from a model and a snapshot, kept as one file per cutoff, with the findings beside it."""

import io
import logging
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from churn import health, identity, model, privacy, segments, snapshots, store
from churn.errors import CutoffError
from churn.model import Model
from churn.store import Store, write_atomically
from churn.study import Study
from churn.tables import Findings, Scores, check_gates

log = logging.getLogger(__name__)


def make(target: Store, study: Study, fitted: Model, cutoff: date) -> pl.DataFrame:
    """Scores of every user eligible at ``cutoff``. Raises CutoffError outside the data or with nobody to score."""
    snapshot = snapshots.observe(target, study, [cutoff], fitted.plan)
    if snapshot.is_empty():
        raise CutoffError(f"nobody was active in the {study.windows.eligible_days} days before {cutoff}")
    probability = pl.Series("probability", model.predict(fitted, snapshot))
    scores = snapshot.select("user_id", "cutoff").with_columns(probability)
    scores = scores.with_columns(
        segments.cut(pl.col("probability"), study.segments).alias("segment"),
        segments.score(pl.col("probability")).alias("score"),
        pl.lit(fitted.model_id).alias("model_id"),
    )
    address = identity.identifiers(target, study, scores["user_id"], cutoff).select("user_id", "identifier")
    return Scores.validate(scores.join(address, on="user_id", how="left", maintain_order="left"))


def write(target: Store, scores: pl.DataFrame, findings: pl.DataFrame, accept: Sequence[str] = ()) -> Path:
    """Replace the cutoff's scores and findings files; the same cutoff scored again leaves the same files.

    Raises GateError, and writes nothing, if a gate failed that isn't accepted by name.
    """
    check_gates(findings, accept)
    cutoff = scores["cutoff"][0]
    scores = privacy.without_forgotten(scores, store.reopened(target))  # somebody may have been, meanwhile
    _write(_file(target, "findings", cutoff), findings)
    _write(_file(target, "scores", cutoff), scores)
    log.info("scores: %d users at %s", scores.height, cutoff)
    return _file(target, "scores", cutoff)


def _write(file: Path, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    write_atomically(file, buffer.getvalue())


def _file(target: Store, table: str, cutoff: date) -> Path:
    return target.path(table, f"cutoff={cutoff}.parquet")


def read(target: Store, cutoff: date | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores and findings of a cutoff, by default the newest scored. Raises CutoffError if there are none."""
    known = [date.fromisoformat(f.stem.removeprefix("cutoff=")) for f in target.path("scores").glob("cutoff=*.parquet")]
    wanted = cutoff or max(known, default=None)
    if wanted is None or wanted not in known:
        raise CutoffError(f"no scores for cutoff {wanted or '(any)'}; run `churn run score` first")
    scores = Scores.validate(pl.read_parquet(_file(target, "scores", wanted), hive_partitioning=False))
    findings = Findings.validate(pl.read_parquet(_file(target, "findings", wanted), hive_partitioning=False))
    return scores, findings


def check(target: Store, study: Study, scores: pl.DataFrame, fitted: Model) -> pl.DataFrame:
    """What the gates say of these scores and the data behind them."""
    return health.check(target, study, scores["cutoff"][0], scores, fitted)


def segment_counts(scores: pl.DataFrame, study: Study) -> pl.DataFrame:
    """Users per segment in the study's order: segment, n, share, mean_probability."""
    order = pl.DataFrame({"segment": [s.name for s in study.segments]})
    counts = scores.group_by("segment").agg(n=pl.len(), mean_probability=pl.col("probability").mean())
    table = order.join(counts, on="segment", how="left", maintain_order="left").with_columns(pl.col("n").fill_null(0))
    return table.select("segment", "n", (pl.col("n") / pl.col("n").sum()).alias("share"), "mean_probability")
