"""Counts over a scores table: segments, reasons, stability."""

from typing import Any

import polars as pl

from churn.scoring import segments
from churn.scoring.scores import in_segments
from churn.settings import Settings


def stability(
    table: pl.DataFrame,
    previous: pl.DataFrame | None,
    settings: Settings,
) -> pl.DataFrame:
    """What hysteresis saves and costs, as one row with it and one row without it.

    Columns: hysteresis ("with" or "without"), n_known (users in both tables), n_changed
    and changed_rate (those of them in another segment), n_data_points (segments to
    write for users with an identifier: changed, new and no longer scored), n_top (size
    of the highest segment), expected_recall_rate (share of all expected churners in
    it, null if none are expected). Without ``previous`` n_known is 0 and changed_rate
    null.
    """
    before = table.clear() if previous is None else previous
    top = settings.segments[0].name
    plain = in_segments(table, settings, None)
    plain_before = in_segments(before, settings, None)
    rows = [
        _moves("with", table, before, top),
        _moves("without", plain, plain_before, top),
    ]
    rates = {"changed_rate": pl.Float64, "expected_recall_rate": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=rates)


def _moves(
    hysteresis: str,
    table: pl.DataFrame,
    before: pl.DataFrame,
    top: str,
) -> dict[str, Any]:
    pairs = table.join(
        before,
        on="user_id",
        how="full",
        suffix="_before",
    )
    known = pairs.drop_nulls(["segment", "segment_before"])
    moved = pl.col("segment").ne_missing(pl.col("segment_before"))
    is_known_to_braze = pl.coalesce("identifier", "identifier_before").is_not_null()
    highest = table.filter(pl.col("segment") == top)
    expected = float(highest["probability"].to_numpy().sum())
    expected_in_all = float(table["probability"].to_numpy().sum())
    return {
        "hysteresis": hysteresis,
        "n_known": known.height,
        "n_changed": known.filter(moved).height,
        "changed_rate": known.select(moved.mean()).item(),
        "n_data_points": pairs.filter(moved & is_known_to_braze).height,
        "n_top": highest.height,
        "expected_recall_rate": expected / expected_in_all if expected_in_all else None,
    }


def thresholds(table: pl.DataFrame, settings: Settings) -> dict[str, float]:
    """The probability at which each segment begins, highest first.

    For segments cut by rank it is the lowest probability in the segment. The last one
    begins at 0; a segment without users is left out.
    """
    plain = in_segments(table, settings, None)
    lowest = plain.group_by("segment").agg(pl.col("probability").min())
    by_rank = dict(lowest.iter_rows())
    starts: dict[str, float | None] = {}
    for segment in settings.segments:
        start = segment.from_probability
        starts[segment.name] = by_rank.get(segment.name) if start is None else start
    starts[settings.segments[-1].name] = 0.0
    return {name: start for name, start in starts.items() if start is not None}


def segment_counts(scores: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Users per segment in the study's order: segment, n, share, mean_probability."""
    order = pl.DataFrame({"segment": segments.names(settings)})
    counts = scores.group_by("segment").agg(
        n=pl.len(), mean_probability=pl.col("probability").mean()
    )
    joined = order.join(
        counts,
        on="segment",
        how="left",
        maintain_order="left",
    )
    table = joined.with_columns(pl.col("n").fill_null(0))
    return table.select(
        "segment",
        "n",
        (pl.col("n") / pl.col("n").sum()).alias("share"),
        "mean_probability",
    )


def reason_counts(scores: pl.DataFrame) -> pl.DataFrame:
    """Users per first reason, the commonest first.

    Columns: reason, n, share, mean_probability.
    """
    counts = scores.group_by(pl.col("reason_1").alias("reason")).agg(
        n=pl.len(), mean_probability=pl.mean("probability")
    )
    shares = counts.select(
        "reason", "n", (pl.col("n") / pl.sum("n")).alias("share"), "mean_probability"
    )
    return shares.sort("n", "reason", descending=[True, False])
