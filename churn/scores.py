"""The scores table: made from a model and a snapshot, kept as one file per cutoff, with
the findings beside it.
"""

import io
import logging
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from churn import health, reasons, segments
from churn.errors import CutoffError
from churn.events import addresses, privacy
from churn.features import compute, snapshots
from churn.gate import check_gates
from churn.model import fitting
from churn.model.fitting import Model
from churn.settings import Settings
from churn.store import Store, write_atomically
from churn.store.schemas import Findings, Scores

log = logging.getLogger(__name__)


def make(store: Store, fitted: Model, cutoff: date) -> pl.DataFrame:
    """Scores of every user eligible at ``cutoff``; what went before are the scores of
    the newest earlier cutoff.

    Raises CutoffError outside the data or with nobody to score.
    """
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
    scores = privacy.without_forgotten(
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
        for name in reasons.COLUMNS
        if name not in table.columns
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


def stability(
    table: pl.DataFrame, previous: pl.DataFrame | None, settings: Settings
) -> pl.DataFrame:
    """What hysteresis saves and costs: a row with it, and one as if both tables had
    been cut without.

    Columns: n_known (users in both), n_changed and changed_rate (of those: in another
    segment), n_data_points (segments to write: changed, new and no longer scored; of
    users with an identifier), n_top (size of the highest segment), expected_recall_rate
    (share of all expected churners in it). Without ``previous`` nobody is known.
    """
    before = table.clear() if previous is None else previous
    top = settings.segments[0].name
    rows = [
        _moves("with", table, before, top),
        _moves(
            "without", recut(table, settings, None), recut(before, settings, None), top
        ),
    ]
    return pl.DataFrame(rows, schema_overrides={"changed_rate": pl.Float64})


def _moves(
    hysteresis: str, table: pl.DataFrame, before: pl.DataFrame, top: str
) -> dict[str, Any]:
    pairs = table.join(before, on="user_id", how="full", suffix="_before")
    known = pairs.drop_nulls(["segment", "segment_before"])
    moved = pl.col("segment").ne_missing(pl.col("segment_before"))
    can_be_told = pl.coalesce("identifier", "identifier_before").is_not_null()
    highest = table.filter(pl.col("segment") == top)
    return {
        "hysteresis": hysteresis,
        "n_known": known.height,
        "n_changed": known.filter(moved).height,
        "changed_rate": known.select(moved.mean()).item(),
        "n_data_points": pairs.filter(moved & can_be_told).height,
        "n_top": highest.height,
        "expected_recall_rate": highest["probability"].to_numpy().sum()
        / table["probability"].to_numpy().sum(),
    }


def thresholds(table: pl.DataFrame, settings: Settings) -> dict[str, float]:
    """Where each segment begins; with segments cut by rank the lowest probability in
    each, but 0 for the last.
    """
    lowest = dict(
        recut(table, settings, None)
        .group_by("segment")
        .agg(pl.col("probability").min())
        .iter_rows()
    )
    starts = {
        s.name: lowest.get(s.name) if s.from_probability is None else s.from_probability
        for s in settings.segments
    }
    return {
        name: start
        for name, start in {**starts, settings.segments[-1].name: 0.0}.items()
        if start is not None
    }


def check(store: Store, scores: pl.DataFrame, fitted: Model) -> pl.DataFrame:
    """What the gates say of these scores and the data behind them."""
    return health.check(store, scores["cutoff"][0], scores, fitted)


def segment_counts(scores: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Users per segment in the study's order: segment, n, share, mean_probability."""
    order = pl.DataFrame({"segment": segments.names(settings)})
    counts = scores.group_by("segment").agg(
        n=pl.len(), mean_probability=pl.col("probability").mean()
    )
    table = order.join(
        counts, on="segment", how="left", maintain_order="left"
    ).with_columns(pl.col("n").fill_null(0))
    return table.select(
        "segment",
        "n",
        (pl.col("n") / pl.col("n").sum()).alias("share"),
        "mean_probability",
    )


def reason_counts(scores: pl.DataFrame) -> pl.DataFrame:
    """Users per first reason, the commonest first: reason, n, share,
    mean_probability.
    """
    counts = scores.group_by(pl.col("reason_1").alias("reason")).agg(
        n=pl.len(), mean_probability=pl.mean("probability")
    )
    shares = counts.select(
        "reason", "n", (pl.col("n") / pl.sum("n")).alias("share"), "mean_probability"
    )
    return shares.sort("n", "reason", descending=[True, False])


def reason_examples(store: Store, fitted: Model, scores: pl.DataFrame) -> pl.DataFrame:
    """For each first reason somebody who has it, with all of theirs in words.

    Columns: user (a pseudonym, the same in every report), probability, reason (the
    first), why_1 … why_3.
    """
    at, mine = (
        [scores["cutoff"][0]],
        scores.unique("reason_1", keep="first", maintain_order=True),
    )
    rows, users = snapshots.tables(store)
    level = compute.app_level(rows, at, fitted.plan)
    them = pl.col("user_id").is_in(mine["user_id"].implode())
    snapshot = snapshots.of_users(
        rows.filter(them),
        users.filter(them),
        at,
        fitted.plan,
        store.settings.windows,
        level,
    ).collect()
    words = reasons.sentences(fitted, snapshot, mine).select(
        pl.col(reasons.COLUMNS).name.replace("reason", "why")
    )
    pseudonym = (
        "user-" + privacy.hashed(store.salt, pl.col("user_id")).str.head(8)
    ).alias("user")
    return mine.select(
        pseudonym, "probability", pl.col("reason_1").alias("reason")
    ).hstack(words)
