"""Users in order of their risk, from whom segments and deciles are filled.

Ranking all users at once needs two numbers of each, and no text: probability and stable
hash. A group of buckets can make these numbers without knowing the others.
"""

import polars as pl

from churn.hashing import stable_hash
from churn.settings import Policy

DIGITS = 9
"""Number of digits by which probabilities are ranked.

Later ones differ between runs, because sums of floats depend on their order.
"""


KEYS = ("risk", "hash", "is_rated")
"""What a user's rank depends on, see ``keys``."""


def keys(scored: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """What each user's rank depends on: risk, hash, is_rated, in the order of the rows.

    ``scored``: user_id, probability and, with min_tenure_days, tenure_days. Users known
    for fewer days than that, or for an unknown number of days, are not rated.
    """
    is_rated = pl.lit(True)
    if policy.min_tenure_days:
        is_rated = pl.col("tenure_days").fill_null(-1) >= policy.min_tenure_days
    return scored.select(
        risk=pl.col("probability").round(DIGITS),
        hash=stable_hash("user_id"),
        is_rated=is_rated,
    )


def ranked(keys: pl.DataFrame) -> pl.DataFrame:
    """The rated users, riskiest first, ties broken by the hash and then by the row.

    ``keys``: those of all users in order of user_id, so that the row stands for it. The
    result has its columns and ``row``, the position there.
    """
    rated = keys.with_row_index("row").filter(pl.col("is_rated"))
    return rated.sort(["risk", "hash", "row"], descending=[True, False, False])


def in_order(scored: pl.DataFrame) -> pl.DataFrame:
    """The rows sorted by user_id, with their position before as ``position``."""
    numbered = scored.with_row_index("position")
    is_sorted = numbered["user_id"].is_sorted()
    return numbered if is_sorted else numbered.sort("user_id")


def places_before(
    users: pl.DataFrame,
    previous: pl.DataFrame | None,
    place: pl.Expr,
) -> pl.Series:
    """What ``place`` says of each user in ``previous``, in the order of ``users``.

    -1 where it is null, and for users who are not in ``previous`` (null for nobody).
    """
    if previous is None:
        return pl.repeat(-1, users.height, dtype=pl.Int16, eager=True).alias("place")
    joined = users.select("user_id").join(
        previous.select("user_id", place=place.cast(pl.Int16)),
        on="user_id",
        how="left",
        maintain_order="left",
    )
    return joined["place"].fill_null(-1)
