"""Risk segments and whole-number scores made from probabilities.

Hysteresis is a band of ranks around each boundary. A band of probabilities would freeze
the segments of one app and hardly affect those of another, and it would change their
sizes. The band's width is proportional to the number of users on the smaller side of
the boundary: an equally wide band everywhere would keep the riskiest new users out of a
small segment, which costs recall.
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
    the top, each to exactly the size of a plain cut, in order of rank; ties are broken
    by the stable hash. A user who was above a boundary moves up by half of its band,
    one who was below it moves down by half. Users who are new, were unknown, or were in
    a segment that the study no longer has, don't move. Users farther from a boundary
    than the widest band are therefore in the segment of the plain cut.
    """
    rows = scored.with_row_index("row").with_columns(
        pl.col("probability").round(DIGITS)
    )
    order = ["probability", stable_hash("user_id"), "user_id"]
    is_rated = ~_is_too_new(settings.policy)
    rated = rows.filter(is_rated).sort(order, descending=[True, False, False])
    filled = _fill(
        _previous_places(rated, settings.segments, previous),
        sizes(rated["probability"], settings.segments),
        settings.policy.band,
    )
    place = np.full(rows.height, len(settings.segments))
    place[rated["row"].to_numpy()] = filled
    labels = [*(s.name for s in settings.segments), settings.policy.unknown_segment]
    return pl.Series("segment", labels).gather(place)


def _is_too_new(policy: Policy) -> pl.Expr:
    """Whether a user has been known too few days; a null tenure counts as 0 days."""
    if not policy.min_tenure_days:
        return pl.lit(False)
    return pl.col("tenure_days").fill_null(-1) < policy.min_tenure_days


def sizes(probability: pl.Series, segments: Sequence[Segment]) -> list[int]:
    """Users in each segment but the last, before hysteresis.

    A segment takes the users who reach its probability, or its share of all users, up
    to its capacity.

    >>> from churn.settings import Segment
    >>> high, rest = Segment(name="high", share=0.5, capacity=3), Segment(name="rest")
    >>> sizes(pl.Series([0.9, 0.8, 0.1, 0.0]), [high, rest])
    [2]
    >>> sizes(pl.Series([0.5] * 100), [high, rest])
    [3]
    """
    counts: list[int] = []
    share = 0.0
    for segment in segments[:-1]:
        share += segment.share or 0.0
        if segment.from_probability is None:
            end = round(share * len(probability))
        else:
            end = int((probability >= segment.from_probability).sum())
        size = end - sum(counts)
        counts.append(size if segment.capacity is None else min(size, segment.capacity))
    return counts


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
    users = rated.select("user_id")
    joined = users.join(
        known,
        on="user_id",
        how="left",
        maintain_order="left",
    )
    return joined["place"].fill_null(-1).to_numpy()


def _fill(
    place: np.ndarray,
    sizes: Sequence[int],
    band: float,
) -> np.ndarray:
    """Position of each user's new segment; ``place`` is the previous one, by rank."""
    filled = np.full(len(place), len(sizes))
    free = np.arange(len(place))
    for i, size in enumerate(sizes):
        width = band_width(sum(sizes[: i + 1]), len(place), band)
        was_above = place[free] <= i
        was_known = place[free] >= 0
        lead = np.where(was_known, np.where(was_above, width, -width), 0)
        # Ranks are doubled, because half of a band may not be a whole number.
        order = np.argsort(2 * free - lead, kind="stable")
        filled[free[order[:size]]] = i
        free = np.sort(free[order[size:]])
    return filled


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


def score(probability: pl.Expr) -> pl.Expr:
    """Whole number from 0 to 100 for Braze.

    It must always be an integer, since the type of an attribute in Braze never changes.
    """
    return (probability * 100).round().cast(pl.Int64)
