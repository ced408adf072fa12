"""Probability → risk segment and score.

Hysteresis is a band in rank: one in probability freezes one app, barely touches the
next, and changes the sizes. Its width goes with the smaller side of a boundary: were it
the same for all, the riskiest newcomers would be kept out of a small segment, which
costs recall where risk is steep.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from churn.hashing import stable_hash
from churn.settings import Policy, Segment, Settings

# to which probabilities are compared: float sums differ beyond, and ranks would follow
# the difference
DIGITS = 9


def assign(
    scored: pl.DataFrame, settings: Settings, previous: pl.DataFrame | None = None
) -> pl.Series:
    """Segment of each row of ``scored``: user_id, probability and, with
    ``min_tenure_days``, tenure_days.

    Segments are filled from the top to exactly the size a plain cut has, in order of
    rank, ties by stable hash. ``previous`` (user_id, segment; null: none) moves who was
    above a boundary up by half its band and who was below it down by as much. New
    users, previously unknown ones and those in segments the study no longer has stay
    put. So who is farther from a boundary than the widest band is where the plain cut
    has them.
    """
    rows = scored.with_row_index("row").with_columns(
        pl.col("probability").round(DIGITS)
    )
    order = ["probability", stable_hash("user_id"), "user_id"]
    judged = rows.filter(~_is_new(settings.policy)).sort(
        order, descending=[True, False, False]
    )
    filled = _fill(
        _position(judged, settings.segments, previous),
        sizes(judged["probability"], settings.segments),
        settings.policy.band,
    )
    place = np.full(rows.height, len(settings.segments))
    place[judged["row"].to_numpy()] = filled
    named = pl.Series(
        "segment",
        [*(s.name for s in settings.segments), settings.policy.unknown_segment],
    )
    return named.gather(place)


def _is_new(policy: Policy) -> pl.Expr:
    """Too new to judge. A null tenure is one that wasn't known at the cutoff: as good
    as none.
    """
    if not policy.min_tenure_days:
        return pl.lit(False)
    return pl.col("tenure_days").fill_null(-1) < policy.min_tenure_days


def sizes(probability: pl.Series, segments: Sequence[Segment]) -> list[int]:
    """Users in each segment but the last: as many as reach its start, or its share;
    then its capacity.

    >>> from churn.settings import Segment
    >>> high, rest = Segment(name="high", share=0.5, capacity=3), Segment(name="rest")
    >>> sizes(pl.Series([0.9, 0.8, 0.1, 0.0]), [high, rest]), sizes(pl.Series([0.5] * 100), [high, rest])
    ([2], [3])
    """
    found: list[int] = []
    share = 0.0
    for segment in segments[:-1]:
        share += segment.share or 0.0
        by_rank = segment.from_probability is None
        end = (
            round(share * len(probability))
            if by_rank
            else int((probability >= segment.from_probability).sum())
        )
        size = end - sum(found)
        found.append(size if segment.capacity is None else min(size, segment.capacity))
    return found


def _position(
    judged: pl.DataFrame, segments: Sequence[Segment], previous: pl.DataFrame | None
) -> np.ndarray:
    """Place of each user's previous segment in the study, -1 without one; shape
    (n_judged,).
    """
    if previous is None:
        return np.full(judged.height, -1)
    places = pl.DataFrame(
        {"segment": [s.name for s in segments], "place": range(len(segments))}
    )
    known = previous.select("user_id", "segment").join(places, on="segment")
    place = judged.select("user_id").join(
        known, on="user_id", how="left", maintain_order="left"
    )["place"]
    return place.fill_null(-1).to_numpy()


def _fill(place: np.ndarray, sizes: Sequence[int], band: float) -> np.ndarray:
    """Place of each user's new segment; users come by rank."""
    filled = np.full(len(place), len(sizes))
    free = np.arange(len(place))
    for i, size in enumerate(sizes):
        width = band_width(sum(sizes[: i + 1]), len(place), band)
        lead = np.where(place[free] < 0, 0, np.where(place[free] <= i, width, -width))
        order = np.argsort(
            2 * free - lead, kind="stable"
        )  # twice the rank: half a band may be no whole number
        filled[free[order[:size]]] = i
        free = np.sort(free[order[size:]])
    return filled


def band_width(n_above: int, n: int, band: float) -> int:
    """Ranks from where a user newly gets above a boundary to where one is put out
    again.

    With 150 of 1,000 above and a band of 0.8 one gets in within the first 90 and is put
    out beyond 210:

    >>> band_width(150, 1000, 0.8), band_width(850, 1000, 0.8)
    (120, 120)
    """
    return round(band * min(n_above, n - n_above))


def names(settings: Settings) -> list[str]:
    """The study's segments, highest first, then the unknown if there can be any."""
    unknown = (
        [settings.policy.unknown_segment] if settings.policy.min_tenure_days else []
    )
    return [s.name for s in settings.segments] + unknown


def score(probability: pl.Expr) -> pl.Expr:
    """Whole number 0 to 100 for Braze: an integer from the first write on, since its
    type there never changes.
    """
    return (probability * 100).round().cast(pl.Int64)
