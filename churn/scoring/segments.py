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

from churn.hashing import stable_hash
from churn.settings import Policy, Segment, Settings

# Number of digits by which probabilities are ranked: later ones differ between runs,
# because sums of floats depend on their order.
DIGITS = 9


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
    rated = ranked(scored, settings.policy)
    filled = _fill(
        _previous_places(rated, settings.segments, previous),
        rated["probability"].to_numpy(),
        settings,
    )
    place = np.full(scored.height, len(settings.segments))
    place[rated["row"].to_numpy()] = filled
    labels = [*(s.name for s in settings.segments), settings.policy.unknown_segment]
    return pl.Series("segment", labels).gather(place)


def ranked(scored: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """The users who are old enough to be rated, riskiest first.

    ``scored`` as in ``assign``; the column row is the position there. Probabilities are
    rounded, and ties are broken by the stable hash.
    """
    rows = scored.with_row_index("row").with_columns(
        pl.col("probability").round(DIGITS)
    )
    order = ["probability", stable_hash("user_id"), "user_id"]
    rated = rows.filter(~_is_too_new(policy))
    return rated.sort(order, descending=[True, False, False])


def _is_too_new(policy: Policy) -> pl.Expr:
    """Whether a user has been known too few days; a null tenure counts as 0 days."""
    if not policy.min_tenure_days:
        return pl.lit(False)
    return pl.col("tenure_days").fill_null(-1) < policy.min_tenure_days


def _previous_places(
    rated: pl.DataFrame,
    segments: Sequence[Segment],
    previous: pl.DataFrame | None,
) -> np.ndarray:
    """Position of each user's previous segment, -1 without one, shape (n_rated,)."""
    if previous is None:
        return np.full(rated.height, -1)
    names = [segment.name for segment in segments]
    places = pl.DataFrame({"segment": names, "place": range(len(names))})
    known = previous.select("user_id", "segment").join(places, on="segment")
    return places_of(rated, known)


def places_of(rated: pl.DataFrame, known: pl.DataFrame) -> np.ndarray:
    """The ``place`` that is known of each rated user, -1 where none is."""
    users = rated.select("user_id")
    joined = users.join(
        known.select("user_id", "place"),
        on="user_id",
        how="left",
        maintain_order="left",
    )
    return joined["place"].fill_null(-1).to_numpy()


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
            order = _reaching(moved.round(DIGITS), segment.from_probability)
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
