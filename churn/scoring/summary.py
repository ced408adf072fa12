"""Counts over a scores table: segments, reasons, stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from churn.events import erasure
from churn.features import compute, snapshots
from churn.scoring import segments
from churn.scoring.scores import recut
from churn.settings import Settings
from churn.store import Store

if TYPE_CHECKING:
    from churn.model.fitting import Model


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
    from churn.scoring import reasons

    at, mine = (
        [scores["cutoff"][0]],
        scores.unique("reason_1", keep="first", maintain_order=True),
    )
    rows, users = snapshots.tables(store)
    level = compute.app_level(rows, at, fitted.plan)
    them = pl.col("user_id").is_in(mine["user_id"].implode())
    snapshot = compute.compute(
        rows.filter(them),
        users.filter(them),
        at,
        fitted.plan,
        store.settings.windows.eligible_days,
        level,
    ).collect()
    words = reasons.sentences(fitted, snapshot, mine).select(
        pl.col(reasons.COLUMNS).name.replace("reason", "why")
    )
    pseudonym = (
        "user-" + erasure.hashed(store.salt, pl.col("user_id")).str.head(8)
    ).alias("user")
    return mine.select(
        pseudonym, "probability", pl.col("reason_1").alias("reason")
    ).hstack(words)
