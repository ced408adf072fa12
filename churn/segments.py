"""Probability → risk segment and score."""

from collections.abc import Sequence

import polars as pl

from churn.study import Segment


def cut(probability: pl.Expr, segments: Sequence[Segment]) -> pl.Expr:
    """Name of the highest segment whose start the probability reaches; starts belong to their segment.

    >>> from churn.study import Segment
    >>> bands = (Segment(name="high", from_probability=0.5), Segment(name="low", from_probability=0))
    >>> pl.select(cut(pl.lit(pl.Series([0.5, 0.49])), bands)).to_series().to_list()
    ['high', 'low']
    """
    return pl.coalesce(pl.when(probability >= s.from_probability).then(pl.lit(s.name)) for s in segments)


def score(probability: pl.Expr) -> pl.Expr:
    """Whole number 0 to 100 for Braze: an integer from the first write on, since its type there never changes."""
    return (probability * 100).round().cast(pl.Int64)
