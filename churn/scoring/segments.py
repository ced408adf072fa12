"""Risk segments and whole-number scores made from probabilities.

Scores are noisy, and every change of segment is a write. Users near a boundary
therefore keep their segment (hysteresis).

- Where a segment begins at a probability, the boundary is moved by a margin of
  probability, so that the segment holds what its threshold says, within the margin.
- Where it is a share of the users, the boundary has a band of ranks, which leaves the
  sizes exact. Its width is proportional to the number of users on the smaller side of
  the boundary: an equally wide band everywhere would keep the riskiest new users out of
  a small segment, which costs recall.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from churn.scoring import ranks
from churn.settings import Segment, Settings


def assign(
    scored: pl.DataFrame,
    settings: Settings,
    previous: pl.DataFrame | None = None,
) -> pl.Series:
    """Segment of each row of ``scored``, in its order.

    ``scored``: user_id, probability and, if the settings have min_tenure_days,
    tenure_days. ``previous``: user_id, segment; null for none. Segments are filled from
    the top, in order of rank; ties are broken by the stable hash. At each boundary,
    users who were above it are treated as riskier, those who were below it as less
    risky: by ``policy.margin`` in probability where a threshold is stated, by half of a
    band of ranks where a share is. Users who are new, were unknown, or were in a
    segment that the study no longer has, are taken as they are.

    A segment with a threshold holds nobody whose probability is lower by more than the
    margin. A segment with a share has exactly the size of a plain cut, and users
    farther from its boundary than the widest band are in the segment of that cut.
    """
    users = ranks.in_order(scored)
    rows = ranks.keys(users, settings.policy).with_columns(
        segment_place=places_before(users, settings, previous)
    )
    segment = cut(ranks.ranked(rows), settings, rows.height)
    return users.select("position", segment).sort("position")["segment"]


def places_before(
    users: pl.DataFrame,
    settings: Settings,
    previous: pl.DataFrame | None,
) -> pl.Series:
    """Position of each user's previous segment, -1 without one, as in ``assign``."""
    positions = {segment.name: i for i, segment in enumerate(settings.segments)}
    place = pl.col("segment").replace_strict(
        positions, default=None, return_dtype=pl.Int16
    )
    return ranks.places_before(users, previous, place)


def cut(
    rated: pl.DataFrame,
    settings: Settings,
    n_users: int,
) -> pl.Series:
    """Segment of each of ``n_users`` rows, of which ``rated`` are the ``ranked``.

    ``rated`` has the column segment_place, see ``places_before``.
    """
    place = np.full(n_users, len(settings.segments))
    place[rated["row"].to_numpy()] = _fill(
        rated["segment_place"].to_numpy(),
        rated["risk"].to_numpy(),
        settings,
    )
    labels = [*(s.name for s in settings.segments), settings.policy.unknown_segment]
    return pl.Series("segment", labels).gather(place)


def _fill(
    place: np.ndarray,
    probability: np.ndarray,
    settings: Settings,
) -> np.ndarray:
    """Position of each user's new segment; ``place`` is the previous one.

    Users are in order of rank.
    """
    *segments, last = enumerate(settings.segments)
    filled = np.full(len(place), last[0])
    free = np.arange(len(place))
    share = 0.0
    for i, segment in segments:
        side = sides(place[free], i)
        if segment.from_probability is None:
            share += segment.share or 0.0
            n_left = round(share * len(place)) - (len(place) - len(free))
            size = _fitting(n_left, segment)
            n_above = len(place) - len(free) + size
            width = band_width(n_above, len(place), settings.policy.band)
            order = first_ranks(free, side, size, width)
        else:
            moved = probability[free] + settings.policy.margin * side
            order = _reaching(moved.round(ranks.DIGITS), segment.from_probability)
            order = order[: _fitting(len(order), segment)]
        filled[free[order]] = i
        free = np.delete(free, order)
    return filled


def _fitting(n: int, segment: Segment) -> int:
    return n if segment.capacity is None else min(n, segment.capacity)


def _reaching(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Positions of the probabilities that reach a threshold, the highest first."""
    order = np.argsort(-probability, kind="stable")
    return order[: int((probability >= threshold).sum())]


def sides(place: np.ndarray, boundary: int) -> np.ndarray:
    """1 for users who were above the boundary, -1 for those below it, 0 for others.

    ``place``: position of each user's previous segment, -1 without one. The boundary
    lies below the segment of that position.
    """
    was_above = np.where(place <= boundary, 1, -1)
    return np.where(place >= 0, was_above, 0)


def first_ranks(
    free: np.ndarray,
    side: np.ndarray,
    size: int,
    width: int,
) -> np.ndarray:
    """Positions of the first ``size`` of the free ranks, moved by half of a band.

    ``side``: see ``sides``; ``width``: ranks in the band.
    """
    # Ranks are doubled, because half of a band may not be a whole number.
    return np.argsort(2 * free - side * width, kind="stable")[:size]


def band_width(
    n_above: int,
    n: int,
    band: float,
) -> int:
    """Number of ranks between entering a segment and having to leave it.

    With 150 of 1,000 users above a boundary and a band of 0.8, a user enters within the
    first 90 and leaves beyond 210:

    >>> band_width(150, 1000, 0.8), band_width(850, 1000, 0.8)
    (120, 120)
    """
    return round(band * min(n_above, n - n_above))


def names(settings: Settings) -> list[str]:
    """The study's segments, riskiest first, then "unknown" if users can be unknown."""
    rated = [segment.name for segment in settings.segments]
    has_unknown = settings.policy.min_tenure_days > 0
    return [*rated, settings.policy.unknown_segment] if has_unknown else rated


def place(column: str, segments: Sequence[str]) -> pl.Expr:
    """The place of each row's segment among these, from 0; of any other, after them."""
    places = {segment: number for number, segment in enumerate(segments)}
    return pl.col(column).replace_strict(
        places,
        default=len(places),
        return_dtype=pl.Int64,
    )


def score(probability: pl.Expr) -> pl.Expr:
    """Whole number from 0 to 100 for Braze.

    It must always be an integer, since the type of an attribute in Braze never changes.
    """
    return (probability * 100).round().cast(pl.Int64)
